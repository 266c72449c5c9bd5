//! What can be asked on the command line.
//!
//! Owns: commands, flags, their checks and their help. Every flag of `start` has a variable
//! `ENGINE_*`, so that a unit or a container needs no command line. What was not given is absent:
//! the file comes after the flags, and the defaults named in the help after both.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Args as FlagSet, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use probes::spec::Family;

use crate::cli::args_bench::{BenchArgs, BenchFarmArgs};
use crate::cli::args_help as help;
use crate::cli::change::MonitorsCommand;
use crate::cli::token::TokenArgs;
use crate::config::LogFormat;
use crate::limits::{
    HIST_INTERVAL_MS, RETENTION_DAYS_MAX, SHARDS_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN,
};
use crate::monitor::Kind;
use crate::sample::Verdict;

mod see;

pub use see::{
    HistArgs, HistCommand, HistDiff, HistDump, HistMerge, HistShow, ImportArgs, ImportFormat,
    IncidentsArgs, RemoteArgs, SeriesArgs, TailArgs, TopArgs,
};

/// The page of metrics where neither flag nor file gives an address.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

/// Checks that your sites, ports, hosts and certificates answer, and how fast.
#[derive(Debug, Parser)]
#[command(name = "engine", version, after_help = help::ENGINE)]
#[command(propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR or CLICOLOR_FORCE say otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine: check all monitors, keep the results, serve the metrics and the API
    #[command(alias = "manager", after_help = help::START)]
    Start(StartArgs),
    /// Show every setting of a start, its value and where it came from
    Config(ConfigArgs),
    /// Check the first enabled monitor once, as a start would, and write nothing
    #[command(after_help = help::TRIAL)]
    Test(StartArgs),
    /// Check 100, 300, 500, 1000 and more monitors at once, write nothing and show the speed
    #[command(after_help = help::TRIAL)]
    Performance(StartArgs),
    /// Ask a running engine how it is, over its API
    #[command(after_help = help::REMOTE)]
    Status(StartArgs),
    /// Stop a running engine in order, over its API
    #[command(after_help = help::REMOTE)]
    Stop(StartArgs),
    /// Check targets once, now, and show where the time went
    Check(CheckArgs),
    /// Read a configuration and say what is wrong with it
    Validate(ValidateArgs),
    /// Show the monitors and what is held to be true of them
    Monitors(MonitorsArgs),
    /// Show the last results of one monitor
    Results(ResultsArgs),
    /// Show times of being down, open ones first
    Incidents(IncidentsArgs),
    /// Make, show and remove tokens with which programs use the API
    #[command(after_help = help::TOKEN)]
    Token(TokenArgs),
    /// Try a channel, or see which notices wait
    #[command(subcommand)]
    #[command(after_help = help::ALERT)]
    Alert(AlertCommand),
    /// Turn monitors of other software into a file of this engine
    Import(ImportArgs),
    /// Watch a running engine: shards, rates, lag, the worst monitors
    Top(TopArgs),
    /// Follow the results of a running engine as they are recorded
    Tail(TailArgs),
    /// Show, write, merge and compare latency histograms
    #[command(after_help = help::HIST)]
    Hist(HistArgs),
    /// Look at this host: what the engine needs, what is missing, how to fix it
    Doctor(DoctorArgs),
    /// Measure the engine on this machine, against targets of its own
    Bench(BenchArgs),
    /// Serve the targets of a bench: started by it
    #[command(hide = true)]
    BenchFarm(BenchFarmArgs),
    /// Print the completions for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Flags of `start`, and of the commands that settle the same settings.
