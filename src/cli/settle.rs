//! Settles what a start is asked to do: flag, variable, `.env`, file, default, in this order.
//!
//! Owns: the order, and where each value came from. Pure but for the reading of the environment,
//! which [`Layers::read`] does once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::args::{LISTEN_DEFAULT, StartArgs, data_dir};
use crate::cli::exit;
use crate::config::database::{Database, MASK, Secret};
use crate::config::guard::GuardPlan;
use crate::config::{Loaded, LogFormat, Settings};
use crate::env::alerting::Alerting;
use crate::env::original::{
    CHECK_INTERVAL_MS_DEFAULT, Original, PORT_DEFAULT, RowDefaults, TimeSeries,
};
use crate::env::{Env, Origin};
use crate::feed::slices::Slice;
use crate::limits::{
    HIST_INTERVAL_MS_DEFAULT, INFLIGHT_DEFAULT, INFLIGHT_MIN, PERFORMANCE_ROUND_MAX,
    RESULTS_AGE_MS_DEFAULT, SHARDS_MAX, TIMEOUT_WEB_MS_ORIGINAL,
};
use crate::monitor::row::written::show_ms;
use crate::net::egress::Egress;

mod guard;

/// Why there is no start, or no clean end.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code.
    pub code: u8,
    /// What to print.
    pub text: String,
}

/// Something that another try would not mend.
pub fn unfit(error: impl ToString) -> Refusal {
    Refusal { code: exit::CONFIG, text: format!("error: {}", error.to_string()) }
}

/// Something that failed on the way.
pub fn failed(error: impl ToString) -> Refusal {
    Refusal { code: exit::DOWN, text: format!("error: {}", error.to_string()) }
}

/// Part `number` (from 1) of the monitors, in parts of `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which part.
    pub number: usize,
    /// Monitors in a part.
    pub size: usize,
}

/// Which monitors of a list are taken. Disabled ones count, so that no other monitor changes its
/// engine when one is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only so many from the start.
    pub limit: Option<usize>,
    /// Only this part of those.
    pub chunk: Option<Chunk>,
}

impl Selection {
    /// Reads the two flags. A value that is not understood is told in `notes` and ignored.
    pub fn read(args: &StartArgs, notes: &mut Vec<String>) -> Selection {
        let limit = args.limit.as_deref().and_then(|text| {
            let number = positive(text);
            if number.is_none() {
                notes.push(format!("--limit={text}: write a number from 1, such as --limit=1000"));
            }
            number
        });
        let chunk = args.chunk.as_deref().and_then(|text| {
            let parts = text.split_once('-');
            let both = parts.and_then(|(number, size)| Some((positive(number)?, positive(size)?)));
            if both.is_none() {
                notes.push(format!("--chunk={text}: write part and size, such as --chunk=2-300"));
            }
            both.map(|(number, size)| Chunk { number, size })
        });
        Selection { limit, chunk }
    }

    /// How many monitors of a list have to be looked at: no engine is given more at once than
    /// `PERFORMANCE_ROUND_MAX`.
    pub fn end(&self) -> usize {
        let chunk = self
            .chunk
            .map_or(PERFORMANCE_ROUND_MAX, |chunk| chunk.number.saturating_mul(chunk.size));
        chunk.min(self.limit.unwrap_or(usize::MAX))
    }

    /// The same as parts of the original's table.
    pub fn slices(&self) -> Vec<Slice> {
        let limit = self.limit.map(|limit| Slice { number: 1, size: limit as u64 });
        let chunk =
            self.chunk.map(|chunk| Slice { number: chunk.number as u64, size: chunk.size as u64 });
        limit.into_iter().chain(chunk).collect()
    }

