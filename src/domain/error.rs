//! The one error of the program and its closed list of codes.
//!
//! A `Code` is what a client may act on; the message is written for that client. Everything else that is known about a
//! failure (driver errors, addresses, SQL) travels in `cause`, goes to the log and never leaves the process. Failures of the
//! command line, which speak to an operator, are `ops::Failure` and not this.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// Result of everything below the command line.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was: the closed list behind `extensions.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// An argument, id or cursor is not acceptable; nothing was done.
    InvalidArgument,
    /// The GraphQL document does not parse, or does not fit the schema.
    InvalidDocument,
    /// The credential that was presented is not (or no longer) valid.
    Unauthenticated,
    /// The document is larger, deeper or dearer than the server allows.
    CostExceeded,
    /// Too many attempts; try again after the time named in the message.
    RateLimited,
    /// The server takes no writes at the moment.
    ReadOnly,
    /// The work took longer than it may.
    Timeout,
    /// No capacity (a database connection) was free in time; try again.
    Overloaded,
    /// Our fault. The message carries a trace id and no cause.
    Internal,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 9] = [
        Code::InvalidArgument,
        Code::InvalidDocument,
        Code::Unauthenticated,
        Code::CostExceeded,
        Code::RateLimited,
        Code::ReadOnly,
        Code::Timeout,
        Code::Overloaded,
        Code::Internal,
    ];

    /// The spelling in `extensions.code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::InvalidDocument => "INVALID_DOCUMENT",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::CostExceeded => "COST_EXCEEDED",
            Code::RateLimited => "RATE_LIMITED",
            Code::ReadOnly => "READ_ONLY",
            Code::Timeout => "TIMEOUT",
            Code::Overloaded => "OVERLOADED",
            Code::Internal => "INTERNAL",
        }
    }
}

/// A failure with its code, a message for the client and a cause for the log. Cheap to clone: one answer of a batch
/// may go to many waiting callers.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    code: Code,
    message: Cow<'static, str>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure that the caller can understand from `message` alone.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Error(Arc::new(Inner { code, message: message.into(), cause: None }))
    }

    /// A failure with a cause that is for the log only.
    pub fn caused(
        code: Code,
        message: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Error(Arc::new(Inner { code, message: message.into(), cause: Some(cause.into()) }))
    }

    /// An argument that cannot be accepted.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Code::InvalidArgument, message)
    }

    /// A credential that cannot be accepted. The message says what is wrong with it, never what would be right.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Code::Unauthenticated, message)
    }

    /// Our own fault: `cause` goes to the log, the client reads "Internal error" and a trace id.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::caused(Code::Internal, "Internal error", cause)
    }

    /// The kind of failure.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the client may read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What only the log may read.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_does_not_tell_its_cause() {
        let error = Error::internal("password=hunter2");
        assert_eq!(error.to_string(), "Internal error");
        assert_eq!(error.cause().map(ToString::to_string).as_deref(), Some("password=hunter2"));
    }

    #[test]
    fn codes_are_spelled_apart() {
        let spelled: std::collections::HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(spelled.len(), Code::ALL.len());
    }
}
