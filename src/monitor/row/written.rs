//! How values are written: texts, numbers, lists, durations, sizes and statuses.
//!
//! Owns: reading one value, without knowing which key it belongs to. A number may be written as a
//! text and a list of one as its item: in YAML the difference is a matter of quotes.

use serde_json::Value;

use super::{Headers, RowError};

/// A type that a value is read as.
pub(crate) trait Written: Sized {
    /// What the user is asked to write.
    const WANTS: &'static str;

    /// `None` where the value is something else.
    fn read(value: &Value) -> Option<Self>;
}

impl Written for String {
    const WANTS: &'static str = "a text";

    fn read(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }
}

impl Written for u64 {
    const WANTS: &'static str = "a whole number";

    fn read(value: &Value) -> Option<u64> {
        match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        }
    }
}

impl Written for bool {
    const WANTS: &'static str = "true or false";

    fn read(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(yes) => Some(*yes),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Written for Vec<String> {
    const WANTS: &'static str = "a list of texts";

    fn read(value: &Value) -> Option<Vec<String>> {
        match value {
            Value::Array(items) => items.iter().map(String::read).collect(),
            item => String::read(item).map(|item| vec![item]),
        }
    }
}

impl Written for Headers {
    const WANTS: &'static str = "a map from names to values";

    fn read(value: &Value) -> Option<Headers> {
        let map = value.as_object()?;
        map.iter().map(|(name, value)| Some((name.clone(), Vec::read(value)?))).collect()
    }
}

/// Reads `value` into `slot`; null leaves it as it is.
///
/// # Errors
///
/// The value is of another type.
pub(crate) fn read_into<T: Written>(
    key: &str,
    value: &Value,
    slot: &mut Option<T>,
) -> Result<(), RowError> {
    if value.is_null() {
        return Ok(());
    }
    let Some(read) = T::read(value) else {
        // A map or list may hold a secret, and its text would say little.
        let (shown, problem) = match String::read(value) {
            Some(text) if key != "headers" => (text, "is"),
            _ => (String::new(), "the value is"),
        };
        let problem = format!("{problem} not {}", T::WANTS);
        return Err(RowError::new(key, &shown, problem, format!("write {}", T::WANTS)));
    };
    *slot = Some(read);
    Ok(())
}

/// Longest text of a duration or size that is looked at, in bytes.
const QUANTITY_BYTES_MAX: usize = 32;

/// Milliseconds of `500ms`, `30s`, `1m`, `1h30m`, `2d`, or of a bare number of seconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || text.len() > QUANTITY_BYTES_MAX {
        return None;
    }
    let mut rest = text;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(digits(rest));
        let (unit, after) =
            after.split_at(after.bytes().take_while(u8::is_ascii_lowercase).count());
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if number.len() == text.len() => 1_000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = after;
    }
    Some(sum)
}

/// A duration as [`duration_ms`] reads it, in the largest unit that it is a whole number of.
pub(crate) fn show_ms(millis: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let fits = units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    fits.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", millis / unit))
}

/// Bytes of `1MiB`, `64KiB`, `10kB`, `2MB`, or of a bare number.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.len() > QUANTITY_BYTES_MAX {
        return None;
    }
    let (number, unit) = text.split_at(digits(text));
    let bytes: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// The range of statuses that `200`, `200-299` or `2xx` stand for.
pub(crate) fn status_range(text: &str) -> Option<(u16, u16)> {
    let text = text.trim();
    let status = |text: &str| {
        let three = text.len() == 3 && digits(text) == 3;
        text.parse::<u16>().ok().filter(|status| three && *status >= 100)
    };
    if let [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        let low = u16::from(class - b'0') * 100;
        return Some((low, low + 99));
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (status(low.trim())?, status(high.trim())?);
    (low <= high).then_some((low, high))
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_in_go_style() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("1m", 60_000), ("1h30m", 5_400_000), ("45", 45_000)]
        {
            assert_eq!(duration_ms(text), Some(millis), "{text}");
        }
        for text in ["", "s", "1.5s", "-1s", "1x", "1s5", "5 s", "99999999999999999999s", "1S"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
        assert_eq!(show_ms(5_400_000), "90m");
        assert_eq!(show_ms(1_500), "1500ms");
        assert_eq!(show_ms(0), "0s");
    }

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        assert_eq!(size_bytes("1MiB"), Some(1 << 20));
        assert_eq!(size_bytes("64 KiB"), Some(65_536));
        assert_eq!(size_bytes("2MB"), Some(2_000_000));
        assert_eq!(size_bytes("10240"), Some(10_240));
        for text in ["", "MiB", "-1", "1GiBB", "1.5MiB", "18446744073709551615MiB"] {
            assert_eq!(size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn statuses_are_single_ranges_or_classes() {
        assert_eq!(status_range("200"), Some((200, 200)));
        assert_eq!(status_range("200-299"), Some((200, 299)));
        assert_eq!(status_range("3xx"), Some((300, 399)));
        for text in ["", "20", "2000", "099", "299-200", "0xx", "2x", "+20", "200-"] {
            assert_eq!(status_range(text), None, "{text}");
        }
    }
}
