//! How long those who follow may go on: until a credential ends or a right is lost.
//!
//! Nobody asks again and again. A subscriber waits for the rows that its right rests on to change, and for its
//! credentials to expire; then it is checked once, from memory as a rule. From then on it waits for the rows as the
//! check has seen them: had memory an older one, the next look wakes it again. While the database does not answer,
//! nothing has ended.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};

use super::{Services, board::no_such_board};
use crate::{
    access::{Granted, Viewer},
    domain::{BoardId, Code, Error, Ground, Permission, Result, Stamp},
};

/// Longest sleep until an expiry: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);
/// Shortest one, where something counts as good past its expiry by another clock.
const SHORTEST_SLEEP: Duration = Duration::from_millis(200);
/// How long somebody waits for a board that is being read into memory, instead of reading it for itself.
const FETCHED_WITHIN: Duration = Duration::from_secs(2);
/// How long a check waits for the rows in memory to be looked at. Past it, it asks the database itself.
const CURRENT_WITHIN: Duration = Duration::from_secs(10);
/// How often a check may see the same rows as the one before it, and wait for them again. Looks do not wake for ever
/// somebody who never sees what they see.
const MOST_ALIKE: u32 = 3;
/// Checks that follow each other within this time are compared.
const SOON: Duration = Duration::from_secs(5);

/// Whether an error says that somebody may not follow any more. Others are trouble of the server, which passes.
#[must_use]
pub fn is_final(error: &Error) -> bool {
    matches!(error.code(), Code::Unauthenticated | Code::InvalidArgument)
}

/// What the credentials of a viewer rest on, and a board that it sees.
fn grounds(viewer: &Viewer, board: Option<(BoardId, Stamp)>) -> Vec<(Ground, Stamp)> {
    let session = viewer.bearer().and_then(|bearer| bearer.session).map(|session| (Ground::Session(session), 0));
    let user = viewer.user().map(|user| (Ground::User(user.id), user.stamp));
    let key = viewer.key().map(|key| (Ground::Key(key.id), key.stamp));
    let share = viewer.share().map(|held| (Ground::Share(held.share().id), held.share().stamp));
    let board = board.map(|(board, stamp)| (Ground::Board(board), stamp));
    [session, user, key, share, board].into_iter().flatten().collect()
}

/// When the first of the credentials of a viewer ends by itself.
fn expires_at(viewer: &Viewer) -> Option<DateTime<Utc>> {
    let bearer = viewer.bearer().map(|bearer| bearer.expires_at);
    let key = viewer.key().and_then(|key| key.expires_at);
    let share = viewer.share().and_then(|held| held.share().expires_at);
    [bearer, key, share].into_iter().flatten().min()
}

/// Waits until rows have changed, or a credential may have expired.
async fn something(changes: &mut BoxStream<'static, ()>, viewer: &Viewer) {
    let left = expires_at(viewer).map(|end| (end - Utc::now()).to_std().unwrap_or_default());
    let left = left.map_or(LONGEST_SLEEP, |left| left.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
    tokio::select! {
        _ = changes.next() => {}
        () = tokio::time::sleep(left) => {}
    }
}

impl Services {
    /// Waits until something that the viewer presented is not good any more, and tells what.
    pub async fn until_ended(&self, viewer: &Viewer) -> Error {
        self.until_lost(viewer, None).await
    }

    /// Waits until the viewer may not see the board any more, which had this stamp when it was seen last, and tells why.
    pub async fn until_unseen(&self, viewer: &Viewer, board: BoardId, stamp: Stamp) -> Error {
        self.until_lost(viewer, Some((board, stamp))).await
    }

    async fn until_lost(&self, viewer: &Viewer, board: Option<(BoardId, Stamp)>) -> Error {
        let mut seen = grounds(viewer, board);
        let mut changes = self.ports.rights.watch(&seen);
        let (mut now, mut checked, mut alike) = (viewer.clone(), Instant::now(), 0);
        loop {
            something(&mut changes, &now).await;
            match self.checked(viewer, board.map(|(board, _)| board)).await {
                Ok((again, board)) => {
                    let before = std::mem::replace(&mut seen, grounds(&again, board));
                    alike = if seen == before && checked.elapsed() < SOON { alike + 1 } else { 0 };
                    if alike <= MOST_ALIKE {
                        changes = self.ports.rights.watch(&seen);
                    }
                    (now, checked) = (again, Instant::now());
                }
                Err(error) if board.is_some() || error.code() == Code::Unauthenticated => return error,
                Err(_) => {}
            }
        }
    }

    /// Checks until it is known how it ends.
    async fn checked(&self, viewer: &Viewer, board: Option<BoardId>) -> Result<(Viewer, Option<(BoardId, Stamp)>)> {
        loop {
            self.rights_are_current().await;
            match self.seen(viewer, board).await {
                Err(error) if !is_final(&error) => tokio::time::sleep(SHORTEST_SLEEP).await,
                settled => return settled,
            }
        }
    }

    /// The viewer as it is now, if its credentials are good and it may see the board; and the board as that was seen.
    async fn seen(&self, viewer: &Viewer, board: Option<BoardId>) -> Result<(Viewer, Option<(BoardId, Stamp)>)> {
        let viewer = self.viewer_again(viewer).await?;
        let Some(board) = board else { return Ok((viewer, None)) };
        let record = self.ports.reads.boards(&[board]).await?.into_iter().next().flatten();
        let granted = record.and_then(|record| Granted::check(&viewer, &record, Permission::View));
        let stamp = granted.ok_or_else(no_such_board)?.subject().stamp;
        Ok((viewer, Some((board, stamp))))
    }

    /// Waits, at most two seconds, while a board is being read into memory; whether it was.
    pub async fn board_was_fetched(&self, board: BoardId) -> bool {
        tokio::time::timeout(FETCHED_WITHIN, self.ports.rights.fetched(board)).await.unwrap_or(false)
    }

    /// Waits until the rows that rights rest on are known as they are, so that checks of many subscribers do not all ask the
    /// database; at most ten seconds.
    pub async fn rights_are_current(&self) {
        let current = async { tokio::join!(self.ports.rights.current(), self.ports.sessions.current()) };
        let _ = tokio::time::timeout(CURRENT_WITHIN, current).await;
    }
}
