//! Flags of `bench`.
//!
//! Owns: the flags, and what they come to with `--quick` and without.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as FlagSet;

use crate::bench::DATABASE_URL;
use crate::bench::mix::Mix;
use crate::cli::args::parse_duration;
use crate::cli::args_help as help;
use crate::config::database::Database;
use crate::limits::SHARDS_MAX;

/// Flags of `bench`.
#[derive(Debug, FlagSet)]
#[command(after_help = help::BENCH)]
pub struct BenchArgs {
    /// What the monitors are
    #[arg(long, value_enum, default_value = "http")]
    pub mix: Mix,
    /// How many monitors [default: 100000; with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub monitors: Option<u32>,
    /// From check to check [default: 60s; with --quick 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub interval: Option<Duration>,
    /// Deadline of a check [default: 5s, at most half the interval]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Time before what is measured [default: the interval and 5 seconds]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub warmup: Option<Duration>,
    /// Time that is measured [default: 60s; with --quick 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Shards to run [default: one per allowed CPU but one, which the targets get]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64))]
    pub cores: Option<u16>,
    /// A smaller run, under 2 minutes
    #[arg(long)]
    pub quick: bool,
    /// Leave out the reference
    #[arg(long)]
    pub no_reference: bool,
    /// Search the largest number of monitors with none missed and a small lag
    #[arg(long, conflicts_with = "sweep")]
    pub find_limit: bool,
    /// The lag of 99 in 100 starts that still counts as on time in a search
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "50ms")]
    pub lag_max: Duration,
    /// Run each of these numbers of monitors at the same checks a second, and show how cost grows
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub sweep: Vec<u32>,
    /// Write the figures as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Keep results on this PostgreSQL server, in a database that is deleted in the end
    #[arg(long, value_name = "URL", env = DATABASE_URL, hide_env_values = true)]
    #[arg(value_parser = database)]
    pub database_url: Option<Database>,
    /// Folder for the database, which must not be there yet; it is deleted in the end [default: one
    /// below the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

fn database(text: &str) -> Result<Database, String> {
    match Database::read(text)? {
        Database::Sqlite => Err("write postgres://user:password@host:port/name".to_owned()),
        server => Ok(server),
    }
}

/// Flags of `bench-farm`.
#[derive(Debug, FlagSet)]
pub struct BenchFarmArgs {
    /// The CPU to run on
    #[arg(long)]
    pub cpu: Option<usize>,
}
