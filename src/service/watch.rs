//! How long those who follow may go on: until a credential ends or a right is lost.
//!
//! Nobody asks again and again. A subscriber waits for the rows that its right rests on to change, and for its credentials to
//! expire; then it is checked once, from memory as a rule. While the database does not answer, nothing has ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};

use super::Services;
use crate::{
    access::Viewer,
    domain::{BoardId, Code, Error, Ground, Result, Stamp},
};

/// Longest sleep until an expiry: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);
/// Shortest one, where something counts as good past its expiry by another clock.
const SHORTEST_SLEEP: Duration = Duration::from_millis(200);
/// How long somebody waits for a board that is being read into memory, instead of reading it for itself.
const FETCHED_WITHIN: Duration = Duration::from_secs(2);
/// How long a check waits for the rows in memory to be looked at. Past it, it asks the database itself.
const CURRENT_WITHIN: Duration = Duration::from_secs(10);

/// Whether an error says that somebody may not follow any more. Others are trouble of the server, which passes.
#[must_use]
pub fn is_final(error: &Error) -> bool {
    matches!(error.code(), Code::Unauthenticated | Code::InvalidArgument)
}

/// What the credentials of a viewer rest on.
fn grounds(viewer: &Viewer) -> Vec<(Ground, Stamp)> {
    let session = viewer.bearer().and_then(|bearer| bearer.session).map(|session| (Ground::Session(session), 0));
    let user = viewer.user().map(|user| (Ground::User(user.id), user.stamp));
    let key = viewer.key().map(|key| (Ground::Key(key.id), key.stamp));
    let share = viewer.share().map(|held| (Ground::Share(held.share().id), held.share().stamp));
    [session, user, key, share].into_iter().flatten().collect()
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
        let mut changes = self.ports.rights.watch(&grounds(viewer));
        let mut now = viewer.clone();
        loop {
            something(&mut changes, &now).await;
            match self.checked(viewer, None).await {
                Ok(again) => now = again,
                Err(error) if error.code() == Code::Unauthenticated => return error,
                Err(_) => {}
            }
        }
    }

    /// Waits until the viewer may not see the board any more, which had this stamp when it was seen last, and tells why.
    pub async fn until_unseen(&self, viewer: &Viewer, board: BoardId, stamp: Stamp) -> Error {
        let mut grounds = grounds(viewer);
        grounds.push((Ground::Board(board), stamp));
        let mut changes = self.ports.rights.watch(&grounds);
        let mut now = viewer.clone();
        loop {
            something(&mut changes, &now).await;
            match self.checked(viewer, Some(board)).await {
                Ok(again) => now = again,
                Err(error) => return error,
            }
        }
    }

    /// Checks until it is known how it ends.
    async fn checked(&self, viewer: &Viewer, board: Option<BoardId>) -> Result<Viewer> {
        loop {
            self.rights_are_current().await;
            let check = match board {
                Some(board) => self.still_sees(viewer, board).await,
                None => self.viewer_again(viewer).await,
            };
            match check {
                Err(error) if !is_final(&error) => tokio::time::sleep(SHORTEST_SLEEP).await,
                settled => return settled,
            }
        }
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
