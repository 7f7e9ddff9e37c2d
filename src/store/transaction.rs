//! Transactions of the gateway's own: begun with the mark by which the database knows that it need not log their changes
//! itself (see the migration `log_outside_changes`), and ended one way or the other.

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use super::error::from_diesel;
use crate::domain::{Error, Result};

/// In one message, so that the mark costs no round trip.
const BEGIN: &str = "BEGIN; SET LOCAL ragboard.gateway = 'on'";

pub(super) async fn begin(connection: &mut AsyncPgConnection) -> Result<()> {
    AnsiTransactionManager::begin_transaction_sql(connection, BEGIN)
        .await
        .map_err(|error| from_diesel("transaction.begin", error))
}

pub(super) async fn commit(connection: &mut AsyncPgConnection) -> Result<()> {
    AnsiTransactionManager::commit_transaction(connection)
        .await
        .map_err(|error| from_diesel("transaction.commit", error))
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
    if let Err(error) = AnsiTransactionManager::rollback_transaction(connection).await {
        tracing::debug!(cause = ?error, "Could not roll a transaction back");
    }
}