#[derive(Debug, Default, FlagSet)]
pub struct StartArgs {
    /// File with the monitors
    #[arg(short, long, value_name = "FILE", env = "ENGINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check scripted targets on loopback instead: nothing else is needed to try the engine
    #[arg(long, conflicts_with = "config")]
    pub demo: bool,
    /// Shards to run, one per core [default: one per allowed CPU]
    #[arg(long, value_name = "N", env = "ENGINE_CORES")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64))]
    pub cores: Option<u16>,
    /// Folder for the database and the spool [default: see below]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the metrics page [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR", env = "ENGINE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Probes in flight per shard [default: 8192, less where the descriptor limit asks for it]
    #[arg(long, value_name = "N", env = "ENGINE_MAX_IN_FLIGHT")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: Option<u32>,
    /// Form of the log lines: text or json on standard error, or original: bare lines on standard
    /// output and the files of the original below `logs` [default: text]
    #[arg(long, value_name = "FORM", env = "ENGINE_LOG_FORMAT", value_parser = log_formats())]
    pub log_format: Option<LogFormat>,
    /// Least important log lines to write: error, warn, info, debug, trace, or a filter such as
    /// `info,engine::store=debug` [default: info]
    #[arg(long, value_name = "LEVEL", env = "ENGINE_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// Days to keep single results; changes of verdict stay longer [default: 7]
    #[arg(long, value_name = "DAYS", env = "ENGINE_RETENTION")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(RETENTION_DAYS_MAX)))]
    pub retention: Option<u32>,
    /// Write latency histograms to this folder on a schedule; SIGUSR1 writes them any time, by
    /// default to `hist` in the data folder
    #[arg(long, value_name = "DIR", env = "ENGINE_HIST_DIR")]
    pub hist_dir: Option<PathBuf>,
    /// Time between two of these dumps, 1s to 1d [default: 60s]
    #[arg(long, value_name = "TIME", env = "ENGINE_HIST_INTERVAL", value_parser = parse_hist)]
    pub hist_interval: Option<Duration>,
    /// File with the modules of /probe, as blackbox_exporter reads it [default: http_2xx,
    /// http_post_2xx, tcp_connect, tls_connect, icmp]
    #[arg(long, value_name = "FILE", env = "ENGINE_BLACKBOX")]
    pub blackbox: Option<PathBuf>,
    /// Networks that /probe may ask, between commas [default: all but loopback, link-local and
    /// multicast addresses]
    #[arg(long, value_name = "NETS", env = "ENGINE_PROBE_ALLOW")]
    pub probe_allow: Option<String>,
    /// Stop in order after this time: demos and tests
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Take only the first N monitors
    #[arg(long, value_name = "N", overrides_with = "limit")]
    pub limit: Option<String>,
    /// Take only part K of the monitors, in parts of SIZE: several engines share one list
    #[arg(long, value_name = "K-SIZE", overrides_with = "chunk")]
    pub chunk: Option<String>,
    /// Let `.env.test` in the current folder go before all other variables; the bare word `test`
    /// does the same
    #[arg(long, overrides_with = "test")]
    pub test: bool,
    #[arg(hide = true, value_parser = ["test"])]
    word: Option<String>,
    /// The flags above whose value is a variable's.
    #[arg(skip)]
    pub of_variables: Vec<String>,
}

impl StartArgs {
    /// True where `.env.test` is asked for.
    pub fn wants_test(&self) -> bool {
        self.test || self.word.is_some()
    }
}

/// Flags of `config`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::CONFIG)]
pub struct ConfigArgs {
    /// Settled as for a start.
    #[command(flatten)]
    pub start: StartArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Reads the command line. Commands may be written in capitals, as the original took them, and
    /// `--limit=`, `--chunk=` and `--test` may stand before the command.
    ///
    /// # Errors
    ///
    /// Wrong usage, or a text to show: what clap has to say.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
        let mut words: Vec<OsString> = line.into_iter().collect();
        let ahead = words.iter().skip(1).take_while(|word| stands_anywhere(word)).count();
        if let Some(command) = words.get_mut(1 + ahead) {
            let lower = command.to_ascii_lowercase();
            if Args::command().get_subcommands().any(|known| is_named(known, &lower)) {
                *command = lower;
                words[1..=1 + ahead].rotate_right(1);
            }
        }
        let matches = Args::command().try_get_matches_from(words)?;
        let mut args = Args::from_arg_matches(&matches)?;
        if let Command::Test(start) = &mut args.command {
            start.test = true; // The word is there: the original looks for it anywhere.
        }
        if let Some((_, given)) = matches.subcommand()
            && let Some(start) = args.command.start_mut()
        {
            let by_variable =
                |id: &&clap::Id| given.value_source(id.as_str()) == Some(ValueSource::EnvVariable);
            start.of_variables = given.ids().filter(by_variable).map(clap::Id::to_string).collect();
        }
        Ok(args)
    }
}

