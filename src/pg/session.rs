//! One connection, with a deadline on every wait.
//!
//! Owns: connecting, statements without names, COPY, and what a lost COMMIT means. A session whose
//! error [ends it](PgError::ends_session) is dropped by the caller, which closes its socket. It
//! lives on the runtime that made it and goes on only while that runtime runs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Notification, Row};

use super::{Kind, PgError, PgOptions};
use crate::limits::{PG_CONNECT_MS_MAX, PG_STATEMENT_MS_MAX};

/// A parameter and its type: the server is not asked for it.
pub type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// What a person can do about a server that is not there.
const REMEDY: &str = ": start it, or correct DATABASE_URL, or POSTGRES_HOST and POSTGRES_PORT";

/// An open connection.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
    wait: Duration,
}

impl Session {
    /// Connects to the first host that answers and fits, each within `PG_CONNECT_MS_MAX`.
    ///
    /// # Errors
    ///
    /// `Away`, `Refused` or `ReadOnly`, with the server's name.
    pub async fn open(options: &PgOptions) -> Result<Session, PgError> {
        Session::open_with(options, |_| {}).await
    }

    /// As [`Session::open`], and gives what comes for `LISTEN` to `on_notice`, as long as the
    /// runtime runs. It needs a session of its own: use [`PgOptions::direct`].
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub async fn open_with(
        options: &PgOptions,
        mut on_notice: impl FnMut(Notification) + Send + 'static,
    ) -> Result<Session, PgError> {
        let named = |error: PgError| {
            let remedy = if error.kind == Kind::Away { REMEDY } else { "" };
            PgError { text: format!("{options}: {}{remedy}", error.text), ..error }
        };
        let hosts = options.config.get_hosts().len().max(1) as u32;
        // The time limit of the options is for the socket alone; this one is for logging in too.
        let wait = Duration::from_millis(PG_CONNECT_MS_MAX) * hosts;
        let connecting = options.config.connect(options.tls.clone());
        let (client, mut connection) = within(wait, connecting).await.map_err(named)?;
        let driver = tokio::spawn(async move {
            let mut connection = pin!(&mut connection);
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notice)) => on_notice(notice),
                    Ok(_) => {}
                    Err(_) => return, // Whoever waits for an answer gets the error.
                }
            }
        });
        Ok(Session { client, driver, wait: Duration::from_millis(PG_STATEMENT_MS_MAX) })
    }

    /// Changes how long each answer may take, in milliseconds.
    #[must_use]
    pub fn waiting(mut self, wait_ms: u64) -> Session {
        self.wait = Duration::from_millis(wait_ms);
        self
    }

    /// False once the connection is lost.
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Runs statements without parameters, one after the other, in one round trip.
    ///
    /// # Errors
    ///
    /// What the server says of the first that fails, or `Away` past the deadline.
    pub async fn run(&self, sql: &str) -> Result<(), PgError> {
        within(self.wait, self.client.batch_execute(sql)).await
    }

    /// Runs one statement and gives its rows.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, PgError> {
        within(self.wait, self.client.query_typed(sql, values)).await
    }

    /// Runs one statement and gives the number of rows it changed.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub async fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, PgError> {
        within(self.wait, self.client.execute_typed(sql, values)).await
    }

    /// Runs `COPY … FROM STDIN` with `data` and gives the number of rows. Only within a
    /// transaction, so that a pooler keeps the connection.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub async fn copy(&self, sql: &str, data: Bytes) -> Result<u64, PgError> {
        within(self.wait, async {
            let sink = self.client.copy_in(sql).await?;
            let mut sink = pin!(sink);
            sink.send(data).await?;
            sink.finish().await
        })
        .await
    }

    /// Commits. All that was sent before has to have succeeded.
    ///
    /// # Errors
    ///
    /// `InDoubt` where the connection is lost before the answer, else as [`Session::run`].
    pub async fn commit(&self) -> Result<(), PgError> {
        self.run("COMMIT").await.map_err(|error| match error.kind {
            Kind::Away => PgError::new(Kind::InDoubt, format!("COMMIT: {}", error.text)),
            _ => error,
        })
    }

    /// The client itself, for a library that wants one.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Says goodbye to the server, which then frees the connection at once.
    pub async fn close(mut self) {
        let driver = std::mem::replace(&mut self.driver, tokio::spawn(async {}));
        drop(self);
        let _ = timeout(Duration::from_millis(PG_CONNECT_MS_MAX), driver).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Waits for an answer, but not for ever: a server that stands still sends nothing.
async fn within<T>(
    wait: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PgError> {
    match timeout(wait, answer).await {
        Ok(answer) => answer.map_err(PgError::from),
        Err(_) => {
            let text = format!("no answer within {} ms", wait.as_millis());
            Err(PgError::new(Kind::Away, text))
        }
    }
}
