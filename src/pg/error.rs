//! What an error of the database means for the caller. The words never hold a password.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::SqlState;

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server is not there, does not answer or went away: connect again later.
    Away,
    /// It does not let us in, or lacks a right or an object: a person has to change something.
    Refused,
    /// It takes no writes, a standby for instance: connect again, to another host where there is
    /// one.
    ReadOnly,
    /// Its disk is full.
    Full,
    /// A value of ours is not taken (classes 22 and 23): the same call fails again.
    Poison,
    /// Somebody else is in the way: a lock, a deadlock, a statement that took too long.
    Busy,
    /// The connection was lost after COMMIT was sent: nobody knows whether it took place.
    InDoubt,
    /// Anything else.
    Other,
}

/// An error of the database, in words, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PgError {
    /// What can be done about it.
    pub kind: Kind,
    /// What the server or the client said.
    pub text: String,
}

impl PgError {
    /// An error in our own words.
    pub fn new(kind: Kind, text: impl Into<String>) -> PgError {
        PgError { kind, text: text.into() }
    }

    /// True where nobody has to change anything: another try may succeed.
    pub fn is_passing(&self) -> bool {
        !matches!(self.kind, Kind::Refused | Kind::Poison | Kind::Other)
    }

    /// True where the connection is of no more use.
    pub fn ends_session(&self) -> bool {
        matches!(self.kind, Kind::Away | Kind::ReadOnly | Kind::InDoubt)
    }
}

impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> PgError {
        if let Some(said) = error.as_db_error() {
            let code = said.code();
            let text = format!("{} ({}){}", said.message(), code.code(), place_of(said));
            return PgError::new(kind_of(code), text + remedy(code));
        }
        let mut text = error.to_string();
        if let Some(cause) = error.source() {
            text += &format!(": {cause}");
        }
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let kind = match cause.map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => Kind::ReadOnly,
            Some(io::ErrorKind::InvalidData) => Kind::Refused,
            Some(_) => Kind::Away,
            None if error.is_closed() => Kind::Away,
            None if text.contains("TLS") || text.contains("authentication") => Kind::Refused,
            None => Kind::Other,
        };
        PgError::new(kind, text)
    }
}

/// Names the table and the rule where the server says them: not the values, which are the user's.
fn place_of(said: &tokio_postgres::error::DbError) -> String {
    let named = [("table", said.table()), ("constraint", said.constraint())];
    let named = named.into_iter().filter_map(|(what, name)| Some(format!(", {what} {}", name?)));
    named.collect()
}

fn kind_of(code: &SqlState) -> Kind {
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Kind::ReadOnly;
    }
    if *code == SqlState::DISK_FULL {
        return Kind::Full;
    }
    if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        return Kind::Busy;
    }
    match &code.code()[..2] {
        "08" | "57" | "58" | "53" | "XX" => Kind::Away,
        "28" | "3D" | "42" | "3F" => Kind::Refused,
        "22" | "23" => Kind::Poison,
        "40" | "55" => Kind::Busy,
        _ => Kind::Other,
    }
}

/// What a person can do about the commonest refusals.
fn remedy(code: &SqlState) -> &'static str {
    match code.code() {
        "28P01" => ": check POSTGRES_PASSWORD, or the password in the URL",
        "28000" => ": check the user, and pg_hba.conf of the server",
        "3D000" => ": check POSTGRES_NAME, or create the database",
        "42501" => ": grant this right to the engine's role, or make the role the owner",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classed_by_what_can_be_done() {
        let kind = |code| kind_of(&SqlState::from_code(code));
        assert_eq!(kind("25006"), Kind::ReadOnly);
        assert_eq!(kind("53100"), Kind::Full);
        assert_eq!(
            (kind("53300"), kind("57P01"), kind("08006")),
            (Kind::Away, Kind::Away, Kind::Away)
        );
        assert_eq!((kind("22021"), kind("23505")), (Kind::Poison, Kind::Poison));
        assert_eq!((kind("28P01"), kind("42P01")), (Kind::Refused, Kind::Refused));
        assert_eq!(
            (kind("57014"), kind("40P01"), kind("55P03")),
            (Kind::Busy, Kind::Busy, Kind::Busy)
        );
    }
}
