//! The names of the original service's variables, and what they mean here.
//!
//! Owns: the list of names and the reading of those that have an effect. A bad number is the
//! default, as in the original, and is told; a bad port or database is an error.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::alerting::{self, Alerting};
use super::{Env, truth};
use crate::config::database::{Database, NOT_MYSQL, Secret};
use crate::config::{Entry, Loaded};
use crate::limits::{
    ENV_IN_FLIGHT_MAX, INTERVAL_MS_MAX, INTERVAL_MS_MIN, SHARDS_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN,
};
use crate::monitor::Kind;
use crate::monitor::row::{Interner, MonitorRow, check};

/// Port of the original's API where none is given.
pub const PORT_DEFAULT: u16 = 5005;
/// Name of the administrator where none is given.
pub const ADMIN_DEFAULT: &str = "admin";
/// Schema of the time series where none is given.
pub const SCHEMA_DEFAULT: &str = "glx_monitor_v2";
/// Interval for rows whose own is 0 or less, in milliseconds, where none is given.
pub const CHECK_INTERVAL_MS_DEFAULT: u64 = 60_000;

/// Names that only the original has: one of them means that its environment is in use.
const OWN: &[&str] = &[
    "DB_TYPE",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_NAME",
    "ASYNC_MAX_CONCURRENT",
    "ASYNC_MULTI_THREAD",
    "ASYNC_THREAD_COUNT",
    "ASYNC_HTTP_TIMEOUT",
    "ASYNC_CHECK_INTERVAL",
    "TIMESCALEDB_ENABLED",
    "TIMESCALEDB_SCHEMA",
    "WEB_ADMIN_USERNAME",
    "WEB_ADMIN_PASSWORD",
];

/// Names that the original or its sample files have and that change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "MYSQL_HOST",
    "MYSQL_PORT",
    "MYSQL_NAME",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
    "ASYNC_POOL_SIZE",
    "ASYNC_CONNECTION_LIMIT",
    "ASYNC_CONNECTION_LIMIT_PER_HOST",
    "ASYNC_KEEPALIVE_TIMEOUT",
    "ASYNC_DNS_CACHE_SIZE",
    "ASYNC_THREAD_MULTIPLIER",
    "ASYNC_MAX_THREADS",
    "ASYNC_STARTUP_BATCH_SIZE",
    "ASYNC_STARTUP_DELAY_MS",
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "HTTP_TOTAL_TIMEOUT",
    "HTTP_CONNECT_TIMEOUT",
    "ICMP_PING_TIMEOUT",
    "TCP_PORT_TIMEOUT",
    "SSL_CHECK_TIMEOUT",
    "TELEGRAM_ENABLED",
    "TELEGRAM_THROTTLE_ENABLED",
    "CONSECUTIVE_ERROR_THRESHOLD",
    "WEBHOOK_MAX_RETRIES",
    "FIREBASE_NOTIFICATIONS_ENABLED",
    "EMAIL_THROTTLE_SECONDS",
    "MAX_WORKER_THREADS",
];

/// The original's time series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSeries {
    /// True where checks and metrics are written there.
    pub enabled: bool,
    /// The schema of its tables.
    pub schema: String,
    /// True where checks are written.
    pub checks: bool,
    /// True where metrics about the service are written.
    pub metrics: bool,
}

impl Default for TimeSeries {
    fn default() -> TimeSeries {
        let schema = SCHEMA_DEFAULT.to_owned();
        TimeSeries { enabled: false, schema, checks: true, metrics: true }
    }
}

