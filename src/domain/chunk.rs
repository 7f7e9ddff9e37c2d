//! Chunks: spans of the text of a resource, as search finds and cites them. How a text is cut is decided in `search`.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{BoardId, ChunkId, Cursor, NodeId, SortKey, words::words};

/// Names the order of chunks inside cursors.
pub const CHUNK_ORDER: &str = "chunk";

/// A span of a text. Characters are Unicode scalar values; UTF-16 units are what JavaScript counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First character.
    pub start_char: i32,
    /// Character after the last one.
    pub end_char: i32,
    /// First UTF-16 code unit.
    pub start_utf16: i32,
    /// UTF-16 code unit after the last one.
    pub end_utf16: i32,
}

/// A piece that was cut from a text and is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Where it lies.
    pub span: Span,
    /// How many tokens it has.
    pub token_count: i32,
}

words!(
    /// Which text of a resource a chunk was cut from.
    ChunkField {
        /// Its title, for resources that have no other text.
        Title = "title",
        /// Its content.
        Content = "content",
        /// What was extracted from the file or the page behind it.
        ExtractedText = "extracted_text",
    }
);

/// A stored chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its id; the same for as long as its text stays.
    pub id: ChunkId,
    /// The board.
    pub board_id: BoardId,
    /// The resource.
    pub node_id: NodeId,
    /// Place in the resource, from 0.
    pub index: i32,
    /// What it was cut from.
    pub field: ChunkField,
    /// The text.
    pub text: Arc<str>,
    /// Where it lies in the text that it was cut from.
    pub span: Span,
    /// Tokens by the tokenizer of the model.
    pub token_count: i32,
    /// Text search configuration: how its words are stemmed.
    pub config: Arc<str>,
}

impl Chunk {
    /// Its place in the resource.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Int(self.index.into()), id: self.id.0 }
    }
}

/// What of a resource is to be cut.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The resource.
    pub node_id: NodeId,
    /// Its board.
    pub board_id: BoardId,
    /// Version of the node that the text is of.
    pub version: i64,
    /// Title, as far as it goes with each chunk; may be empty.
    pub title: String,
    /// Content.
    pub content: Option<String>,
    /// What was extracted.
    pub extracted_text: Option<String>,
    /// BCP 47 tag, when it is known.
    pub language: Option<String>,
    /// The language that most texts around it are in, if it is known of any.
    pub usual_language: Option<String>,
    /// When it was read, by the clock of the database.
    pub read_at: DateTime<Utc>,
}

/// A resource cut into chunks.
#[derive(Clone, Debug)]
pub struct CutText {
    /// The resource.
    pub node_id: NodeId,
    /// Its board.
    pub board_id: BoardId,
    /// Version of the node that the text is of.
    pub version: i64,
    /// When the text was read, by the clock of the database.
    pub read_at: DateTime<Utc>,
    /// Title, whose words belong to every chunk.
    pub title: String,
    /// BCP 47 tag, when it is known.
    pub language: Option<String>,
    /// Text search configuration: how words are stemmed.
    pub config: &'static str,
    /// What it was cut from.
    pub field: ChunkField,
    /// The pieces, in their order.
    pub pieces: Vec<Piece>,
}

/// A chunk that has no vector of a generation yet.
#[derive(Clone, Debug)]
pub struct Unembedded {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its board.
    pub board_id: BoardId,
    /// Its resource.
    pub node_id: NodeId,
    /// What is to be embedded: title and text.
    pub text: String,
}
