//! How changes of the table are noticed at once: a trigger that tells, and LISTEN.
//!
//! Owns: the trigger, and the ids that it told. The trigger looks at the columns of the
//! configuration only: writing results never fires it. Where the role may not install it, the
//! table is polled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::table::{CONFIGURATION, Table};
use crate::ids::MonitorId;
use crate::limits::{FEED_HELLO_MS, FEED_STEP_ROWS};
use crate::pg::{Notification, PgError, PgOptions, Session, Type};

/// Name of the trigger and of what it tells on. Its number rises when the trigger changes.
const NAME: &str = "engine_monitor_items_1";

/// What an engine tells to see whether it is heard.
const HELLO: &str = "hello";

/// What the trigger has told and nobody has looked at yet.
#[derive(Clone, Debug, Default)]
pub struct Told {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
    hello: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    ids: BTreeSet<MonitorId>,
    /// Too many, or a TRUNCATE: the table is to be swept.
    all: bool,
}

impl Told {
    /// Takes a notice of the server.
    pub fn hear(&self, notice: &Notification) {
        if notice.payload() == HELLO {
            return self.hello.notify_one();
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match notice.payload().parse() {
            Ok(id) if state.ids.len() < FEED_STEP_ROWS => drop(state.ids.insert(MonitorId(id))),
            _ => state.all = true,
        }
        self.wake.notify_one();
    }

    /// Waits for the next notice.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// The ids told since the last call, and whether the table is to be swept.
    pub fn take(&self) -> (Vec<MonitorId>, bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { ids, all } = std::mem::take(&mut *state);
        (ids.into_iter().collect(), all)
    }
}

/// Makes sure that the trigger is there and listens. What changed before is for a sweep to find.
///
/// # Errors
///
/// `Refused` where the role lacks the right; else the database's.
pub async fn listen(session: &Session, table: &Table) -> Result<(), PgError> {
    let there = "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = $1::text::regclass
                 AND tgname = $2::text::name AND tgenabled <> 'D')";
    let values = [(&table.name() as _, Type::TEXT), (&NAME as _, Type::TEXT)];
    let rows = session.query(there, &values).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        install(session, table).await?;
    }
    session.run(&format!("LISTEN {NAME}")).await
}

/// True where a session that listens hears what another one tells: behind a pooler it does not.
///
/// # Errors
///
/// The database's.
pub async fn is_heard(options: &PgOptions, told: &Told) -> Result<bool, PgError> {
    let other = Session::open(options).await?;
    let sent = other.run(&format!("NOTIFY {NAME}, '{HELLO}'")).await;
    let wait = Duration::from_millis(FEED_HELLO_MS);
    let heard = tokio::time::timeout(wait, told.hello.notified()).await.is_ok();
    other.close().await;
    sent.map(|()| heard)
}

/// Installs the trigger, unless another engine does just that. Waits for the lock no longer than
/// a check of the table may hold up its users.
async fn install(session: &Session, table: &Table) -> Result<(), PgError> {
    let table = table.name();
    let sql = format!(
        "BEGIN;
         SET LOCAL lock_timeout = '2s';
         SELECT pg_advisory_xact_lock(hashtext('{NAME}'));
         CREATE OR REPLACE FUNCTION engine.{NAME}() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_catalog.pg_notify('{NAME}', CASE TG_OP WHEN 'TRUNCATE' THEN 'all'
                 WHEN 'DELETE' THEN OLD.id::text ELSE NEW.id::text END);
             RETURN NULL;
         END $$;
         DROP TRIGGER IF EXISTS {NAME} ON {table};
         DROP TRIGGER IF EXISTS {NAME}_all ON {table};
         CREATE TRIGGER {NAME}
             AFTER INSERT OR DELETE OR UPDATE OF {CONFIGURATION}, deleted_at ON {table}
             FOR EACH ROW EXECUTE FUNCTION engine.{NAME}();
         CREATE TRIGGER {NAME}_all AFTER TRUNCATE ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION engine.{NAME}();
         COMMIT"
    );
    let installed = session.run(&sql).await;
    if installed.is_err() {
        // A lost session has rolled back by itself.
        let _ = session.run("ROLLBACK").await;
    }
    installed
}
