//! The part of a row that only web checks have: the request, and what counts as a good answer.
//!
//! Owns: method, header fields, body, statuses, texts to look for, and the sharing of equal
//! options. What a field may say is RFC 9110 §5; fields that frame the message are ours alone.

use std::collections::HashSet;
use std::sync::Arc;

use probes::spec::{Family, HttpOptions, StatusSet};

use super::super::{Kind, Preset};
use super::check::Reader;
use super::written::{size_bytes, status_range};
use crate::limits::*;

/// `User-Agent` of the original service's first thread: targets may know it.
const USER_AGENT_ORIGINAL: &str = "Test-Monitor-Service-T1/2025";

/// Fields that frame the message or steer the connection: the engine sets them, or must not.
const FIELDS_REFUSED: [&str; 7] =
    ["connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"];

/// Shares equal HTTP options: a million monitors that ask alike hold one copy.
#[derive(Debug, Default)]
pub struct Interner {
    options: HashSet<Arc<HttpOptions>>,
    /// Size at which options that no monitor holds any more are let go.
    purge_at: usize,
}

impl Interner {
    /// Sets from which it is worth to look for options that nobody holds.
    const PURGE_MIN: usize = 1_024;

    /// The one copy of these options.
    pub fn share(&mut self, options: HttpOptions) -> Arc<HttpOptions> {
        if let Some(shared) = self.options.get(&options) {
            return Arc::clone(shared);
        }
        if self.options.len() >= self.purge_at.max(Self::PURGE_MIN) {
            self.options.retain(|options| Arc::strong_count(options) > 1);
            self.purge_at = self.options.len() * 2; // Amortised: each purge pays for a doubling.
        }
        let options = Arc::new(options);
        self.options.insert(Arc::clone(&options));
        options
    }

    /// Different options held.
    pub fn len(&self) -> usize {
        self.options.len()
    }

    /// True where none is held.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }
}

/// The options of a web check. `credentials` are those of the URL.
pub(super) fn options(
    reader: &mut Reader<'_>,
    kind: Kind,
    credentials: Option<&[u8]>,
    family: Family,
) -> HttpOptions {
    let row = reader.row;
    let original = reader.preset == Preset::Original;
    let standard = HttpOptions::default();
    let default = if original { HTTP_BODY_BYTES_ORIGINAL } else { HTTP_BODY_BYTES_DEFAULT };
    let body_bytes_max = body_limit(reader, default);
    let (needles, forbidden) = match kind {
        Kind::WebContent => (
            texts(reader, "contains", row.contains.as_deref(), "result_valid", &row.result_valid),
            texts(
                reader,
                "not_contains",
                row.not_contains.as_deref(),
                "result_error",
                &row.result_error,
            ),
        ),
        _ => (Box::default(), Box::default()),
    };
    let looks = !needles.is_empty() || !forbidden.is_empty();
    if body_bytes_max == 0 && looks {
        reader.bad("body_limit", "0", "leaves no body to look in", "write 1MiB, or remove it");
    }
    let method = method(reader);
    if &*method == "HEAD" && looks {
        reader.bad("method", "HEAD", "brings no body to look in", "write GET");
    }
    let keep_alive = keep_alive(reader, &method);
    let body: Box<[u8]> = row.body.as_deref().unwrap_or_default().as_bytes().into();
    if body.len() > REQUEST_BODY_BYTES_MAX {
        let fix = format!("write at most {REQUEST_BODY_BYTES_MAX} bytes");
        reader.bad("body", "", "is too long", fix);
    }
    HttpOptions {
        method,
        headers: headers(reader, credentials),
        body,
        user_agent: if original { USER_AGENT_ORIGINAL.into() } else { standard.user_agent },
        statuses: statuses(reader),
        redirects_max: reader.number(
            "redirects",
            row.redirects,
            REDIRECTS_DEFAULT,
            0,
            REDIRECTS_MAX,
        ),
        body_bytes_max,
        read_body: body_bytes_max > 0,
        compression: row.compression.unwrap_or(true),
        needles,
        forbidden,
        keep_alive,
        keep_detail: row.keep_detail.unwrap_or(false),
        tls: reader.tls(!original),
        family,
    }
}

/// A request that is lost with a kept connection is sent again, so that must do no harm
/// (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
fn keep_alive(reader: &mut Reader<'_>, method: &str) -> bool {
    let asked = reader.row.keep_alive.unwrap_or(false);
    if asked && !matches!(method, "GET" | "HEAD" | "OPTIONS") {
        reader.bad("keep_alive", "true", "would send the request twice", "use GET, or remove it");
    }
    asked
}

fn method(reader: &mut Reader<'_>) -> Box<str> {
    let Some(method) = reader.row.method.as_deref() else { return "GET".into() };
    let method = method.trim();
    if !is_token(method) || method.len() > METHOD_BYTES_MAX {
        reader.bad("method", method, "is not a method", "write GET, HEAD, POST or another token");
    } else if method.eq_ignore_ascii_case("CONNECT") {
        reader.bad("method", method, "asks for a tunnel", "write GET, or use type tcp");
    }
    method.to_ascii_uppercase().into()
}

