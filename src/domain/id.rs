//! Typed ids: a UUIDv7 inside, a TypeID in text (`board_01h2xcejqtf2nbrexx3vqjhp41`).
//!
//! The prefix says what an id names, so a node id is never mistaken for a board id, neither by the compiler nor by a
//! client. Decoding Relay's `node(id)` is dispatched on it in `graphql/node.rs`. Format: TypeID specification 0.3.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::{Error, Result};

/// Crockford's base 32 in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in groups of five; the first character carries three.
const TEXT_LEN: usize = 26;

fn encode(uuid: Uuid, prefix: &str) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + TEXT_LEN);
    text.push_str(prefix);
    text.push('_');
    let bits = uuid.as_u128();
    for place in (0..TEXT_LEN).rev() {
        let index = ((bits >> (5 * place)) & 31) as usize;
        text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
    }
    text
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|&known| known == byte)? as u128;
        if place == 0 && value > 7 {
            return None; // more than 128 bits
        }
        bits = (bits << 5) | value;
    }
    Some(Uuid::from_u128(bits))
}

/// An id of any kind, as a client sends it to `node(id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyId {
    /// `user_…`
    User(UserId),
    /// `board_…`
    Board(BoardId),
    /// `node_…`
    Node(NodeId),
    /// `link_…`
    Link(LinkId),
    /// `chunk_…`
    Chunk(ChunkId),
    /// `job_…`
    Job(JobId),
}

impl FromStr for AnyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('_').map(|(prefix, _)| prefix) {
            Some(UserId::PREFIX) => text.parse().map(AnyId::User),
            Some(BoardId::PREFIX) => text.parse().map(AnyId::Board),
            Some(NodeId::PREFIX) => text.parse().map(AnyId::Node),
            Some(LinkId::PREFIX) => text.parse().map(AnyId::Link),
            Some(ChunkId::PREFIX) => text.parse().map(AnyId::Chunk),
            Some(JobId::PREFIX) => text.parse().map(AnyId::Job),
            _ => {
                Err(Error::invalid("Not an id of this API: expected user_…, board_…, node_…, link_…, chunk_… or job_…"))
            }
        }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What its text form begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id; later ids sort after earlier ones.
            #[must_use]
            pub fn generate() -> Self {
                $name(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(self.0, Self::PREFIX))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map($name)
                    .ok_or_else(|| Error::invalid(concat!("Not a valid id: expected ", $prefix, "_ and 26 characters")))
            }
        }
    };
}

id!(
    /// An account.
    UserId, "user"
);
id!(
    /// A board.
    BoardId, "board"
);
id!(
    /// What lies on a board: a resource, a chat or a folder.
    NodeId, "node"
);
id!(
    /// A connection between two nodes.
    LinkId, "link"
);
id!(
    /// A stored file.
    MediaId, "media"
);
id!(
    /// A share link of a board.
    ShareId, "share"
);
id!(
    /// A window in which somebody has a board open.
    PresenceId, "presence"
);
id!(
    /// An API key of an account.
    ApiKeyId, "key"
);
id!(
    /// A session of an account: the family of its refresh tokens.
    SessionId, "session"
);
id!(
    /// A span of the text of a resource.
    ChunkId, "chunk"
);
id!(
    /// An embedding model in use.
    GenerationId, "gen"
);
id!(
    /// A piece of background work.
    JobId, "job"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_the_specification() {
        // From the examples of the TypeID specification.
        let uuid = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        assert_eq!(encode(uuid, "prefix"), "prefix_01h455vb4pex5vsknk084sn02q");
        assert_eq!(decode("01h455vb4pex5vsknk084sn02q"), Some(uuid));
        assert_eq!(decode("7zzzzzzzzzzzzzzzzzzzzzzzzz"), Some(Uuid::max()));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "board",
            "board_",
            "node_01h455vb4pex5vsknk084sn02q",
            "board_01H455VB4PEX5VSKNK084SN02Q",
            "board_81h455vb4pex5vsknk084sn02q",
            "board_01h455vb4pex5vsknk084sn02",
            "board_01h455vb4pex5vsknk084sn02\0",
            "board_01h455vb4pex5vsknk084sn0uu",
            "boardé01h455vb4pex5vsknk084sn02q",
        ] {
            assert!(text.parse::<BoardId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_id_survives_its_text() {
        let id = NodeId::generate();
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        assert_eq!(id.to_string().parse::<AnyId>().unwrap(), AnyId::Node(id));
    }
}
