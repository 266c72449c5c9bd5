//! Where monitors and results are kept: how the store is opened, and how it is looked at.
//!
//! Owns: the choice of the backend, and what a start does while a server is away.

use std::path::Path;
use std::sync::Arc;

use crate::env::original::TimeSeries;
use crate::pg::PgOptions;
use crate::store::{
    OpenReader, PgServer, PgStore, Recall, Retention, SqliteFolder, SqliteStore, Store, StoreError,
};

/// Where monitors and results are kept.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A file in the data folder.
    Sqlite,
    /// A PostgreSQL server.
    Postgres {
        /// How it is reached.
        options: Box<PgOptions>,
        /// The original's time series.
        series: TimeSeries,
    },
}

impl Backend {
    /// Opens the store, and what is known of it in the data folder. A database that is known is
    /// connected to at the first call: it may be away.
    ///
    /// # Errors
    ///
    /// What is wrong with the database.
    pub(super) fn open(
        &self,
        data_dir: &Path,
        retention: Retention,
    ) -> Result<(Box<dyn Store>, Option<Recall>), StoreError> {
        match self {
            Backend::Sqlite => Ok((Box::new(SqliteStore::open(data_dir, retention)?), None)),
            Backend::Postgres { options, series } => {
                let recall = Recall::open(data_dir)?;
                let is_known = recall.database().is_some();
                let open = if is_known { PgStore::later } else { PgStore::open };
                Ok((Box::new(open(options, series, retention)?), Some(recall)))
            }
        }
    }

    /// What opens readers of it.
    pub fn readers(&self, data_dir: &Path) -> Arc<dyn OpenReader> {
        match self {
            Backend::Sqlite => Arc::new(SqliteFolder(data_dir.to_owned())),
            Backend::Postgres { options, .. } => Arc::new(PgServer(PgOptions::clone(options))),
        }
    }
}
