//! Sessions of accounts as their holders see them. Whether one stands is asked through `ports::Sessions`, on every use.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Cursor, Page, PageRequest, Result, SessionId, SortKey, UserId};

/// Names the order of sessions inside cursors.
pub const SESSION_ORDER: &str = "session";

/// A session: all that came from one sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSession {
    /// Its id.
    pub id: SessionId,
    /// When somebody signed in.
    pub created_at: DateTime<Utc>,
    /// When tokens were last handed out.
    pub last_used_at: DateTime<Utc>,
    /// When it ends, if it is not used until then.
    pub expires_at: DateTime<Utc>,
    /// Browser and system in words, at most 100 characters, of letters, digits and little else.
    pub device: Option<String>,
    /// Network that it was last used from, in part.
    pub address: Option<String>,
}

impl AccountSession {
    /// Its place in the list of its account.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Time(self.created_at), id: self.id.0 }
    }
}

/// Which sessions of an account are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichSessions {
    /// This one.
    One(SessionId),
    /// All but this one; all, if none is named.
    AllBut(Option<SessionId>),
}

/// Sessions of accounts, for their holders.
#[async_trait]
pub trait AccountSessions: Send + Sync {
    /// A page of the sessions of an account that go on, the last begun first.
    async fn session_page(&self, user: UserId, page: &PageRequest) -> Result<Page<AccountSession>>;
    /// How many these are.
    async fn session_count(&self, user: UserId) -> Result<i64>;
    /// Ends sessions of an account; those that went on until now.
    async fn end_sessions(&self, user: UserId, which: WhichSessions) -> Result<Vec<Uuid>>;
    /// Notes where a session is used, over what was noted before.
    async fn note_session(&self, session: Uuid, device: Option<&str>, address: &str) -> Result<()>;
}