/// What the original's variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// True where the environment is the original's: its defaults are taken.
    pub in_use: bool,
    /// The database; `None` where no variable names one.
    pub database: Option<Database>,
    /// A way to the database past a pooler; `None` where there is none.
    pub direct: Option<Database>,
    /// The time series.
    pub time_series: TimeSeries,
    /// Threads; `None` where none are asked for.
    pub threads: Option<u16>,
    /// Checks at once, over all threads; `None` where no number is asked for.
    pub in_flight: Option<u32>,
    /// Address of the API; `None` where neither host nor port is given.
    pub listen: Option<SocketAddr>,
    /// Name of the administrator of the API.
    pub admin: String,
    /// Password of the administrator; `None` where none is given.
    pub password: Option<Secret>,
    /// The one file that all log lines go to.
    pub log_file: Option<PathBuf>,
    /// The roots that handshakes trust.
    pub roots: Option<PathBuf>,
    /// Host of the dashboard's Home link.
    pub domain: String,
    /// Telling people.
    pub alerting: Alerting,
    /// Defaults of rows with the original's preset.
    pub row_defaults: RowDefaults,
    /// Names that are set and change nothing.
    pub without_effect: Vec<String>,
    /// Values that are not understood and what is taken instead, for people.
    pub notes: Vec<String>,
}

/// Defaults of rows with the original's preset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowDefaults {
    /// Total deadline of one attempt of a web check, in milliseconds.
    pub web_timeout_ms: Option<u64>,
    /// From check to check where the row says 0 or less, in milliseconds.
    pub interval_ms: Option<u64>,
}

impl RowDefaults {
    /// Fills in what a row leaves open; true where something was. Rows with another preset stay.
    pub fn fill(&self, row: &mut MonitorRow) -> bool {
        if row.preset.as_deref() != Some("original") {
            return false;
        }
        let before = (row.timeout.clone(), row.interval.clone());
        let kind = row.kind.as_deref().and_then(Kind::from_name);
        if let (Some(Kind::PingWeb | Kind::WebContent), Some(timeout_ms), None) =
            (kind, self.web_timeout_ms, &row.timeout)
        {
            row.timeout = Some(format!("{timeout_ms}ms"));
        }
        let nothing = |interval: &str| interval.parse().is_ok_and(|seconds: i64| seconds <= 0);
        if row.interval.as_deref().is_some_and(nothing) {
            let interval_ms = self.interval_ms.unwrap_or(CHECK_INTERVAL_MS_DEFAULT);
            row.interval = Some(format!("{interval_ms}ms"));
        }
        before != (row.timeout.clone(), row.interval.clone())
    }

    /// Fills in the rows of a file and checks those anew that changed.
    pub fn fill_all(&self, loaded: &mut Loaded, interner: &mut Interner) {
        let may_be_original = |entry: &&mut Entry| entry.row_json.contains("original");
        for entry in loaded.monitors.iter_mut().filter(may_be_original) {
            let mut row = entry.row();
            if self.fill(&mut row)
                && let Ok(checked) = check(&row, interner)
                && only_about_interval(entry.checked.as_ref().err().map_or(&[], Vec::as_slice))
            {
                *entry = Entry::new(&row, entry.line, Ok(checked));
            }
        }
    }
}

/// True where nothing else is wrong with a row than what its default mends.
fn only_about_interval(problems: &[crate::config::Problem]) -> bool {
    problems.iter().all(|problem| problem.error.field == "interval")
}

