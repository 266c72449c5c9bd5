//! Where log lines go and in which form.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::LogFormat;

/// Logs that cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("--log-level {0}: {1}; write error, warn, info, debug, trace or a filter")]
    Level(String, String),
    /// The file cannot be opened.
    #[error("log file: {0}")]
    File(#[from] io::Error),
    /// Somebody has begun to log already.
    #[error("logs: {0}")]
    Twice(String),
}

/// The library that moves the schema tells each of its steps as if they were news.
const QUIET: &str = "refinery_core=warn";

/// Begins to write log lines of at least `level` to standard error, or to `file` where something
/// else needs the terminal.
///
/// # Errors
///
/// The level is not one, or the file cannot be opened.
pub fn start(level: &str, format: LogFormat, file: Option<&Path>) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|error| LogError::Level(level.to_string(), error.to_string()))?;
    let (writer, colors) = match file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
        None => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            (BoxMakeWriter::new(io::stderr), !plain && io::stderr().is_terminal())
        }
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Text => lines.with_ansi(colors).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| LogError::Twice(error.to_string()))
}
