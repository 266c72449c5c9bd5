//! The thread's loop: connect, sweep, then round by round.
//!
//! Owns: the order. A row is written down, then copied to the snapshot, then told to the shards;
//! after an error all of it may be done again. The connection is one of its own, past a pooler.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::known::{Known, Step};
use super::slices::{self, Slice};
use super::snapshot::Snapshot;
use super::table::Table;
use super::watch::{self, Told};
use super::{FeedCounters, Links, Wanted, records};
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::{FEED_GATHER_MS, FEED_ROUND_MS, FEED_STEP_ROWS, FEED_SWEEP_MS};
use crate::messages::{Assign, Change, ControlGone};
use crate::pg::{Kind, PgError, PgOptions, Session};

/// Why the loop begins again, or ends.
enum Halt {
    Database(PgError),
    Control,
}

impl From<PgError> for Halt {
    fn from(error: PgError) -> Halt {
        Halt::Database(error)
    }
}

impl From<ControlGone> for Halt {
    fn from(_: ControlGone) -> Halt {
        Halt::Control
    }
}

/// Runs until the control thread is gone.
pub(super) async fn run(wanted: Wanted, links: Links, counters: &FeedCounters) {
    let mut feeder = Feeder {
        known: Known::new(wanted.defaults, TimeZone::system()),
        snapshot: None,
        range: slices::ALL,
        cursor: MonitorId(0),
        updated: None,
        links,
        counters,
        said: String::new(),
        wanted,
    };
    if feeder.wanted.is_away && feeder.go_on_alone().await.is_err() {
        return;
    }
    while let Err(halt) = feeder.serve().await {
        let Halt::Database(error) = halt else { return };
        counters.errors.fetch_add(1, Ordering::Relaxed);
        counters.connected.store(0, Ordering::Relaxed);
        counters.listening.store(0, Ordering::Relaxed);
        feeder.say(&error.to_string());
        if feeder.go_on_alone().await.is_err() {
            return;
        }
        tokio::time::sleep(feeder.round()).await;
    }
}

struct Feeder<'a> {
    wanted: Wanted,
    links: Links,
    counters: &'a FeedCounters,
    known: Known,
    snapshot: Option<Snapshot>,
    /// The ids that are ours.
    range: RangeInclusive<MonitorId>,
    /// The last id that the sweep has looked at.
    cursor: MonitorId,
    /// The latest time of an update that was looked at.
    updated: Option<String>,
    /// The last error that was logged: each is said once.
    said: String,
}

/// An open connection and what belongs to it.
struct Line {
    session: Session,
    table: Table,
    told: Option<Told>,
}

