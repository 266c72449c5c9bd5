//! A monitor as a user writes it, in a file, a table or a request, before it is checked.
//!
//! Owns: the keys, the errors that name them, and reading a row from a map of values. Every key is
//! optional here; [`check`](check::check) knows which ones a monitor needs and what they may say.
//! All errors of a row are collected, so that nobody mends them one at a time.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub mod check;
mod web;
pub(crate) mod written;

pub use check::{Checked, check};
pub use web::Interner;

use super::Kind;

/// What is wrong with one key of a row, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The key as written.
    pub field: String,
    /// The value as written, shortened, without passwords; empty where it says nothing.
    pub value: String,
    /// What is wrong, to be read after the value.
    pub problem: String,
    /// What to write.
    pub fix: String,
}

const UNKNOWN_KEY: &str = "unknown key";
/// Longest value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 80;

impl RowError {
    /// An error about `value` of the key `field`. Control characters are escaped.
    pub fn new(
        field: &str,
        value: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> RowError {
        RowError {
            field: shown(field),
            value: shown(value),
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// A key that nothing knows; the nearest of `known` is the fix.
    pub fn unknown_key(field: &str, known: &[&str]) -> RowError {
        let fix = match nearest(field, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        RowError::new(field, "", UNKNOWN_KEY, fix)
    }

    /// True for [`RowError::unknown_key`]: the key itself is wrong, not its value.
    pub fn is_unknown_key(&self) -> bool {
        self.problem == UNKNOWN_KEY
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowError { field, value, problem, fix } = self;
        if self.is_unknown_key() {
            write!(f, "{problem} `{field}`; {fix}")
        } else if value.is_empty() {
            write!(f, "{field}: {problem}; {fix}")
        } else {
            write!(f, "{field}: {value} {problem}; {fix}")
        }
    }
}

impl std::error::Error for RowError {}

/// Header fields: every name with its values, in the order of the names.
pub type Headers = BTreeMap<String, Vec<String>>;

macro_rules! monitor_row {
    ($( $(#[$doc:meta])* $field:ident = $key:tt: $written:ty; )*) => {
        /// Everything a user may write about one monitor. In JSON an object with these keys.
        ///
        /// Reading it from JSON gives all errors at once and refuses unknown keys.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "Map<String, Value>", deny_unknown_fields)]
        pub struct MonitorRow { $(
            $(#[$doc])*
            #[serde(rename = $key, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$written>,
        )* }

        impl MonitorRow {
            /// Every key, in the order in which people are told about them.
            pub const KEYS: &'static [&'static str] = &[ $( $key, )* ];

            /// Sets one key from its value; null leaves the key as it is.
            ///
            /// # Errors
            ///
            /// The key is unknown, or the value is of another type.
            pub fn set(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
                match key {
                    $( $key => written::read_into(key, value, &mut self.$field), )*
                    _ => Err(RowError::unknown_key(key, Self::KEYS)),
                }
            }

            /// The keys that are given, in the order of [`MonitorRow::KEYS`].
            pub fn given(&self) -> impl Iterator<Item = &'static str> {
                let given = [ $( self.$field.is_some(), )* ];
                Self::KEYS.iter().zip(given).filter_map(|(key, given)| given.then_some(*key))
            }

            /// Takes from `defaults` every key that is not given and for which `wanted` is true.
            fn fill(&mut self, defaults: &MonitorRow, wanted: impl Fn(&str) -> bool) {
                $( if self.$field.is_none() && wanted($key) {
                    self.$field.clone_from(&defaults.$field);
                } )*
            }
        }
    };
}

monitor_row! {
    /// Unique among all monitors; the target where none is given.
    name = "name": String;
    /// One of the seven kinds.
    kind = "type": String;
    /// A URL, `host:port` or a host, by type.
    target = "target": String;
    /// `standard` or `original`: where missing values come from.
    preset = "preset": String;
    /// From check to check: `30s`, `1m`, or whole seconds.
    interval = "interval": String;
    /// Total deadline of one attempt.
    timeout = "timeout": String;
    /// Further attempts within one check.
    retries = "retries": u64;
    /// Pause before a further attempt.
    retry_delay = "retry_delay": String;
    /// Pause before a failed check is confirmed by a further one.
    confirm_interval = "confirm_interval": String;
    /// Failed checks in a row before the verdict is down.
    fall = "fall": u64;
    /// Good checks in a row before the verdict is up again.
    rise = "rise": u64;
    /// True where it is not to be checked now.
    paused = "paused": bool;
    /// False where its failures count while this host is cut off, too.
    guard = "guard": bool;
    /// Names of monitors without which it cannot be reached.
    depends_on = "depends_on": Vec<String>;
    /// Sort and group by these.
    tags = "tags": Vec<String>;
    /// Names of the channels that tell of it; by tags where none are given.
    alerts = "alerts": Vec<String>;
    /// `any`, `v4` or `v6`.
    family = "family": String;
    /// Port, where the target names none.
    port = "port": u64;
    /// HTTP method.
    method = "method": String;
    /// Header fields to send.
    headers = "headers": Headers;
    /// Text to send as the body.
    body = "body": String;
    /// Good statuses: `200`, `200-299`, `2xx`.
    statuses = "statuses": Vec<String>;
    /// Redirects to follow, 0 to 20.
    redirects = "redirects": u64;
    /// Bytes of the body to read: `1MiB`, `64KiB`, or whole bytes; 0 reads none.
    body_limit = "body_limit": String;
    /// Ask for and decode compressed bodies.
    compression = "compression": bool;
    /// Texts that must all be in the body.
    contains = "contains": Vec<String>;
    /// Texts of which none may be in the body.
    not_contains = "not_contains": Vec<String>;
    /// The original's form of `contains`: texts between commas.
    result_valid = "result_valid": String;
    /// The original's form of `not_contains`: texts between commas.
    result_error = "result_error": String;
    /// Keep reason and header fields of good answers too.
    keep_detail = "keep_detail": bool;
    /// False where any certificate will do.
    tls_verify = "tls_verify": bool;
    /// True where the connection is kept for the next check.
    keep_alive = "keep_alive": bool;
    /// True where a TLS session may be resumed instead of a full handshake.
    tls_resume = "tls_resume": bool;
    /// The name sent and verified instead of the host.
    server_name = "server_name": String;
    /// Path of a PEM file with the roots to trust.
    ca_file = "ca_file": String;
    /// Days a certificate must have left.
    expire_days = "expire_days": u64;
}

impl MonitorRow {
    /// Reads a row from a map and returns it with whatever could be read and all errors.
    pub fn read(map: &Map<String, Value>) -> (MonitorRow, Vec<RowError>) {
        let mut row = MonitorRow::default();
        let errors = map.iter().filter_map(|(key, value)| row.set(key, value).err()).collect();
        (row, errors)
    }

    /// As [`MonitorRow::read`], from the text of a JSON object; anything else counts as empty.
    pub fn read_json(text: &str) -> (MonitorRow, Vec<RowError>) {
        MonitorRow::read(&serde_json::from_str(text).unwrap_or_default())
    }

    /// Takes every key that is not given from `defaults`, as far as it fits this row's type. Where
    /// one form of a list of texts is given, the other form is not taken.
    pub fn fill_from(&mut self, defaults: &MonitorRow) {
        let kind = self.kind.as_ref().or(defaults.kind.as_ref());
        let kind = kind.and_then(|kind| Kind::from_name(kind));
        let required = self.contains.is_some() || self.result_valid.is_some();
        let forbidden = self.not_contains.is_some() || self.result_error.is_some();
        self.fill(defaults, |key| match key {
            "contains" | "result_valid" if required => false,
            "not_contains" | "result_error" if forbidden => false,
            _ => kind.is_none_or(|kind| check::fits(key, kind)),
        });
    }
}

impl TryFrom<Map<String, Value>> for MonitorRow {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<MonitorRow, String> {
        let (row, errors) = MonitorRow::read(&map);
        if errors.is_empty() {
            return Ok(row);
        }
        let errors: Vec<String> = errors.iter().map(RowError::to_string).collect();
        Err(errors.join("\n"))
    }
}

/// Text as an error repeats it: one line, no control characters, not too long.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == SHOWN_CHARS_MAX {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The one of `known` that `word` was probably meant to be: at most a third of it differs.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > SHOWN_CHARS_MAX {
        return None;
    }
    let distances = known.iter().map(|candidate| (distance(word, candidate), *candidate));
    let (distance, candidate) = distances.min()?;
    (distance <= candidate.len().div_ceil(3)).then_some(candidate)
}

/// Levenshtein distance in bytes.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_names_the_nearest_one() {
        let error = RowError::unknown_key("intervall", MonitorRow::KEYS);
        assert_eq!(error.to_string(), "unknown key `intervall`; did you mean `interval`?");
        let error = RowError::unknown_key("colour", &["type", "name"]);
        assert_eq!(error.to_string(), "unknown key `colour`; the keys are type, name");
    }

    #[test]
    fn a_row_survives_a_round_trip_through_json() {
        let text = r#"{"name":"a","type":"tcp","retries":3,"tags":["x","y"],"paused":true,
            "headers":{"Accept":["a","b"],"X":["1"]}}"#;
        let row: MonitorRow = serde_json::from_str(text).unwrap();
        assert_eq!(row.retries, Some(3));
        let written = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<MonitorRow>(&written).unwrap(), row);
    }

    #[test]
    fn one_value_may_stand_for_a_list_and_text_for_a_number() {
        let text = r#"{"tags":"x","retries":"3","statuses":[200,"3xx"],"headers":{"X":"1"}}"#;
        let row: MonitorRow = serde_json::from_str(text).unwrap();
        assert_eq!(row.tags, Some(vec!["x".to_owned()]));
        assert_eq!(row.retries, Some(3));
        assert_eq!(row.statuses, Some(vec!["200".to_owned(), "3xx".to_owned()]));
        assert_eq!(row.headers.unwrap()["X"], ["1"]);
    }

    #[test]
    fn reading_json_names_every_bad_key_at_once() {
        let text = r#"{"retries":-1,"paused":"maybe","inteval":5,"name":["x"]}"#;
        let error = serde_json::from_str::<MonitorRow>(text).unwrap_err().to_string();
        assert!(error.contains("retries: -1 is not a whole number"), "{error}");
        assert!(error.contains("paused: maybe is not true or false"), "{error}");
        assert!(error.contains("unknown key `inteval`; did you mean `interval`?"), "{error}");
        assert!(error.contains("name: "), "{error}");
    }

    #[test]
    fn defaults_fill_only_what_is_missing_and_fits_the_type() {
        let defaults = r#"{"interval":"30s","contains":["x"],"retries":2}"#;
        let defaults: MonitorRow = serde_json::from_str(defaults).unwrap();
        let mut row: MonitorRow = serde_json::from_str(r#"{"type":"tcp","retries":0}"#).unwrap();
        row.fill_from(&defaults);
        assert_eq!(row.given().collect::<Vec<_>>(), ["type", "interval", "retries"]);
        assert_eq!(row.retries, Some(0));
    }
}
