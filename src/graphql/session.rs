//! Sessions of an account, for the account itself.

use std::sync::Arc;

use async_graphql::{ID, Object};
use chrono::{DateTime, Utc};

use super::{page::connection, rows::row, scalar::id, scope::Session};
use crate::{
    domain::{self, Page, PageRequest, SESSION_ORDER, UserId},
    service::Services,
};

/// A session of an account: all that came from one sign-in.
pub(super) struct AccountSession {
    session: domain::AccountSession,
    is_current: bool,
}

row!(AccountSession);

/// A session of an account: all that came from one sign-in.
#[Object]
impl AccountSession {
    /// Global id, `session_…`.
    async fn id(&self) -> ID {
        id(self.session.id)
    }

    /// When somebody signed in.
    async fn created_at(&self) -> DateTime<Utc> {
        self.session.created_at
    }

    /// When tokens were last handed out for it. A session that is in use hands some out every quarter of an hour.
    async fn last_used_at(&self) -> DateTime<Utc> {
        self.session.last_used_at
    }

    /// When it ends, if it is not used until then.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.session.expires_at
    }

    /// Browser and system in words, such as `Firefox on Linux`, as the client told them last: it may tell anything. Null when it
    /// told nothing.
    async fn device(&self) -> Option<&str> {
        self.session.device.as_deref()
    }

    /// The network that it was last used from, in part: `203.0.113.x`, or `2001:db8:1::/48`.
    async fn address(&self) -> Option<&str> {
        self.session.address.as_deref()
    }

    /// Whether it is the session that asks.
    async fn is_current(&self) -> bool {
        self.is_current
    }
}

/// The sessions of an account: what their connection needs besides the rows.
pub(super) struct AccountSessionRows {
    session: Arc<Session>,
    user: UserId,
}

impl AccountSessionRows {
    /// A page of the sessions of an account that go on, the last begun first; empty for everybody else and for API keys.
    pub(super) async fn read(
        session: &Arc<Session>,
        user: UserId,
        page: &PageRequest,
    ) -> domain::Result<AccountSessionConnection> {
        let rows = Arc::new(AccountSessionRows { session: Arc::clone(session), user });
        let page = if rows.may_list() { session.services.sessions(user, page).await? } else { Page::empty() };
        Ok(AccountSessionConnection::new(page, rows))
    }

    fn may_list(&self) -> bool {
        Services::may_list_sessions(&self.session.viewer, self.user)
    }

    fn node(&self, session: &domain::AccountSession) -> AccountSession {
        let own = self.session.viewer.bearer().and_then(|bearer| bearer.session);
        AccountSession { is_current: own == Some(session.id.0), session: session.clone() }
    }

    fn cursor(&self, session: &domain::AccountSession) -> String {
        session.place().encode(SESSION_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        if self.may_list() { self.session.services.session_count(self.user).await } else { Ok(0) }
    }
}

connection!(
    AccountSessionConnection,
    AccountSessionEdge,
    AccountSession,
    domain::AccountSession,
    AccountSessionRows,
    "sessions"
);
