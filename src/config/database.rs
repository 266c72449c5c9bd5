//! Which database is used, and secrets that never show themselves.
//!
//! Owns: the setting. Leaves to others: connecting (`store`). A secret leaves its wrapper only by
//! [`Secret::reveal`], so that every place that reads one can be found.

use std::fmt;

/// A text that neither `Debug` nor `Display` shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// What is shown instead of a secret.
pub const MASK: &str = "***";

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Where monitors and results are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Database {
    /// A file in the data folder.
    #[default]
    Sqlite,
    /// A PostgreSQL server, by its parts.
    Postgres {
        /// Name or address of the server.
        host: String,
        /// Its port.
        port: u16,
        /// The database on it.
        name: String,
        /// Who we are there.
        user: String,
        /// How we prove it; empty for none.
        password: Secret,
    },
    /// A PostgreSQL server, by a URL that may hold a password, several hosts and parameters.
    PostgresUrl(Secret),
}

impl Database {
    /// Reads `sqlite` or a URL that starts with `postgres://` or `postgresql://`.
    ///
    /// # Errors
    ///
    /// What is supported, in words without the text: it may hold a password.
    pub fn read(text: &str) -> Result<Database, String> {
        match text.split_once("://").map(|(scheme, _)| scheme) {
            None if text.eq_ignore_ascii_case("sqlite") => Ok(Database::Sqlite),
            Some("postgres" | "postgresql") => Ok(Database::PostgresUrl(Secret::new(text))),
            Some("mysql" | "mariadb" | "mysql+pymysql") => Err(NOT_MYSQL.to_owned()),
            _ => Err("write sqlite, or postgres://user:password@host:port/name".to_owned()),
        }
    }

    /// The connection text that PostgreSQL's own clients take (libpq, section 34.1.1); `None` for
    /// SQLite.
    pub fn dsn(&self) -> Option<Secret> {
        match self {
            Database::Sqlite => None,
            Database::PostgresUrl(url) => Some(url.clone()),
            Database::Postgres { host, port, name, user, password } => {
                let pair = |key: &str, value: &str| format!("{key}={} ", quoted(value));
                let mut text = pair("host", host) + &pair("port", &port.to_string());
                text += &(pair("dbname", name) + &pair("user", user));
                if !password.reveal().is_empty() {
                    text += &pair("password", password.reveal());
                }
                Some(Secret::new(text.trim_end()))
            }
        }
    }
}

/// What is said about MySQL.
pub const NOT_MYSQL: &str = "MySQL is not supported: the engine works with PostgreSQL \
    (DB_TYPE=postgresql with POSTGRES_HOST, _PORT, _NAME, _USER, _PASSWORD) or with its own \
    SQLite file (DB_TYPE=sqlite)";

/// Names the server and the database; no password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite => f.write_str("sqlite"),
            Database::Postgres { host, port, name, user, .. } => {
                write!(f, "postgres://{user}:{MASK}@{host}:{port}/{name}")
            }
            Database::PostgresUrl(url) => {
                let rest = url.reveal().split_once("://").map_or("", |(_, rest)| rest);
                // A password may hold any character but the @ that ends it; parameters may hold
                // one too.
                let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
                let user = login.split(':').next().unwrap_or_default();
                let place = place.split(['?', '#']).next().unwrap_or_default();
                write!(f, "postgres://{user}:{MASK}@{place}")
            }
        }
    }
}

/// A value as libpq reads it: in quotes, with quotes and backslashes escaped.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere() {
        let password = Secret::new("s3cret");
        let database = Database::Postgres {
            host: "db".into(),
            port: 5432,
            name: "monitor_v2".into(),
            user: "postgres".into(),
            password,
        };
        let url = Database::read("postgres://u:s3cret@a,b:5/n?password=s3cret").unwrap();
        for shown in [format!("{database:?} {database}"), format!("{url:?} {url}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(database.to_string(), "postgres://postgres:***@db:5432/monitor_v2");
        assert_eq!(url.to_string(), "postgres://u:***@a,b:5/n");
    }

    #[test]
    fn the_parts_become_a_text_that_a_client_reads_back() {
        let database = Database::Postgres {
            host: "::1".into(),
            port: 5432,
            name: "n".into(),
            user: "u".into(),
            password: Secret::new("it's a \\ "),
        };
        let dsn = database.dsn().unwrap();
        let wanted = r"host='::1' port='5432' dbname='n' user='u' password='it\'s a \\ '";
        assert_eq!(dsn.reveal(), wanted);
        assert_eq!(Database::Sqlite.dsn(), None);
    }

    #[test]
    fn another_database_is_refused_without_its_password() {
        assert_eq!(Database::read("SQLite"), Ok(Database::Sqlite));
        assert_eq!(Database::read("mysql://u:s3cret@h/n"), Err(NOT_MYSQL.to_owned()));
        let error = Database::read("oracle://u:s3cret@h/n").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
