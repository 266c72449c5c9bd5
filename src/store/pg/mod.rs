//! The store on a PostgreSQL server, beside the original's tables.
//!
//! Owns: [`PgStore`], its connection, and the runs. What each method does is in the files named
//! after it: `append`, `sync`, `compact`, `retain`; `schema` brings the database up to date,
//! `original` writes what the original service writes, `reader` looks. Everything the engine adds
//! is in the schema `engine`, in the tables that the SQLite file has.
//!
//! A call is one transaction of a handful of round trips, whatever the number of rows, and comes
//! back within seconds: with an error where the server is away, so that results go to the spool.
//! The runtime is one of this thread, and stands still between calls.

use std::collections::HashMap;

use tokio::runtime::{Builder, Runtime};

use self::link::Link;
use super::append::Certs;
use super::spool::RunKey;
use super::{
    Appended, Gap, Maintained, NewMonitor, Retention, RunId, Store, StoreError, SyncReport, signed,
    unsigned,
};
use crate::clock::wall_millis;
use crate::env::original::TimeSeries;
use crate::ids::MonitorId;
use crate::limits::FOREIGN_IDS_MAX;
use crate::monitor::State;
use crate::monitor::verdict::settled_from;
use crate::pg::{PgError, PgOptions, Session, Type, Value};
use crate::sample::{Code, SampleBatch, Verdict};

mod schema;

mod link;

mod append;

mod original;

mod poison;

mod sync;

mod compact;

mod retain;

mod hourly;

mod sum_up;

mod metrics;

pub mod reader;

pub use reader::{PgReader, PgServer};

/// States read in one statement: each answer has its deadline.
const STATES_AT_ONCE: i64 = 50_000;

/// A PostgreSQL database, for the one thread that writes.
pub struct PgStore {
    runtime: Runtime,
    link: Link,
    certs: Certs,
    days: original::Days,
    compactor: compact::Compactor,
    keeper: retain::Keeper,
    metrics: metrics::Metrics,
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PgStore({:?})", self.link)
    }
}

impl PgStore {
    /// Connects, brings the schema up to date and finds the original's tables, or makes those that
    /// are missing.
    ///
    /// # Errors
    ///
    /// `Schema` for a newer one, `Migrate`, or the database's own: away, refused, without a right.
    pub fn open(
        options: &PgOptions,
        series: &TimeSeries,
        retention: Retention,
    ) -> Result<PgStore, StoreError> {
        let mut store = PgStore::later(options, series, retention)?;
        store.runtime.block_on(store.link.connect())?;
        Ok(store)
    }

    /// As [`PgStore::open`], but connects at the first call: for a start while the server is away.
    ///
    /// # Errors
    ///
    /// Only the operating system's.
    pub fn later(
        options: &PgOptions,
        series: &TimeSeries,
        retention: Retention,
    ) -> Result<PgStore, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Database(error.to_string()))?;
        Ok(PgStore {
            runtime,
            link: Link::new(options.clone().writing(), series),
            certs: Certs::default(),
            days: original::Days::default(),
            compactor: compact::Compactor::default(),
            keeper: retain::Keeper::new(retention),
            metrics: metrics::Metrics::new(series.enabled && series.metrics),
        })
    }

    /// The states of these monitors, or of all that are not removed.
    fn states(&mut self, only: Option<Vec<i64>>) -> Result<HashMap<MonitorId, State>, StoreError> {
        self.runtime.block_on(self.link.transaction(async |work| {
            let sql = "SELECT m.id, s.verdict, s.since_ms, s.code, s.streak
                       FROM engine.watched_of($1) m
                       LEFT JOIN engine.state s ON s.monitor_id = m.id
                       WHERE NOT m.removed AND m.id > $2
                       ORDER BY m.id LIMIT $3";
            let mut states = HashMap::new();
            let mut last = i64::MIN;
            loop {
                let values: [Value<'_>; 3] =
                    [(&only, Type::INT8_ARRAY), (&last, Type::INT8), (&STATES_AT_ONCE, Type::INT8)];
                let rows = work.session.query(sql, &values).await?;
                states.extend(rows.iter().map(state_of));
                match rows.last() {
                    Some(row) if rows.len() as i64 == STATES_AT_ONCE => last = row.get(0),
                    Some(_) | None => return Ok(states),
                }
            }
        }))
    }
}

/// Says goodbye, so that the server frees the connection at once.
impl Drop for PgStore {
    fn drop(&mut self) {
        self.runtime.block_on(self.link.close());
    }
}

