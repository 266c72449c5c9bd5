//! Series selectors as Prometheus writes them: `probe_success{tag="shop",name=~"api.*"}`.
//!
//! Owns: the grammar and the labels that monitors can be chosen by. Regular expressions match the
//! whole value; their size and the number of selectors are bounded.

use regex::{Regex, RegexBuilder};

use super::fleet::{Index, Place};
use crate::limits::{MATCH_BYTES_MAX, MATCH_REGEX_BYTES_MAX, MATCHES_MAX};
use crate::monitor::Kind;

/// The labels that monitors can be chosen by.
const LABELS: [&str; 7] = ["__name__", "monitor_id", "name", "type", "instance", "tag", "verdict"];

/// Monitors and families that are wanted: those that fit any of the selectors.
#[derive(Debug)]
pub struct Selection(Vec<Vec<Matcher>>);

#[derive(Debug)]
struct Matcher {
    label: &'static str,
    /// False for `!=` and `!~`.
    wanted: bool,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Equal(String),
    Like(Regex),
}

impl Matcher {
    fn fits(&self, value: &str) -> bool {
        let fits = match &self.test {
            Test::Equal(wanted) => value == wanted,
            Test::Like(regex) => regex.is_match(value),
        };
        fits == self.wanted
    }
}

impl Selection {
    /// Reads the values of all `match[]`; `None` where there is none.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn read(selectors: &[String]) -> Result<Option<Selection>, String> {
        if selectors.len() > MATCHES_MAX {
            return Err(format!("at most {MATCHES_MAX} selectors are taken"));
        }
        let read: Vec<_> = selectors.iter().map(|text| selector(text)).collect::<Result<_, _>>()?;
        Ok((!read.is_empty()).then_some(Selection(read)))
    }

    /// True where samples of this family are wanted.
    pub fn fits_family(&self, family: &str) -> bool {
        let names = |matcher: &&Matcher| matcher.label == "__name__";
        self.0.iter().any(|all| all.iter().filter(names).all(|one| one.fits(family)))
    }

    /// True where this monitor is wanted.
    pub fn fits(&self, index: &Index, place: Place<'_>) -> bool {
        self.0.iter().any(|all| all.iter().all(|one| fits(one, index, place)))
    }
}

fn fits(matcher: &Matcher, index: &Index, place: Place<'_>) -> bool {
    let details = index.details();
    match matcher.label {
        "monitor_id" => matcher.fits(&place.id().to_string()),
        "name" => matcher.fits(details.name(place.at())),
        "type" => matcher.fits(place.kind().map_or("", Kind::name)),
        "instance" => matcher.fits(details.instance(place.at())),
        "verdict" => matcher.fits(place.verdict().name()),
        "tag" => {
            // One of the tags has to fit; of `!=` and `!~` none may be what is named.
            let mut tags = place.tags().iter().map(|tag| index.tags()[*tag as usize].as_str());
            match matcher.wanted {
                true => tags.any(|tag| matcher.fits(tag)),
                false => tags.all(|tag| matcher.fits(tag)),
            }
        }
        _ => true,
    }
}

/// Reads `name{label="value",…}`, either part of which may be missing.
fn selector(text: &str) -> Result<Vec<Matcher>, String> {
    if text.len() > MATCH_BYTES_MAX {
        return Err(format!("a selector has at most {MATCH_BYTES_MAX} bytes"));
    }
    let mut matchers = Vec::new();
    let (name, rest) = text.trim().split_once('{').unwrap_or((text.trim(), "}"));
    if !name.trim().is_empty() {
        let test = Test::Equal(name.trim().to_owned());
        matchers.push(Matcher { label: "__name__", wanted: true, test });
    }
    let mut rest = rest.trim_start();
    while rest != "}" {
        let (matcher, after) = matcher(rest)?;
        matchers.push(matcher);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest == "}" => {}
            None => return Err(format!("{text}: a comma or the closing brace is missing")),
        }
    }
    if matchers.is_empty() {
        return Err("an empty selector fits everything: write {name=~\".*\"} for that".to_owned());
    }
    Ok(matchers)
}

