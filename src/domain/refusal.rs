//! Why a write was not done, in words that its caller can act on. What went wrong on our side is `error::Error`.

use super::{AnyId, Error};

/// One reason why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason.
    pub kind: RefusalKind,
    /// For the person who reads it.
    pub message: String,
    /// The part of the input that it is about, outermost first, in the spelling of the API.
    pub path: Vec<String>,
}

/// What kind of reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A value is not acceptable.
    Validation,
    /// Somebody was faster, or the name or id is taken.
    Conflict {
        /// The object as it is now, if the caller may see it.
        current: Option<AnyId>,
        /// The fields that both sides changed or claim.
        fields: Vec<&'static str>,
    },
    /// There is no such object, or the caller may not see it.
    NotFound,
    /// The caller may see the object, but not do this to it.
    Permission,
    /// Something is full.
    Limit {
        /// How much it holds.
        limit: i64,
    },
    /// A folder with a password is in the way, and the caller has not opened it.
    Locked,
    /// The key was used for another request.
    IdempotencyKeyReused,
}

impl Refusal {
    /// A reason about the part of the input named `field`.
    pub fn new(kind: RefusalKind, field: &str, message: impl Into<String>) -> Self {
        Refusal { kind, message: message.into(), path: vec![field.to_owned()] }
    }

    /// A value that is not acceptable.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Validation, field, message)
    }

    /// Something that is not there, or not for the caller to know of.
    pub fn not_found(field: &str, message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::NotFound, field, message)
    }

    /// Something that the caller may see and not do.
    pub fn forbidden(field: &str, message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Permission, field, message)
    }

    /// A folder that the caller has not opened.
    pub fn locked(field: &str) -> Self {
        Refusal::new(RefusalKind::Locked, field, "This folder has a password: unlock it first")
    }

    /// Something that is in the way as it is now.
    pub fn conflict(
        field: &str,
        current: Option<AnyId>,
        fields: Vec<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Refusal::new(RefusalKind::Conflict { current, fields }, field, message)
    }

    /// Something that is full.
    pub fn limit(field: &str, limit: i64, message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Limit { limit }, field, message)
    }

    /// A key that belongs to another request.
    #[must_use]
    pub fn key_reused() -> Self {
        Refusal::new(RefusalKind::IdempotencyKeyReused, "idempotencyKey", "This key was used for another request")
    }

    /// The same reason inside an outer part of the input.
    #[must_use]
    pub fn within(mut self, outer: &[String]) -> Self {
        self.path.splice(0..0, outer.iter().cloned());
        self
    }
}

/// Why a write did not happen.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The caller asked for something that cannot be.
    Refused(Refusal),
    /// Something went wrong.
    Failed(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

/// Result of a write.
pub type Outcome<T> = std::result::Result<T, Failure>;
