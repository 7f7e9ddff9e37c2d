//! Settings: read once at start, checked whole, handed out as plain structs. Nobody else reads the environment.
//!
//! Order, later wins: defaults, the file `ragboard.toml` (`RAGBOARD_CONFIG` names another one), the environment, and what
//! the command line puts into [`Sources`]. An empty variable counts as not set. One file per concern lists its keys:
//! `database`, `local`, `http`, `auth`, `mail`, `cache`, `jobs`, `search`, `limits`, `quotas`, `log`, `outbound`; `ragboard.example.toml` documents all
//! of them.
//!
//! | key           | variable                                                 | default       |
//! |---------------|----------------------------------------------------------|---------------|
//! | `environment` | `RAGBOARD_ENV`, else `RAGBOARD_ENVIRONMENT`, `APP_ENV`    | `development` |

pub mod auth;
pub mod cache;
pub mod database;
pub mod database_url;
pub mod http;
pub mod jobs;
pub mod limits;
pub mod local;
pub mod log;
pub mod mail;
pub mod network;
pub mod outbound;
pub mod quotas;
mod reader;
pub mod search;
mod sources;
mod values;
mod web_address;

use std::fmt;

pub use self::{
    auth::AuthConfig,
    cache::{CacheConfig, CacheMode},
    database::DatabaseConfig,
    database_url::{DatabaseUrl, SslMode},
    http::{ForwardedHeader, HttpConfig},
    jobs::JobsConfig,
    limits::LimitsConfig,
    local::LocalConfig,
    log::{LogConfig, LogFormat},
    mail::MailConfig,
    network::Network,
    outbound::{Allowed, OutboundConfig},
    quotas::{QuotaConfig, Tier},
    reader::{Problem, Problems},
    search::{EmbedderKind, SearchConfig},
    sources::Sources,
};
use self::{reader::Reader, reader::Setting, values::Word};

/// Where the program runs; the last two insist on real secrets and on an encrypted database connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Shared testing.
    Qa,
    /// The rehearsal of production, with its rules.
    Preprod,
    /// Live.
    Production,
}

impl Environment {
    const WORDS: &[(&'static str, Environment)] = &[
        ("development", Environment::Development),
        ("qa", Environment::Qa),
        ("preprod", Environment::Preprod),
        ("production", Environment::Production),
    ];

    /// Whether the rules for live data hold: preprod and production.
    #[must_use]
    pub const fn is_guarded(self) -> bool {
        matches!(self, Environment::Preprod | Environment::Production)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Word(Self::WORDS).name_of(*self))
    }
}

/// Every setting of the program. `Display` prints it as TOML with secrets hidden and the origin of each value.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the program runs.
    pub environment: Environment,
    /// The database and its pool.
    pub database: DatabaseConfig,
    /// Folders on this machine.
    pub local: LocalConfig,
    /// The HTTP server.
    pub http: HttpConfig,
    /// Credentials.
    pub auth: AuthConfig,
    /// Sending mail.
    pub mail: MailConfig,
    /// The board cache.
    pub cache: CacheConfig,
    /// Background jobs.
    pub jobs: JobsConfig,
    /// What turns texts into vectors.
    pub search: SearchConfig,
    /// What one request may ask for.
    pub limits: LimitsConfig,
    /// How much accounts may have.
    pub quotas: QuotaConfig,
    /// The log.
    pub log: LogConfig,
    /// Outgoing HTTP.
    pub outbound: OutboundConfig,
    settings: Vec<Setting>,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All problems at once, each with the key, the variable and what is accepted; secrets are never repeated.
    pub fn load(sources: &Sources) -> Result<Config, Problems> {
        let mut reader = Reader::open(sources);
        let environment = reader.value(
            "environment",
            &["RAGBOARD_ENV", "RAGBOARD_ENVIRONMENT", "APP_ENV"],
            &Word(Environment::WORDS),
            Environment::Development,
        );
        let database = DatabaseConfig::read(&mut reader, environment);
        let local = LocalConfig::read(&mut reader, sources);
        let http = HttpConfig::read(&mut reader, environment);
        let outbound = OutboundConfig::read(&mut reader);
        let auth = AuthConfig::read(&mut reader, environment, &outbound);
        let mail = MailConfig::read(&mut reader, environment);
        let cache = CacheConfig::read(&mut reader);
        let jobs = JobsConfig::read(&mut reader);
        let search = SearchConfig::read(&mut reader, &outbound);
        let limits = LimitsConfig::read(&mut reader);
        let quotas = QuotaConfig::read(&mut reader);
        let log = LogConfig::read(&mut reader, environment);
        let settings = reader.finish()?;
        Ok(Config {
            environment,
            database,
            local,
            http,
            auth,
            mail,
            cache,
            jobs,
            search,
            limits,
            quotas,
            log,
            outbound,
            settings,
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for setting in &self.settings {
            let (its_section, _) = setting.split();
            if its_section != section {
                section = its_section;
                writeln!(f, "\n[{section}]")?;
            }
            writeln!(f, "{setting}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
