//! Which database a command works on: the one of `DATABASE_URL`, the own one that a server already runs, or the own one
//! started for the length of the command.

use secrecy::SecretString;

use super::{
    Failure,
    local_pg::{LocalPg, Options, Purpose},
};
use crate::{
    config::Config,
    store::migrations::{self, Direction},
};

/// Name of the database in the own PostgreSQL.
const DATABASE: &str = "ragboard";

/// A database to work on. The own PostgreSQL stops with [`Database::release`].
pub(super) struct Database {
    pub(super) url: SecretString,
    /// Where it comes from, for people: never with a password.
    pub(super) described: String,
    own: Option<LocalPg>,
}

impl Database {
    /// Finds or starts the database of a command; the own one is migrated by itself.
    pub(super) async fn open(config: &Config) -> Result<Database, Failure> {
        if let Some(url) = &config.database.url {
            return Ok(Database { url: url.clone(), described: "DATABASE_URL".into(), own: None });
        }
        if let Some(endpoint) = LocalPg::attach(&config.local.data_dir).await? {
            let described = format!("the PostgreSQL of the server that runs on {}", config.local.data_dir.display());
            return Ok(Database { url: endpoint.url(DATABASE), described, own: None });
        }
        Database::start(config).await
    }

    /// Starts the own PostgreSQL, or takes the database of `DATABASE_URL`. Refused while another program owns the folder.
    pub(super) async fn start(config: &Config) -> Result<Database, Failure> {
        if let Some(url) = &config.database.url {
            return Ok(Database { url: url.clone(), described: "DATABASE_URL".into(), own: None });
        }
        let own = LocalPg::start(Options {
            data_dir: config.local.data_dir.clone(),
            cache_dir: config.local.cache_dir.clone(),
            purpose: Purpose::Durable,
        })
        .await?;
        let url = own.endpoint().url(DATABASE);
        let described = format!("{} (own PostgreSQL on port {})", own.data_dir().display(), own.endpoint().port());
        migrations::run(&url, Direction::Up).await?;
        Ok(Database { url, described, own: Some(own) })
    }

    /// Whether it is the program's own.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Lets go of it; stops the own PostgreSQL.
    pub(super) async fn release(self) -> Result<(), Failure> {
        match self.own {
            Some(own) => own.stop().await,
            None => Ok(()),
        }
    }
}
