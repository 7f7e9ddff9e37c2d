//! Transactions of the gateway's own: begun with the mark by which the database knows that it need not log their changes
//! itself (see the migration `log_outside_changes`), and ended one way or the other.

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use super::{error::from_diesel, lent::at_work};
use crate::domain::{Error, Result};

/// In one message, so that the mark costs no round trip.
const BEGIN: &str = "BEGIN; SET LOCAL ragboard.gateway = 'on'";

/// The same, for a transaction whose first statement waits for a lock: no longer than a moment, as it holds a connection
/// meanwhile. That statement takes the bound back.
const BEGIN_FOR_LOCK: &str = "BEGIN; SET LOCAL ragboard.gateway = 'on'; SET LOCAL lock_timeout = '250ms'";

pub(super) async fn begin(connection: &mut AsyncPgConnection) -> Result<()> {
    begin_with(connection, BEGIN).await
}

pub(super) async fn begin_for_lock(connection: &mut AsyncPgConnection) -> Result<()> {
    begin_with(connection, BEGIN_FOR_LOCK).await
}

async fn begin_with(connection: &mut AsyncPgConnection, sql: &str) -> Result<()> {
    at_work(connection, true);
    let begun = AnsiTransactionManager::begin_transaction_sql(connection, sql).await;
    at_work(connection, false);
    begun.map_err(|error| from_diesel("transaction.begin", error))
}

pub(super) async fn commit(connection: &mut AsyncPgConnection) -> Result<()> {
    at_work(connection, true);
    let committed = AnsiTransactionManager::commit_transaction(connection).await;
    at_work(connection, false);
    committed.map_err(|error| from_diesel("transaction.commit", error))
}

/// Commits what went well, and undoes what did not.
pub(super) async fn end<T, E: From<Error>>(connection: &mut AsyncPgConnection, outcome: Result<T, E>) -> Result<T, E> {
    match outcome {
        Ok(done) => {
            commit(connection).await?;
            Ok(done)
        }
        Err(failure) => {
            roll_back(connection).await;
            Err(failure)
        }
    }
}

/// Undoes everything. A connection on which this fails is closed by the pool, which undoes it too.
pub(super) async fn roll_back(connection: &mut AsyncPgConnection) {
    at_work(connection, true);
    let undone = AnsiTransactionManager::rollback_transaction(connection).await;
    at_work(connection, false);
    if let Err(error) = undone {
        tracing::debug!(cause = ?error, "Could not roll a transaction back");
    }
}