fn stands_anywhere(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| {
        word == "--test" || word.starts_with("--limit=") || word.starts_with("--chunk=")
    })
}

fn is_named(known: &clap::Command, word: &OsStr) -> bool {
    word == "help" || word == known.get_name() || known.get_all_aliases().any(|name| word == name)
}

impl Command {
    fn start_mut(&mut self) -> Option<&mut StartArgs> {
        match self {
            Command::Start(start)
            | Command::Test(start)
            | Command::Performance(start)
            | Command::Status(start)
            | Command::Stop(start) => Some(start),
            Command::Config(config) => Some(&mut config.start),
            _ => None,
        }
    }
}

/// Flags of `check`.
#[derive(Debug, Default, FlagSet)]
#[command(after_help = help::CHECK)]
pub struct CheckArgs {
    /// What to check: a URL, host:port, tls://host:port, or a host or address to ping
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Sort of check [default: by the look of the target]
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    pub kind: Option<Kind>,
    /// Total time for one target, names and redirects included
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "10s")]
    pub timeout: Duration,
    /// Which addresses of a name to use
    #[arg(long, value_enum, value_name = "FAMILY", default_value = "any")]
    pub family: FamilyFlag,
    /// Text that must be in the body; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub contains: Vec<String>,
    /// Text that must not be in the body; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub not_contains: Vec<String>,
    /// Good statuses: 200, or 200-299; may be given more than once [default: below 400]
    #[arg(long = "status", value_name = "STATUS", value_parser = parse_statuses)]
    pub statuses: Vec<(u16, u16)>,
    /// Take any certificate
    #[arg(long)]
    pub insecure: bool,
    /// PEM file with the roots to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Name to send and to verify in the TLS handshake instead of the host
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Certificates that end within this many days are bad
    #[arg(long, value_name = "DAYS")]
    pub expire_days: Option<u32>,
    /// Print one JSON object per target
    #[arg(long)]
    pub json: bool,
}

/// Which addresses of a name to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FamilyFlag {
    /// IPv4 where there is one, else IPv6
    #[default]
    Any,
    /// IPv4 only
    #[value(name = "4")]
    V4,
    /// IPv6 only
    #[value(name = "6")]
    V6,
}

impl From<FamilyFlag> for Family {
    fn from(flag: FamilyFlag) -> Family {
        match flag {
            FamilyFlag::Any => Family::Any,
            FamilyFlag::V4 => Family::V4,
            FamilyFlag::V6 => Family::V6,
        }
    }
}

impl CheckArgs {
    /// The sort of check for `target` and the target as a monitor of that sort writes it: without
    /// `tcp://`, `tls://`, `ping://`. A sort given by `--type` decides, then the scheme, then
    /// whether there is a port; texts to look for make an HTTP check a `web_content`.
    pub fn kind_of<'a>(&self, target: &'a str) -> (Kind, &'a str) {
        let (kind, rest) = match target.split_once("://") {
            Some(("http" | "https", _)) if self.looks_for_text() => (Kind::WebContent, target),
            Some(("http" | "https", _)) => (Kind::PingWeb, target),
            Some(("tcp", rest)) => (Kind::Tcp, rest),
            Some(("tls" | "ssl", rest)) => (Kind::SslExpiredCheck, rest),
            Some(("ping" | "icmp", rest)) => (Kind::PingIcmp, rest),
            Some(_) => (Kind::PingWeb, target),
            None if has_port(target) => (Kind::Tcp, target),
            None => (Kind::PingIcmp, target),
        };
        (self.kind.unwrap_or(kind), rest)
    }

    fn looks_for_text(&self) -> bool {
        !self.contains.is_empty() || !self.not_contains.is_empty()
    }
}

/// True for `host:port` and `[v6]:port`, false for a bare IPv6 address.
fn has_port(target: &str) -> bool {
    let Some((host, port)) = target.rsplit_once(':') else { return false };
    port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
}

/// Flags of `validate`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::VALIDATE)]
pub struct ValidateArgs {
    /// File with the monitors
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `monitors`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::MONITORS, args_conflicts_with_subcommands = true)]
pub struct MonitorsArgs {
    /// What to change; without one the monitors are shown.
    #[command(subcommand)]
    pub command: Option<MonitorsCommand>,
    /// Folder of the engine's data [default: as for start]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Only those with this verdict
    #[arg(long, value_name = "VERDICT", value_parser = verdicts())]
    pub verdict: Option<Verdict>,
    /// Only those with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only those whose name contains this text
    #[arg(long)]
    pub name: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value = "1000")]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Show the notices that wait, and what became of the others of the last day
    List(AlertListArgs),
    /// Send a test notice over one channel, now
    Test(AlertTestArgs),
}

