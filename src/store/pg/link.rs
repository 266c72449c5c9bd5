//! The one connection of the store, made anew where it is lost, and its transactions.
//!
//! Owns: when to connect, what every transaction sets, and what becomes of the connection after an
//! error. There is no pause between tries here: the writer pauses, and the spool takes the results
//! meanwhile.

use super::super::StoreError;
use super::schema::{self, Places};
use crate::env::original::TimeSeries;
use crate::limits::{PG_LOCK_MS_MAX, PG_STATEMENT_MS_MAX};
use crate::pg::{PgOptions, Session};

/// The connection, or how to get one.
pub(super) struct Link {
    options: PgOptions,
    /// Schema of the time series, `None` where they are off.
    series: Option<String>,
    open: Option<(Session, Places)>,
    begin: String,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.options)
    }
}

/// What a transaction works with.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    /// Where it is open.
    pub session: &'a Session,
    /// Where the original's tables are.
    pub places: &'a Places,
}

impl Link {
    pub fn new(options: PgOptions, series: &TimeSeries) -> Link {
        // Who gets an answer must be able to rely on it, whatever the role's default is.
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {PG_STATEMENT_MS_MAX};
             SET LOCAL lock_timeout = {PG_LOCK_MS_MAX};
             SET LOCAL idle_in_transaction_session_timeout = {};
             SET LOCAL jit = off;
             SELECT set_config('synchronous_commit', 'on', true)
             WHERE current_setting('synchronous_commit') = 'off'",
            2 * PG_STATEMENT_MS_MAX
        );
        let series = (series.enabled && series.checks).then(|| series.schema.clone());
        Link { options, series, open: None, begin }
    }

    /// Connects where there is no connection, and makes sure that the schema is up to date.
    pub async fn connect(&mut self) -> Result<(), StoreError> {
        if self.open.as_ref().is_some_and(|(session, _)| session.is_open()) {
            return Ok(());
        }
        self.open = None;
        let session = Session::open(&self.options).await?;
        let places = schema::ready(&self.options, &session, self.series.as_deref()).await?;
        self.open = Some((session, places));
        Ok(())
    }

    /// Does `work` in a transaction, connecting first where that is needed.
    pub async fn transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(Work<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.connect().await?;
        let Some((session, places)) = &self.open else {
            return Err(StoreError::Database("not connected".to_owned()));
        };
        let result = async {
            session.run(&self.begin).await?;
            let done = work(Work { session, places }).await?;
            session.commit().await?;
            Ok(done)
        }
        .await;
        if let Err(error) = &result {
            let lost = matches!(error, StoreError::Postgres(error) if error.ends_session());
            if lost || session.run("ROLLBACK").await.is_err() {
                self.open = None;
            }
        }
        result
    }

    /// Closes the connection in order.
    pub async fn close(&mut self) {
        if let Some((session, _)) = self.open.take() {
            session.close().await;
        }
    }
}
