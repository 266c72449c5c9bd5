//! The syntax of `.env` files, as python-dotenv 1 reads them.
//!
//! Owns: reading one file's text into names and values, expansion included. Pure, and bounded: a
//! value that grows past `ENV_VALUE_BYTES_MAX` by expansion is refused, so no file is a bomb.

use std::collections::HashMap;

use crate::limits::ENV_VALUE_BYTES_MAX;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Names and values; a name that is there twice has its last value.
    pub values: HashMap<String, String>,
    /// Lines that are not understood, from 1.
    pub bad_lines: Vec<usize>,
}

/// Reads the text of a file. `before` gives the values that go before those of the file in
/// `${NAME}`, `after` those that are looked at when the file has none.
pub fn parse(
    text: &str,
    before: impl Fn(&str) -> Option<String>,
    after: impl Fn(&str) -> Option<String>,
) -> Parsed {
    let mut parsed = Parsed::default();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let start = rest;
        let at = line;
        match binding(rest) {
            Ok((bound, left)) => {
                rest = left;
                if let Some((name, raw)) = bound {
                    let look = |name: &str| {
                        before(name)
                            .or_else(|| parsed.values.get(name).cloned())
                            .or_else(|| after(name))
                    };
                    match expand(&raw, look) {
                        Some(value) => drop(parsed.values.insert(name, value)),
                        None => parsed.bad_lines.push(at),
                    }
                }
            }
            Err(NotUnderstood) => {
                parsed.bad_lines.push(at);
                rest = after_line(rest);
            }
        }
        line += start[..start.len() - rest.len()].matches('\n').count();
    }
    parsed
}

/// A line that is no binding.
struct NotUnderstood;

type Bound = Option<(String, String)>;

/// Reads one line, or more where a quoted value goes over several. `None` for a blank line, a
/// comment, and a name without `=`.
fn binding(text: &str) -> Result<(Bound, &str), NotUnderstood> {
    let text = text.trim_start_matches(blank);
    if text.is_empty() || text.starts_with(['\n', '\r', '#']) {
        return Ok((None, after_line(text)));
    }
    let unexported = text.strip_prefix("export").filter(|rest| rest.starts_with(blank));
    let text = unexported.map_or(text, |rest| rest.trim_start_matches(blank));
    let (name, text) = match text.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'').ok_or(NotUnderstood)?,
        None => {
            let end = text.find(|c: char| c == '=' || c == '#' || c.is_whitespace());
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    if name.is_empty() || name.contains('\n') {
        return Err(NotUnderstood);
    }
    let text = text.trim_start_matches(blank);
    let Some(text) = text.strip_prefix('=') else {
        return Ok((None, end_of_line(text)?));
    };
    let text = text.trim_start_matches(blank);
    let (value, text) = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(&text[1..], quote)?,
        _ => unquoted(text),
    };
    Ok((Some((name.to_owned(), value)), end_of_line(text)?))
}

/// Reads up to the closing quote and takes the escapes out.
fn quoted(text: &str, quote: char) -> Result<(String, &str), NotUnderstood> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, character)) = chars.next() {
        if character == quote {
            return Ok((value, &text[at + 1..]));
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        let Some((_, escaped)) = chars.next() else { return Err(NotUnderstood) };
        match (quote, escaped) {
            (_, '\\' | '\'') | ('"', '"') => value.push(escaped),
            ('"', 'n') => value.push('\n'),
            ('"', 'r') => value.push('\r'),
            ('"', 't') => value.push('\t'),
            ('"', 'a') => value.push('\u{7}'),
            ('"', 'b') => value.push('\u{8}'),
            ('"', 'f') => value.push('\u{c}'),
            ('"', 'v') => value.push('\u{b}'),
            _ => value.extend(['\\', escaped]),
        }
    }
    Err(NotUnderstood)
}

/// Reads to the end of the line; a `#` after a blank begins a comment.
fn unquoted(text: &str) -> (String, &str) {
    let (line, rest) = text.split_at(text.find(['\n', '\r']).unwrap_or(text.len()));
    let hash = line
        .char_indices()
        .find(|(at, character)| *character == '#' && line[..*at].ends_with(char::is_whitespace));
    let value = hash.map_or(line, |(at, _)| &line[..at]);
    (value.trim_end().to_owned(), rest)
}

/// What comes after the line, which may hold nothing more but a comment.
fn end_of_line(text: &str) -> Result<&str, NotUnderstood> {
    let text = text.trim_start_matches(blank);
    if text.is_empty() || text.starts_with(['#', '\n', '\r']) {
        return Ok(after_line(text));
    }
    Err(NotUnderstood)
}

