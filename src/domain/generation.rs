//! From one generation of vectors to the next: what is missing of one, and which is searched. Making vectors is `SearchIndex`.

use async_trait::async_trait;

use super::{ChunkId, Generation, GenerationId, Result, Unembedded};

/// How many of the chunks of living resources have a vector of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Chunks.
    pub chunks: i64,
    /// Those with a vector.
    pub embedded: i64,
    /// Those without one that were cut more than ten seconds ago: nobody is about to make it.
    pub overdue: i64,
}

/// Changing what is searched.
#[async_trait]
pub trait Generations: Send + Sync {
    /// How far a generation is. Looks at every chunk.
    async fn coverage(&self, generation: &Generation) -> Result<Coverage>;
    /// Chunks without a vector of a generation, by id, from after one, at most `limit`.
    async fn missing(&self, generation: &Generation, after: Option<ChunkId>, limit: usize) -> Result<Vec<Unembedded>>;
    /// Has a generation searched from now on, in all processes, in place of another, which is kept and returned. `InvalidArgument`
    /// if its vectors are gone.
    async fn switch(&self, to: &Generation) -> Result<Option<GenerationId>>;
    /// Gives a generation that is not searched up: nobody makes vectors of it any more. `InvalidArgument` if it is searched.
    async fn give_up(&self, generation: &Generation) -> Result<()>;
}
