//! The way to a PostgreSQL server: where it is, how it is trusted, and sessions with deadlines.
//!
//! Owns: connection settings ([`PgOptions`]), TLS, one connection with a deadline on every wait
//! ([`Session`]), and what an error means for the caller ([`PgError`], [`Kind`]). Leaves to
//! others: SQL, when to connect again, threads.
//!
//! Everything here works through PgBouncer in transaction mode: statements have no names, there is
//! no state of a session, COPY stands between BEGIN and COMMIT, and what a transaction needs is
//! set by `SET LOCAL`. Only LISTEN and migrations want a session of their own: see
//! [`PgOptions::direct`].

mod error;

mod options;

mod tls;

mod session;

pub use error::{Kind, PgError};
pub use options::PgOptions;
pub use session::{Session, Value};
pub use tokio_postgres::types::Type;
pub use tokio_postgres::{Notification, Row};
