//! Where in the graph an object stands: for whom the operation runs, and through which board it was reached.
//!
//! Objects carry their scope and pass it on; nothing is read from ambient state below the root fields. A node reached
//! through a share link stays under that link however deep the query goes.

use std::sync::Arc;

use async_graphql::Context;

use super::{budget::Budget, user::User};
use crate::{
    access::{Granted, Turn, Viewer},
    domain::{BoardId, BoardRecord, ClientAddress, Error, Permission, Result, UserId},
    loaders::{Loaders, OpenBoard},
    service::Services,
};

/// One operation: who asks, and what answers.
#[derive(Clone)]
pub struct Session {
    /// Who asks.
    pub viewer: Viewer,
    /// Whether it came in a way that others can cause (a link, an image): then it only reads.
    pub only_reads: bool,
    /// From where; only used to count guesses.
    pub address: ClientAddress,
    /// What this operation may still use.
    pub budget: Arc<Budget>,
    /// The turn by which it runs. Who only waits for what happens gives it back.
    pub turn: Arc<Turn>,
    /// What the client calls itself, if that is known; only shown to the holder of the account.
    pub user_agent: Option<Arc<str>>,
    /// The loaders of this operation.
    pub loaders: Arc<Loaders>,
    /// The services.
    pub services: Arc<Services>,
}

impl Session {
    pub(super) fn of(ctx: &Context<'_>) -> Result<Arc<Session>> {
        ctx.data_opt::<Arc<Session>>().cloned().ok_or_else(|| Error::internal("an operation without a session"))
    }

    /// The same asker later: the viewer as it is now, and nothing read yet.
    pub(super) async fn again(&self) -> Result<Arc<Session>> {
        let viewer = self.services.viewer_again(&self.viewer).await?;
        let (loaders, budget) = (Arc::new(self.loaders.anew()), Arc::new(self.budget.anew()));
        Ok(Arc::new(Session { viewer, loaders, budget, ..self.clone() }))
    }

    /// The board, if the viewer may see it.
    pub(super) async fn board(self: &Arc<Self>, id: BoardId) -> Result<Option<Scope>> {
        Ok(self.loaders.board(id).await?.and_then(|record| self.enter(&record)))
    }

    /// The board, if the viewer may see it, at this version or a later one.
    pub(super) async fn board_at_least(
        self: &Arc<Self>,
        id: BoardId,
        min_version: Option<i64>,
    ) -> Result<Option<Scope>> {
        // Permission first: who may not see the board learns nothing of its version.
        let Some(scope) = self.board(id).await? else { return Ok(None) };
        let Some(version) = min_version.filter(|version| scope.board.record().board.version < *version) else {
            return Ok(Some(scope));
        };
        let record = self.loaders.board_at_least(id, version).await?;
        Ok(record.and_then(|record| self.enter(&record)))
    }

    /// A board that was read, if the viewer may see it.
    pub(super) fn enter(self: &Arc<Self>, record: &Arc<BoardRecord>) -> Option<Scope> {
        let granted = Granted::check(&self.viewer, record, Permission::View)?;
        let board = Arc::new(self.loaders.open(granted));
        Some(Scope { session: Arc::clone(self), board })
    }
}

/// An operation inside a board that the viewer may see.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) session: Arc<Session>,
    pub(super) board: Arc<OpenBoard>,
}

impl Scope {
    pub(super) fn loaders(&self) -> &Loaders {
        &self.session.loaders
    }

    /// Whether the viewer is told that it was this account: the board's people are told of everybody, others of the owner and
    /// of themselves.
    pub(super) fn names(&self, id: UserId) -> bool {
        let is_owner = id == self.board.record().board.owner_id;
        is_owner || self.board.granted().sees_people() || self.session.viewer.is(id)
    }

    /// Somebody who did something here, if the viewer is told who it was.
    pub(super) async fn actor(&self, id: UserId) -> Result<Option<User>> {
        if !self.names(id) {
            return Ok(None);
        }
        let account = self.loaders().user(id).await?;
        Ok(account.map(|account| User::new(&self.session, &account)))
    }
}
