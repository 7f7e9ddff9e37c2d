//! The error of the command line: a sentence for the operator, and what to do about it.
//!
//! Failures of requests are `domain::Error`; this type never reaches a client of the API.

use std::fmt;

use crate::domain;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that its message explains.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), hint: None }
    }

    /// Adds what the operator can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For `map_err`: prefixes an error with what was being done.
    pub fn while_doing<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Failure {
        move |error| Failure::new(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<domain::Error> for Failure {
    fn from(error: domain::Error) -> Self {
        match error.cause() {
            Some(cause) => Failure::new(format!("{error}: {cause}")),
            None => Failure::new(error.to_string()),
        }
    }
}
