//! What a start gives to the API and the original's: the account, the rows, the stop.
//!
//! Owns: the password that is made up at the first start, and when it is shown: once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::api::legacy::Legacy;
use crate::api::legacy::auth::Auth;
use crate::api::v1;
use crate::api::v1::fleet::Fleet;
use crate::api::v1::probe::{Probe, Probing};
use crate::api::v1::settings::{Setting, Started};
use crate::api::v1::tail::Tail;
use crate::api::v1::tokens::Tokens;
use crate::blackbox::Modules;
use crate::boot::prober::Prober;
use crate::boot::{Engine, EngineError};
use crate::cli::alerting;
use crate::cli::keys::{self, KeyError};
use crate::cli::settle::{Row, Settled};
use crate::clock::wall_millis;
use crate::config::channels::ChannelSpec;
use crate::config::yaml_value;
use crate::control::Served;
use crate::control::view::StoreView;
use crate::messages::Changes;
use crate::metrics::latency;
use crate::metrics::page::Counts;
use crate::metrics::streaks::Streaks;
use crate::store::{OpenReader, StoreError};

/// An API that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The password or the key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The modules of `/probe`.
    #[error("{0}; give --blackbox a file as blackbox_exporter reads it")]
    Modules(String),
    /// A channel.
    #[error("{0}")]
    Channels(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no thread.
    #[error("no thread: {0}")]
    System(std::io::Error),
}

/// Sets up the API of `engine`; `stop` is set when it is asked to stop. Prints the password where
/// it was made up just now.
///
/// # Errors
///
/// The secrets cannot be kept, or the store has ended.
pub fn served(
    settled: &Settled,
    engine: &Engine,
    readers: Arc<dyn OpenReader>,
    stop: Arc<AtomicBool>,
    histograms: latency::Shared,
    changes: Changes,
) -> Result<Served, SetupError> {
    let key = keys::token_key(&settled.base_dir)?;
    let password = match &settled.password {
        Some(password) => password.clone(),
        None => {
            let kept = keys::password(&settled.base_dir)?;
            if kept.is_new {
                let (admin, password) = (&settled.admin, kept.secret.reveal());
                println!("Password of {admin:?} for the API, shown this once: {password}");
            }
            kept.secret
        }
    };
    let streaks = Streaks::default();
    let counted = streaks.clone();
    engine.store().tap(move |batches| counted.record(batches))?;
    let fleet = Arc::new(Fleet::default());
    let followed = Arc::clone(&fleet);
    engine.store().tap(move |batches| followed.record(batches))?;
    let tail = Arc::new(Tail::default());
    let told = Arc::clone(&tail);
    engine.store().tap(move |batches| told.record(batches))?;
    let shards = engine.published();
    let auth = Arc::new(Auth::new(&settled.admin, password, &key));
    let v1 = v1::Setup {
        readers: Arc::clone(&readers),
        shards: shards.clone(),
        fleet,
        auth: Arc::clone(&auth),
        store: engine.store(),
        changes,
        tokens: Tokens::of_folder(&settled.base_dir),
        counters: Arc::default(),
        histograms,
        probing: probing(settled)?,
        tail,
        status: Arc::default(),
        started: Arc::default(),
        clock: wall_millis,
    };
    let store = engine.store_counters();
    let legacy = Legacy {
        view: Arc::new(StoreView { readers, reader: Mutex::default(), shards, streaks, store }),
        auth,
        log_file: main_log(settled.log_file.as_deref()),
        domain: settled.domain.clone(),
        stop,
        started_ms: wall_millis(),
        clock: wall_millis,
    };
    let counts = Box::new(Counts::default);
    Ok(Served { legacy, v1, counts, deltas: None, alerts: None })
}

/// What is shown of a start with these channels of the file.
///
/// # Errors
///
/// A channel cannot be made.
pub fn started(of_file: &[ChannelSpec], settled: &Settled) -> Result<Started, SetupError> {
    let channels = alerting::channels(of_file, settled).map_err(SetupError::Channels)?;
    let kind = |name: &str| {
        let mut specs = of_file.iter().chain(&settled.alerting.channels);
        specs.find(|spec| spec.name == name).map_or("", |spec| spec.way.name())
    };
    let setting = |row: &Row| Setting {
        setting: row.setting.to_owned(),
        value: row.value.clone(),
        from: row.from.to_string(),
    };
    Ok(Started {
        settings: settled.rows.iter().map(setting).collect(),
        channels: channels.into_iter().map(|channel| (kind(&channel.name), channel)).collect(),
        ..Started::default()
    })
}

/// What `/probe` works with. A module that cannot be kept is told in the log.
fn probing(settled: &Settled) -> Result<Probing, SetupError> {
    let modules = match &settled.blackbox {
        None => Modules::standard(),
        Some(path) => {
            let told = |error: String| SetupError::Modules(format!("{}: {error}", path.display()));
            let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
            yaml_value(&text).and_then(|file| Modules::read(&file)).map_err(told)?
        }
    };
    for (name, module) in modules.iter() {
        for problem in &module.problems {
            tracing::warn!(module = name, "this module of /probe is not usable: {problem}");
        }
    }
    let (roots, egress) = (settled.roots.clone(), settled.egress.clone());
    let policy = egress.clone();
    let start = move || {
        let prober = Prober::start(roots.as_deref(), egress.clone());
        let prober = prober.map_err(|error| error.to_string())?;
        Ok(Box::new(prober) as Box<dyn Probe>)
    };
    Ok(Probing::new(modules, policy, start))
}

/// The original's main log: `logs/log_main.txt` in the current folder, where no other is named.
pub fn main_log(named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| Path::new("logs").join("log_main.txt"), Path::to_path_buf)
}
