//! Where the monitors of a start come from: a file, the original's table, or the demo.
//!
//! Owns: that choice. A file that has monitors goes before the table; without one the table is
//! taken where a server is named.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::boot::backend::Backend;
use crate::cli::args::StartArgs;
use crate::cli::settle::{Layers, Refusal, Settled, failed, unfit};
use crate::config::database::Database;
use crate::config::{Loaded, Settings};
use crate::farm::Farm;
use crate::farm::demo::{DEMO_BEHAVIOURS, demo_monitors};
use crate::monitor::row::Interner;
use crate::pg::{PgError, PgOptions};

/// Where the monitors come from.
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Scripted targets.
    Demo(Farm, PathBuf),
    /// The table `monitor_items` of this server.
    Table(Box<PgOptions>),
}

impl Origin {
    /// Reads the monitors; those of the table come by themselves.
    ///
    /// # Errors
    ///
    /// The file cannot be read, in words.
    pub fn load(&self, interner: &mut Interner) -> Result<Loaded, String> {
        let loaded = match self {
            Origin::File(path) => Loaded::read(path, interner),
            Origin::Demo(farm, ca_file) => {
                Loaded::parse(Arc::from("demo"), &demo_monitors(farm, ca_file), interner)
            }
            Origin::Table(_) => Ok(Loaded::default()),
        };
        loaded.map_err(|error| error.to_string())
    }
}

/// What a start begins with.
pub struct Found {
    /// Where the monitors come from.
    pub origin: Origin,
    /// What they are.
    pub loaded: Loaded,
    /// Where they and their results are kept.
    pub backend: Backend,
    /// All that is settled.
    pub settled: Settled,
}

/// Where the monitors come from, what they are, and all that is settled.
///
/// # Errors
///
/// Nothing names monitors, or what names them cannot be read.
pub fn find(
    args: &StartArgs,
    layers: Layers<'_>,
    interner: &mut Interner,
) -> Result<Found, Refusal> {
    if args.demo {
        return demo(layers, interner);
    }
    let file = layers.config().map(|path| Loaded::read(&path, interner).map(|file| (path, file)));
    let file = file.transpose().map_err(unfit)?;
    let settings = file.as_ref().map_or_else(Settings::default, |(_, file)| file.settings.clone());
    let settled = layers.settle(&settings)?;
    let backend = backend(&settled)?;
    match (file, &backend) {
        (None, Backend::Sqlite) => Err(unfit(NO_MONITORS)),
        (Some((path, loaded)), Backend::Sqlite) => {
            Ok(Found { origin: Origin::File(path), loaded, backend, settled })
        }
        (Some((path, loaded)), _) if !loaded.monitors.is_empty() => {
            Ok(Found { origin: Origin::File(path), loaded, backend, settled })
        }
        (file, Backend::Postgres { options, .. }) => {
            let origin = Origin::Table(options.clone());
            let loaded = file.map_or_else(Loaded::default, |(_, loaded)| loaded);
            Ok(Found { origin, loaded, backend, settled })
        }
    }
}

/// Where monitors and results are kept.
///
/// # Errors
///
/// The server's settings cannot be understood.
pub fn backend(settled: &Settled) -> Result<Backend, Refusal> {
    let options = server(&settled.database, settled.direct.as_ref()).map_err(unfit)?;
    Ok(match options {
        None => Backend::Sqlite,
        Some(options) => {
            let (options, series) = (Box::new(options), settled.time_series.clone());
            Backend::Postgres { options, series }
        }
    })
}

/// How a server is reached, with the way past a pooler; `None` for a file.
///
/// # Errors
///
/// The settings cannot be understood.
pub fn server(
    database: &Database,
    direct: Option<&Database>,
) -> Result<Option<PgOptions>, PgError> {
    let Some(options) = PgOptions::of(database)? else { return Ok(None) };
    let direct = direct.map(PgOptions::of).transpose()?.flatten();
    Ok(Some(match direct {
        Some(direct) => options.with_direct(direct),
        None => options,
    }))
}

fn demo(layers: Layers<'_>, interner: &mut Interner) -> Result<Found, Refusal> {
    let settled = layers.settle(&Settings::default())?;
    let folder = &settled.data_dir;
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), DEMO_BEHAVIOURS).map_err(failed)?;
    // A `ca_file` is a full path; a data folder need not be one.
    let ca_file = std::path::absolute(folder.join("demo-ca.pem")).map_err(failed)?;
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&ca_file, farm.ca_pem()));
    written.map_err(|error| {
        let file = ca_file.display();
        unfit(format!("{file}: {error}; give a --data-dir that can be written"))
    })?;
    let origin = Origin::Demo(farm, ca_file);
    let loaded = origin.load(interner).map_err(unfit)?;
    Ok(Found { origin, loaded, backend: Backend::Sqlite, settled })
}

const NO_MONITORS: &str = "no monitors: give a file with --config FILE (examples/monitors.yaml \
    shows every key), name a PostgreSQL server that has monitor_items (DATABASE_URL, or DB_TYPE \
    with POSTGRES_HOST, _PORT, _NAME, _USER, _PASSWORD), or try `engine start --demo`";
