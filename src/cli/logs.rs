//! Where log lines go and in which form.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::cli::original_log::OriginalLog;
use crate::config::LogFormat;
use crate::logs::{LogThread, Logs};

/// Logs that cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("--log-level {0}: {1}; write error, warn, info, debug, trace or a filter")]
    Level(String, String),
    /// The file cannot be opened.
    #[error("log file: {0}")]
    File(#[from] io::Error),
    /// The folder of the original's log files.
    #[error("folder logs: {0}")]
    Folder(io::Error),
    /// Somebody has begun to log already.
    #[error("logs: {0}")]
    Twice(String),
}

/// The library that moves the schema tells each of its steps as if they were news.
const QUIET: &str = "refinery_core=warn";

/// What is to be logged, where and how.
pub struct Wanted<'a> {
    /// Least important lines.
    pub level: &'a str,
    /// Their form.
    pub format: LogFormat,
    /// A file instead of standard error, where something else needs the terminal.
    pub file: Option<&'a Path>,
    /// The one file for all lines of the original's log; in `logs` where `None`.
    pub original: Option<PathBuf>,
}

/// The original's log files, while they are written.
pub struct Original {
    /// The way to them.
    pub logs: Logs,
    thread: LogThread,
}

impl Original {
    /// Writes what was logged before, and no more.
    pub fn end(self) {
        self.logs.stop(self.thread);
    }
}

/// Begins to write log lines. Returns the original's log files where those are wanted.
///
/// # Errors
///
/// The level is not one, or a file cannot be opened.
pub fn start(wanted: Wanted<'_>) -> Result<Option<Original>, LogError> {
    let Wanted { level, format, file, original } = wanted;
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|error| LogError::Level(level.to_string(), error.to_string()))?;
    if format == LogFormat::Original {
        let (logs, thread) = Logs::start(Path::new("logs"), original).map_err(LogError::Folder)?;
        let layer = OriginalLog { logs: logs.clone(), shown: file.is_none() };
        let lines = tracing_subscriber::registry().with(layer.with_filter(filter));
        lines.try_init().map_err(|error| LogError::Twice(error.to_string()))?;
        return Ok(Some(Original { logs, thread }));
    }
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
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text | LogFormat::Original => lines.with_ansi(colors).try_init(),
    };
    started.map_err(|error| LogError::Twice(error.to_string()))?;
    Ok(None)
}