impl Original {
    /// Reads every variable that has an effect. `cpus` is the number of CPUs of this host, which
    /// the original takes its default of threads from.
    ///
    /// # Errors
    ///
    /// A port or a database that cannot be used, with the name of the variable.
    pub fn read(env: &Env, cpus: usize) -> Result<Original, String> {
        let mut reader = Reader { env, notes: env.notes.clone() };
        let database = reader.database()?;
        let direct = env.value("DATABASE_DIRECT_URL").map(Database::read).transpose();
        let direct = direct.map_err(|error| format!("DATABASE_DIRECT_URL: {error}"))?;
        let concurrent = reader.number("ASYNC_MAX_CONCURRENT", 1..=ENV_IN_FLIGHT_MAX);
        let (threads, in_flight) = reader.threads(cpus, concurrent);
        let second = 1_000;
        let web_timeout_ms = reader
            .number("ASYNC_HTTP_TIMEOUT", 1..=TIMEOUT_MS_MAX / second)
            .map(|seconds| (seconds * second).max(TIMEOUT_MS_MIN));
        let interval_ms = reader
            .number("ASYNC_CHECK_INTERVAL", INTERVAL_MS_MIN / second..=INTERVAL_MS_MAX / second)
            .map(|seconds| seconds * second);
        let text = |name: &str| env.value(name).map(str::to_owned);
        let usual = TimeSeries::default();
        let time_series = TimeSeries {
            enabled: reader.truth("TIMESCALEDB_ENABLED", usual.enabled),
            schema: text("TIMESCALEDB_SCHEMA").unwrap_or(usual.schema),
            checks: reader.truth("TIMESCALEDB_LOG_CHECKS", usual.checks),
            metrics: reader.truth("TIMESCALEDB_LOG_METRICS", usual.metrics),
        };
        let alerting = Alerting::read(env, &mut reader.notes);
        let set = |names: &[&str]| names.iter().any(|name| env.get(name).is_some());
        let idle = WITHOUT_EFFECT.iter().filter(|name| env.get(name).is_some());
        Ok(Original {
            in_use: set(OWN),
            database,
            direct,
            time_series,
            threads,
            in_flight,
            listen: reader.listen()?,
            admin: text("WEB_ADMIN_USERNAME").unwrap_or_else(|| ADMIN_DEFAULT.to_owned()),
            password: env.get("WEB_ADMIN_PASSWORD").map(|given| Secret::new(&given.value)),
            log_file: env.value("LOG_FILE").map(PathBuf::from),
            roots: env.value("SSL_CERT_FILE").map(PathBuf::from),
            domain: text("ADMIN_DOMAIN").unwrap_or_else(|| "localhost".to_owned()),
            alerting,
            row_defaults: RowDefaults { web_timeout_ms, interval_ms },
            without_effect: idle.map(|name| (*name).to_owned()).collect(),
            notes: reader.notes,
        })
    }

    /// The names that [`Original::read`] gives an effect, with the setting that each changes.
    pub fn effects() -> BTreeMap<&'static str, &'static str> {
        let pairs = [
            ("DB_TYPE", "database"),
            ("DATABASE_URL", "database"),
            ("DATABASE_DIRECT_URL", "database"),
            ("POSTGRES_HOST", "database"),
            ("POSTGRES_PORT", "database"),
            ("POSTGRES_NAME", "database"),
            ("POSTGRES_USER", "database"),
            ("POSTGRES_PASSWORD", "database"),
            ("DB_HOST", "database"),
            ("DB_PORT", "database"),
            ("DB_NAME", "database"),
            ("DB_USER", "database"),
            ("DB_PASSWORD", "database"),
            ("ASYNC_MAX_CONCURRENT", "max_in_flight"),
            ("ASYNC_THREAD_COUNT", "cores"),
            ("ASYNC_MULTI_THREAD", "cores"),
            ("ASYNC_HTTP_TIMEOUT", "http_timeout"),
            ("ASYNC_CHECK_INTERVAL", "check_interval"),
            ("TIMESCALEDB_ENABLED", "time_series"),
            ("TIMESCALEDB_SCHEMA", "time_series"),
            ("TIMESCALEDB_LOG_CHECKS", "time_series"),
            ("TIMESCALEDB_LOG_METRICS", "time_series"),
            ("HTTP_HOST", "listen"),
            ("HTTP_PORT", "listen"),
            ("WEB_ADMIN_USERNAME", "admin"),
            ("WEB_ADMIN_PASSWORD", "admin_password"),
            ("ADMIN_DOMAIN", "domain"),
            ("LOG_FILE", "log_file"),
            ("SSL_CERT_FILE", "roots"),
        ];
        pairs.into_iter().chain(alerting::EFFECTS.iter().copied()).collect()
    }
}

