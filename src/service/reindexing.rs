//! Making the vectors of a generation beside the one that is searched: all chunks, and those that are written meanwhile. What is
//! made is kept, so it may be cut off at any time and begun again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::domain::{
    ChunkId, Coverage, Embedder, Error, Generation, GenerationId, Generations, Purpose, Result, SearchIndex,
    job::{is_passing, wait_before_retry},
};

/// Chunks that are embedded by one request to the model and kept by one transaction.
const CHUNKS_AT_ONCE: usize = 32;
/// How often a batch is tried while the model or the database is busy.
const ATTEMPTS: u32 = 6;

/// See the module.
pub struct Reindexing {
    index: Arc<dyn SearchIndex>,
    generations: Arc<dyn Generations>,
}

impl Reindexing {
    /// Over these.
    #[must_use]
    pub fn new(index: Arc<dyn SearchIndex>, generations: Arc<dyn Generations>) -> Self {
        Reindexing { index, generations }
    }

    /// How far a generation is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn coverage(&self, generation: &Generation) -> Result<Coverage> {
        self.generations.coverage(generation).await
    }

    /// Makes the vectors that are missing, at most so many in a second, until none has been missing for ten seconds, and says after
    /// every batch how many it has made.
    ///
    /// # Errors
    /// `InvalidArgument` if the generation is dropped meanwhile; those of the database and of the model, after some attempts. What
    /// was made stays.
    pub async fn catch_up(
        &self,
        generation: &Generation,
        embedder: &dyn Embedder,
        max_rate: Option<f64>,
        mut made: impl FnMut(usize),
    ) -> Result<()> {
        loop {
            let mut after = None;
            while let Some(last) = self.batch(generation, embedder, after, max_rate, &mut made).await? {
                after = Some(last);
            }
            if self.generations.coverage(generation).await?.overdue == 0 {
                return Ok(());
            }
        }
    }

    /// One batch; the last chunk of it, if there was any.
    async fn batch(
        &self,
        generation: &Generation,
        embedder: &dyn Embedder,
        after: Option<ChunkId>,
        max_rate: Option<f64>,
        made: &mut impl FnMut(usize),
    ) -> Result<Option<ChunkId>> {
        let began = Instant::now();
        let chunks = self.generations.missing(generation, after, CHUNKS_AT_ONCE).await?;
        let Some(last) = chunks.last().map(|chunk| chunk.chunk_id) else { return Ok(None) };
        let texts: Vec<String> = chunks.iter().map(|chunk| chunk.text.clone()).collect();
        let vectors = embed(embedder, &texts).await?;
        if vectors.len() != chunks.len() {
            return Err(Error::internal("the model did not answer every text"));
        }
        if !self.index.keep_embeddings(generation, chunks.into_iter().zip(vectors).collect()).await? {
            return Err(Error::invalid("This generation was dropped meanwhile"));
        }
        made(texts.len());
        if let Some(rate) = max_rate {
            let wanted = Duration::try_from_secs_f64(texts.len() as f64 / rate).unwrap_or(Duration::MAX);
            tokio::time::sleep(wanted.saturating_sub(began.elapsed())).await;
        }
        Ok(Some(last))
    }

    /// Has a generation searched from now on, in all processes; the one before, which is kept.
    ///
    /// # Errors
    /// `InvalidArgument` if its vectors are gone; those of the database.
    pub async fn switch(&self, to: &Generation) -> Result<Option<GenerationId>> {
        self.generations.switch(to).await
    }
}

async fn embed(embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    for attempt in 1..ATTEMPTS {
        match embedder.embed(texts, Purpose::Passage).await {
            Err(error) if is_passing(&error) => {
                tracing::warn!(attempt, cause = ?error.cause(), "The model is busy, trying again: {error}");
                tokio::time::sleep(wait_before_retry(attempt, 0.5)).await;
            }
            outcome => return outcome,
        }
    }
    embedder.embed(texts, Purpose::Passage).await
}
