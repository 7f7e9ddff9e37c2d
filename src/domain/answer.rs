//! Finished answers: by what they are found again, and what they rest on.

use std::collections::HashMap;

use super::{BoardId, Stamp, UserId};

/// Digest of everything that an answer depends on besides rows: the request, and who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerKey(pub [u8; 32]);

/// The rows that an answer rests on, with the stamps they had. While every one of them has it still, the answer is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Boards with all that lies on them, their owner and their collaborators.
    pub boards: HashMap<BoardId, Stamp>,
    /// Accounts.
    pub users: HashMap<UserId, Stamp>,
}