struct Reader<'a> {
    env: &'a Env,
    notes: Vec<String>,
}

impl Reader<'_> {
    /// A number within bounds; a bad one is told and left out.
    fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.env.value(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.notes.push(format!(
                "{name}={text}: is not a whole number from {low} to {high}; the default is taken"
            ));
        }
        number
    }

    fn truth(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.env.value(name) else { return default };
        truth(text).unwrap_or_else(|| {
            self.notes.push(format!("{name}={text}: is not true or false; taken as {default}"));
            default
        })
    }

    /// Threads and checks at once over all of them. The original gives each thread its own limit.
    fn threads(&mut self, cpus: usize, concurrent: Option<u64>) -> (Option<u16>, Option<u32>) {
        let count = self.number("ASYNC_THREAD_COUNT", 1..=SHARDS_MAX as u64);
        let many = self.truth("ASYNC_MULTI_THREAD", true);
        let threads = match (many, count) {
            (false, _) => Some(1),
            (true, count) => count,
        };
        let of_original = threads.unwrap_or(cpus.clamp(1, 4) as u64);
        let in_flight = concurrent.map(|each| (each * of_original).min(ENV_IN_FLIGHT_MAX) as u32);
        (threads.map(|threads| threads as u16), in_flight)
    }

    fn database(&self) -> Result<Option<Database>, String> {
        let kind = self.env.value("DB_TYPE").map(str::to_ascii_lowercase);
        let url = self.env.value("DATABASE_URL");
        let parts = ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_NAME", "POSTGRES_USER"];
        match (kind.as_deref(), url) {
            (Some("sqlite"), _) => Ok(Some(Database::Sqlite)),
            (Some("mysql" | "mariadb"), None) => Err(format!("DB_TYPE: {NOT_MYSQL}")),
            (_, Some(url)) => {
                let read = Database::read(url).map_err(|error| format!("DATABASE_URL: {error}"))?;
                Ok(Some(read))
            }
            (Some("postgresql" | "postgres"), None) => self.postgres("POSTGRES").map(Some),
            (Some(_), None) => self.postgres("DB").map(Some),
            (None, None) if parts.iter().any(|name| self.env.get(name).is_some()) => {
                self.postgres("POSTGRES").map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    fn postgres(&self, prefix: &str) -> Result<Database, String> {
        let name = |part: &str| format!("{prefix}_{part}");
        let text =
            |part: &str, default: &str| self.env.value(&name(part)).unwrap_or(default).to_owned();
        // A password is taken as it is, blanks too.
        let password = self.env.get(&name("PASSWORD")).map_or("", |given| &given.value);
        Ok(Database::Postgres {
            host: text("HOST", "localhost"),
            port: self.port(&name("PORT"))?.unwrap_or(5432),
            name: text("NAME", "monitor_v2"),
            user: text("USER", "postgres"),
            password: Secret::new(password),
        })
    }

    fn port(&self, name: &str) -> Result<Option<u16>, String> {
        let Some(text) = self.env.value(name) else { return Ok(None) };
        let port = text.parse().ok().filter(|port| *port > 0);
        port.map(Some).ok_or_else(|| format!("{name}={text}: write a port from 1 to 65535"))
    }

    fn listen(&self) -> Result<Option<SocketAddr>, String> {
        let (host, port) = (self.env.value("HTTP_HOST"), self.port("HTTP_PORT")?);
        if host.is_none() && port.is_none() {
            return Ok(None);
        }
        let host = match host {
            None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(host) => host.parse().map_err(|_| {
                format!("HTTP_HOST={host}: write an address of this host, such as 127.0.0.1")
            })?,
        };
        Ok(Some(SocketAddr::new(host, port.unwrap_or(PORT_DEFAULT))))
    }
}