/// Flags of `alert list`.
#[derive(Debug, FlagSet)]
pub struct AlertListArgs {
    /// Folder of the engine's data [default: as for start]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value = "100")]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `alert test`.
#[derive(Debug, FlagSet)]
pub struct AlertTestArgs {
    /// The name of the channel; one of the original's tables is webhook:ID or telegram:ID
    pub channel: String,
    /// File with the channels
    #[arg(short, long, value_name = "FILE", env = "ENGINE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Flags of `results`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::RESULTS)]
pub struct ResultsArgs {
    /// The monitor's number or name
    #[arg(value_name = "ID|NAME")]
    pub monitor: String,
    /// Folder of the engine's data [default: as for start]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Show at most this many, the newest first
    #[arg(long, value_name = "N", default_value = "20")]
    pub limit: u32,
    /// Only those of the last so long: 15m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `doctor`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::DOCTOR)]
pub struct DoctorArgs {
    /// Shards that are to run [default: one per allowed CPU]
    #[arg(long, value_name = "N", env = "ENGINE_CORES")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64))]
    pub cores: Option<u16>,
    /// Folder for the engine's data [default: as for start]
    #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The data folder that was asked for, else systemd's `STATE_DIRECTORY`, else `engine` below
/// `XDG_DATA_HOME` or `~/.local/share` (XDG Base Directory), else `engine-data` here.
///
/// `env` reads a variable; an empty one counts as not set.
pub fn data_dir(asked: Option<PathBuf>, env: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let env = |name| env(name).filter(|path| !path.as_os_str().is_empty());
    asked
        .or_else(|| env("STATE_DIRECTORY"))
        .or_else(|| env("XDG_DATA_HOME").map(|home| home.join("engine")))
        .or_else(|| env("HOME").map(|home| home.join(".local/share/engine")))
        .unwrap_or_else(|| "engine-data".into())
}

/// Writes the completions for `shell`.
pub fn write_completions(shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut Args::command(), "engine", out);
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name))
        .try_map(|name| Kind::from_name(&name).ok_or("not a type"))
}

fn log_formats() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json", "original"]).map(|name| match name.as_str() {
        "json" => LogFormat::Json,
        "original" => LogFormat::Original,
        _ => LogFormat::Text,
    })
}

fn verdicts() -> impl TypedValueParser<Value = Verdict> {
    PossibleValuesParser::new(Verdict::ALL.map(Verdict::name)).try_map(|name| {
        Verdict::ALL.into_iter().find(|verdict| verdict.name() == name).ok_or("not a verdict")
    })
}

/// A time with its unit: `500ms`, `10s`, `5m`, `2h`, `7d`; seconds where there is no unit.
///
/// # Errors
///
/// What is wrong, in words: no number, an unknown unit, or more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "a whole number and a unit is wanted, such as 10s".to_owned())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{unit:?} is not a unit of time: ms, s, m, h, d")),
    };
    let millis = number.checked_mul(unit_ms).filter(|millis| *millis <= 100 * 365 * 86_400_000);
    millis.map(Duration::from_millis).ok_or_else(|| "more than 100 years".to_owned())
}

fn parse_hist(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    let millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    if !HIST_INTERVAL_MS.contains(&millis) {
        return Err("1s to 1d is allowed".to_owned());
    }
    Ok(every)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(TIMEOUT_MS_MIN)..=Duration::from_millis(TIMEOUT_MS_MAX);
    let timeout = parse_duration(text)?;
    if !range.contains(&timeout) {
        return Err(format!("{TIMEOUT_MS_MIN}ms to {}s is allowed", TIMEOUT_MS_MAX / 1_000));
    }
    Ok(timeout)
}

/// A status or a range of them, both ends included.
fn parse_statuses(text: &str) -> Result<(u16, u16), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status| (100..=999).contains(status));
    match (status(low), status(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err("100 to 999, or a range such as 200-299, is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests;
