//! The pool of connections and the one wrapper that every statement goes through: it names, times and counts it, tries
//! a read again when the connection was lost, and turns failures into the program's error.
//!
//! Whoever wants a connection waits for a turn first, so that no caller takes them all (`access/turns.rs`); the pool below
//! never has more holders than it may have connections. Its timeout is for waiting until somebody else is done. A database
//! that cannot be reached is told at once: where no connection is left, nobody will be done.
//!
//! The server ends a statement that takes too long. Where it does not say so in time, the connection may be half open:
//! it is not waited for any longer, and not used again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bb8::QueueStrategy;
use diesel::{QueryResult, deserialize::FromSqlRow, expression::QueryMetadata, pg::Pg, query_dsl::CompatibleType};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, bb8::Pool},
};
use futures_util::FutureExt;
use secrecy::SecretString;
use tokio::{sync::watch, time::timeout};

use super::{
    board_turns::BoardTurns,
    error,
    lent::{Lent, at_work, keep_watch},
    outage::Failures,
    reserved::Reserved,
    statement::Statement,
    tls::{Canceller, Connector},
};
use crate::{
    access::{Caller, TurnLimits, Turns},
    config::DatabaseConfig,
    domain::{Code, Error, Result},
};

/// Slower statements are worth a warning.
const SLOW: Duration = Duration::from_secs(1);
/// How much later than the server has to end a statement its answer may come.
const MARGIN: Duration = Duration::from_secs(5);
/// A statement that has more time than others, and how much: see `chunk/write.rs`, where it is asked for.
const LONG: (&str, Duration) = ("embeddings.ask_for_missing", Duration::from_secs(600));
/// How often a read is tried when its connection turns out to be lost.
const READ_ATTEMPTS: usize = 3;
/// Connections that one caller may use at once, at least, where there are so many.
const LEAST_SHARE: u32 = 2;
/// Statements of one caller that may wait for a connection.
const WAITING: usize = 1000;
/// What is nice to have on a connection, and not everywhere to be had: the server notices soon that a client is gone for whom it
/// works (from PostgreSQL 14 on, and not on every system), and says in English what is wrong, so that `error.rs` understands it.
const PREPARE: &str = "DO $$ BEGIN \
     BEGIN PERFORM set_config('client_connection_check_interval', '2s', false); EXCEPTION WHEN OTHERS THEN NULL; END; \
     BEGIN PERFORM set_config('lc_messages', 'C', false); EXCEPTION WHEN OTHERS THEN NULL; END; END $$";

/// The PostgreSQL adapter: implements the ports of the domain. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    turns: Turns,
    pub(super) board_turns: BoardTurns,
    pub(super) patience: Duration,
    /// How long a statement may run.
    statement_timeout: Duration,
    canceller: Canceller,
    failures: Failures,
    pool_size: u32,
    log: Arc<StatementLog>,
    /// Where plain reads run if not in the pool.
    reserved: Option<Arc<Reserved>>,
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
        let canceller = connector.canceller();
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| {
            let connector = connector.clone();
            async move { establish(&connector).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", manager);
        let failures = Failures::new();
        let most = config.pool_size.saturating_add(config.max_overflow);
        let pool = Pool::builder()
            .max_size(most)
            // Connections beyond those that are needed are closed again when they idle: the last used is used first.
            .queue_strategy(QueueStrategy::Lifo)
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
        let share = most.div_ceil(2).max(LEAST_SHARE.min(most));
        let limits = TurnLimits::new(most as usize, share as usize, WAITING);
        Ok(Store {
            pool,
            turns: Turns::new(limits),
            board_turns: BoardTurns::default(),
            patience: config.pool_timeout,
            statement_timeout: config.statement_timeout,
            canceller,
            failures,
            pool_size: config.pool_size,
            log: Arc::default(),
            reserved: None,
        })
    }

    /// The same store, whose plain reads do not run in the pool.
    pub(super) fn on(&self, reserved: Reserved) -> Store {
        Store { reserved: Some(Arc::new(reserved)), ..self.clone() }
    }

    /// A connection that was open a moment ago, for as long as its holder likes.
    pub(super) async fn connection(&self) -> Result<Lent> {
        loop {
            let failures = self.failures.subscribe();
            let lent = tokio::select! {
                biased;
                lent = self.lend() => lent?,
                failure = self.unreachable(failures) => return Err(failure),
            };
            // One that the server has closed meanwhile is none.
            if let Some(lent) = lent {
                self.failures.has_one();
                return Ok(lent);
            }
        }
    }

    async fn lend(&self) -> Result<Option<Lent>> {
        let busy = |_| Error::new(Code::Overloaded, "All database connections are busy; try again");
        let turn = timeout(self.patience, self.turns.take(Caller::current())).await.map_err(busy)??;
        let connection = self.pool.get_owned().await.map_err(error::from_pool)?;
        Ok(Lent::new(connection, turn, self.canceller.clone()))
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
        if let Some(reserved) = &self.reserved {
            return reserved.fetch(self, statement).await;
        }
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
    pub(super) async fn try_run<ST, Row>(
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
        let bound = if name == LONG.0 { self.statement_timeout.max(LONG.1) } else { self.statement_timeout };
        at_work(connection, true);
        let outcome: Result<QueryResult<Vec<Row>>, _> =
            timeout(bound + MARGIN, statement.load::<Row>(connection)).await;
        let took = began.elapsed();
        self.log.add(name, took);
        let Ok(outcome) = outcome else {
            // It counts as at work, so that nobody else gets it (`lent.rs`). What its holder asks of it until then, for
            // example to roll back, fails at once.
            AnsiTransactionManager::transaction_manager_status_mut(connection).set_in_error();
            tracing::warn!(statement = name, "The database does not answer, a connection is given up");
            let cause = format!("{name}: no answer within {} s", took.as_secs_f64());
            return Err((Error::caused(Code::Timeout, "The database takes too long; try again", cause), false));
        };
        at_work(connection, false);
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
            wait_seconds: (state.statistics.get_wait_time + self.turns.waited()).as_secs_f64(),
        }
    }
}

pub(super) async fn establish(connector: &Connector) -> diesel::ConnectionResult<AsyncPgConnection> {
    let refused = |error: Error| {
        let cause = error.cause().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        diesel::ConnectionError::BadConnection(cause)
    };
    let (client, connection) = connector.connect().await.map_err(refused)?;
    let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    connection.batch_execute(PREPARE).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    keep_watch(&mut connection);
    Ok(connection)
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
