//! The database of a run: a file in the run's folder, or a new database on a server.
//!
//! Owns: making the database on the server, its size, and its end. What else is on the server is
//! not touched; the role needs the right to create databases.

use std::path::Path;

use crate::bench::BenchError;
use crate::boot::backend::Backend;
use crate::config::database::Database;
use crate::env::original::TimeSeries;
use crate::pg::{PgError, PgOptions, Session};
use crate::store::StoreError;

/// The database of a run. It ends with this value.
pub enum RunDatabase {
    /// In the folder of the run, which is deleted with it.
    File,
    /// On a server.
    Server {
        /// How the server is reached, by a database that is there.
        server: Box<PgOptions>,
        /// The name of the one that was made.
        name: String,
    },
}

impl RunDatabase {
    /// Makes a database where `database` says.
    ///
    /// # Errors
    ///
    /// The server is away or refuses.
    pub fn make(database: &Database) -> Result<RunDatabase, BenchError> {
        let Some(server) = PgOptions::of(database)? else { return Ok(RunDatabase::File) };
        let name = format!("engine_bench_{}", std::process::id());
        ask(&server, &format!("CREATE DATABASE {name}"))?;
        Ok(RunDatabase::Server { server: Box::new(server), name })
    }

    /// The name of the backend, in reports.
    pub fn kind(&self) -> &'static str {
        match self {
            RunDatabase::File => "sqlite",
            RunDatabase::Server { .. } => "postgres",
        }
    }

    /// What the engine is told.
    pub fn backend(&self) -> Backend {
        match self {
            RunDatabase::File => Backend::Sqlite,
            RunDatabase::Server { server, name } => Backend::Postgres {
                options: Box::new(PgOptions::clone(server).database(name)),
                series: TimeSeries::default(),
            },
        }
    }

    /// Bytes that it takes; `folder` is where files are. 0 where the server does not say.
    pub fn bytes(&self, folder: &Path) -> u64 {
        match self {
            RunDatabase::File => file_bytes(folder),
            RunDatabase::Server { server, name } => {
                let size = format!("SELECT pg_database_size('{name}')");
                ask(server, &size).ok().flatten().and_then(|size| size.try_into().ok()).unwrap_or(0)
            }
        }
    }
}

impl Drop for RunDatabase {
    fn drop(&mut self) {
        if let RunDatabase::Server { server, name } = self
            && let Err(error) = ask(server, &format!("DROP DATABASE {name} WITH (FORCE)"))
        {
            tracing::warn!(%error, "the database {name} of the bench stays");
        }
    }
}

/// Runs one statement and gives the number that it answers, if it does.
fn ask(server: &PgOptions, sql: &str) -> Result<Option<i64>, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreError::Database(error.to_string()))?;
    let rows = runtime.block_on(async {
        let session = Session::open(server).await?;
        session.query(sql, &[]).await
    })?;
    Ok(rows.first().map(|row| row.get(0)))
}

fn file_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let named = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().contains(".db");
    let sizes = entries.flatten().filter(named).flat_map(|entry| entry.metadata());
    sizes.map(|metadata| metadata.len()).sum()
}

impl From<PgError> for BenchError {
    fn from(error: PgError) -> BenchError {
        BenchError::Database(error.into())
    }
}
