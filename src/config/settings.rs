//! The settings in the configuration file. Arguments of the command line go before them.
//!
//! Owns: their keys and bounds. A setting that is not given stays absent, so that the defaults of
//! the command line are the only ones.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::database::Database;
use super::guard::GuardPlan;
use crate::limits::{HIST_INTERVAL_MS, RETENTION_DAYS_MAX, SHARDS_MAX};
use crate::monitor::row::RowError;
use crate::monitor::row::written::{duration_ms, read_into};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
    /// The original's: bare lines on standard output, and its files below `logs`
    Original,
}

impl LogFormat {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
            LogFormat::Original => "original",
        }
    }
}

/// The settings that a file gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Shards, one core each.
    pub cores: Option<u16>,
    /// Folder of the database and the spool.
    pub data_dir: Option<PathBuf>,
    /// Address of the API and the metrics page.
    pub listen: Option<SocketAddr>,
    /// Probes in flight per shard.
    pub max_in_flight: Option<u32>,
    /// Days that samples are kept.
    pub retention_days: Option<u32>,
    /// How log lines are written.
    pub log_format: Option<LogFormat>,
    /// Where monitors and results are kept.
    pub database: Option<Database>,
    /// Folder that latency histograms are written to on a schedule.
    pub hist_dir: Option<PathBuf>,
    /// Time between two of these dumps, in milliseconds.
    pub hist_interval_ms: Option<u64>,
    /// Modules of `/probe`.
    pub blackbox: Option<PathBuf>,
    /// Networks that `/probe` may ask, as written.
    pub probe_allow: Option<Vec<String>>,
    /// What the guard is to do: the map `guard` beside the settings.
    pub guard: Option<GuardPlan>,
}

impl Settings {
    /// Every key.
    pub const KEYS: &'static [&'static str] = &[
        "cores",
        "data_dir",
        "listen",
        "max_in_flight",
        "retention_days",
        "log_format",
        "database",
        "hist_dir",
        "hist_interval",
        "blackbox",
        "probe_allow",
    ];

    /// Sets one key from its value; null leaves it absent.
    ///
    /// # Errors
    ///
    /// The key is unknown, the value is of another type or out of bounds.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
        match key {
            "cores" => {
                self.cores = number(key, value, SHARDS_MAX as u64)?.map(|number| number as u16);
            }
            "max_in_flight" => {
                // A million descriptors is the kernel's own default bound (fs.nr_open).
                self.max_in_flight = number(key, value, 1 << 20)?.map(|number| number as u32);
            }
            "retention_days" => {
                let days = number(key, value, u64::from(RETENTION_DAYS_MAX))?;
                self.retention_days = days.map(|number| number as u32);
            }
            "data_dir" => self.data_dir = text(key, value)?.map(PathBuf::from),
            "hist_dir" => self.hist_dir = text(key, value)?.map(PathBuf::from),
            "blackbox" => self.blackbox = text(key, value)?.map(PathBuf::from),
            "probe_allow" => {
                let mut written: Option<Vec<String>> = None;
                read_into(key, value, &mut written)?;
                let parts = written.iter().flatten().flat_map(|text| text.split(','));
                let parts: Vec<String> = parts.map(|part| part.trim().to_owned()).collect();
                self.probe_allow = written.is_some().then_some(parts);
            }
            "hist_interval" => {
                let fix = "write a time from 1s to 1d, such as 60s";
                self.hist_interval_ms = parsed(key, value, fix, |text| {
                    duration_ms(text).filter(|millis| HIST_INTERVAL_MS.contains(millis))
                })?;
            }
            "listen" => {
                self.listen =
                    parsed(key, value, "write it like 127.0.0.1:9090 or [::1]:9090", |text| {
                        text.parse().ok()
                    })?;
            }
            "log_format" => {
                self.log_format =
                    parsed(key, value, "write text, json or original", |text| match text {
                        "text" => Some(LogFormat::Text),
                        "json" => Some(LogFormat::Json),
                        "original" => Some(LogFormat::Original),
                        _ => None,
                    })?;
            }
            "database" => {
                let read = text(key, value)?.map(|text| Database::read(&text));
                // The value is not repeated: it may hold a password.
                let read = read.transpose().map_err(|fix| {
                    RowError::new(key, "", "is not a database that can be used", fix)
                })?;
                self.database = read;
            }
            _ => return Err(RowError::unknown_key(key, Settings::KEYS)),
        }
        Ok(())
    }
}

/// A number from 1 to `max`.
fn number(key: &str, value: &Value, max: u64) -> Result<Option<u64>, RowError> {
    let mut number: Option<u64> = None;
    read_into(key, value, &mut number)?;
    match number {
        Some(number) if !(1..=max).contains(&number) => {
            let fix = format!("write a number from 1 to {max}");
            Err(RowError::new(key, &number.to_string(), "is out of bounds", fix))
        }
        number => Ok(number),
    }
}

fn text(key: &str, value: &Value) -> Result<Option<String>, RowError> {
    let mut text: Option<String> = None;
    read_into(key, value, &mut text)?;
    match text {
        Some(text) if text.is_empty() || text.contains('\0') => {
            Err(RowError::new(key, &text, "says nothing", "write a value or remove the key"))
        }
        text => Ok(text),
    }
}

fn parsed<T>(
    key: &str,
    value: &Value,
    fix: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, RowError> {
    let Some(text) = text(key, value)? else { return Ok(None) };
    match parse(&text) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(RowError::new(key, &text, "is not understood", fix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read() {
        let mut settings = Settings::default();
        let values = [
            "8",
            "data",
            "127.0.0.1:9090",
            "4096",
            "30",
            "json",
            "SQLite",
            "hist",
            "5m",
            "b",
            "::1",
        ];
        for (key, value) in Settings::KEYS.iter().zip(values) {
            settings.set(key, &Value::from(value)).unwrap();
        }
        let listen = Some("127.0.0.1:9090".parse().unwrap());
        let expected = Settings {
            cores: Some(8),
            data_dir: Some("data".into()),
            listen,
            max_in_flight: Some(4_096),
            retention_days: Some(30),
            log_format: Some(LogFormat::Json),
            database: Some(Database::Sqlite),
            hist_dir: Some("hist".into()),
            hist_interval_ms: Some(300_000),
            blackbox: Some("b".into()),
            probe_allow: Some(vec!["::1".into()]),
            guard: None,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_bad_setting_says_what_to_write() {
        let error = |key: &str, value: &str| {
            Settings::default().set(key, &Value::from(value)).unwrap_err().to_string()
        };
        assert_eq!(error("cores", "0"), "cores: 0 is out of bounds; write a number from 1 to 1024");
        assert_eq!(
            error("listen", "9090"),
            "listen: 9090 is not understood; write it like 127.0.0.1:9090 or [::1]:9090"
        );
        assert_eq!(error("core", "8"), "unknown key `core`; did you mean `cores`?");
        assert!(!error("database", "oracle://u:s3cret@h/d").contains("s3cret"));
        assert_eq!(
            error("data_dir", ""),
            "data_dir: says nothing; write a value or remove the key"
        );
    }
}