    /// Leaves the chosen ones.
    pub fn apply<T>(&self, monitors: &mut Vec<T>) {
        monitors.truncate(self.limit.unwrap_or(usize::MAX));
        if let Some(Chunk { number, size }) = self.chunk {
            let start = (number - 1).saturating_mul(size).min(monitors.len());
            monitors.drain(..start);
            monitors.truncate(size);
        }
    }
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag(&'static str),
    /// A variable, in the environment or in a file.
    Variable(&'static str, Origin),
    /// The file of monitors and settings.
    File,
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "--{flag}"),
            Source::Variable(name, Origin::Process) => write!(f, "{name} in the environment"),
            Source::Variable(name, Origin::File(path)) => write!(f, "{name} in {}", path.display()),
            Source::File => f.write_str("the file of monitors"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// One setting as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub setting: &'static str,
    /// Its value; secrets are masked.
    pub value: String,
    /// Where the value came from.
    pub from: Source,
}

/// What a start is to do.
#[derive(Clone, Debug)]
pub struct Settled {
    /// File with the monitors.
    pub config: Option<PathBuf>,
    /// Folder that locks and keys are in; the database is below it where there are chunks.
    pub base_dir: PathBuf,
    /// Folder of the database.
    pub data_dir: PathBuf,
    /// Shards; `None` for one per allowed CPU.
    pub cores: Option<usize>,
    /// Address of the API and the metrics.
    pub listen: SocketAddr,
    /// Probes in flight per shard.
    pub max_in_flight: usize,
    /// Days that results are kept; `None` for the store's own default.
    pub retention_days: Option<u32>,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Least important log lines.
    pub log_level: String,
    /// Where monitors and results are kept.
    pub database: Database,
    /// A way to it past a pooler.
    pub direct: Option<Database>,
    /// True where the original's table is polled, whatever it could tell.
    pub only_polls: bool,
    /// Folder that latency histograms are written to on a schedule; `None` for no schedule.
    pub hist_dir: Option<PathBuf>,
    /// Time between two of these dumps, in milliseconds.
    pub hist_interval_ms: u64,
    /// What the guard is to do; `None` for no guard.
    pub guard: Option<GuardPlan>,
    /// Modules of `/probe`.
    pub blackbox: Option<PathBuf>,
    /// Where `/probe` may go.
    pub egress: Egress,
    /// The original's time series.
    pub time_series: TimeSeries,
    /// Name for the API.
    pub admin: String,
    /// Password for the API; `None` where one is to be made up.
    pub password: Option<Secret>,
    /// Host of the dashboard's Home link.
    pub domain: String,
    /// What the original's variables say about telling people.
    pub alerting: Alerting,
    /// The one file for all lines of the original's log.
    pub log_file: Option<PathBuf>,
    /// The roots that handshakes trust, where a `.env` file names them.
    pub roots: Option<PathBuf>,
    /// Defaults of rows with the original's preset.
    pub row_defaults: RowDefaults,
    /// Which monitors are taken.
    pub selection: Selection,
    /// Everything above, for people.
    pub rows: Vec<Row>,
    /// What people should know about the values they gave.
    pub notes: Vec<String>,
}

/// The layers above the file.
pub struct Layers<'a> {
    args: &'a StartArgs,
    env: Env,
    original: Original,
    /// CPUs that this process may use.
    allowed: usize,
    notes: Vec<String>,
    rows: Vec<Row>,
}

impl<'a> Layers<'a> {
    /// Reads the environment and its files; `allowed` is the number of CPUs that may be used.
    ///
    /// # Errors
    ///
    /// A `.env` file cannot be read, or a variable is not understood and has no safe default.
    pub fn read(args: &'a StartArgs, allowed: usize) -> Result<Layers<'a>, Refusal> {
        let env = Env::of_process(args.wants_test()).map_err(unfit)?;
        Layers::of(args, env, allowed)
    }

    /// The layers of an environment that is read already.
    ///
    /// # Errors
    ///
    /// As for [`Layers::read`].
    pub fn of(args: &'a StartArgs, env: Env, allowed: usize) -> Result<Layers<'a>, Refusal> {
        let original = Original::read(&env, allowed).map_err(unfit)?;
        let mut notes = original.notes.clone();
        if !original.without_effect.is_empty() {
            let names = original.without_effect.join(", ");
            notes.push(format!("these variables are set and have no effect: {names}"));
        }
        Ok(Layers { args, env, original, allowed, notes, rows: Vec::new() })
    }

    /// The file with the monitors.
    pub fn config(&self) -> Option<PathBuf> {
        let flag = self.args.config.clone().filter(|_| !self.of_variable("config"));
        let variable = || self.env.value("ENGINE_CONFIG").map(PathBuf::from);
        let path = flag.or_else(variable);
        path.filter(|_| !self.args.demo)
    }

    /// Settles everything, with what the file says.
    ///
    /// # Errors
    ///
    /// A variable or the port of a chunk is out of bounds.
    pub fn settle(mut self, file: &Settings) -> Result<Settled, Refusal> {
        let mut notes = std::mem::take(&mut self.notes);
        let selection = Selection::read(self.args, &mut notes);
        let config = self.config();
        let shown = config.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        let from = match self.variable("ENGINE_CONFIG") {
            _ if config.is_none() => Source::Default,
            Some(from) if self.args.config.is_none() || self.of_variable("config") => from,
            _ => Source::Flag("config"),
        };
        self.show("config", shown, from);
        let (base_dir, data_dir) = self.folders(file, selection)?;
        let cores = self.cores(file, &mut notes)?;
        let max_in_flight = self.max_in_flight(file, cores)?;
        let listen = self.listen(file, selection)?;
        let (retention_days, log_format, log_level) = self.keeping(file)?;
        let database = self.database(file);
        let only_polls = self.only_polls()?;
        let (hist_dir, hist_interval_ms) = self.histograms(file)?;
        let guard = self.guard(file, &database)?;
        let (blackbox, egress) = self.probing(file)?;
        self.rest(selection);
        let Original {
            direct,
            time_series,
            admin,
            password,
            domain,
            alerting,
            log_file,
            row_defaults,
            ..
        } = self.original.clone();
        // What is in the process environment is read by the certificate loader itself.
        let in_file = |name| self.env.get(name).is_some_and(|var| var.origin != Origin::Process);
        let roots = self.original.roots.clone().filter(|_| in_file("SSL_CERT_FILE"));
        Ok(Settled {
            config,
            base_dir,
            data_dir,
            cores,
            listen,
            max_in_flight,
            retention_days,
            log_format,
            log_level,
            database,
            direct,
            only_polls,
            hist_dir,
            hist_interval_ms,
            guard,
            blackbox,
            egress,
            time_series,
            admin,
            password,
            domain,
            alerting,
            log_file,
            roots,
            row_defaults,
            selection,
            rows: self.rows,
            notes,
        })
    }

    fn of_variable(&self, flag: &str) -> bool {
        self.args.of_variables.iter().any(|name| name == flag)
    }

    fn show(&mut self, setting: &'static str, value: impl ToString, from: Source) {
        self.rows.push(Row { setting, value: value.to_string(), from });
    }

    fn variable(&self, name: &'static str) -> Option<Source> {
        self.env.get(name).map(|found| Source::Variable(name, found.origin.clone()))
    }

    /// The variable of the original that gave `setting`, the first in the order of names.
    fn original_source(&self, setting: &str) -> Source {
        let effects = Original::effects();
        let names = effects.iter().filter(|(_, changed)| **changed == setting);
        let found = names.filter_map(|(name, _)| self.variable(name)).next();
        found.unwrap_or(Source::Default)
    }

    /// What the variable `name` of ours says about the setting `key`, read as the file's settings
    /// are.
    fn ours(&self, name: &str, key: &str) -> Result<Settings, Refusal> {
        let mut settings = Settings::default();
        if let Some(value) = self.env.value(name) {
            let set = settings.set(key, &Value::from(value));
            set.map_err(|error| unfit(format!("{name}: {error}")))?;
        }
        Ok(settings)
    }

    /// The first layer that has a value, from the flag down to the file.
    fn pick<T>(
        &self,
        flag: (&'static str, Option<T>),
        ours: (&'static str, Option<T>),
        original: (&'static str, Option<T>),
        file: Option<T>,
    ) -> Option<(T, Source)> {
        let (flag, asked) = flag;
        if let Some(value) = asked.filter(|_| !self.of_variable(&flag.replace('-', "_"))) {
            return Some((value, Source::Flag(flag)));
        }
        if let (Some(value), Some(from)) = (ours.1, self.variable(ours.0)) {
            return Some((value, from));
        }
        if let Some(value) = original.1 {
            return Some((value, self.original_source(original.0)));
        }
        file.map(|value| (value, Source::File))
    }

    fn folders(
        &mut self,
        file: &Settings,
        selection: Selection,
    ) -> Result<(PathBuf, PathBuf), Refusal> {
        let ours = self.ours("ENGINE_DATA_DIR", "data_dir")?.data_dir;
        let picked = self.pick(
            ("data-dir", self.args.data_dir.clone()),
            ("ENGINE_DATA_DIR", ours),
            ("", None),
            file.data_dir.clone(),
        );
        let default = || {
            let env = |name: &str| self.env.value(name).map(PathBuf::from);
            let folder = data_dir(None, env);
            (if self.args.demo { folder.join("demo") } else { folder }, Source::Default)
        };
        let (base, from) = picked.unwrap_or_else(default);
        let folder = match selection.chunk {
            Some(chunk) => base.join(format!("chunk-{}", chunk.number)),
            None => base.clone(),
        };
        self.show("data_dir", folder.display(), from);
        Ok((base, folder))
    }

    fn cores(
        &mut self,
        file: &Settings,
        notes: &mut Vec<String>,
    ) -> Result<Option<usize>, Refusal> {
        let ours = self.ours("ENGINE_CORES", "cores")?.cores;
        let allowed = u16::try_from(self.allowed.min(SHARDS_MAX)).unwrap_or(u16::MAX);
        let threads = self.original.threads.map(|threads| threads.min(allowed));
        let picked = self.pick(
            ("cores", self.args.cores),
            ("ENGINE_CORES", ours),
            ("cores", threads),
            file.cores,
        );
        if picked.as_ref().map(|(cores, _)| *cores) == threads && self.original.threads > threads {
            let asked = self.original.threads.unwrap_or_default();
            notes.push(format!(
                "ASYNC_THREAD_COUNT={asked}: this process may use {allowed} CPUs; {allowed} shards \
                 are started"
            ));
        }
        let (cores, from) = picked
            .map_or((None, Source::Default), |(cores, from)| (Some(usize::from(cores)), from));
        let shown = cores.unwrap_or(self.allowed);
        self.show("cores", shown, from);
        Ok(cores)
    }

    fn max_in_flight(&mut self, file: &Settings, cores: Option<usize>) -> Result<usize, Refusal> {
        let ours = self.ours("ENGINE_MAX_IN_FLIGHT", "max_in_flight")?.max_in_flight;
        let shards = cores.unwrap_or(self.allowed).max(1);
        // The original's number is for the whole service.
        let share = self.original.in_flight.map(|all| {
            all.div_ceil(u32::try_from(shards).unwrap_or(u32::MAX)).max(INFLIGHT_MIN as u32)
        });
        let picked = self.pick(
            ("max-in-flight", self.args.max_in_flight),
            ("ENGINE_MAX_IN_FLIGHT", ours),
            ("max_in_flight", share),
            file.max_in_flight,
        );
        let (number, from) = picked.unwrap_or((INFLIGHT_DEFAULT as u32, Source::Default));
        self.show("max_in_flight", number, from);
        Ok(number as usize)
    }

    fn listen(&mut self, file: &Settings, selection: Selection) -> Result<SocketAddr, Refusal> {
        let ours = self.ours("ENGINE_LISTEN", "listen")?.listen;
        let picked = self.pick(
            ("listen", self.args.listen),
            ("ENGINE_LISTEN", ours),
            ("listen", self.original.listen),
            file.listen,
        );
        let default = match self.original.in_use {
            true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT),
            false => LISTEN_DEFAULT,
        };
        let (mut listen, from) = picked.unwrap_or((default, Source::Default));
        let exact = matches!(from, Source::Flag(_)) || listen.port() == 0;
        if let Some(chunk) = selection.chunk.filter(|_| !exact) {
            let further = u16::try_from(chunk.number - 1).ok();
            let port = further.and_then(|further| listen.port().checked_add(further));
            let port = port.ok_or_else(|| {
                unfit(format!("--chunk: there is no port {} + {} - 1", listen, chunk.number))
            })?;
            listen.set_port(port);
        }
        self.show("listen", listen, from);
        Ok(listen)
    }

    fn keeping(&mut self, file: &Settings) -> Result<(Option<u32>, LogFormat, String), Refusal> {
        let ours = self.ours("ENGINE_RETENTION", "retention_days")?.retention_days;
        let picked = self.pick(
            ("retention", self.args.retention),
            ("ENGINE_RETENTION", ours),
            ("", None),
            file.retention_days,
        );
        let (days, from) = match picked {
            Some((days, from)) => (Some(days), from),
            None => (None, Source::Default),
        };
        let default = RESULTS_AGE_MS_DEFAULT / (24 * 3_600 * 1_000);
        self.show("retention_days", days.map_or(default, u64::from), from);

        let ours = self.ours("ENGINE_LOG_FORMAT", "log_format")?.log_format;
        let picked = self.pick(
            ("log-format", self.args.log_format),
            ("ENGINE_LOG_FORMAT", ours),
            ("", None),
            file.log_format,
        );
        let (format, from) = picked.unwrap_or((LogFormat::default(), Source::Default));
        self.show("log_format", format.name(), from);

        let ours = self.env.value("ENGINE_LOG_LEVEL").map(str::to_owned);
        let flag = self.args.log_level.clone();
        let picked = self.pick(("log-level", flag), ("ENGINE_LOG_LEVEL", ours), ("", None), None);
        let (level, from) = picked.unwrap_or(("info".to_owned(), Source::Default));
        self.show("log_level", &level, from);
        Ok((days, format, level))
    }

    fn database(&mut self, file: &Settings) -> Database {
        let none = ("", None);
        let original = ("database", self.original.database.clone());
        let picked = self.pick(none.clone(), none, original, file.database.clone());
        let (database, from) = picked.unwrap_or((Database::Sqlite, Source::Default));
        self.show("database", &database, from);
        database
    }

    /// Settles and shows a path that need not be given.
    fn path(
        &mut self,
        setting: &'static str,
        flag: (&'static str, Option<PathBuf>),
        ours: (&'static str, Option<PathBuf>),
        file: Option<PathBuf>,
    ) -> Option<PathBuf> {
        let (path, from) = match self.pick(flag, ours, ("", None), file) {
            Some((path, from)) => (Some(path), from),
            None => (None, Source::Default),
        };
        let shown = path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        self.show(setting, shown, from);
        path
    }

    fn histograms(&mut self, file: &Settings) -> Result<(Option<PathBuf>, u64), Refusal> {
        let ours = self.ours("ENGINE_HIST_DIR", "hist_dir")?.hist_dir;
        let flag = ("hist-dir", self.args.hist_dir.clone());
        let folder = self.path("hist_dir", flag, ("ENGINE_HIST_DIR", ours), file.hist_dir.clone());

        let ours = self.ours("ENGINE_HIST_INTERVAL", "hist_interval")?.hist_interval_ms;
        let flag = self.args.hist_interval.map(|every| every.as_millis() as u64);
        let picked = self.pick(
            ("hist-interval", flag),
            ("ENGINE_HIST_INTERVAL", ours),
            ("", None),
            file.hist_interval_ms,
        );
        let (millis, from) = picked.unwrap_or((HIST_INTERVAL_MS_DEFAULT, Source::Default));
        self.show("hist_interval", show_ms(millis), from);
        Ok((folder, millis))
    }

    fn probing(&mut self, file: &Settings) -> Result<(Option<PathBuf>, Egress), Refusal> {
        let ours = self.ours("ENGINE_BLACKBOX", "blackbox")?.blackbox;
        let flag = ("blackbox", self.args.blackbox.clone());
        let modules = self.path("blackbox", flag, ("ENGINE_BLACKBOX", ours), file.blackbox.clone());

        let ours = self.ours("ENGINE_PROBE_ALLOW", "probe_allow")?.probe_allow;
        let split = |nets: &String| nets.split(',').map(|net| net.trim().to_owned()).collect();
        let flag = ("probe-allow", self.args.probe_allow.as_ref().map(split));
        let listed = file.probe_allow.clone();
        let picked = self.pick(flag, ("ENGINE_PROBE_ALLOW", ours), ("", None), listed);
        let Some((networks, from)) = picked else {
            self.show("probe_allow", "all but loopback, link-local, multicast", Source::Default);
            return Ok((modules, Egress::Public));
        };
        self.show("probe_allow", networks.join(","), from);
        let read = networks.iter().map(|network| network.parse()).collect::<Result<_, _>>();
        let read = read.map_err(|error: String| unfit(format!("probe_allow: {error}")))?;
        Ok((modules, Egress::Only(read)))
    }

    fn only_polls(&mut self) -> Result<bool, Refusal> {
        let (only_polls, from) = match self.env.value("ENGINE_FEED") {
            None => (false, Source::Default),
            Some(word @ ("auto" | "poll")) => {
                (word == "poll", self.variable("ENGINE_FEED").unwrap_or(Source::Default))
            }
            Some(word) => return Err(unfit(format!("ENGINE_FEED={word}: write auto or poll"))),
        };
        self.show("feed", if only_polls { "poll" } else { "auto" }, from);
        Ok(only_polls)
    }

    /// What only the original's variables give, and the selection.
    fn rest(&mut self, selection: Selection) {
        let Original {
            time_series, admin, password, domain, log_file, roots, row_defaults, ..
        } = self.original.clone();
        let TimeSeries { enabled, schema, checks, metrics } = time_series;
        let time_series = format!("{enabled}, schema {schema}, checks {checks}, metrics {metrics}");
        let path = |path: Option<PathBuf>| {
            path.map_or("none".to_owned(), |path: PathBuf| path.display().to_string())
        };
        let seconds = |millis: u64| format!("{}s", millis / 1_000);
        let timeout_ms = row_defaults.web_timeout_ms.unwrap_or(TIMEOUT_WEB_MS_ORIGINAL);
        let interval_ms = row_defaults.interval_ms.unwrap_or(CHECK_INTERVAL_MS_DEFAULT);
        let password = password.map_or("made at the first start", |_| MASK);
        let values = [
            ("time_series", time_series),
            ("http_timeout", seconds(timeout_ms)),
            ("check_interval", seconds(interval_ms)),
            ("admin", admin),
            ("admin_password", password.to_owned()),
            ("domain", domain),
            ("log_file", path(log_file)),
            ("roots", path(roots)),
        ];
        for (setting, value) in values {
            let from = self.original_source(setting);
            self.show(setting, value, from);
        }
        for setting in ["telegram", "email", "firebase"] {
            let channels = &self.original.alerting.channels;
            let made = channels.iter().any(|channel| channel.name == setting);
            let from = self.original_source(setting);
            self.show(setting, if made { "on" } else { "off" }, from);
        }
        let from = |given: bool, flag| if given { Source::Flag(flag) } else { Source::Default };
        let limit = selection.limit.map_or("all".to_owned(), |limit| limit.to_string());
        self.show("limit", limit, from(selection.limit.is_some(), "limit"));
        let chunk = selection.chunk.map(|chunk| format!("{}-{}", chunk.number, chunk.size));
        self.show("chunk", chunk.unwrap_or("all".into()), from(selection.chunk.is_some(), "chunk"));
    }
}

impl Settled {
    /// Leaves the monitors that are chosen and fills in the original's defaults.
    pub fn choose(&self, loaded: &mut Loaded, interner: &mut crate::monitor::row::Interner) {
        self.selection.apply(&mut loaded.monitors);
        self.row_defaults.fill_all(loaded, interner);
    }

    /// The lock that one engine holds for each chunk.
    pub fn lock_file(&self) -> PathBuf {
        self.base_dir.join(match self.selection.chunk {
            Some(chunk) => format!("monitor_service_chunk_{}.lock", chunk.number),
            None => "monitor_service.lock".to_owned(),
        })
    }
}