/// Reads `label="value"` and what follows it.
fn matcher(text: &str) -> Result<(Matcher, &str), String> {
    let end = text.find(['=', '!']).ok_or_else(|| format!("{text}: write label=\"value\""))?;
    let name = text[..end].trim();
    let label = LABELS.into_iter().find(|label| *label == name);
    let label = label.ok_or_else(|| format!("{name}: write one of {}", LABELS.join(", ")))?;
    let operators = [("=~", true, true), ("!~", false, true), ("!=", false, false)];
    let found = operators.into_iter().find(|(sign, ..)| text[end..].starts_with(sign));
    let (sign, wanted, like) = found.unwrap_or(("=", true, false));
    let rest = text[end..].strip_prefix(sign).unwrap_or_default().trim_start();
    let (value, after) = quoted(rest).ok_or_else(|| format!("{name}: its value is not quoted"))?;
    let test = if like {
        let whole = format!("^(?:{value})$");
        let built = RegexBuilder::new(&whole).size_limit(MATCH_REGEX_BYTES_MAX).build();
        Test::Like(built.map_err(|error| format!("{name}: {error}"))?)
    } else {
        Test::Equal(value)
    };
    Ok((Matcher { label, wanted, test }, after))
}

/// A value in double quotes with `\\`, `\"` and `\n`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::{fleet_of, row};
    use super::*;
    use crate::sample::Verdict;

    fn chosen(selectors: &[&str]) -> Vec<u64> {
        let fleet = fleet_of(vec![
            row(1, "shop-a", &["eu", "shop"], Verdict::Up),
            row(2, "shop-b", &["us"], Verdict::Down),
            row(3, "say \"hi\"", &[], Verdict::Up),
        ]);
        let index = fleet.index();
        let selectors: Vec<String> = selectors.iter().map(|one| (*one).to_owned()).collect();
        let selection = Selection::read(&selectors).unwrap().unwrap();
        let places = index.places().filter(|place| selection.fits(&index, *place));
        places.map(|place| place.id().0).collect()
    }

    #[test]
    fn each_operator_chooses_as_in_prometheus() {
        assert_eq!(chosen(&["{name=\"shop-a\"}"]), [1]);
        assert_eq!(chosen(&["{name=~\"shop\"}"]), [0; 0], "the whole value");
        assert_eq!(chosen(&["{name=~\"shop-.\", verdict!=\"down\"}"]), [1]);
        assert_eq!(chosen(&["probe_success{tag=\"shop\"}"]), [1]);
        assert_eq!(chosen(&["{tag!~\"eu|us\"}"]), [3]);
        assert_eq!(chosen(&["{monitor_id=\"2\"}", "{name=\"say \\\"hi\\\"\",}"]), [2, 3]);
        assert_eq!(chosen(&["{type=\"tcp\"}"]), [1, 2, 3]);
    }

    #[test]
    fn a_name_chooses_families() {
        let read = |text: &str| Selection::read(&[text.to_owned()]).unwrap().unwrap();
        let one = read("probe_success{tag=\"x\"}");
        assert!(one.fits_family("probe_success") && !one.fits_family("probe_duration_seconds"));
        let like = read("{__name__=~\"probe_.*\"}");
        assert!(like.fits_family("probe_success") && !like.fits_family("engine_monitor"));
        assert!(read("{tag=\"x\"}").fits_family("anything"));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let refused = |text: &str| Selection::read(&[text.to_owned()]).unwrap_err();
        for (text, told) in [
            ("{}", "an empty selector"),
            ("", "an empty selector"),
            ("{colour=\"red\"}", "colour: write one of __name__"),
            ("{name=shop}", "name: its value is not quoted"),
            ("{name=\"a\"", "a comma or the closing brace is missing"),
            ("{name=\"a\" tag=\"b\"}", "a comma or the closing brace is missing"),
            ("{name=~\"(\"}", "name: regex parse error"),
            ("{name=~\"(a{1000}){1000}\"}", "name: Compiled regex exceeds size limit"),
            ("{name", "write label=\"value\""),
        ] {
            let found = refused(text);
            assert!(found.contains(told), "{text}: {found}");
        }
        assert!(Selection::read(&vec!["{tag=\"x\"}".to_owned(); MATCHES_MAX + 1]).is_err());
        assert!(Selection::read(&[]).unwrap().is_none());
    }
}
