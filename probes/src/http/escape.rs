//! Bytes that a target chose, as text for people: nothing lost, nothing that moves a terminal.
//!
//! Owns: one function. Readable UTF-8 stays; control characters, broken UTF-8 and the backslash
//! itself are escaped, so the bytes can be told from the text.

use std::fmt::Write;

/// Escapes `bytes`: `\\`, `\n`, `\r`, `\t`, and `\x1b` for any other byte that is not text.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // Format characters turn the writing direction or hide text.
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                    out.extend(character.escape_unicode());
                }
                control if control.is_control() => {
                    let mut utf8 = [0; 4];
                    escape_bytes(&mut out, control.encode_utf8(&mut utf8).as_bytes());
                }
                plain => out.push(plain),
            }
        }
        escape_bytes(&mut out, chunk.invalid());
    }
    out
}

fn escape_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_text_stays_and_every_other_byte_can_be_told() {
        assert_eq!(escape("text/html; q=\"gr\u{fc}n\"".as_bytes()), "text/html; q=\"gr\u{fc}n\"");
        assert_eq!(escape(b"\x16\x03\x01\xff a\\b\r\n\t"), "\\x16\\x03\\x01\\xff a\\\\b\\r\\n\\t");
        assert_eq!(escape("\u{9b}\u{202e}".as_bytes()), "\\xc2\\x9b\\u{202e}");
        assert_eq!(escape(b"\xc3"), "\\xc3");
    }
}
