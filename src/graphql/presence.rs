//! Who is on a board at this moment.

use std::sync::Arc;

use async_graphql::{ID, Object, Result};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::{node::Point, rows::row, scalar::id, scope::Scope, user::User};
use crate::domain;

/// Where one window of one person is on a board.
pub(super) struct Presence {
    scope: Scope,
    presence: Arc<domain::Presence>,
}

row!(Presence);

impl Presence {
    pub(super) fn new(scope: &Scope, presence: Arc<domain::Presence>) -> Self {
        Presence { scope: scope.clone(), presence }
    }
}

/// Where one window of one person is on a board.
#[Object]
impl Presence {
    /// The window, `presence_…`: the same for all that is told of it.
    async fn id(&self) -> ID {
        id(self.presence.id)
    }

    /// Whose window it is; null for guests, who hold a share link and have no account. Who is neither owner nor collaborator of
    /// the board is told of the owner and of themselves only: everybody else is a guest to them.
    async fn user(&self) -> Result<Option<User>> {
        let Some(user) = self.presence.user else { return Ok(None) };
        Ok(Box::pin(self.scope.actor(user)).await?)
    }

    /// What to call a window whose `user` is null, the same for as long as it is open; null for all others, who have names.
    async fn guest_name(&self) -> Option<String> {
        let text = self.presence.id.to_string();
        let letters: String = text.chars().rev().take(4).collect();
        let is_named = self.presence.user.is_some_and(|user| self.scope.names(user));
        (!is_named).then(|| format!("Guest {}", letters.to_uppercase()))
    }

    /// Where the cursor is; null when it is nowhere on the board.
    async fn cursor(&self) -> Option<Point> {
        self.presence.cursor.map(|(x, y)| Point { x, y })
    }

    /// Ids of the nodes that are selected. Nodes that were deleted since may be among them; nodes in folders that are locked for
    /// the viewer are not.
    async fn selection(&self) -> Result<Vec<ID>> {
        let (selection, board) = (&self.presence.selection, &self.scope.board);
        if board.sealed().is_empty() {
            return Ok(selection.iter().map(id).collect());
        }
        let read = selection.iter().map(|node| self.scope.loaders().node(board, *node));
        let seen = Box::pin(try_join_all(read)).await?;
        Ok(seen.iter().flatten().map(|node| id(node.id)).collect())
    }

    /// What else the frontend says, as it was given.
    async fn state(&self) -> Option<serde_json::Value> {
        self.presence.state.clone()
    }

    /// Whether the person is there. False is the last that is told of a window: it said goodbye, or nothing was heard of it for
    /// 30 seconds.
    async fn is_here(&self) -> bool {
        self.presence.is_here
    }

    /// When it was said.
    async fn seen_at(&self) -> DateTime<Utc> {
        self.presence.seen_at
    }
}
