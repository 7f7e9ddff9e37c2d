//! Chunks are not kept in memory: they change beside their boards. What is asked is handed on.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cached, Source};
use crate::domain::{BoardId, Chunk, ChunkId, Chunks, EmbeddingState, MeantWords, NodeKey, Page, PageRequest, Result};

#[async_trait]
impl<S: Source + Clone + 'static> Chunks for Cached<S> {
    async fn chunks(&self, keys: &[(BoardId, ChunkId)]) -> Result<Vec<Option<Arc<Chunk>>>> {
        self.0.source.chunks(keys).await
    }

    async fn locate_chunks(&self, ids: &[ChunkId]) -> Result<Vec<Option<BoardId>>> {
        self.0.source.locate_chunks(ids).await
    }

    async fn chunk_pages(&self, keys: &[(NodeKey, PageRequest)]) -> Result<Vec<Page<Arc<Chunk>>>> {
        self.0.source.chunk_pages(keys).await
    }

    async fn chunk_counts(&self, keys: &[NodeKey]) -> Result<Vec<i64>> {
        self.0.source.chunk_counts(keys).await
    }

    async fn embedding_states(&self, keys: &[NodeKey]) -> Result<Vec<EmbeddingState>> {
        self.0.source.embedding_states(keys).await
    }

    async fn meant_words(&self, keys: &[MeantWords]) -> Result<Vec<Arc<[bool]>>> {
        self.0.source.meant_words(keys).await
    }
}
