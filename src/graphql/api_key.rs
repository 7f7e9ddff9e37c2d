//! API keys of an account, for the account itself.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::{page::connection, rows::row, scalar::id, scope::Session};
use crate::{
    domain::{self, API_KEY_ORDER, Page, PageRequest, UserId},
    service::Services,
};

/// How far an API key reaches. Each scope includes those before it. What its account may not do, no key may.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::ApiKeyScope")]
pub(super) enum ApiKeyScope {
    /// Queries and subscriptions.
    Read,
    /// Making, changing and deleting boards and what lies on them. Not saying who sees a board.
    Write,
    /// Share links, collaborators, `isPublic` and `isTemplate` of boards, API keys, the account. Not signing up, in or out.
    Admin,
}

/// An API key. The key itself was told when it was made, and is not stored.
pub(super) struct ApiKey(pub(super) Arc<domain::ApiKey>);

row!(ApiKey);

/// An API key. The key itself was told when it was made, and is not stored.
#[Object]
impl ApiKey {
    /// Global id, `key_…`.
    async fn id(&self) -> ID {
        id(self.0.id)
    }

    /// What its owner calls it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The first characters of the key, to recognise it by.
    async fn key_prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The scopes it has, those included by the highest among them.
    async fn scopes(&self) -> Vec<ApiKeyScope> {
        let all = domain::ApiKeyScope::ALL.iter().copied();
        all.filter(|scope| *scope <= self.0.scope).map(ApiKeyScope::from).collect()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it ends by itself; null for never.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// Last use, to the minute, told with a few seconds of delay; null before the first.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }

    /// When it was revoked; null while it was not.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// The keys of an account: what their connection needs besides the rows.
pub(super) struct ApiKeyRows {
    session: Arc<Session>,
    user: UserId,
}

impl ApiKeyRows {
    /// A page of the keys of an account, the last made first; empty for everybody else.
    pub(super) async fn read(
        session: &Arc<Session>,
        user: UserId,
        page: &PageRequest,
    ) -> domain::Result<ApiKeyConnection> {
        let rows = Arc::new(ApiKeyRows { session: Arc::clone(session), user });
        let page = if rows.may_list() { session.services.api_keys(user, page).await? } else { Page::empty() };
        Ok(ApiKeyConnection::new(page, rows))
    }

    fn may_list(&self) -> bool {
        Services::may_list_keys(&self.session.viewer, self.user)
    }

    fn node(&self, key: &Arc<domain::ApiKey>) -> ApiKey {
        ApiKey(Arc::clone(key))
    }

    fn cursor(&self, key: &Arc<domain::ApiKey>) -> String {
        key.place().encode(API_KEY_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        if self.may_list() { self.session.services.api_key_count(self.user).await } else { Ok(0) }
    }
}

impl ApiKeyEdge {
    /// A key that was just made, at its place among those of its account.
    pub(super) fn of_new(session: &Arc<Session>, key: &Arc<domain::ApiKey>) -> Self {
        let rows = ApiKeyRows { session: Arc::clone(session), user: key.user_id };
        ApiKeyEdge::new(Arc::clone(key), Arc::new(rows))
    }
}

connection!(ApiKeyConnection, ApiKeyEdge, ApiKey, Arc<domain::ApiKey>, ApiKeyRows, "API keys");
