//! One list of tests for every backend of the store, and what only SQLite can get wrong.
//!
//! A backend is a factory of stores and readers on one database: opening again is a restart.

#[path = "store/backend.rs"]
mod backend;
#[path = "store/history.rs"]
mod history;
#[path = "store/hours.rs"]
mod hours;
#[path = "store/monitors.rs"]
mod monitors;
#[path = "store/original.rs"]
mod original;
#[path = "store/replay.rs"]
mod replay;
#[path = "store/retention.rs"]
mod retention;
#[path = "store/server.rs"]
mod server;
#[path = "store/sqlite_file.rs"]
mod sqlite_file;
#[path = "store/states.rs"]
mod states;

#[path = "store/timescale.rs"]
mod timescale;
#[path = "store/words.rs"]
mod words;

/// Makes a test of each function for each backend.
macro_rules! for_every_backend {
    ($($name:ident)*) => {
        mod sqlite {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::backend::Sqlite::new());
                }
            )*
        }

        mod postgres {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::backend::Postgres::new());
                }
            )*
        }
    };
}
pub(crate) use for_every_backend;
