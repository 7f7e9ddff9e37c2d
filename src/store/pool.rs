//! The pool of connections and the one wrapper that every statement goes through: it names, times and counts it, tries
//! a read again when the connection was lost, and turns failures into the program's error.
//!
//! The pool's timeout is for waiting until somebody else is done. A database that cannot be reached is told at once: where
//! no connection is left, nobody will be done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel::{QueryResult, deserialize::FromSqlRow, expression::QueryMetadata, pg::Pg, query_dsl::CompatibleType};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolError, PoolableConnection, RecyclingMethod,
        bb8::{Pool, PooledConnection},
    },
};
use futures_util::FutureExt;
use secrecy::SecretString;
use tokio::sync::watch;

use super::{error, statement::Statement, tls::Connector};
use crate::{
    config::DatabaseConfig,
    domain::{Error, Result},
};

/// Slower statements are worth a warning.
const SLOW: Duration = Duration::from_secs(1);
/// How often a read is tried when its connection turns out to be lost.
const READ_ATTEMPTS: usize = 3;

/// The PostgreSQL adapter: implements the ports of the domain. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    failures: Failures,
    pool_size: u32,
    log: Arc<StatementLog>,
}

/// How the pool is used at a moment.
#[derive(Clone, Copy, Debug)]
pub struct PoolUse {
    /// Open connections up to the pool size.
    pub within_size: u32,
    /// Open connections beyond it.
    pub overflow: u32,
    /// Open connections that nobody uses.
    pub idle: u32,
    /// Time that all requests together waited for a connection, in seconds.
    pub wait_seconds: f64,
}

impl Store {
    /// Opens the pool and its first connection.
    ///
    /// # Errors
    /// `Overloaded` when the database cannot be reached.
    pub async fn connect(url: &SecretString, config: &DatabaseConfig) -> Result<Store> {
        let connector = Connector::new(url, "ragboard", Some(config.statement_timeout))?;
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| {
            let connector = connector.clone();
            async move { establish(&connector).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", manager);
        let failures = Failures(watch::Sender::new(None));
        let pool = Pool::builder()
            .max_size(config.pool_size.saturating_add(config.max_overflow))
            // Connections beyond pool_size are closed again when they idle.
            .min_idle(Some(1))
            .idle_timeout(Some(Duration::from_secs(60).min(config.pool_recycle)))
            .max_lifetime(Some(config.pool_recycle))
            .connection_timeout(config.pool_timeout)
            // A lost connection is found out by the statement, which is tried again: cheaper than a ping each time.
            .test_on_check_out(false)
            // The next request tries again, and not a timer whose pauses grow.
            .retry_connection(false)
            .error_sink(Box::new(failures.clone()))
            .build(manager)
            .await
            .map_err(|cause| error::from_pool(bb8::RunError::User(cause)))?;
        Ok(Store { pool, failures, pool_size: config.pool_size, log: Arc::default() })
    }

    /// A connection that was open a moment ago.
    pub(super) async fn connection(&self) -> Result<PooledConnection<'_, AsyncPgConnection>> {
        loop {
            let failures = self.failures.0.subscribe();
            let mut connection = tokio::select! {
                biased;
                connection = self.pool.get() => connection.map_err(error::from_pool)?,
                failure = self.unreachable(failures) => return Err(failure),
            };
            // One that the server has closed meanwhile is thrown away by the pool when it goes back there.
            if !connection.is_broken() {
                return Ok(connection);
            }
        }
    }

    /// As [`Store::connection`], for as long as its holder likes.
    pub(super) async fn owned_connection(&self) -> Result<PooledConnection<'static, AsyncPgConnection>> {
        loop {
            let failures = self.failures.0.subscribe();
            let mut connection = tokio::select! {
                biased;
                connection = self.pool.get_owned() => connection.map_err(error::from_pool)?,
                failure = self.unreachable(failures) => return Err(failure),
            };
            if !connection.is_broken() {
                return Ok(connection);
            }
        }
    }

    /// Waits until no connection can be opened and there is none that somebody could give back.
    async fn unreachable(&self, mut failures: watch::Receiver<Option<Error>>) -> Error {
        // The sender lives as long as `self`: changes are waited for without end.
        while failures.changed().await.is_ok() {
            let failure = failures.borrow_and_update().clone();
            if let Some(failure) = failure
                && self.pool.state().connections == 0
            {
                return failure;
            }
        }
        std::future::pending().await
    }

