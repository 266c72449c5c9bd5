//! Flags of the commands that look at a running engine or at its files.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as FlagSet, Subcommand};
use jiff::Timestamp;

use super::StartArgs;
use crate::cli::args_help as help;
use crate::clock::wall_millis;
use crate::monitor::Kind;
use crate::monitor::row::written::duration_ms;
use crate::sample::Verdict;

/// Which running engine is asked: the one that a start with the same settings runs.
#[derive(Clone, Debug, Default, FlagSet)]
pub struct RemoteArgs {
    /// File with the settings of the running engine
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the running engine's data [default: as for start]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address that the running engine listens on [default: as for start]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<std::net::SocketAddr>,
}

impl From<&RemoteArgs> for StartArgs {
    fn from(remote: &RemoteArgs) -> StartArgs {
        StartArgs {
            config: remote.config.clone(),
            data_dir: remote.data_dir.clone(),
            listen: remote.listen,
            ..StartArgs::default()
        }
    }
}

/// Flags of `incidents`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::INCIDENTS)]
pub struct IncidentsArgs {
    /// Folder of the engine's data [default: as for start]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Only those that last
    #[arg(long)]
    pub open: bool,
    /// Only those of this monitor, by name or number
    #[arg(long, value_name = "NAME")]
    pub monitor: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value = "100")]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `hist`.
#[derive(Debug, FlagSet)]
pub struct HistArgs {
    /// What to do
    #[command(subcommand)]
    pub what: HistCommand,
}

/// What to do with histograms.
#[derive(Debug, Subcommand)]
pub enum HistCommand {
    /// Show percentiles; bars too where one series is chosen
    Show(HistShow),
    /// Write every form to a folder: .hlog, .hgrm, .json, .svg
    Dump(HistDump),
    /// Add logs up, without loss
    Merge(HistMerge),
    /// Compare two logs
    Diff(HistDiff),
}

/// Which series.
#[derive(Clone, Debug, Default, FlagSet)]
pub struct SeriesArgs {
    /// Only this type, or monitor-N
    #[arg(long, value_name = "NAME")]
    pub subject: Option<String>,
    /// Only this one: resolve, connect, tls, wait, transfer, total, since_due, lag
    #[arg(long, value_name = "MEASURE")]
    pub measure: Option<String>,
    /// Keep the shards apart
    #[arg(long)]
    pub by_shard: bool,
}

/// Flags of `hist show`.
#[derive(Debug, FlagSet)]
pub struct HistShow {
    /// Interval logs [default: ask the running engine]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which.
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Of this monitor (name or number), from the stored sums of its hours
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "subject", "measure"])]
    pub monitor: Option<String>,
    /// From when on: 30d ago, or a time such as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_when, requires = "monitor",
          default_value = "90d")]
    pub from: u64,
    /// Until when: as for --from [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_when, requires = "monitor")]
    pub to: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A time, or how long ago it was, in milliseconds since the Unix epoch.
fn parse_when(text: &str) -> Result<u64, String> {
    if let Some(ago_ms) = duration_ms(text) {
        return Ok(wall_millis().saturating_sub(ago_ms));
    }
    let time = text.parse::<Timestamp>().ok();
    let time_ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    time_ms.ok_or_else(|| "write how long ago, as 30d, or a time, as 2026-01-31T08:00:00Z".into())
}

/// Flags of `hist dump`.
#[derive(Debug, FlagSet)]
pub struct HistDump {
    /// Interval logs [default: ask the running engine]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = "hist")]
    pub dir: PathBuf,
    /// Which.
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Flags of `hist merge`.
#[derive(Debug, FlagSet)]
pub struct HistMerge {
    /// Interval logs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Log to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Flags of `hist diff`.
#[derive(Debug, FlagSet)]
pub struct HistDiff {
    /// Interval log of the time before
    pub before: PathBuf,
    /// Interval log of the time after
    pub after: PathBuf,
    /// Which.
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `top`.
#[derive(Debug, FlagSet)]
#[command(after_help = super::help::TOP)]
pub struct TopArgs {
    /// Only monitors with this text in name or target
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only monitors with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only monitors with this verdict
    #[arg(long, value_name = "VERDICT", value_parser = super::verdicts())]
    pub verdict: Option<Verdict>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", value_parser = super::parse_duration, default_value = "2s")]
    pub interval: Duration,
    /// Whom to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Flags of `tail`.
#[derive(Debug, Default, FlagSet)]
#[command(after_help = super::help::TAIL)]
pub struct TailArgs {
    /// Only changes of verdict
    #[arg(long)]
    pub changes: bool,
    /// Only of monitors with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only of monitors of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = super::kinds())]
    pub kind: Option<Kind>,
    /// Only with this verdict after the check
    #[arg(long, value_name = "VERDICT", value_parser = super::verdicts())]
    pub verdict: Option<Verdict>,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Flags of `import`.
#[derive(Debug, FlagSet)]
#[command(after_help = super::help::IMPORT)]
pub struct ImportArgs {
    /// Whose file it is
    #[arg(value_enum)]
    pub format: ImportFormat,
    /// The file
    pub file: PathBuf,
    /// File of monitors to write
    #[arg(short, long, value_name = "FILE", default_value = "monitors.yaml")]
    pub output: PathBuf,
    /// Replace that file where it is there
    #[arg(long)]
    pub force: bool,
    /// Write nothing, only report
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Files of other software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFormat {
    /// The original service: a dump of its database, or `monitor_items` as CSV
    Original,
    /// Uptime Kuma: the JSON of a backup
    Kuma,
    /// Gatus: its YAML
    Gatus,
    /// Prometheus: jobs that ask blackbox_exporter
    Prometheus,
    /// One target a line
    List,
}
