//! Accounts.

use std::sync::Arc;

use async_graphql::{ID, Object, Result};
use chrono::{DateTime, Utc};

use super::{
    activity::{UsageMetric, UsagePoint},
    api_key::{ApiKeyConnection, ApiKeyRows},
    board::{BoardConnection, BoardRows},
    quota::AccountQuota,
    rows::Rows,
    scalar::{Url, id},
    scope::Session,
    session::{AccountSessionConnection, AccountSessionRows},
    sharing::Invitation,
};
use crate::{
    domain::{API_KEY_ORDER, BoardList, BoardOrder, BoardOrderKey, PageRequest, SESSION_ORDER, User as Account},
    service,
};

/// An account. Its address, settings and plan are shown to itself only.
pub(super) struct User {
    session: Arc<Session>,
    account: Arc<Account>,
}

impl User {
    pub(super) fn new(session: &Arc<Session>, account: &Arc<Account>) -> Self {
        User { session: Arc::clone(session), account: Arc::clone(account) }
    }

    /// What only the account itself may see.
    fn own(&self) -> Option<&Account> {
        self.session.viewer.is(self.account.id).then_some(&*self.account)
    }

    async fn board_rows(&self, order: BoardOrder, page: PageRequest) -> Result<BoardConnection> {
        let of = service::board::of_user(&self.session.viewer, self.account.id);
        let list = BoardList { of, name_contains: None, is_template: None, is_public: None, order };
        Ok(BoardRows::read(&self.session, list, page).await?)
    }
}

/// An account. Its address, settings and plan are shown to itself only.
#[Object]
impl User {
    /// Global id, `user_…`.
    pub(super) async fn id(&self) -> ID {
        id(self.account.id)
    }

    /// Display name.
    async fn name(&self) -> Option<&str> {
        self.account.name.as_deref()
    }

    /// Address of a picture.
    async fn avatar_url(&self) -> Option<Url> {
        self.account.avatar_url.clone().map(Url)
    }

    /// E-mail address. Null for everybody else.
    async fn email(&self) -> Option<&str> {
        self.own().map(|account| account.email.as_str())
    }

    /// Whether the address was verified, see `verifyEmail`. Null for everybody else.
    async fn email_verified(&self) -> Option<bool> {
        self.own().map(|account| account.email_verified)
    }

    /// Preferences of the frontend. Null for everybody else.
    async fn settings(&self) -> Option<serde_json::Value> {
        self.own().map(|account| account.settings.clone())
    }

    /// Name of the plan. Null for everybody else.
    async fn subscription_tier(&self) -> Option<&str> {
        self.own().map(|account| account.subscription_tier.as_str())
    }

    /// Last sign-in. Null for everybody else, and before the first one.
    async fn last_login_at(&self) -> Option<DateTime<Utc>> {
        self.own().and_then(|account| account.last_login_at)
    }

    /// When the account was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.account.created_at
    }

    /// Boards of the account that the viewer may see, the last changed first: all of one's own, the public ones and
    /// templates of others.
    async fn boards(
        &self,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<BoardConnection> {
        let order = BoardOrder { key: BoardOrderKey::Updated, descending: true };
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), order.name())?;
        self.board_rows(order, page).await
    }

    /// Invitations to work on boards that were not answered yet, newest first; of one's own account. None while its e-mail
    /// address is not verified.
    async fn invitations(&self) -> Result<Rows<Invitation>> {
        self.session.loaders.rests_on_more();
        if self.own().is_none() {
            return Ok(Rows(Vec::new()));
        }
        let invitations = Box::pin(self.session.services.invitations(&self.account)).await?;
        Ok(invitations.into_iter().map(Invitation).collect())
    }

    /// API keys of the account, the last made first, dead ones included. Empty for everybody else, and for API keys without the
    /// scope ADMIN.
    async fn api_keys(
        &self,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<ApiKeyConnection> {
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), API_KEY_ORDER)?;
        self.session.loaders.rests_on_more();
        Ok(Box::pin(ApiKeyRows::read(&self.session, self.account.id, &page)).await?)
    }

    /// Sessions of the account that go on, the last begun first. Empty for everybody else, and for API keys.
    async fn sessions(
        &self,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<AccountSessionConnection> {
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), SESSION_ORDER)?;
        self.session.loaders.rests_on_more();
        Ok(Box::pin(AccountSessionRows::read(&self.session, self.account.id, &page)).await?)
    }

    /// How much the account used, hour by hour, the first hour first; hours without use are left out. Of one's own account; empty
    /// for everybody else. What was used in the last second may not be counted yet.
    async fn usage(
        &self,
        #[graphql(desc = "What is counted.")] metric: UsageMetric,
        #[graphql(desc = "Hours that end after this moment.")] from: DateTime<Utc>,
        #[graphql(desc = "Hours that begin before this moment, at most 92 days later.")] to: DateTime<Utc>,
    ) -> Result<Rows<UsagePoint>> {
        self.session.loaders.rests_on_more();
        if self.own().is_none() {
            return Ok(Rows(Vec::new()));
        }
        let points = Box::pin(self.session.services.usage(self.account.id, metric.into(), from, to)).await?;
        Ok(points.into_iter().map(UsagePoint::from).collect())
    }

    /// How much the account has and may have by its plan. Null for everybody else.
    async fn quota(&self) -> Result<Option<AccountQuota>> {
        self.session.loaders.rests_on_more();
        let Some(account) = self.own() else { return Ok(None) };
        let services = &self.session.services;
        let usage = Box::pin(services.account_usage(account.id)).await?;
        Ok(Some(AccountQuota::new(&usage, &services.limits_of(account).unwrap_or_default())))
    }

    /// Boards of the account that changed last, newest first; of one's own account.
    async fn recent_boards(
        &self,
        #[graphql(default = 10, desc = "How many, 1 to 100.")] first: i32,
    ) -> Result<Rows<super::board::Board>> {
        let order = BoardOrder { key: BoardOrderKey::Updated, descending: true };
        let page = PageRequest::new(Some(first), None, None, None, order.name())?;
        if self.own().is_none() {
            return Ok(Rows(Vec::new()));
        }
        Ok(self.board_rows(order, page).await?.into_boards())
    }
}
