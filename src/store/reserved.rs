//! A connection outside the pool, for statements that must not wait behind those of requests: looks of the cache, the change
//! feed, presence.
//!
//! One statement at a time, each with a bound. A connection that has not answered by then is dropped, because it may never
//! answer, and the next statement opens another. What runs on it and what the bound is, is said where it is made (`app.rs`).

use std::time::Duration;

use diesel::{deserialize::FromSqlRow, expression::QueryMetadata, pg::Pg, query_dsl::CompatibleType};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use tokio::{sync::Mutex, time::timeout};

use super::{Store, pool::establish, statement::Statement, tls::Connector};
use crate::domain::{Code, Error, Result};

/// How long each host of the database may take for a new connection; one that is not there takes half of it.
const EACH_HOST_WITHIN: Duration = Duration::from_secs(2);
/// How long setting a new connection up may take beside that.
const SET_UP_WITHIN: Duration = Duration::from_secs(1);

/// See the top of the file.
pub(super) struct Reserved {
    connector: Connector,
    within: Duration,
    /// Taken out while a statement runs: a statement that is given up takes its connection with it.
    kept: Mutex<Option<AsyncPgConnection>>,
}

impl Store {
    /// The same store, whose plain reads run on a connection of their own and not in the pool. It is opened by the first of
    /// them, and shows up in the database as `name`. A statement that takes longer than `within` fails with `Timeout`.
    ///
    /// # Errors
    /// `Internal` if the URL cannot be used.
    pub fn reserved(&self, url: &SecretString, name: &str, within: Duration) -> Result<Store> {
        // Past our bound nobody waits for the answer: the database gives up a little later by itself.
        let connector = Connector::new(url, name, Some(within.saturating_mul(2)))?.quick(EACH_HOST_WITHIN);
        Ok(self.on(Reserved { connector, within, kept: Mutex::default() }))
    }
}

impl Reserved {
    /// Reads all rows of a statement. Where the connection was lost meanwhile, another one is tried.
    pub(super) async fn fetch<ST, Row>(&self, store: &Store, statement: impl Fn() -> Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        let mut kept = self.kept.lock().await;
        let mut is_new = false;
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => {
                    is_new = true;
                    self.connect().await?
                }
            };
            let ran = timeout(self.within, store.try_run(&mut connection, statement())).await;
            match ran.map_err(|_| Error::new(Code::Timeout, "The database takes too long"))? {
                Err((_, true)) if !is_new => {}
                Err((error, is_lost)) => {
                    *kept = Some(connection).filter(|_| !is_lost);
                    return Err(error);
                }
                Ok(rows) => {
                    *kept = Some(connection);
                    return Ok(rows);
                }
            }
        }
    }

    async fn connect(&self) -> Result<AsyncPgConnection> {
        let cannot = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::caused(Code::Overloaded, "The database cannot be reached at the moment; try again", cause)
        };
        let within = self.connector.patience() + SET_UP_WITHIN;
        let opened = timeout(within, establish(&self.connector)).await.map_err(|late| cannot(late.into()))?;
        opened.map_err(|refused| cannot(refused.into()))
    }
}
