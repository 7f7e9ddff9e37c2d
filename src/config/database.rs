//! Which database, and how many connections to it.
//!
//! | key in `[database]`         | variable                     | default                 |
//! |-----------------------------|------------------------------|-------------------------|
//! | `url`                       | `DATABASE_URL`               | none: an own PostgreSQL |
//! | `listen_url`                | `DATABASE_LISTEN_URL`        | none: `url`             |
//! | `pool_size`                 | `DATABASE_POOL_SIZE`         | 10                      |
//! | `max_overflow`              | `DATABASE_MAX_OVERFLOW`      | 10                      |
//! | `pool_timeout_seconds`      | `DATABASE_POOL_TIMEOUT`      | 30                      |
//! | `pool_recycle_seconds`      | `DATABASE_POOL_RECYCLE`      | 1800                    |
//! | `statement_timeout_seconds` | `DATABASE_STATEMENT_TIMEOUT` | 30                      |
//! | `migrate`                   | `DATABASE_MIGRATE`           | false                   |
//! | `events_keep_days`          | `RAGBOARD_EVENTS_KEEP_DAYS`  | 90                      |
//! | `read_only`                 | `RAGBOARD_READ_ONLY`         | false                   |

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{
    Environment, SslMode,
    database_url::{DatabaseUrl, DatabaseUrlText},
    reader::Reader,
    values::{Seconds, Switch, Whole},
};

/// The database and its pool.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Checked, and to be taken apart by [`DatabaseUrl`]. `None`: the program runs a PostgreSQL of its own.
    pub url: Option<SecretString>,
    /// Where to LISTEN, if `url` leads to a pooler. `None`: at `url`.
    pub listen_url: Option<SecretString>,
    /// Connections that are kept open, 1 to 1000.
    pub pool_size: u32,
    /// Connections beyond those under load, 0 to 1000.
    pub max_overflow: u32,
    /// How long a request waits for a connection.
    pub pool_timeout: Duration,
    /// Age at which a connection is replaced.
    pub pool_recycle: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// Whether the server may migrate the database of `url` when it starts. Its own PostgreSQL it always migrates.
    pub migrate: bool,
    /// Days for which the change log of boards is kept, 1 to 36500; let go by whole months.
    pub events_keep_days: u32,
    /// Whether the server refuses writes, whatever the database says.
    pub read_only: bool,
}

impl DatabaseConfig {
    pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Self {
        let config = DatabaseConfig {
            url: reader.optional("database.url", &["DATABASE_URL"], &DatabaseUrlText),
            listen_url: reader.optional("database.listen_url", &["DATABASE_LISTEN_URL"], &DatabaseUrlText),
            pool_size: reader.value("database.pool_size", &["DATABASE_POOL_SIZE"], &Whole(1..=1000), 10),
            max_overflow: reader.value("database.max_overflow", &["DATABASE_MAX_OVERFLOW"], &Whole(0..=1000), 10),
            pool_timeout: reader.value(
                "database.pool_timeout_seconds",
                &["DATABASE_POOL_TIMEOUT"],
                &Seconds(0.01..=3600.0),
                Duration::from_secs(30),
            ),
            pool_recycle: reader.value(
                "database.pool_recycle_seconds",
                &["DATABASE_POOL_RECYCLE"],
                &Seconds(1.0..=604_800.0),
                Duration::from_secs(1800),
            ),
            statement_timeout: reader.value(
                "database.statement_timeout_seconds",
                &["DATABASE_STATEMENT_TIMEOUT"],
                &Seconds(0.1..=3600.0),
                Duration::from_secs(30),
            ),
            migrate: reader.value("database.migrate", &["DATABASE_MIGRATE"], &Switch, false),
            events_keep_days: reader.value(
                "database.events_keep_days",
                &["RAGBOARD_EVENTS_KEEP_DAYS"],
                &Whole(1..=36_500),
                90,
            ),
            read_only: reader.value("database.read_only", &["RAGBOARD_READ_ONLY"], &Switch, false),
        };
        if environment.is_guarded() {
            config.guard(reader, environment);
        }
        config
    }

    fn guard(&self, reader: &mut Reader<'_>, environment: Environment) {
        let url = "database.url (DATABASE_URL)";
        if self.url.is_none() {
            reader.problem(url, format!("must be set in {environment}"));
        }
        for (key, url) in [(url, &self.url), ("database.listen_url (DATABASE_LISTEN_URL)", &self.listen_url)] {
            let mode = url.as_ref().and_then(|url| Some(DatabaseUrl::parse(url.expose_secret()).ok()?.ssl_mode));
            if mode.is_some_and(|mode| mode < SslMode::Require) {
                reader.problem(key, format!("needs sslmode=require, verify-ca or verify-full in {environment}"));
            }
        }
    }
}
