//! Where the server is and how it is reached, from the text that PostgreSQL's clients take.
//!
//! Owns: reading a URL or `key=value` pairs (libpq, section 34.1.1), the parameters about TLS, and
//! what is taken where nothing is said: full verification for a host that is not this one.

use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{Mode, TlsFiles, connector};
use super::{Kind, PgError};
use crate::config::database::{Database, Secret};
use crate::limits::{PG_CONNECT_MS_MAX, PG_KEEPALIVE_MS, PG_SILENT_MS_MAX};

/// How to reach a server. Reading it touches no network.
#[derive(Clone)]
pub struct PgOptions {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    place: String,
    direct: Option<Box<PgOptions>>,
}

/// Names the server; no password.
impl std::fmt::Debug for PgOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PgOptions({})", self.place)
    }
}

/// Names the server; no password.
impl std::fmt::Display for PgOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

impl PgOptions {
    /// Reads the settings of a database that is a PostgreSQL server; `None` for SQLite.
    ///
    /// # Errors
    ///
    /// `Refused` for what cannot be understood and for a file about TLS that cannot be read.
    pub fn of(database: &Database) -> Result<Option<PgOptions>, PgError> {
        let Some(dsn) = database.dsn() else { return Ok(None) };
        PgOptions::read(&dsn, database.to_string()).map(Some)
    }

    /// Reads the text of a connection. `place` names it for people.
    ///
    /// # Errors
    ///
    /// As [`PgOptions::of`].
    pub fn read(dsn: &Secret, place: String) -> Result<PgOptions, PgError> {
        let (text, ours) = split(dsn.reveal())?;
        let refused = |error: tokio_postgres::Error| {
            PgError::new(Kind::Refused, format!("database: {}", PgError::from(error)))
        };
        let mut config: Config = text.parse().map_err(refused)?;
        let (mode, files) = about_tls(&ours, &config)?;
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let wait = Duration::from_millis(PG_CONNECT_MS_MAX);
        if config.get_connect_timeout().is_none_or(|given| *given > wait) {
            config.connect_timeout(wait);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_millis(PG_SILENT_MS_MAX));
        }
        config.keepalives_idle(Duration::from_millis(PG_KEEPALIVE_MS));
        if config.get_application_name().is_none() {
            config.application_name("engine");
        }
        Ok(PgOptions { config, tls: connector(mode, &files)?, place, direct: None })
    }

    /// Says by which name the server lists our connections.
    #[must_use]
    pub fn named(mut self, application: &str) -> PgOptions {
        self.config.application_name(application);
        self
    }

    /// Another database on the same server.
    #[must_use]
    pub fn database(mut self, name: &str) -> PgOptions {
        self.config.dbname(name);
        self
    }

    /// Only a server that takes writes will do; of several hosts, the first that does.
    #[must_use]
    pub fn writing(mut self) -> PgOptions {
        self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        self
    }

    /// Another way to the same database, past a pooler, for what needs a session of its own.
    #[must_use]
    pub fn with_direct(mut self, direct: PgOptions) -> PgOptions {
        self.direct = Some(Box::new(direct));
        self
    }

    /// The way past a pooler where one was given, else this one.
    pub fn direct(&self) -> &PgOptions {
        self.direct.as_deref().unwrap_or(self)
    }
}

/// Takes out the parameters that are ours. Gives the text without them, and them.
fn split(dsn: &str) -> Result<(String, Vec<(String, String)>), PgError> {
    let mut ours = Vec::new();
    if !dsn.contains("://") {
        let mut text = String::new();
        for (key, value) in pairs(dsn)? {
            if is_ours(&key) {
                ours.push((key, value));
            } else {
                let value = value.replace('\\', "\\\\").replace('\'', "\\'");
                text += &format!("{key}='{value}' ");
            }
        }
        return Ok((text, ours));
    }
    // A password may hold a question mark; it ends at the last @.
    let place_at = dsn.rfind('@').unwrap_or(0);
    let Some(query_at) = dsn[place_at..].find('?').map(|at| place_at + at) else {
        return Ok((dsn.to_owned(), ours));
    };
    let mut kept = Vec::new();
    for part in dsn[query_at + 1..].split('&').filter(|part| !part.is_empty()) {
        let decoded = url::form_urlencoded::parse(part.as_bytes()).next();
        match decoded.filter(|(key, _)| is_ours(key)) {
            Some((key, value)) => ours.push((key.into_owned(), value.into_owned())),
            None => kept.push(part),
        }
    }
    let question = if kept.is_empty() { "" } else { "?" };
    Ok((format!("{}{question}{}", &dsn[..query_at], kept.join("&")), ours))
}

fn is_ours(key: &str) -> bool {
    ["sslmode", "sslrootcert", "sslcert", "sslkey"].contains(&key)
}

