//! Following what changes. A subscription is checked again while it runs: who loses the right to see a board hears nothing more.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    event::BoardEvent,
    scalar::parse_id,
    scope::{Scope, Session},
};
use crate::domain::{self, BoardId, Cursor, EVENT_ORDER, Error, version_at};

/// How often a quiet subscription is checked; each event is checked as well.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Everything that can be followed.
pub struct Subscription;

/// One subscription to the changes of a board.
struct Following {
    session: Arc<Session>,
    board: BoardId,
    /// The last version that the subscriber was told.
    version: i64,
    events: BoxStream<'static, Arc<domain::BoardEvent>>,
    checks: Interval,
    has_ended: bool,
}

/// The board as the subscriber may see it now.
async fn scope(session: Arc<Session>, board: BoardId) -> domain::Result<Scope> {
    let gone = || Error::unauthenticated("The board is not there any more, or not for this subscriber");
    session.again().await?.board(board).await?.ok_or_else(gone)
}

impl Following {
    async fn next(&mut self) -> Option<Result<BoardEvent>> {
        if self.has_ended {
            return None;
        }
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.next() => Some(event?),
                _ = self.checks.tick() => None,
            };
            let scope = match scope(Arc::clone(&self.session), self.board).await {
                Ok(scope) => scope,
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error.into()));
                }
            };
            if let Some(event) = event {
                let after = std::mem::replace(&mut self.version, event.version);
                return Some(BoardEvent::after(&scope, after, event).await.map_err(Into::into));
            }
        }
    }
}

/// Everything that can be followed.
#[SubscriptionRoot]
impl Subscription {
    /// What changes on a board, one event for every version, in their order: first what comes after `after`, then what happens.
    /// There is neither a gap nor a repetition; where the log cannot tell what changed, it says `ResyncRequired`. It ends with
    /// an error when the viewer may not see the board any more.
    async fn board_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] board_id: ID,
        #[graphql(desc = "Only what comes after this cursor of an event; from now on if not given.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<BoardEvent>> + use<>> {
        let session = Session::of(ctx)?;
        let board: BoardId = parse_id(&board_id)?;
        let scope = session.board(board).await?.ok_or_else(|| Error::invalid("There is no such board"))?;
        let invalid = || Error::invalid("after is no place in the log of this board");
        let version = match after {
            Some(after) => version_at(board, &Cursor::decode(&after, EVENT_ORDER)?).ok_or_else(invalid)?,
            None => scope.board.record().board.version,
        };
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = session.services.follow(board, version);
        let following = Following { session, board, version, events, checks, has_ended: false };
        Ok(stream::unfold(following, |mut following| async move { Some((following.next().await?, following)) }))
    }
}
