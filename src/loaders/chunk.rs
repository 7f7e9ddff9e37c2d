//! Chunks, and how far resources can be found. They change beside their boards: no stamp covers them, and answers with them are not
//! used again. Who asks has seen to it that the resource may be seen.

use std::sync::Arc;

use super::{Loaders, load};
use crate::domain::{BoardId, Chunk, ChunkId, EmbeddingState, MeantWords, NodeKey, Page, PageRequest, Result};

impl Loaders {
    /// A chunk of a board.
    ///
    /// # Errors
    /// Those of the port, as for every function here.
    pub async fn chunk(&self, board: BoardId, id: ChunkId) -> Result<Option<Arc<Chunk>>> {
        self.basis.has_more();
        load(&self.chunks, (board, id)).await
    }

    /// On which board a chunk lies.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn locate_chunk(&self, id: ChunkId) -> Result<Option<BoardId>> {
        self.basis.has_more();
        load(&self.chunk_places, id).await
    }

    /// A page of the chunks of a resource.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn chunk_page(&self, key: NodeKey, page: PageRequest) -> Result<Page<Arc<Chunk>>> {
        self.basis.has_more();
        load(&self.chunk_pages, (key, page)).await
    }

    /// How many chunks a resource has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn chunk_count(&self, key: NodeKey) -> Result<i64> {
        self.basis.has_more();
        load(&self.chunk_counts, key).await
    }

    /// How far a resource can be found.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn embedding_state(&self, key: NodeKey) -> Result<EmbeddingState> {
        self.basis.has_more();
        load(&self.embedding_states, key).await
    }

    /// Which words of a text are meant by a query.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn meant_words(&self, key: MeantWords) -> Result<Arc<[bool]>> {
        load(&self.meant_words, key).await
    }
}
