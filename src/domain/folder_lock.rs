//! Folders with a password. It shuts everybody out of what lies in the folder, at any depth, but the owner of the board and
//! whoever set it; an unlock token, bound to whoever gave the password, opens it for a while.
//!
//! The folder itself is seen by everybody who sees the board. Who is shut out of what is decided in `access`.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{BoardId, NodeId, TokenDigest, UserId};

/// How long an unlock token is good.
pub const UNLOCKED_FOR: Duration = Duration::from_secs(30 * 60);

/// A folder of a board that has a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderLock {
    /// The folder.
    pub folder_id: NodeId,
    /// Who set the password; none for the holder of a share link, or when the account is gone.
    pub set_by: Option<UserId>,
}

/// The folders of one board that somebody is shut out of; mostly none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sealed(Option<Arc<[NodeId]>>);

impl Sealed {
    /// Shut out of these, whose order is always the same.
    #[must_use]
    pub fn of(folders: Vec<NodeId>) -> Self {
        Sealed((!folders.is_empty()).then(|| folders.into()))
    }

    /// Whether everything is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The folders.
    #[must_use]
    pub fn folders(&self) -> &[NodeId] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether this folder is one of them.
    #[must_use]
    pub fn contains(&self, folder: NodeId) -> bool {
        self.folders().contains(&folder)
    }
}

/// A board that is copied, with what its copier sees of it.
#[derive(Clone, Debug)]
pub struct CopyOf {
    /// The board.
    pub board: BoardId,
    /// Its locked folders that the copier sees into. They keep their passwords; the others are copied empty and without.
    pub open: Vec<NodeId>,
    /// Whether the copier sees everything that lies on it.
    pub is_whole: bool,
}

/// A folder that somebody opened with its password.
#[derive(Clone, Debug)]
pub struct Unlock {
    /// SHA-256 of the token.
    pub token: TokenDigest,
    /// The folder.
    pub folder_id: NodeId,
    /// Digest of who opened it.
    pub principal: TokenDigest,
    /// End of its life.
    pub expires_at: DateTime<Utc>,
}
