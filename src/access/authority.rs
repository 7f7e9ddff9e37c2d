//! How far a credential reaches. It bounds what is asked for, before any board is looked at; what may be done on a board is
//! `permission.rs`.
//!
//! | authority | who has it                        | what it is for                                                       |
//! |-----------|-----------------------------------|----------------------------------------------------------------------|
//! | `Read`    | API keys of the scope `read`      | queries and subscriptions, opening folders with their password       |
//! | `Write`   | API keys of the scope `write`     | making and changing boards and what lies on them                     |
//! | `Admin`   | API keys of the scope `admin`     | saying who sees a board, keys, the account itself                    |
//! | `Full`    | everybody who comes without a key | signing up, in and out, passwords: a key neither makes sessions nor ends them |

use crate::domain::ApiKeyScope;

/// How far a credential reaches; each includes those before it. What does not say what it needs, needs all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// Queries and subscriptions.
    Read,
    /// Making and changing boards and what lies on them.
    Write,
    /// Saying who sees a board, keys, the account itself.
    Admin,
    /// Everything.
    #[default]
    Full,
}

impl From<ApiKeyScope> for Authority {
    fn from(scope: ApiKeyScope) -> Self {
        match scope {
            ApiKeyScope::Read => Authority::Read,
            ApiKeyScope::Write => Authority::Write,
            ApiKeyScope::Admin => Authority::Admin,
        }
    }
}
