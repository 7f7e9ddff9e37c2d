//! Following what changes. A subscription is checked again while it runs: who loses the right to see a board hears nothing more.

use std::{collections::VecDeque, sync::Arc};

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::time::sleep;

use super::{
    event::{BoardEvent, Start},
    job::ProcessingJob,
    presence::Presence,
    scalar::parse_id,
    scope::{Scope, Session},
};
use crate::{
    domain::{self, BoardId, Code, Cursor, EVENT_ORDER, Error, version_at},
    service::{board::no_such_board, user::CHECK_EVERY},
};

/// Everything that can be followed.
pub struct Subscription;

/// Whether an error says that somebody may not follow any more. Others are trouble of the server, which passes.
fn is_final(error: &Error) -> bool {
    matches!(error.code(), Code::Unauthenticated | Code::InvalidArgument)
}

/// Waits until the subscriber may not see the board any more.
async fn lost(session: Arc<Session>, board: BoardId) -> Error {
    loop {
        sleep(CHECK_EVERY).await;
        if let Err(error) = session.services.still_sees(&session.viewer, board).await
            && is_final(&error)
        {
            return error;
        }
    }
}

/// The board as the subscriber may see it now; waits while that cannot be found out.
async fn scope(session: &Session, board: BoardId) -> domain::Result<Scope> {
    loop {
        let scope = async { session.again().await?.board(board).await?.ok_or_else(no_such_board) };
        match scope.await {
            Err(error) if !is_final(&error) => sleep(CHECK_EVERY).await,
            settled => return settled,
        }
    }
}

/// A job as the subscriber may see it now; waits while that cannot be found out.
async fn seen(session: &Session, board: BoardId, job: Arc<domain::Job>) -> domain::Result<Option<ProcessingJob>> {
    loop {
        let scope = scope(session, board).await?;
        match ProcessingJob::seen(&scope, Arc::clone(&job)).await {
            Err(error) if !is_final(&error) => sleep(CHECK_EVERY).await,
            settled => return settled,
        }
    }
}

/// What comes, for as long as the subscriber may see the board; then why not any more.
fn while_seen<T: Send + 'static>(
    session: Arc<Session>,
    board: BoardId,
    items: impl Stream<Item = domain::Result<T>> + Send + 'static,
) -> impl Stream<Item = Result<T>> {
    // The check goes on while items come; it is not begun anew with each.
    let state = (items.boxed(), Box::pin(lost(session, board)));
    stream::unfold(Some(state), |state| async {
        let (mut items, mut lost) = state?;
        let item = tokio::select! {
            biased;
            error = &mut lost => Err(error),
            item = items.next() => item?,
        };
        let rest = item.is_ok().then_some((items, lost));
        Some((item.map_err(Into::into), rest))
    })
}

/// One who is told the changes of a board.
struct Told {
    session: Arc<Session>,
    board: BoardId,
    /// The last version of which it was told.
    version: i64,
    /// What it is told before anything happens.
    first: VecDeque<BoardEvent>,
    events: BoxStream<'static, Arc<domain::BoardEvent>>,
}

impl Told {
    async fn next(&mut self) -> Option<domain::Result<BoardEvent>> {
        if let Some(first) = self.first.pop_front() {
            return Some(Ok(first));
        }
        let event = self.events.next().await?;
        // With every event anew: nobody is told one that came after the right was lost.
        let scope = scope(&self.session, self.board).await;
        let after = std::mem::replace(&mut self.version, event.version);
        Some(match scope {
            Ok(scope) => BoardEvent::after(&scope, after, event).await,
            Err(error) => Err(error),
        })
    }
}

/// Everything that can be followed.
#[SubscriptionRoot]
impl Subscription {
    /// What changes on a board, one event for every version, in their order: first what comes after `after`, then what happens.
    /// There is neither a gap nor a repetition; where the log cannot tell what changed, or the reader is more than 1,000 events
    /// behind, it says `ResyncRequired`. It ends with an error when the viewer may not see the board any more.
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
        let scope = session.board(board).await?.ok_or_else(no_such_board)?;
        let invalid = || Error::invalid("after is no place in the log of this board");
        let after = match after {
            Some(after) => Some(version_at(board, &Cursor::decode(&after, EVENT_ORDER)?).ok_or_else(invalid)?),
            None => None,
        };
        let Start { version, first } = BoardEvent::start(&scope, after).await?;
        let events = session.services.follow(board, version);
        let told = Told { session: Arc::clone(&session), board, version, first: first.into_iter().collect(), events };
        let events = stream::unfold(told, |mut told| async move { Some((told.next().await?, told)) });
        Ok(while_seen(session, board, events))
    }

    /// Who is on a board: first everybody who is there, then how that changes, of each window the newest and at most 20 times a
    /// second. `isHere: false` says that somebody has left. Watching does not make the viewer be seen: `setPresence` does. It
    /// ends with an error when the viewer may not see the board any more.
    async fn presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] board_id: ID,
    ) -> Result<impl Stream<Item = Result<Presence>> + use<>> {
        let session = Session::of(ctx)?;
        let board: BoardId = parse_id(&board_id)?;
        session.board(board).await?.ok_or_else(no_such_board)?;
        let people = session.services.follow_presence(board);
        let asker = Arc::clone(&session);
        let people = people.then(move |presence| {
            let asker = Arc::clone(&asker);
            async move { scope(&asker, board).await.map(|scope| Presence::new(&scope, presence)) }
        });
        Ok(while_seen(session, board, people))
    }

    /// The background jobs of a board: first those that are pending or running, at most 100, then every job whose state or
    /// progress changes, within a second or so and in its newest state: one that is done in a moment may be told as COMPLETED at
    /// once. Jobs of nodes that the viewer does not see are left out. It ends with an error when the viewer may not see the board
    /// any more.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] board_id: ID,
    ) -> Result<impl Stream<Item = Result<ProcessingJob>> + use<>> {
        let session = Session::of(ctx)?;
        let board: BoardId = parse_id(&board_id)?;
        session.board(board).await?.ok_or_else(no_such_board)?;
        let asker = Arc::clone(&session);
        let jobs = session.services.follow_jobs(board).filter_map(move |job| {
            let asker = Arc::clone(&asker);
            async move { seen(&asker, board, job).await.transpose() }
        });
        Ok(while_seen(session, board, jobs))
    }
}
