//! Following what changes. Who loses the right to see a board hears nothing more: a subscription is checked when
//! what its right rests on changes (`service/watch.rs`), and before every event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::time::sleep;

use super::{
    event::{BoardEvent, Start},
    job::ProcessingJob,
    presence::Presence,
    resume::Places,
    scalar::parse_id,
    scope::{Scope, Session},
};
use crate::{
    domain::{self, BoardId, Cursor, EVENT_ORDER, Error, version_at},
    service::{board::no_such_board, watch::is_final},
};

/// Everything that can be followed.
pub struct Subscription;

/// How often something is tried that the server cannot do at the moment, before the subscription begins anew (`resume.rs`).
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// The board as the subscriber may see it now. It waits for what memory is about to know, and does not ask the database for it.
async fn scope(session: &Session, board: BoardId) -> domain::Result<Scope> {
    let mut tries = 1;
    loop {
        session.services.rights_are_current().await;
        let scope = async { session.again().await?.board(board).await?.ok_or_else(no_such_board) };
        match scope.await {
            Err(error) if !is_final(&error) && tries < TRIES => sleep(PAUSE).await,
            settled => return settled,
        }
        tries += 1;
    }
}

/// A job as the subscriber may see it now.
async fn seen(session: &Session, board: BoardId, job: Arc<domain::Job>) -> domain::Result<Option<ProcessingJob>> {
    let mut tries = 1;
    loop {
        let scope = scope(session, board).await?;
        match ProcessingJob::seen(&scope, Arc::clone(&job)).await {
            Err(error) if !is_final(&error) && tries < TRIES => sleep(PAUSE).await,
            settled => return settled,
        }
        tries += 1;
    }
}

/// What comes, for as long as the subscriber may see the board; then why not any more.
fn while_seen<T, I>(scope: &Scope, items: I) -> impl Stream<Item = Result<T>> + use<T, I>
where
    T: Send + 'static,
    I: Stream<Item = domain::Result<T>> + Send + 'static,
{
    let (session, record) = (Arc::clone(&scope.session), scope.board.record());
    session.turn.give_back();
    let (board, stamp) = (record.board.id, record.stamp);
    let lost = async move { session.services.until_unseen(&session.viewer, board, stamp).await };
    // It goes on while items come and is not begun anew with each.
    let state = (items.boxed(), Box::pin(lost));
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
    /// Where it is noted how far this field has come.
    places: Places,
    field: String,
}

impl Told {
    async fn next(&mut self) -> Option<domain::Result<BoardEvent>> {
        if let Some(first) = self.first.pop_front() {
            self.places.offer(&self.field, self.version);
            return Some(Ok(first));
        }
        let event = self.events.next().await?;
        // With every event anew: nobody is told one that came after the right was lost.
        let mut scope = scope(&self.session, self.board).await;
        // All who follow the board are told now: what they show is read once for all of them, if it is not in memory.
        if scope.is_ok() && self.session.services.board_was_fetched(self.board).await {
            scope = self::scope(&self.session, self.board).await;
        }
        self.places.offer(&self.field, event.version);
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
        // A subscription that is run again goes on behind what was told, whatever it was asked with.
        let (places, field) = (Places::of(ctx), ctx.item.node.response_key().node.to_string());
        let Start { version, first } = BoardEvent::start(&scope, places.told(&field).or(after)).await?;
        if first.is_none() {
            places.begin(&field, version);
        }
        let events = session.services.follow(board, version);
        let first = first.into_iter().collect();
        let told = Told { session, board, version, first, events, places, field };
        let events = stream::unfold(told, |mut told| async move { Some((told.next().await?, told)) });
        Ok(while_seen(&scope, events))
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
        let seen = session.board(board).await?.ok_or_else(no_such_board)?;
        let people = session.services.follow_presence(board);
        let asker = Arc::clone(&session);
        let people = people.then(move |presence| {
            let asker = Arc::clone(&asker);
            async move { scope(&asker, board).await.map(|scope| Presence::new(&scope, presence)) }
        });
        Ok(while_seen(&seen, people))
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
        let seen_board = session.board(board).await?.ok_or_else(no_such_board)?;
        let asker = Arc::clone(&session);
        let jobs = session.services.follow_jobs(board).filter_map(move |job| {
            let asker = Arc::clone(&asker);
            async move { seen(&asker, board, job).await.transpose() }
        });
        Ok(while_seen(&seen_board, jobs))
    }
}