/// Pairs of `key=value`; a value in quotes may hold blanks, and `\` takes the next letter as it is.
fn pairs(dsn: &str) -> Result<Vec<(String, String)>, PgError> {
    let bad = || PgError::new(Kind::Refused, "database: write key=value pairs, or a URL");
    let mut letters = dsn.chars().peekable();
    let mut pairs = Vec::new();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(letter) = letters.next_if(|letter| *letter != '=') {
            key.push(letter);
        }
        letters.next().ok_or_else(bad)?;
        let key = key.trim().to_owned();
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let in_quotes = letters.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match letters.next() {
                Some('\\') => value.push(letters.next().ok_or_else(bad)?),
                Some('\'') if in_quotes => break,
                None if in_quotes => return Err(bad()),
                None => break,
                Some(letter) if letter.is_whitespace() && !in_quotes => break,
                Some(letter) => value.push(letter),
            }
        }
        pairs.push((key, value));
    }
}

/// The mode that was asked for, else the one that is safe for these hosts, and the files.
fn about_tls(ours: &[(String, String)], config: &Config) -> Result<(Mode, TlsFiles), PgError> {
    let given = |key: &str| {
        let found = ours.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let files =
        TlsFiles { roots: given("sslrootcert"), cert: given("sslcert"), key: given("sslkey") };
    let mode = match given("sslmode").as_deref() {
        None if config.get_hosts().iter().all(is_here) => Mode::Disable,
        None => Mode::VerifyFull,
        Some("disable") => Mode::Disable,
        Some("allow" | "prefer") => Mode::Prefer,
        // As libpq: roots that are named are there to be used.
        Some("require") if files.roots.is_some() => Mode::VerifyCa,
        Some("require") => Mode::Require,
        Some("verify-ca") => Mode::VerifyCa,
        Some("verify-full") => Mode::VerifyFull,
        Some(other) => {
            return Err(PgError::new(
                Kind::Refused,
                format!(
                    "sslmode={other}: write disable, prefer, require, verify-ca or verify-full"
                ),
            ));
        }
    };
    Ok((mode, files))
}

/// True for a socket of this host and for its own addresses.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dsn: &str) -> Result<PgOptions, PgError> {
        PgOptions::read(&Secret::new(dsn), "here".into())
    }

    fn mode(dsn: &str) -> Mode {
        let (text, ours) = split(dsn).unwrap();
        about_tls(&ours, &text.parse().unwrap()).unwrap().0
    }

    #[test]
    fn a_host_that_is_not_this_one_is_verified_unless_asked_otherwise() {
        assert_eq!(mode("postgres://u:p@db.example.com/n"), Mode::VerifyFull);
        assert_eq!(mode("postgres://u:p@127.0.0.1,db.example.com/n"), Mode::VerifyFull);
        assert_eq!(mode("postgres://u:p@[::1]:5432,localhost/n"), Mode::Disable);
        assert_eq!(mode("host='/run/x y' user=u"), Mode::Disable);
        assert_eq!(mode("host=db sslmode = 'require'"), Mode::Require);
        assert_eq!(mode("host=db sslmode=require sslrootcert=/ca.pem"), Mode::VerifyCa);
        assert_eq!(mode("postgres://db/n?application_name=a&sslmode=disable"), Mode::Disable);
    }

    #[test]
    fn a_password_with_every_sign_comes_through() {
        let signs = r"it's a \ ?&=@ ";
        let database = Database::Postgres {
            host: "localhost".into(),
            port: 5433,
            name: "n".into(),
            user: "u".into(),
            password: Secret::new(signs),
        };
        let options = PgOptions::of(&database).unwrap().unwrap();
        assert_eq!(options.config.get_password(), Some(signs.as_bytes()));
        assert_eq!(options.config.get_ports(), [5433]);
        let url =
            "postgresql://u:it%27s?x@localhost:1,127.0.0.1:2/n?sslmode=disable&connect_timeout=1";
        let options = read(url).unwrap();
        assert_eq!(options.config.get_password(), Some(&b"it's?x"[..]));
        assert_eq!(options.config.get_hosts().len(), 2);
        assert_eq!(options.config.get_connect_timeout(), Some(&Duration::from_secs(1)));
    }

    #[test]
    fn what_cannot_be_understood_is_named_without_the_password() {
        for dsn in [
            "postgres://u:s3cret@localhost/n?sslmode=best",
            "postgres://u:s3cret@localhost/n?sslmood=require",
            "host=localhost password=s3cret port=x",
            "host=localhost password='s3cret",
            "password=s3cret sslmode=verify-ca sslrootcert=/no/such/file",
        ] {
            let error = read(dsn).unwrap_err();
            assert_eq!(error.kind, Kind::Refused, "{dsn}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
