//! What a search found: hits, how they were found, and the list that is paged through, frozen as it was.

use std::sync::Arc;

use super::{BoardId, ChunkId, Cursor, Generation, GenerationId, NodeId, SortKey};

/// Names the order of hits inside cursors.
pub const SEARCH_ORDER: &str = "search";

/// A hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The board.
    pub board_id: BoardId,
    /// The resource.
    pub node_id: NodeId,
    /// The chunk that is shown.
    pub chunk_id: ChunkId,
    /// What hits are sorted by.
    pub score: f64,
    /// Cosine similarity of the best chunk, if the resource is among the nearest.
    pub vector_score: Option<f64>,
    /// BM25 of the best chunk, if the resource is among those with the most weight of words.
    pub text_score: Option<f64>,
}

/// How vectors were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Every vector of the area was compared.
    Exact,
    /// An approximate index was walked.
    Index,
    /// An approximate index was walked and lost too many rows, so every vector was compared.
    IndexThenExact,
    /// No vectors were compared.
    Words,
}

/// How an answer was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How vectors were looked up.
    pub strategy: Strategy,
    /// Chunks in the area.
    pub scope_rows: i64,
    /// Of these, chunks that have no vector yet; none where that was not counted.
    pub rows_without_vector: Option<i64>,
    /// How many resources (or chunks) were ranked.
    pub candidates: usize,
    /// Whether everything in the area was compared.
    pub is_exact: bool,
    /// Whether nothing of the area is missing among the hits.
    pub is_complete: bool,
    /// The model that was asked; none where none was.
    pub generation: Option<Arc<Generation>>,
    /// Why it is not as it was asked for.
    pub note: Option<&'static str>,
}

/// An answer as it was found, to be paged through.
#[derive(Debug)]
pub struct FrozenHits {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// How they were found.
    pub plan: Plan,
    /// Of which state of the boards they are.
    pub stamp: i64,
}

/// Digest of all that an answer depends on besides the state of the boards: two searches with the same one are the same search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SearchKey(pub [u8; 32]);

/// What searches remember. Nothing of it is served without a look at the state of the boards.
pub trait SearchMemory: Send + Sync {
    /// An answer to the same of the same state.
    fn hits(&self, key: &SearchKey, stamp: i64) -> Option<Arc<FrozenHits>>;
    /// Keeps an answer.
    fn keep_hits(&self, key: SearchKey, hits: Arc<FrozenHits>);
    /// How many chunks an area had in a state.
    fn rows(&self, area: &SearchKey, stamp: i64) -> Option<i64>;
    /// Keeps that.
    fn keep_rows(&self, area: SearchKey, stamp: i64, rows: i64);
    /// The vector of a text by the model of a generation.
    fn vector(&self, generation: GenerationId, text: &str) -> Option<Arc<[f32]>>;
    /// Keeps it.
    fn keep_vector(&self, generation: GenerationId, text: &str, vector: Arc<[f32]>);
}

impl FrozenHits {
    /// The place of a hit. It names the state of the boards too, so that the next page goes on in the same list.
    #[must_use]
    pub fn place(&self, hit: &Hit) -> Cursor {
        Cursor { key: SortKey::Text(format!("{:x} {:x}", self.stamp, hit.score.to_bits())), id: hit.chunk_id.0 }
    }

    /// What comes after a place, and whether anything comes before it. In another list than the one that the place is of, it is
    /// where its score would stand.
    #[must_use]
    pub fn after(&self, cursor: Option<&Cursor>) -> &[Hit] {
        let Some(cursor) = cursor else { return &self.hits };
        let start = match self.hits.iter().position(|hit| hit.chunk_id.0 == cursor.id) {
            Some(position) => position + 1,
            None => score_of(cursor).map_or(0, |score| self.hits.partition_point(|hit| hit.score >= score)),
        };
        self.hits.get(start..).unwrap_or_default()
    }
}

/// Of which state of the boards the list is that a cursor was made in.
#[must_use]
pub fn state_of(cursor: &Cursor) -> Option<i64> {
    let SortKey::Text(text) = &cursor.key else { return None };
    // Negative numbers are written as what their bits are.
    u64::from_str_radix(text.split_once(' ')?.0, 16).ok().map(u64::cast_signed)
}

fn score_of(cursor: &Cursor) -> Option<f64> {
    let SortKey::Text(text) = &cursor.key else { return None };
    u64::from_str_radix(text.split_once(' ')?.1, 16).ok().map(f64::from_bits).filter(|score| score.is_finite())
}