    /// Reads all rows of a statement.
    pub(super) async fn fetch<ST, Row>(&self, statement: impl Fn() -> Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        let mut attempt = 1;
        loop {
            let mut connection = self.connection().await?;
            match self.try_run(&mut connection, statement()).await {
                Err((error, true)) if attempt < READ_ATTEMPTS => {
                    tracing::warn!(attempt, cause = ?error.cause(), "Lost a database connection, trying another");
                    attempt += 1;
                }
                outcome => return outcome.map_err(|(error, _)| error),
            }
        }
    }

    /// Runs a statement on a connection of the caller's.
    pub(super) async fn run<ST, Row>(
        &self,
        connection: &mut AsyncPgConnection,
        statement: Statement<ST>,
    ) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        self.try_run(connection, statement).await.map_err(|(error, _)| error)
    }

    /// The same; the flag of the error says that the connection was lost.
    async fn try_run<ST, Row>(
        &self,
        connection: &mut AsyncPgConnection,
        statement: Statement<ST>,
    ) -> Result<Vec<Row>, (Error, bool)>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        let (name, began) = (statement.name, Instant::now());
        let outcome: QueryResult<Vec<Row>> = statement.load(connection).await;
        let took = began.elapsed();
        self.log.add(name, took);
        match outcome {
            Ok(rows) => {
                tracing::debug!(statement = name, took_us = took.as_micros() as u64, rows = rows.len(), "SQL");
                if took > SLOW {
                    tracing::warn!(statement = name, took_ms = took.as_millis() as u64, "Slow SQL statement {name}");
                }
                Ok(rows)
            }
            Err(cause) => {
                let lost = error::is_connection_loss(&cause);
                Err((error::from_diesel(name, cause), lost))
            }
        }
    }

    /// What ran since the start, by the name of the statement.
    #[must_use]
    pub fn statements(&self) -> BTreeMap<&'static str, StatementTotals> {
        self.log.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ping(&self) -> Result<()> {
        let _: Vec<i32> = self.fetch(|| Statement::<diesel::sql_types::Integer>::new("ping").sql("SELECT 1")).await?;
        Ok(())
    }

    /// How many connections the server allows to all its clients together.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn max_connections(&self) -> Result<i64> {
        let rows: Vec<i64> = self
            .fetch(|| {
                Statement::<diesel::sql_types::BigInt>::new("max_connections")
                    .sql("SELECT current_setting('max_connections')::bigint")
            })
            .await?;
        Ok(rows.into_iter().sum())
    }

    /// How the pool is used.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        let state = self.pool.state();
        PoolUse {
            within_size: state.connections.min(self.pool_size),
            overflow: state.connections.saturating_sub(self.pool_size),
            idle: state.idle_connections,
            wait_seconds: state.statistics.get_wait_time.as_secs_f64(),
        }
    }
}

async fn establish(connector: &Connector) -> diesel::ConnectionResult<AsyncPgConnection> {
    let refused = |error: Error| {
        let cause = error.cause().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        diesel::ConnectionError::BadConnection(cause)
    };
    let (client, connection) = connector.connect().await.map_err(refused)?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// Tells those who wait for a connection that one could not be opened, and why.
#[derive(Clone, Debug)]
struct Failures(watch::Sender<Option<Error>>);

impl bb8::ErrorSink<PoolError> for Failures {
    fn sink(&self, cause: PoolError) {
        tracing::warn!(%cause, "Could not open a database connection");
        self.0.send_replace(Some(error::from_pool(bb8::RunError::User(cause))));
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}

/// Count and time of one statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementTotals {
    /// How often it ran.
    pub count: u64,
    /// How long all runs took together, in microseconds.
    pub time_us: u64,
}

#[derive(Default)]
struct StatementLog {
    totals: Mutex<BTreeMap<&'static str, StatementTotals>>,
}

impl StatementLog {
    fn add(&self, name: &'static str, took: Duration) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let total = totals.entry(name).or_default();
        total.count += 1;
        total.time_us += took.as_micros() as u64;
    }
}
