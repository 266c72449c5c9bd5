//! Texts of others within markup: HTML, SVG and Atom alike.
//!
//! Owns: what is escaped. Good in text and between double or single quotes, nowhere else.

use std::fmt::{self, Write};

use jiff::Timestamp;

/// A text that stays a text. What XML 1.0 section 2.2 does not allow is shown as U+FFFD.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' => f.write_char(character)?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                other if other.is_control() => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A moment of UTC in these words of strftime(3); empty where it is past year 9999.
pub fn utc(unix_ms: u64, words: &str) -> String {
    let signed = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(signed)
        .map_or_else(|_| String::new(), |at| at.strftime(words).to_string())
}

/// A moment as RFC 3339 has it, in seconds of UTC.
pub fn rfc3339(unix_ms: u64) -> String {
    utc(unix_ms, "%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup_and_every_character_is_allowed() {
        let text = Text("<a href=\"x\">'&\u{0}\u{1b}\r\u{ffff}é\n").to_string();
        let wanted = "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd}\u{fffd}\u{fffd}é\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn times_are_of_utc() {
        assert_eq!(rfc3339(1_795_444_849_999), "2026-11-23T14:40:49Z");
        assert_eq!(utc(u64::MAX, "%F"), "");
    }
}
