//! Turns what the driver and the pool report into the program's error: which code it is, and what only the log may read.
//!
//! Constraint names become messages at the place that knows their meaning, not here.

use bb8::RunError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError;

use crate::domain::{Code, Error};

/// Whether the connection, and not the statement, is to blame: the same read may be tried on another connection.
pub(super) fn is_connection_loss(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand, _)
        | DieselError::BrokenTransactionManager => true,
        DieselError::DatabaseError(_, info) => {
            // 57P01 to 57P03: the server is going down, or is not up yet.
            info.message().starts_with("terminating connection") || info.message().starts_with("the database system is")
        }
        _ => false,
    }
}

pub(super) fn from_diesel(statement: &'static str, error: DieselError) -> Error {
    if is_connection_loss(&error) {
        return Error::caused(Code::Overloaded, "The database cannot be reached at the moment; try again", error);
    }
    match &error {
        DieselError::DatabaseError(_, info) if info.message().contains("statement timeout") => {
            Error::caused(Code::Timeout, "The database took longer than it may; ask for less", error)
        }
        DieselError::DatabaseError(_, info) if info.message().contains("lock timeout") => {
            Error::caused(Code::Timeout, "Others were in the way for too long; try again", error)
        }
        DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => {
            Error::caused(Code::ReadOnly, "The server takes no writes at the moment", error)
        }
        DieselError::DatabaseError(_, info) => match info.constraint_name() {
            Some(constraint) => Error::internal(Broken {
                statement,
                constraint: constraint.to_owned(),
                message: info.message().to_owned(),
            }),
            None => Error::internal(format!("{statement}: {error}")),
        },
        _ => Error::internal(format!("{statement}: {error}")),
    }
}

/// The rule of the database that a statement broke.
#[derive(Debug, thiserror::Error)]
#[error("{statement} broke {constraint}: {message}")]
struct Broken {
    statement: &'static str,
    constraint: String,
    message: String,
}

/// The name of the rule that was broken, if that is what went wrong.
pub(super) fn constraint_of(error: &Error) -> Option<&str> {
    let cause = error.cause()? as &(dyn std::error::Error + 'static);
    cause.downcast_ref::<Broken>().map(|broken| broken.constraint.as_str())
}

pub(super) fn from_pool(error: RunError<PoolError>) -> Error {
    match error {
        RunError::TimedOut => Error::new(Code::Overloaded, "All database connections are busy; try again"),
        RunError::User(error) => {
            Error::caused(Code::Overloaded, "The database cannot be reached at the moment; try again", error)
        }
    }
}

/// A row that the schema does not allow: the program and the database disagree.
pub(super) fn unexpected(what: &'static str, value: &str) -> Error {
    Error::internal(format!("unknown {what} in the database: {value}"))
}

/// Why a transaction was given up; carries the program's error through the driver's transaction.
pub(super) struct Aborted(Error);

impl From<DieselError> for Aborted {
    fn from(error: DieselError) -> Self {
        Aborted(from_diesel("transaction", error))
    }
}

impl From<Error> for Aborted {
    fn from(error: Error) -> Self {
        Aborted(error)
    }
}

impl From<Aborted> for Error {
    fn from(Aborted(error): Aborted) -> Self {
        error
    }
}
