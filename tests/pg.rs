//! Connections to PostgreSQL, against a server that the tests start.

#[path = "pg/session.rs"]
mod session;
#[path = "pg/tls.rs"]
mod tls;

use std::future::Future;

use engine::config::database::{Database, Secret};
use engine::pg::{PgError, PgOptions, Session};

/// Runs one task on a runtime of its own.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

fn options(url: &str) -> PgOptions {
    PgOptions::of(&Database::PostgresUrl(Secret::new(url))).unwrap().unwrap()
}

async fn open(url: &str) -> Result<Session, PgError> {
    Session::open(&options(url)).await
}