/// `token` of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

fn headers(reader: &mut Reader<'_>, credentials: Option<&[u8]>) -> Box<[(Box<str>, Box<str>)]> {
    let mut fields: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut seen = HashSet::new();
    for (name, values) in reader.row.headers.iter().flatten() {
        let lower = name.to_ascii_lowercase();
        if !is_token(name) {
            reader.bad("headers", name, "is not a field name", "write letters, digits and hyphens");
        } else if FIELDS_REFUSED.contains(&lower.as_str()) {
            reader.bad("headers", name, "is set by the engine", "remove it");
        } else if lower == "host" && values.len() != 1 {
            reader.bad("headers", name, "must have exactly one value", "keep one");
        } else if !seen.insert(lower) {
            reader.bad("headers", name, "is there twice", "put all its values in one list");
        }
        for value in values {
            let value = value.trim_matches([' ', '\t']);
            // Values may be secrets: the error names the field only.
            if value.chars().any(|character| character.is_control() && character != '\t') {
                reader.bad("headers", name, "has a control character in its value", "remove it");
            }
            fields.push((name.as_str().into(), value.into()));
        }
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        let fix = format!("write at most {HEADERS_MAX} fields and {HEADER_BYTES_MAX} bytes");
        reader.bad("headers", "", "too many", fix);
    }
    if let Some(credentials) = credentials {
        if seen.contains("authorization") {
            let problem = "and the user in the target contradict each other";
            reader.bad("headers", "Authorization", problem, "keep one of them");
        }
        let value = format!("Basic {}", base64(credentials));
        fields.push(("Authorization".into(), value.into()));
    }
    fields.into()
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn statuses(reader: &mut Reader<'_>) -> StatusSet {
    let Some(written) = reader.row.statuses.as_deref() else { return StatusSet::below_400() };
    if written.is_empty() || written.len() > STATUS_RANGES_MAX {
        let fix = format!("write 1 to {STATUS_RANGES_MAX} of them");
        reader.bad("statuses", "", "none or too many", fix);
        return StatusSet::below_400();
    }
    let mut ranges = Vec::with_capacity(written.len());
    for text in written {
        match status_range(text) {
            Some(range) => ranges.push(range),
            None => reader.bad("statuses", text, "is no status", "write 200, 200-299 or 2xx"),
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1 + 1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    StatusSet(merged.into())
}

fn body_limit(reader: &mut Reader<'_>, default: u32) -> u32 {
    let Some(text) = reader.row.body_limit.as_deref() else { return default };
    match size_bytes(text).map(u32::try_from) {
        Some(Ok(bytes)) if bytes <= HTTP_BODY_BYTES_MAX => return bytes,
        Some(_) => reader.bad("body_limit", text, "is larger than 64MiB", "write 64MiB or less"),
        None => reader.bad("body_limit", text, "is not a size", "write it like 1MiB or 65536"),
    }
    default
}

/// The texts of one list, in whichever of its two forms it is written. The original's form is cut
/// at commas; blank texts in it say nothing.
fn texts(
    reader: &mut Reader<'_>,
    key: &str,
    list: Option<&[String]>,
    commas_key: &str,
    commas: &Option<String>,
) -> Box<[Box<str>]> {
    let (field, texts): (&str, Vec<&str>) = match (list, commas) {
        (Some(_), Some(_)) => {
            let problem = format!("and {commas_key} say the same");
            reader.bad(key, "", problem, "keep one of them");
            return Box::default();
        }
        (Some(list), None) => (key, list.iter().map(String::as_str).collect()),
        (None, Some(text)) => {
            (commas_key, text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect())
        }
        (None, None) => return Box::default(),
    };
    if texts.len() > NEEDLES_MAX {
        reader.bad(field, "", "too many texts", format!("write at most {NEEDLES_MAX}"));
        return Box::default();
    }
    for text in &texts {
        if text.is_empty() || text.len() > NEEDLE_BYTES_MAX {
            let fix = format!("write 1 to {NEEDLE_BYTES_MAX} bytes");
            reader.bad(field, text, "is empty or too long", fix);
        }
    }
    texts.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_the_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, encoded) in vectors {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn equal_options_are_one_copy_and_unused_ones_are_let_go() {
        let mut interner = Interner::default();
        let first = interner.share(HttpOptions::default());
        assert!(Arc::ptr_eq(&first, &interner.share(HttpOptions::default())));
        for size in 1..=3 * Interner::PURGE_MIN as u32 {
            interner.share(HttpOptions { body_bytes_max: size, ..HttpOptions::default() });
        }
        assert!(interner.len() <= Interner::PURGE_MIN);
        assert!(Arc::ptr_eq(&first, &interner.share(HttpOptions::default())));
    }
}
