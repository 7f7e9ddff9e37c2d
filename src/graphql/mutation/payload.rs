//! What mutations answer: the changed objects, and why something was not done.

use async_graphql::{Interface, Object};

use super::super::query::Node;
use crate::domain::{Refusal, RefusalKind};

/// Why a mutation was not done, or not as asked. Nothing of it was done then.
#[derive(Interface)]
#[graphql(
    field(name = "message", ty = "&str", desc = "For the person who reads it."),
    field(name = "path", ty = "&[String]", desc = "The part of the input that it is about, outermost first.")
)]
#[allow(clippy::large_enum_variant, reason = "made one at a time and never stored")]
pub(in crate::graphql) enum UserError {
    /// A value is not acceptable.
    Validation(ValidationError),
    /// Somebody was faster, or the name or id is taken.
    Conflict(ConflictError),
    /// There is no such object, or the viewer may not see it.
    NotFound(NotFoundError),
    /// The viewer may see the object, but not do this to it, or not with this API key.
    Permission(PermissionError),
    /// Something is full.
    Limit(LimitError),
    /// A folder with a password is in the way: unlock it first.
    Locked(LockedError),
    /// The idempotency key was used for another request.
    IdempotencyKeyReused(IdempotencyKeyReusedError),
}

/// Defines a kind of error: message, path, and what it has besides.
macro_rules! user_error {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $ty:ty;)* }) => {
        $(#[doc = $doc])+
        pub(in crate::graphql) struct $name {
            message: String,
            path: Vec<String>,
            $($field: $ty,)*
        }

        $(#[doc = $doc])+
        #[Object]
        impl $name {
            /// For the person who reads it.
            async fn message(&self) -> &str {
                &self.message
            }

            /// The part of the input that it is about, outermost first.
            async fn path(&self) -> &[String] {
                &self.path
            }

            $(
                $(#[doc = $field_doc])+
                async fn $field(&self) -> &$ty {
                    &self.$field
                }
            )*
        }
    };
}

user_error!(
    /// A value is not acceptable.
    ValidationError {}
);
user_error!(
    /// Somebody was faster, or the name or id is taken.
    ConflictError {
        /// The object as it is now; null if the viewer may not see it.
        current: Option<Node>;
        /// The fields that both sides changed or claim.
        fields: Vec<String>;
    }
);
user_error!(
    /// There is no such object, or the viewer may not see it.
    NotFoundError {}
);
user_error!(
    /// The viewer may see the object, but not do this to it, or not with this API key.
    PermissionError {}
);
user_error!(
    /// Something is full.
    LimitError {
        /// How much it holds.
        limit: i64;
    }
);
user_error!(
    /// A folder with a password is in the way: unlock it first.
    LockedError {}
);
user_error!(
    /// The idempotency key was used for another request.
    IdempotencyKeyReusedError {}
);

impl UserError {
    /// `current` is the object of a conflict, as the viewer may see it.
    pub(super) fn new(refusal: Refusal, current: Option<Node>) -> Self {
        let Refusal { kind, message, path } = refusal;
        match kind {
            RefusalKind::Validation => UserError::Validation(ValidationError { message, path }),
            RefusalKind::Conflict { fields, .. } => {
                let fields = fields.into_iter().map(str::to_owned).collect();
                UserError::Conflict(ConflictError { message, path, current, fields })
            }
            RefusalKind::NotFound => UserError::NotFound(NotFoundError { message, path }),
            RefusalKind::Permission => UserError::Permission(PermissionError { message, path }),
            RefusalKind::Limit { limit } => UserError::Limit(LimitError { message, path, limit }),
            RefusalKind::Locked => UserError::Locked(LockedError { message, path }),
            RefusalKind::IdempotencyKeyReused => {
                UserError::IdempotencyKeyReused(IdempotencyKeyReusedError { message, path })
            }
        }
    }
}

/// A payload that says why nothing was done.
pub(super) trait Refused {
    /// With nothing but the reason.
    fn refused(client_mutation_id: Option<String>, error: UserError) -> Self;
}

/// Defines a payload: its objects, and what every payload has.
macro_rules! payload {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $ty:ty,)* }) => {
        $(#[doc = $doc])+
        #[derive(async_graphql::SimpleObject, Default)]
        pub(in crate::graphql) struct $name {
            $($(#[doc = $field_doc])+ $field: $ty,)*
            /// What the client called its change.
            client_mutation_id: Option<String>,
            /// Why it was not done; empty when it was.
            user_errors: Vec<$crate::graphql::mutation::payload::UserError>,
        }

        impl $crate::graphql::mutation::payload::Refused for $name {
            fn refused(
                client_mutation_id: Option<String>,
                error: $crate::graphql::mutation::payload::UserError,
            ) -> Self {
                $name { client_mutation_id, user_errors: vec![error], ..Default::default() }
            }
        }
    };
}

pub(super) use payload;
