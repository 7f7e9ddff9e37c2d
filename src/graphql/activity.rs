//! What happened on a board, and how much an account uses, as their people see it.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};

use super::{page::connection, rows::row, scalar::id, scope::Scope, user::User};
use crate::{
    domain::{self, ACTIVITY_ORDER, AnyId, PageRequest},
    service::journal::told_to,
};

/// What happened on a board.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::ActivityKind")]
pub(super) enum ActivityKind {
    /// The board was made.
    BoardCreated,
    /// The board itself has other values.
    BoardUpdated,
    /// The board was deleted.
    BoardDeleted,
    /// The board was brought back.
    BoardRestored,
    /// A share link was made.
    BoardShared,
    /// A share link was revoked.
    ShareRevoked,
    /// Somebody was invited.
    CollaboratorInvited,
    /// Somebody accepted an invitation.
    CollaboratorJoined,
    /// Somebody has another role.
    CollaboratorChanged,
    /// Somebody left or was removed.
    CollaboratorRemoved,
    /// Nodes were made.
    NodeCreated,
    /// Nodes were changed, moved or brought back.
    NodeUpdated,
    /// Nodes were deleted.
    NodeDeleted,
    /// Links were made.
    LinkCreated,
    /// Links were removed.
    LinkDeleted,
}

/// What of an account's use is counted.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::UsageMetric")]
pub(super) enum UsageMetric {
    /// Operations that were asked of the API: queries, mutations, subscriptions; each of a batch counts.
    ApiCalls,
    /// Changes of boards: nodes and links made, changed or deleted.
    BoardChanges,
}

/// The use of one hour.
#[derive(SimpleObject)]
pub(super) struct UsagePoint {
    /// When the hour began.
    from: DateTime<Utc>,
    /// How much.
    value: i64,
}

row!(UsagePoint);

impl From<domain::UsagePoint> for UsagePoint {
    fn from(domain::UsagePoint { from, value }: domain::UsagePoint) -> Self {
        UsagePoint { from, value }
    }
}

/// Something that happened on a board, told once for all things of one kind in one request.
pub(super) struct Activity {
    scope: Scope,
    activity: domain::Activity,
}

row!(Activity);

/// Something that happened on a board, told once for all things of one kind in one request.
#[Object]
impl Activity {
    /// What happened.
    async fn kind(&self) -> ActivityKind {
        self.activity.kind.into()
    }

    /// When.
    async fn at(&self) -> DateTime<Utc> {
        self.activity.at
    }

    /// Who did it; null for holders of a share link. Who is neither owner nor collaborator is told of the owner and of
    /// themselves only, and reads null for others.
    async fn actor(&self) -> Result<Option<User>> {
        let Some(actor) = self.activity.user else { return Ok(None) };
        Ok(Box::pin(self.scope.actor(actor)).await?)
    }

    /// To how many things it happened.
    async fn count(&self) -> i64 {
        self.activity.count
    }

    /// To which, if it was one: a node, a link, the board or an account.
    async fn object_id(&self) -> Option<ID> {
        self.activity.object.map(|object| match object {
            AnyId::User(object) => id(object),
            AnyId::Board(object) => id(object),
            AnyId::Node(object) => id(object),
            AnyId::Link(object) => id(object),
            AnyId::Chunk(object) => id(object),
            AnyId::Job(object) => id(object),
        })
    }
}

/// The activity of a board: what its connection needs besides the rows.
pub(super) struct ActivityRows(Scope);

impl ActivityRows {
    /// A page of what happened, the last first.
    pub(super) async fn read(scope: &Scope, page: &PageRequest) -> domain::Result<ActivityConnection> {
        let page = scope.loaders().activity_page(told_to(scope.board.granted()), page.clone()).await?;
        Ok(ActivityConnection::new(page, Arc::new(ActivityRows(scope.clone()))))
    }

    fn node(&self, activity: &domain::Activity) -> Activity {
        Activity { scope: self.0.clone(), activity: activity.clone() }
    }

    fn cursor(&self, activity: &domain::Activity) -> String {
        activity.place().encode(ACTIVITY_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.0.loaders().activity_count(told_to(self.0.board.granted())).await
    }
}

connection!(ActivityConnection, ActivityEdge, Activity, domain::Activity, ActivityRows, "what happened");