impl Store for PgStore {
    fn edit_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
        gone: &[MonitorId],
    ) -> Result<SyncReport, StoreError> {
        let now_ms = wall_millis();
        self.runtime.block_on(
            self.link.transaction(async |work| {
                sync::edit(work.session, source, rows, gone, now_ms).await
            }),
        )
    }

    fn monitors_of(&mut self, source: &str) -> Result<Vec<MonitorId>, StoreError> {
        self.runtime.block_on(
            self.link.transaction(async |work| sync::of_source(work.session, source).await),
        )
    }

    fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError> {
        self.states(None)
    }

    fn load_states_of(
        &mut self,
        monitors: &[MonitorId],
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        self.states(Some(monitors.iter().map(|monitor| signed(monitor.0)).collect()))
    }

    fn identity(&mut self) -> Result<Option<u64>, StoreError> {
        self.runtime.block_on(
            self.link.transaction(async |work| Ok(Some(identity_of(work.session).await?))),
        )
    }

    fn begin_run(&mut self, now_ms: u64) -> Result<RunId, StoreError> {
        self.runtime.block_on(self.link.transaction(async |work| {
            // Rows of the original's table may be another engine's: who takes them forgets theirs.
            let own = "DELETE FROM engine.mark WHERE monitor_id >= $1";
            work.session.execute(own, &[(&signed(FOREIGN_IDS_MAX), Type::INT8)]).await?;
            let sql = "INSERT INTO engine.run (started_ms) VALUES ($1) RETURNING id";
            let rows = work.session.query(sql, &[(&signed(now_ms), Type::INT8)]).await?;
            Ok(RunId(unsigned(rows[0].get(0))))
        }))
    }

    fn knows_run(&mut self, run: RunKey) -> Result<bool, StoreError> {
        self.runtime.block_on(self.link.transaction(async |work| {
            let sql = "SELECT 1 FROM engine.run WHERE id = $1 AND started_ms = $2";
            let (id, started) = (signed(run.run.0), signed(run.started_ms));
            let rows =
                work.session.query(sql, &[(&id, Type::INT8), (&started, Type::INT8)]).await?;
            Ok(!rows.is_empty())
        }))
    }

    fn adopt_run(&mut self, run: RunKey) -> Result<(), StoreError> {
        let (id, started) = (signed(run.run.0), signed(run.started_ms));
        self.runtime.block_on(self.link.transaction(async |work| {
            let identity = identity_of(work.session).await?;
            let values = [(&id as _, Type::INT8), (&started as _, Type::INT8)];
            if run.run.is_away_from(identity) {
                let sql = "INSERT INTO engine.run (id, started_ms) VALUES ($1, $2)
                           ON CONFLICT (id) DO NOTHING";
                work.session.execute(sql, &values).await?;
            }
            let sql = "SELECT 1 FROM engine.run WHERE id = $1 AND started_ms = $2";
            match work.session.query(sql, &values).await?.is_empty() {
                true => Err(StoreError::ForeignSpool { run: run.run.0 }),
                false => Ok(()),
            }
        }))
    }

    fn append(&mut self, run: RunId, batches: &[SampleBatch]) -> Result<Appended, StoreError> {
        let PgStore { runtime, link, certs, days, metrics, .. } = self;
        runtime.block_on(async {
            let mut all = append::Done::default();
            for part in append::parts(batches) {
                let done = poison::append(link, certs, days, run, part).await?;
                metrics.count(done.up, done.down);
                all = all.and(done);
            }
            Ok(all.appended)
        })
    }

    fn record_gap(&mut self, run: RunId, gap: &Gap) -> Result<(), StoreError> {
        self.runtime.block_on(self.link.transaction(async |work| {
            let numbers = [run.0, gap.number, gap.from_ms, gap.to_ms, gap.results].map(signed);
            let values = numbers.each_ref().map(|number| (number as _, Type::INT8));
            let sql = "INSERT INTO engine.gap (run_id, number, from_ms, to_ms, results)
                       VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT (run_id, number) DO UPDATE SET from_ms = excluded.from_ms,
                           to_ms = excluded.to_ms, results = excluded.results";
            work.session.execute(sql, &values).await?;
            Ok(())
        }))
    }

    fn maintain(&mut self, now_ms: u64) -> Result<Maintained, StoreError> {
        let PgStore { runtime, link, days, compactor, keeper, metrics, .. } = self;
        runtime.block_on(async {
            metrics.write(link, now_ms).await?;
            if let Some(done) = compactor.slice(link, now_ms).await? {
                return Ok(done);
            }
            if let Some(done) = sum_up::slice(link, now_ms).await? {
                return Ok(done);
            }
            if hourly::slice(link, now_ms).await? {
                return Ok(Maintained { more: true, ..Maintained::default() });
            }
            keeper.slice(link, days, now_ms).await
        })
    }

    fn end_run(&mut self, run: RunId, now_ms: u64) -> Result<(), StoreError> {
        self.runtime.block_on(self.link.transaction(async |work| {
            let (id, at) = (signed(run.0), signed(now_ms));
            let sql = "UPDATE engine.run SET stopped_ms = $2 WHERE id = $1";
            work.session.execute(sql, &[(&id, Type::INT8), (&at, Type::INT8)]).await?;
            Ok(())
        }))
    }
}

/// The number that the schema gave to this database.
async fn identity_of(session: &Session) -> Result<u64, PgError> {
    let rows = session.query("SELECT id FROM engine.identity", &[]).await?;
    Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
}

/// A monitor that was never checked has no state yet.
fn state_of(row: &crate::pg::Row) -> (MonitorId, State) {
    let id = MonitorId(unsigned(row.get(0)));
    let Some(verdict) = row.get::<_, Option<i32>>(1) else { return (id, State::default()) };
    let verdict = Verdict::from_number(small(verdict));
    let state = State {
        verdict,
        since_ms: unsigned(row.get(2)),
        code: Code(small(row.get(3))),
        streak: small(row.get(4)),
        settled: settled_from(verdict),
    };
    (id, state)
}

/// A small number as SQL has it; what does not fit was not written by us and counts as the most.
fn small<T: TryFrom<i32> + Bounded>(number: i32) -> T {
    T::try_from(number).unwrap_or(T::MOST)
}

/// The largest value of a small number.
trait Bounded {
    const MOST: Self;
}

impl Bounded for u8 {
    const MOST: u8 = u8::MAX;
}

impl Bounded for u16 {
    const MOST: u16 = u16::MAX;
}

/// Whether a monitor is a row of the original's table.
fn is_item(monitor: MonitorId) -> bool {
    monitor.0 < FOREIGN_IDS_MAX
}