fn after_line(text: &str) -> &str {
    let Some(at) = text.find(['\n', '\r']) else { return "" };
    text[at..].strip_prefix("\r\n").unwrap_or(&text[at + 1..])
}

fn blank(character: char) -> bool {
    character.is_whitespace() && !matches!(character, '\n' | '\r')
}

/// Puts values in the place of `${NAME}` and `${NAME:-default}`; a name without a value is empty.
/// `None` where the value grows past its bound.
fn expand(raw: &str, look: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut value = String::new();
    let mut rest = raw;
    while let Some((before, (inner, after))) =
        rest.split_once("${").and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        value.push_str(before);
        rest = after;
        match inner.split_once(':') {
            None => value.push_str(&look(inner).unwrap_or_default()),
            Some((name, default)) if default.starts_with('-') => {
                value.push_str(&look(name).unwrap_or_else(|| default[1..].to_owned()));
            }
            Some(_) => value.extend(["${", inner, "}"]),
        }
        if value.len() > ENV_VALUE_BYTES_MAX {
            return None;
        }
    }
    value.push_str(rest);
    (value.len() <= ENV_VALUE_BYTES_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text, |_| None, |_| None)
    }

    fn value(line: &str) -> Option<String> {
        read(line).values.remove("A")
    }

    fn is(line: &str, wanted: &str) {
        assert_eq!(value(line).as_deref(), Some(wanted), "{line:?}");
    }

    #[test]
    fn a_value_stands_after_the_equal_sign_with_or_without_blanks_and_export() {
        is("A=1", "1");
        is("  A = 1  ", "1");
        is("export A=1", "1");
        is("export\tA=1\r\n", "1");
        is("B=2\rA=1\r", "1");
        is("'A'=1", "1");
        is("A=", "");
        is("A=one two=three", "one two=three");
        assert_eq!(value("exportA=1"), None);
        assert_eq!(value("A\n"), None);
    }

    #[test]
    fn comments_are_lines_or_stand_after_a_blank() {
        assert_eq!(read("# A=1\n\n  # B=2\n"), Parsed::default());
        is("A=500   # per worker", "500");
        is("A=pass#word", "pass#word");
        is("A=# nothing", "# nothing");
        is("A= # nothing", "# nothing");
        is("A='1' # quoted", "1");
        is("A=\"1\"# quoted", "1");
    }

    #[test]
    fn quotes_keep_what_is_inside_and_know_their_escapes() {
        is("A='a # b'", "a # b");
        is("A=\" a \"", " a ");
        is(r#"A="a\tb\n\"c\" \d""#, "a\tb\n\"c\" \\d");
        is(r"A='a\tb\'c\\'", r"a\tb'c\");
        is("A=\"one\ntwo\"", "one\ntwo");
        is("A=it's", "it's");
    }

    #[test]
    fn names_are_expanded_with_their_defaults() {
        is("B=1\nA=x${B}y", "x1y");
        is("A=${B:-two}", "two");
        is("B=\nA=${B:-two}", "");
        is("A=${B}", "");
        is("A='${B:-in quotes}'", "in quotes");
        is("A=$B ${B", "$B ${B");
        is("A=${B:+x}", "${B:+x}");
    }

    #[test]
    fn what_goes_before_the_file_and_after_it_is_looked_at_in_that_order() {
        let known = |name: &str| (name == "B").then(|| "outside".to_owned());
        let text = "B=inside\nA=${B}\n";
        assert_eq!(parse(text, known, |_| None).values["A"], "outside");
        assert_eq!(parse(text, |_| None, known).values["A"], "inside");
        assert_eq!(parse("A=${B}", |_| None, known).values["A"], "outside");
    }

    #[test]
    fn the_last_definition_wins() {
        is("A=1\nA=2\nA=${A}3\n", "23");
    }

    #[test]
    fn a_line_that_is_not_understood_is_named_and_the_others_are_read() {
        let parsed = read("B=\"x\ny\"\n=1\nA='open\nC=1\nD='x' y\n");
        assert_eq!(parsed.bad_lines, [3, 4, 6]);
        assert_eq!(parsed.values.len(), 2);
        assert_eq!(parsed.values["C"], "1");
    }

    #[test]
    fn a_value_that_doubles_with_every_line_is_refused() {
        let text = "A=0123456789\n".to_owned() + &"A=${A}${A}\n".repeat(60);
        let parsed = read(&text);
        assert!(parsed.values["A"].len() <= ENV_VALUE_BYTES_MAX);
        assert!(!parsed.bad_lines.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([A-C =#'\"\\\\${}:\\-\n\r\té]){0,60}") {
            read(&text);
        }
    }
}
