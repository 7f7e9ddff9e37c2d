//! Turns what the driver and the pool report into the program's error: which code it is, and what only the log may read.
//!
//! Constraint names become messages at the place that knows their meaning, not here.

use bb8::RunError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError;

use crate::domain::{Code, Error};

/// What went wrong at the server, by what its message says. PostgreSQL has codes for this (SQLSTATE), which diesel does not
/// hand on; the pool therefore asks for messages in English on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// 57P01 to 57P05, 25P03, 25P04, 08xxx: this connection is no more. Another may do.
    ConnectionLost,
    /// 57014: a statement took longer than it may.
    StatementTimeout,
    /// 55P03: others held a lock for too long.
    LockTimeout,
    /// 53100, 58030: the disk is full or fails.
    Disk,
    /// 53200, 53300, 53400: the server has no memory, connections or room for temporary files left.
    Resources,
    /// 40001, 40P01: somebody else was faster; nothing was done.
    Conflict,
}

/// How messages of a kind begin, in PostgreSQL 14 to 18.
const BEGINNINGS: &[(Trouble, &[&str])] = &[
    (Trouble::ConnectionLost, &["terminating connection", "the database system is"]),
    (Trouble::StatementTimeout, &["canceling statement due to statement timeout", "canceling statement due to user"]),
    (Trouble::LockTimeout, &["canceling statement due to lock timeout", "could not obtain lock on"]),
    (
        Trouble::Disk,
        &[
            "could not extend file",
            "could not write",
            "could not read",
            "could not open file",
            "could not create file",
            "could not create directory",
            "could not fsync file",
            "could not flush",
            "could not seek",
            "could not access",
            "could not truncate file",
            "could not rename file",
            "could not stat file",
            "could not resize shared memory segment",
        ],
    ),
    (
        Trouble::Resources,
        &[
            "out of memory",
            "out of shared memory",
            "sorry, too many clients",
            "remaining connection slots",
            "too many connections",
            "temporary file size exceeds",
            "could not fork",
        ],
    ),
    (
        Trouble::Conflict,
        &["deadlock detected", "could not serialize access", "canceling statement due to conflict with recovery"],
    ),
];

fn trouble(kind: &DatabaseErrorKind, message: &str) -> Option<Trouble> {
    match kind {
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
            return Some(Trouble::ConnectionLost);
        }
        DatabaseErrorKind::SerializationFailure => return Some(Trouble::Conflict),
        // Rules of the database have messages of their own.
        DatabaseErrorKind::Unknown => {}
        _ => return None,
    }
    if message.ends_with("No space left on device") || message.ends_with("Disk quota exceeded") {
        return Some(Trouble::Disk);
    }
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| message.starts_with(beginning));
    BEGINNINGS.iter().find(|(_, beginnings)| begins(beginnings)).map(|(trouble, _)| *trouble)
}

fn trouble_of(error: &DieselError) -> Option<Trouble> {
    match error {
        DieselError::BrokenTransactionManager => Some(Trouble::ConnectionLost),
        DieselError::DatabaseError(kind, info) => trouble(kind, info.message()),
        _ => None,
    }
}

/// Whether the connection, and not the statement, is to blame: the same read may be tried on another connection.
pub(super) fn is_connection_loss(error: &DieselError) -> bool {
    trouble_of(error) == Some(Trouble::ConnectionLost)
}

pub(super) fn from_diesel(statement: &'static str, error: DieselError) -> Error {
    if let Some(trouble) = trouble_of(&error) {
        let (code, message) = match trouble {
            Trouble::ConnectionLost => (Code::Overloaded, "The database cannot be reached at the moment; try again"),
            Trouble::StatementTimeout => (Code::Timeout, "The database took longer than it may; ask for less"),
            Trouble::LockTimeout => (Code::Timeout, "Others were in the way for too long; try again"),
            Trouble::Disk => (Code::Overloaded, "The database has trouble with its disk; try again later"),
            Trouble::Resources => (Code::Overloaded, "The database has no room for this at the moment; try again"),
            Trouble::Conflict => (Code::Overloaded, "Others changed the same at the same moment; try again"),
        };
        // The statement belongs to the reason where the reason is not the connection.
        return match trouble {
            Trouble::ConnectionLost => Error::caused(code, message, error),
            _ => Error::caused(code, message, Failed { statement, trouble, error }),
        };
    }
    match &error {
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

/// A statement that failed through no fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("{statement}: {error}")]
struct Failed {
    statement: &'static str,
    trouble: Trouble,
    error: DieselError,
}

/// Whether others held a lock for so long that a statement gave up waiting.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    let cause = error.cause().map(|cause| cause as &(dyn std::error::Error + 'static));
    cause.and_then(|cause| cause.downcast_ref::<Failed>()).is_some_and(|failed| failed.trouble == Trouble::LockTimeout)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Error {
        from_diesel("a.statement", DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())))
    }

    #[test]
    fn trouble_of_the_server_is_no_fault_of_the_program() {
        for message in [
            "could not extend file \"base/16384/2619\": No space left on device",
            "could not write to file \"pg_wal/xlogtemp.72\": No space left on device",
            "could not write block 12 of temporary file: No space left on device",
            "could not read blocks 3..3 in file \"base/1/2\": Input/output error",
            "out of memory",
            "out of shared memory",
            "could not resize shared memory segment \"/PostgreSQL.1\" to 8 bytes: No space left on device",
            "temporary file size exceeds \"temp_file_limit\" (1024kB)",
            "sorry, too many clients already",
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "terminating connection due to administrator command",
            "terminating connection because of crash of another server process",
            "the database system is in recovery mode",
            "terminating connection due to idle-in-transaction timeout",
            "deadlock detected",
            "canceling statement due to conflict with recovery",
        ] {
            let error = of(message);
            assert_eq!(error.code(), Code::Overloaded, "{message}");
            assert!(error.cause().unwrap().to_string().contains(message), "{message}");
        }
        for message in [
            "canceling statement due to statement timeout",
            "canceling statement due to user request",
            "canceling statement due to lock timeout",
            "could not obtain lock on row in relation \"boards\"",
        ] {
            assert_eq!(of(message).code(), Code::Timeout, "{message}");
        }
        for message in ["column \"x\" does not exist", "cache lookup failed for type 12", "division by zero"] {
            assert_eq!(of(message).code(), Code::Internal, "{message}");
        }
    }

    #[test]
    fn rules_of_the_database_are_told_by_their_kind() {
        let broken =
            DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, Box::new("out of memory".to_owned()));
        assert_eq!(from_diesel("a.statement", broken).code(), Code::Internal);
    }
}
