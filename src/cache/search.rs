//! What searches remember: answers with the state of the boards that they are of, sizes of areas, vectors of questions. Whether
//! that state is still the one of now is looked up before anything is served (`service/search/`).

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::domain::{FrozenHits, GenerationId, SearchKey, SearchMemory};

/// How long somebody may take from page to page.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Sizes of areas that are remembered.
const MOST_AREAS: u64 = 10_000;
/// Of the bytes for searches, the part for vectors of questions.
const QUARTER: u64 = 4;

/// See [`SearchMemory`].
pub struct KeptSearches {
    hits: Cache<(SearchKey, i64), Arc<FrozenHits>>,
    rows: Cache<(SearchKey, i64), i64>,
    vectors: Cache<(GenerationId, Box<str>), Arc<[f32]>>,
}

impl KeptSearches {
    /// At most about so many bytes; zero keeps nothing.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        KeptSearches {
            hits: Cache::builder()
                .max_capacity(bytes - bytes / QUARTER)
                .weigher(|_, frozen: &Arc<FrozenHits>| {
                    let hits = frozen.hits.len() * size_of::<crate::domain::Hit>();
                    u32::try_from(hits + 256).unwrap_or(u32::MAX)
                })
                .time_to_idle(IDLE)
                .build(),
            rows: Cache::builder().max_capacity(if bytes == 0 { 0 } else { MOST_AREAS }).time_to_idle(IDLE).build(),
            vectors: Cache::builder()
                .max_capacity(bytes / QUARTER)
                .weigher(|(_, text): &(GenerationId, Box<str>), vector: &Arc<[f32]>| {
                    u32::try_from(text.len() + size_of_val::<[f32]>(vector) + 64).unwrap_or(u32::MAX)
                })
                .time_to_idle(IDLE)
                .build(),
        }
    }
}

impl SearchMemory for KeptSearches {
    fn hits(&self, key: &SearchKey, stamp: i64) -> Option<Arc<FrozenHits>> {
        self.hits.get(&(*key, stamp))
    }

    fn keep_hits(&self, key: SearchKey, hits: Arc<FrozenHits>) {
        self.hits.insert((key, hits.stamp), hits);
    }

    fn rows(&self, area: &SearchKey, stamp: i64) -> Option<i64> {
        self.rows.get(&(*area, stamp))
    }

    fn keep_rows(&self, area: SearchKey, stamp: i64, rows: i64) {
        self.rows.insert((area, stamp), rows);
    }

    fn vector(&self, generation: GenerationId, text: &str) -> Option<Arc<[f32]>> {
        self.vectors.get(&(generation, Box::from(text)))
    }

    fn keep_vector(&self, generation: GenerationId, text: &str, vector: Arc<[f32]>) {
        self.vectors.insert((generation, Box::from(text)), vector);
    }
}
