//! Regular expressions of modules, and the rules for header fields.
//!
//! Owns: their bound. The syntax is that of RE2 as far as both have it; what one of the two does
//! not know is told when the file is read.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{entries, is, text};
use crate::limits::MATCH_REGEX_BYTES_MAX;

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_str())
    }
}

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text).size_limit(MATCH_REGEX_BYTES_MAX).build();
        built.map(Pattern).map_err(|error| format!("{text:?}: {error}"))
    }

    /// True where it is anywhere in `text`.
    pub fn fits(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// What a header field must or must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    name: String,
    pattern: Pattern,
    allow_missing: bool,
    /// True where one of its values has to match, false where none may.
    wanted: bool,
}

impl HeaderRule {
    /// Reads one entry of `fail_if_header_matches` (`wanted` false) or `..._not_matches`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(value: &Value, wanted: bool) -> Result<HeaderRule, String> {
        let known = ["header", "regexp", "allow_missing"];
        if let Some((key, _)) = entries(value).find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(format!("{key} is not known"));
        }
        let part = |key: &str| value.get(key).and_then(text).ok_or(format!("{key} is missing"));
        Ok(HeaderRule {
            name: part("header")?,
            pattern: Pattern::new(&part("regexp")?)?,
            allow_missing: value.get("allow_missing").is_some_and(|value| is(value, true)),
            wanted,
        })
    }

    /// True where the fields of an answer are as they must be.
    pub fn holds(&self, fields: &[(String, String)]) -> bool {
        let mut own = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&self.name));
        let mut own = own.by_ref().map(|(_, value)| value).peekable();
        if own.peek().is_none() {
            return self.allow_missing;
        }
        own.any(|value| self.pattern.fits(value)) == self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_header_field_is_judged_by_its_rule_and_a_missing_one_as_it_says() {
        let fields = [("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())];
        for (name, regexp, allow_missing, wanted, good) in [
            ("content-type", "^text/", "false", true, true),
            ("content-type", "^image/", "false", true, false),
            ("content-type", "^text/", "false", false, false),
            ("content-type", "^image/", "false", false, true),
            ("x-none", ".*", "false", true, false),
            ("x-none", ".*", "false", false, false),
            ("x-none", ".*", "true", true, true),
        ] {
            let value = json!({ "header": name, "regexp": regexp, "allow_missing": allow_missing });
            let rule = HeaderRule::read(&value, wanted).unwrap();
            assert_eq!(rule.holds(&fields), good, "{value}");
        }
        assert!(HeaderRule::read(&json!({ "header": "a" }), true).is_err());
        assert!(HeaderRule::read(&json!({ "header": "a", "regexp": "(" }), true).is_err());
    }
}