impl Feeder<'_> {
    fn say(&mut self, error: &str) {
        if error != self.said {
            tracing::error!(
                error,
                "monitors cannot be read from the database; all goes on as it was"
            );
            self.said = error.to_owned();
        }
    }

    /// The time until the next look: not past the end of a pause.
    fn round(&self) -> Duration {
        let wake_ms = self.known.next_wake_in_ms(wall_millis()).unwrap_or(FEED_ROUND_MS);
        Duration::from_millis(wake_ms.min(FEED_ROUND_MS))
    }

    /// Connects, looks at every row, and then at what changes, until something fails.
    async fn serve(&mut self) -> Result<(), Halt> {
        let line = self.connect().await?;
        self.counters.connected.store(1, Ordering::Relaxed);
        self.counters.listening.store(u64::from(line.told.is_some()), Ordering::Relaxed);
        self.find_range(&line).await?;
        if self.known.is_empty() {
            records::forget_marks(&line.session, &self.range).await?;
        }
        self.sweep(&line).await?;
        let orphans = records::orphans(&line.session, &line.table, &self.range).await?;
        let gone = Step { gone: orphans, ..Step::default() };
        records::write(&line.session, &line.table, &gone, wall_millis()).await?;
        let known = &self.known;
        if let Some(Err(error)) =
            self.snapshot.as_mut().map(|snapshot| snapshot.retain(|id| known.has(id)))
        {
            tracing::error!("{error}");
        }
        tracing::info!(
            rows = known.len(),
            bad = known.bad(),
            changes = if line.told.is_some() { "told" } else { "polled" },
            "monitors are read from the database"
        );
        self.said.clear();
        self.rounds(&line).await
    }

    async fn connect(&mut self) -> Result<Line, Halt> {
        let told = Told::default();
        let heard = told.clone();
        let options = self.wanted.database.direct().clone().writing();
        let session = Session::open_with(&options, move |notice| heard.hear(&notice)).await?;
        let table = Table::find(&session).await?;
        let rows = session.query("SELECT id FROM engine.identity", &[]).await?;
        let identity = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
        self.open_snapshot(i64::cast_unsigned(identity));
        let is_told = !self.wanted.only_polls && is_told(&options, &session, &table, &told).await?;
        let told = is_told.then_some(told);
        Ok(Line { session, table, told })
    }

    fn open_snapshot(&mut self, database: u64) {
        let part = part(&self.wanted.slices);
        let opened = match self.snapshot.take() {
            Some(snapshot) => Ok(snapshot),
            None => Snapshot::open(&self.wanted.data_dir),
        };
        let opened = opened.and_then(|mut snapshot| {
            snapshot.set_origin(database, &part)?;
            Ok(snapshot)
        });
        match opened {
            Ok(snapshot) => self.snapshot = Some(snapshot),
            Err(error) => tracing::error!("a start without the database will not work: {error}"),
        }
    }

    /// While the database is away: the rows of the last time where none are known yet, and the
    /// ends of pauses.
    async fn go_on_alone(&mut self) -> Result<(), ControlGone> {
        if self.known.is_empty() && self.snapshot.is_none() {
            self.run_snapshot().await?;
        }
        self.end_pauses(None).await.map_err(|_| ControlGone)
    }

    async fn run_snapshot(&mut self) -> Result<(), ControlGone> {
        let opened = Snapshot::open(&self.wanted.data_dir);
        let Ok(snapshot) = opened.map_err(|error| tracing::error!("{error}")) else {
            return Ok(());
        };
        let part = part(&self.wanted.slices);
        let fits = snapshot.origin().is_ok_and(|origin| origin.is_some_and(|(_, of)| of == part));
        let mut after = if fits { MonitorId(0) } else { MonitorId(u64::MAX >> 1) };
        loop {
            let rows = snapshot.rows(after, FEED_STEP_ROWS).unwrap_or_default();
            let Some(last) = rows.last() else { break };
            after = last.id;
            let step = self.known.take(rows, &[], wall_millis());
            self.tell(step).await?;
        }
        tracing::warn!(rows = self.known.len(), "monitors are those of the last time");
        self.snapshot = Some(snapshot);
        Ok(())
    }

    async fn find_range(&mut self, line: &Line) -> Result<bool, Halt> {
        let range = slices::range(&line.session, &line.table, &self.wanted.slices).await?;
        let changed = range != self.range;
        self.links.ours.set(range.clone());
        if changed {
            self.range = range;
            let outside = self.known.outside(&self.range);
            let step = self.known.take(Vec::new(), &outside, wall_millis());
            // Another engine has them: nothing ends.
            self.tell(Step { gone: Vec::new(), ..step }).await?;
        }
        Ok(changed)
    }

    async fn rounds(&mut self, line: &Line) -> Result<(), Halt> {
        let pace = match line.told {
            Some(_) => Duration::from_millis(FEED_SWEEP_MS),
            None => Duration::ZERO,
        };
        let mut step_at = Instant::now() + pace;
        loop {
            let told = async {
                match &line.told {
                    Some(told) => told.wait().await,
                    None => std::future::pending().await,
                }
            };
            let _ = tokio::time::timeout(self.round(), told).await;
            if !line.session.is_open() {
                return Err(PgError::new(Kind::Away, "the connection is lost").into());
            }
            let mut all = !self.wanted.slices.is_empty() && self.find_range(line).await?;
            if let Some(told) = &line.told {
                tokio::time::sleep(Duration::from_millis(FEED_GATHER_MS)).await;
                let (ids, too_many) = told.take();
                all |= too_many;
                self.look_at(line, ids).await?;
            }
            if all {
                self.sweep(line).await?;
            } else if Instant::now() >= step_at {
                self.step(line).await?;
                step_at = Instant::now() + pace;
            }
            if line.told.is_none() && self.known.len() >= FEED_STEP_ROWS {
                self.look_at_updates(line).await?;
            }
            self.end_pauses(Some(line)).await?;
        }
    }

    /// Looks at every row of the range.
    async fn sweep(&mut self, line: &Line) -> Result<(), Halt> {
        self.cursor = MonitorId(0);
        while self.step(line).await? {}
        Ok(())
    }

    /// Looks at the next rows of the range; false after the last.
    async fn step(&mut self, line: &Line) -> Result<bool, Halt> {
        let start = self.range.start().max(&MonitorId(self.cursor.0 + 1)).to_owned();
        let range = start..=*self.range.end();
        let hashes = line.table.hashes(&line.session, &range).await?;
        let last = hashes.last().filter(|_| hashes.len() >= FEED_STEP_ROWS).map(|(id, _)| *id);
        let present: Vec<_> = hashes.iter().map(|(id, _)| *id).collect();
        let mut differing = self.known.differing(&hashes);
        if !range.is_empty() {
            let looked_at = start..=last.unwrap_or(*range.end());
            differing.extend(self.known.missing(looked_at, &present));
        }
        self.look_at(line, differing).await?;
        self.cursor = last.unwrap_or_default();
        Ok(last.is_some())
    }

    /// Looks at what is new or updated in a table that a step does not cover.
    async fn look_at_updates(&mut self, line: &Line) -> Result<(), Halt> {
        let beyond = MonitorId(self.known.last().0 + 1)..=*self.range.end();
        let mut ids: Vec<_> = match beyond.is_empty() {
            true => Vec::new(),
            false => line.table.hashes(&line.session, &beyond).await?,
        }
        .into_iter()
        .map(|(id, _)| id)
        .collect();
        let (updated, next) = line.table.updated(&line.session, self.updated.as_deref()).await?;
        ids.extend(updated);
        self.updated = next;
        self.look_at(line, ids).await
    }

    /// Reads these rows and makes what they change.
    async fn look_at(&mut self, line: &Line, mut ids: Vec<MonitorId>) -> Result<(), Halt> {
        ids.retain(|id| self.range.contains(id));
        for ids in ids.chunks(FEED_STEP_ROWS) {
            let rows = line.table.rows_of(&line.session, ids).await?;
            let step = self.known.take(rows, ids, wall_millis());
            self.make(line, step).await?;
        }
        Ok(())
    }

    /// Takes up monitors whose pause is over.
    async fn end_pauses(&mut self, line: Option<&Line>) -> Result<(), Halt> {
        let woken = self.known.wake(wall_millis());
        if woken.is_empty() {
            return Ok(());
        }
        if let Some(line) = line {
            return self.look_at(line, woken).await;
        }
        let rows = self.snapshot.as_ref().map(|snapshot| snapshot.rows_of(&woken));
        let rows = rows.and_then(Result::ok).unwrap_or_default();
        let step = self.known.take(rows, &[], wall_millis());
        Ok(self.tell(step).await?)
    }

    async fn make(&mut self, line: &Line, step: Step) -> Result<(), Halt> {
        if step.is_empty() {
            return Ok(());
        }
        let written = records::write(&line.session, &line.table, &step, wall_millis()).await;
        if written.is_err() {
            self.known.doubt(step.fresh.iter().map(|row| row.id));
        }
        if let Some(Err(error)) =
            self.snapshot.as_mut().map(|snapshot| snapshot.keep(&step.fresh, &step.gone))
        {
            tracing::error!("{error}");
        }
        self.tell(step).await?;
        Ok(written?)
    }

    /// Tells the shards and the log.
    async fn tell(&mut self, step: Step) -> Result<(), ControlGone> {
        let Step { fresh, facts, upserts, new, check_now, removes, gone, .. } = step;
        let counters = self.counters;
        let changed = (fresh.len() + gone.len()) as u64;
        counters.changed.fetch_add(changed, Ordering::Relaxed);
        counters.rows.store(self.known.len() as u64, Ordering::Relaxed);
        counters.bad.store(self.known.bad() as u64, Ordering::Relaxed);
        if let Some(logs) = &self.links.logs {
            logs.learn(facts, gone);
        }
        if !removes.is_empty() {
            self.links.changes.apply(Change::Remove(removes)).await?;
        }
        if upserts.is_empty() {
            return Ok(());
        }
        // Without the database nothing is known of them: they begin as new ones do.
        let states = match new.is_empty() {
            true => Default::default(),
            false => self.links.store.states(Some(new)).unwrap_or_default(),
        };
        let assigns = upserts.into_iter().map(|monitor| {
            let state = states.get(&monitor.id).copied().unwrap_or_default();
            Assign { monitor, state }
        });
        self.links.changes.apply(Change::Upsert(assigns.collect())).await?;
        match check_now.is_empty() {
            true => Ok(()),
            false => self.links.changes.apply(Change::CheckNow(check_now)).await,
        }
    }
}

/// True where the table tells of its changes; why not is logged.
async fn is_told(
    options: &PgOptions,
    session: &Session,
    table: &Table,
    told: &Told,
) -> Result<bool, PgError> {
    match watch::listen(session, table).await {
        Ok(()) => {}
        Err(error) if error.ends_session() => return Err(error),
        Err(error) => {
            let hint = "it is polled instead; grant TRIGGER on it to the engine's role, or set \
                        ENGINE_FEED=poll";
            tracing::warn!("monitor_items does not tell of its changes: {error}; {hint}");
            return Ok(false);
        }
    }
    let heard = watch::is_heard(options, told).await.unwrap_or(false);
    if !heard {
        let hint = "it is polled instead; name a way past the pooler with DATABASE_DIRECT_URL, or \
                    set ENGINE_FEED=poll";
        tracing::warn!("what monitor_items tells does not come through; {hint}");
    }
    Ok(heard)
}

/// The parts in words.
fn part(slices: &[Slice]) -> String {
    let words: Vec<_> = slices.iter().map(|s| format!("{}-{}", s.number, s.size)).collect();
    words.join(",")
}
