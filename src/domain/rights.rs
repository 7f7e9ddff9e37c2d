//! What the right of a subscriber rests on, and the port by which subscribers hear that it may have changed.
//!
//! Nobody who follows asks again and again. Whether a right holds is decided in `access`, and not here.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use super::{ApiKeyId, BoardId, ShareId, Stamp, UserId};

/// A row that a right rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// A board, with its owner, its collaborators and whether it is public.
    Board(BoardId),
    /// An account.
    User(UserId),
    /// A share link.
    Share(ShareId),
    /// An API key.
    Key(ApiKeyId),
    /// A session; its stamp is 0 while it goes on.
    Session(Uuid),
}

/// Tells subscribers that their rights may have changed.
#[async_trait]
pub trait Rights: Send + Sync {
    /// An item whenever one of these rows may be another than at the given stamp: by this process at once, by others within
    /// a second of the database answering. Several changes may be one item.
    fn watch(&self, grounds: &[(Ground, Stamp)]) -> BoxStream<'static, ()>;
    /// Waits until all watched rows were looked at within the last second.
    async fn current(&self);
    /// Waits while a board is being read into memory, so that many who are about to read it find it there; whether it was.
    async fn fetched(&self, board: BoardId) -> bool;
}
