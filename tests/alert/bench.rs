//! What the tests share: a directory in memory, channels, waiting.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::alert::channel::{Channel, Maker};
use engine::alert::http::Roots;
use engine::alert::outbox::{Line, Outbox};
use engine::alert::{Alerts, Change, Directory, Facts, Held, Page, Setup};

use engine::config::channels::ChannelSpec;
use engine::ids::MonitorId;
use engine::sample::{Code, Marks, Verdict};
use serde_json::Value;

/// Monitors and changes in memory. Clones share them.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    facts: HashMap<u64, Facts>,
    changes: Vec<(u64, Change)>,
    failures: HashMap<u64, u32>,
    held: HashMap<u64, &'static str>,
    released: bool,
    away: bool,
}

impl Memory {
    /// Monitors `1..=count`.
    pub fn of(count: u64) -> Memory {
        let memory = Memory::default();
        for id in 1..=count {
            memory.know(
                id,
                Facts { target: format!("10.77.{}.{}:80", id / 250, id % 250), ..named(id) },
            );
        }
        memory
    }

    pub fn know(&self, id: u64, facts: Facts) {
        self.0.lock().unwrap().facts.insert(id, facts);
    }

    pub fn forget(&self, id: u64) {
        self.0.lock().unwrap().facts.remove(&id);
    }

    /// Puts changes into the store only: nobody is told.
    pub fn record(&self, change: &Change) {
        let mut inner = self.0.lock().unwrap();
        let number = inner.changes.len() as u64 + 1;
        inner.changes.push((number, change.clone()));
    }

    pub fn fail(&self, id: u64, count: u32) {
        self.0.lock().unwrap().failures.insert(id, count);
    }

    /// Something stands against telling of a monitor, for as long as nobody says otherwise.
    pub fn hold(&self, id: u64, reason: &'static str) {
        self.0.lock().unwrap().held.insert(id, reason);
    }

    pub fn release(&self, id: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.held.remove(&id);
        inner.released = true;
    }

    pub fn set_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }
}

impl Directory for Memory {
    fn facts(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Facts>>, String> {
        let inner = self.0.lock().unwrap();
        if inner.away {
            return Err("the database is away".to_owned());
        }
        Ok(monitors.iter().map(|id| inner.facts.get(&id.0).cloned()).collect())
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Page, String> {
        let inner = self.0.lock().unwrap();
        let later = inner.changes.iter().filter(|(number, _)| *number > after);
        let found: Vec<&(u64, Change)> = later.take(limit).collect();
        let (last, more) = (found.last().map(|(number, _)| *number), found.len() == limit);
        Ok(Page { changes: found.into_iter().map(|(_, one)| one.clone()).collect(), last, more })
    }

    fn newest_change(&mut self) -> Result<u64, String> {
        Ok(self.0.lock().unwrap().changes.len() as u64)
    }

    fn channel(&mut self, _: &str) -> Result<Option<ChannelSpec>, String> {
        Ok(None)
    }

    fn held(&mut self, monitor: MonitorId, _: u64, now_ms: u64) -> Option<Held> {
        let reason = *self.0.lock().unwrap().held.get(&monitor.0)?;
        Some(Held { reason, until_ms: now_ms + 600_000 })
    }

    fn released(&mut self) -> bool {
        std::mem::take(&mut self.0.lock().unwrap().released)
    }

    fn failures(&mut self, monitor: MonitorId) -> u32 {
        self.0.lock().unwrap().failures.get(&monitor.0).copied().unwrap_or_default()
    }
}

pub fn named(id: u64) -> Facts {
    Facts {
        name: format!("monitor-{id}"),
        target: "https://example.com".to_owned(),
        interval_ms: 60_000,
        ..Facts::default()
    }
}

pub fn channel(value: Value) -> Channel {
    let spec = ChannelSpec::read(value.as_object().unwrap()).unwrap();
    make(&spec)
}

pub fn make(spec: &ChannelSpec) -> Channel {
    let env = |name: &str| std::env::var(name).ok();
    Maker { env: &env, roots: Roots::default(), domain: None }.make(spec).unwrap()
}

/// Alerting without a hold and with short pauses.
pub fn start(folder: &Path, channels: Vec<Channel>, memory: &Memory) -> Alerts {
    start_holding(folder, channels, memory, 0)
}

pub fn start_holding(
    folder: &Path,
    channels: Vec<Channel>,
    memory: &Memory,
    hold_ms: u64,
) -> Alerts {
    let setup = Setup { hold_ms, retry_ms: 20, ..Setup::of(channels, Roots::default(), None) };
    Alerts::start(folder, setup, Box::new(memory.clone())).unwrap()
}

pub fn down(id: u64, at_ms: u64) -> Change {
    change(id, at_ms, Verdict::Up, Verdict::Down)
}

pub fn up(id: u64, at_ms: u64) -> Change {
    Change { total_us: 1_540, ..change(id, at_ms, Verdict::Down, Verdict::Up) }
}

pub fn change(id: u64, at_ms: u64, from: Verdict, to: Verdict) -> Change {
    Change {
        monitor: MonitorId(id),
        at_ms,
        from,
        to,
        code: if to == Verdict::Down { Code(12) } else { Code::GOOD },
        message: if to == Verdict::Down { "timeout".into() } else { "".into() },
        total_us: 0,
        marks: Marks::NONE,
    }
}

/// The same change while the monitor flaps.
pub fn flapping(change: Change) -> Change {
    Change { marks: Marks::FLAPPING, ..change }
}

/// Notices of all channels in the outbox, as `channel event key state`, the oldest first.
pub fn outbox(folder: &Path) -> Vec<String> {
    let mut lines = Outbox::look(folder).unwrap().unwrap().lines(1_000).unwrap();
    lines.sort_by_key(|line| line.id);
    let text = |line: Line| format!("{} {} {} {}", line.channel, line.event, line.key, line.state);
    lines.into_iter().map(text).collect()
}

/// Waits until `look` gives something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
