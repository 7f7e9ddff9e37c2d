//! Searching: where somebody may look, how it is done there, and what is said about it.
//!
//! A search asks what the boards of its area hold at this moment (one cheap statement) and answers from memory where the same
//! was asked of the same state by somebody who may see the same. Otherwise it counts the area, has the question embedded while
//! the database weighs its words, decides between scan and index, and has both ways ranked by one statement.

mod area;
mod fusion;
mod highlight;
mod query;
mod weights;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

pub use self::{
    area::Where,
    highlight::{excerpt, words_of},
    query::{MAX_QUERY_CHARS, Query},
};
use self::{
    fusion::fuse,
    weights::{Anchors, Weights, weigh},
};
use super::Services;
use crate::access::{Caller, Turn};
use crate::domain::{
    CANDIDATES, Code, Cursor, Error, Found, FrozenHits, Generation, Grouping, NodeKey, Plan, Purpose, Recall, Result,
    SearchArea, SearchGround, SearchKey, SearchMode, Strategy, Terms, TextPlan, VectorPlan,
    embedding::unit,
    state_of,
    vector_index::{WALKED_CANDIDATES, WALKED_CANDIDATES_FAST},
};

/// How long a question waits for its vector, whatever passages may take.
const QUERY_PATIENCE: Duration = Duration::from_secs(3);
/// Chunks of a resource that say what is like it.
const CHUNKS_OF_EXAMPLE: usize = 16;

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Sought {
    /// What fits a text.
    Text(Query),
    /// What is like a resource.
    Like(NodeKey),
    /// What lies near a vector of the model in use.
    Vector(Arc<[f32]>),
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What is looked for.
    pub sought: Sought,
    /// How.
    pub mode: SearchMode,
    /// How much may be missed.
    pub recall: Recall,
    /// What one hit is.
    pub grouping: Grouping,
    /// Only hits with at least this score.
    pub min_score: Option<f64>,
}

/// From where on what is done otherwise.
#[derive(Clone, Copy, Debug)]
pub struct SearchLimits {
    /// Up to so many chunks in an area every vector is compared.
    pub scan_vectors: i64,
    /// Up to so many chunks in an area the words of every one are weighed.
    pub scan_words: i64,
    /// Searches that this process works on at the same time, from 1; others wait for their turn.
    pub at_once: usize,
}

/// How searches were answered since the start.
#[derive(Default)]
pub struct SearchCounts {
    exact: AtomicU64,
    index: AtomicU64,
    index_then_exact: AtomicU64,
    words: AtomicU64,
    incomplete: AtomicU64,
}

impl SearchCounts {
    fn of(&self, strategy: Strategy) -> &AtomicU64 {
        match strategy {
            Strategy::Exact => &self.exact,
            Strategy::Index => &self.index,
            Strategy::IndexThenExact => &self.index_then_exact,
            Strategy::Words => &self.words,
        }
    }

    fn count(&self, plan: &Plan) {
        self.of(plan.strategy).fetch_add(1, Ordering::Relaxed);
        self.incomplete.fetch_add(u64::from(!plan.is_complete), Ordering::Relaxed);
    }
}

/// The two ways of one search, before they are planned.
struct Ways {
    terms: Option<Terms>,
    vector: Option<(Arc<Generation>, Arc<[f32]>)>,
    note: Option<&'static str>,
}

impl Services {
    /// How many searches were answered anew by a strategy since the start.
    #[must_use]
    pub fn searches_by(&self, strategy: Strategy) -> u64 {
        self.searches.of(strategy).load(Ordering::Relaxed)
    }

    /// How many of all these may have missed something.
    #[must_use]
    pub fn incomplete_searches(&self) -> u64 {
        self.searches.incomplete.load(Ordering::Relaxed)
    }

    /// The generation of vectors that is searched, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn generation_in_use(&self) -> Result<Option<Arc<Generation>>> {
        Ok(self.ports.search.ground(&SearchArea::default(), None).await?.generation)
    }

    /// Answers a search, from memory if the same was asked of the same state.
    ///
    /// # Errors
    /// `InvalidArgument` for what cannot be searched by meaning when only that was asked for; those of the database and, when only
    /// that was asked for, of the model.
    pub async fn search(
        &self,
        area: &SearchArea,
        request: &SearchRequest,
        after: Option<&Cursor>,
    ) -> Result<Arc<FrozenHits>> {
        let key = key_of(&(area, request));
        if let Some(frozen) = after.and_then(state_of).and_then(|stamp| self.ports.search_memory.hits(&key, stamp)) {
            return Ok(frozen);
        }
        let example = match &request.sought {
            Sought::Like(example) => Some(*example),
            Sought::Text(_) | Sought::Vector(_) => None,
        };
        let ground = self.ports.search.ground(area, example).await?;
        if let Some(frozen) = self.ports.search_memory.hits(&key, ground.stamp) {
            return Ok(frozen);
        }
        let ways = self.ways(area, request, &ground).await?;
        let turn = self.search_turn().await?;
        // Somebody may have asked the same meanwhile.
        if let Some(frozen) = self.ports.search_memory.hits(&key, ground.stamp) {
            return Ok(frozen);
        }
        let mut frozen = self.find(area, request, &ground, ways).await?;
        drop(turn);
        if frozen.plan.is_complete {
            // What was written meanwhile was seen by some of the statements and not by others.
            let now = self.ports.search.ground(area, example).await?;
            frozen.plan.is_complete = now.stamp == ground.stamp;
        }
        let frozen = Arc::new(frozen);
        self.searches.count(&frozen.plan);
        // What was left out because the model was busy may be found a moment later.
        if frozen.plan.note.is_none() {
            self.ports.search_memory.keep_hits(key, Arc::clone(&frozen));
        }
        Ok(frozen)
    }

    /// Waits for a turn. Comparing all vectors is dear, and other requests are to find a connection, too.
    async fn search_turn(&self) -> Result<Turn> {
        self.search_turns.take(Caller::current()).await
    }

    async fn find(
        &self,
        area: &SearchArea,
        request: &SearchRequest,
        ground: &SearchGround,
        ways: Ways,
    ) -> Result<FrozenHits> {
        let rows = self.rows(area, ground).await?;
        let mut strategy = match &ways.vector {
            None => Strategy::Words,
            Some(_) if request.recall == Recall::Exact || rows <= self.search_limits.scan_vectors => Strategy::Exact,
            Some(_) => Strategy::Index,
        };
        let rank = |strategy, by_text| {
            let by_vector = match (&ways.vector, strategy) {
                (None, _) => VectorPlan::None,
                (Some((generation, vector)), Strategy::Index) => {
                    let ef_search =
                        if request.recall == Recall::Fast { WALKED_CANDIDATES_FAST } else { WALKED_CANDIDATES };
                    VectorPlan::Index(Arc::clone(generation), Arc::clone(vector), ef_search)
                }
                (Some((generation, vector)), _) => VectorPlan::Scan(Arc::clone(generation), Arc::clone(vector)),
            };
            self.ports.search.rank(area, request.grouping, by_text, by_vector)
        };
        let scans_words = rows <= self.search_limits.scan_words;
        let by_words = |weights: &Weights| match scans_words {
            true => TextPlan::Scan(weights.by_config.clone()),
            false => TextPlan::Index(weights.by_config.clone()),
        };
        // Where there is much to weigh, an index is asked for the rare words first.
        let anchors = if scans_words { Anchors::All } else { Anchors::Rare };
        let weights = ways.terms.as_ref().map(|terms| weigh(terms, rows, anchors)).unwrap_or_default();
        let mut by_text = if ways.terms.is_some() { by_words(&weights) } else { TextPlan::None };
        let mut found = rank(strategy, by_text.clone()).await?;
        if strategy == Strategy::Index && !found.is_indexed {
            strategy = Strategy::Exact;
            found = rank(strategy, by_text.clone()).await?;
        }
        let lost = strategy == Strategy::Index && lost_too_many(&found, rows);
        if lost {
            strategy = Strategy::IndexThenExact;
        }
        let least = least_of_full(&found);
        let lacks_words = weights.most_unseen > least;
        if lost || lacks_words {
            if lacks_words && let Some(terms) = &ways.terms {
                by_text = by_words(&weigh(terms, rows, Anchors::Above(least)));
            }
            found = rank(strategy, by_text).await?;
        }
        let is_exact = strategy != Strategy::Index;
        let is_scanned = matches!(strategy, Strategy::Exact | Strategy::IndexThenExact);
        let rows_without_vector = is_scanned.then(|| (rows - found.vectors).max(0));
        let lacks_vectors = rows_without_vector.is_some_and(|without| without > 0);
        let candidates = found.candidates.len();
        let mut hits = fuse(found.candidates, request.mode);
        if let Some(min_score) = request.min_score {
            hits.retain(|hit| hit.score >= min_score);
        }
        let plan = Plan {
            strategy,
            scope_rows: rows,
            rows_without_vector,
            candidates,
            is_exact,
            is_complete: is_exact && !lacks_vectors && !ground.is_unsettled && !area.is_cut && ways.note.is_none(),
            generation: ways.vector.map(|(generation, _)| generation),
            note: ways.note,
        };
        Ok(FrozenHits { hits, plan, stamp: ground.stamp })
    }

    /// How many chunks there are in an area.
    async fn rows(&self, area: &SearchArea, ground: &SearchGround) -> Result<i64> {
        let key = key_of(area);
        if let Some(rows) = self.ports.search_memory.rows(&key, ground.stamp) {
            return Ok(rows);
        }
        let rows = self.ports.search.count(area).await?;
        self.ports.search_memory.keep_rows(key, ground.stamp, rows);
        Ok(rows)
    }

    /// What is looked for, as words with their weights and as a vector.
    async fn ways(&self, area: &SearchArea, request: &SearchRequest, ground: &SearchGround) -> Result<Ways> {
        let query = match &request.sought {
            Sought::Text(query) => query,
            Sought::Like(example) => {
                let generation = ground.generation.as_ref().ok_or_else(no_model)?;
                let vectors = self.ports.search.vectors_of(example.node_id, generation, CHUNKS_OF_EXAMPLE).await?;
                let chunks = vectors.len();
                let vectors: Vec<Vec<f32>> = vectors.into_iter().flatten().collect();
                let vector = middle(&vectors).map(|vector| (Arc::clone(generation), vector));
                let note = match &vector {
                    None => Some("The resource has no vectors yet"),
                    Some(_) => (vectors.len() < chunks).then_some("The resource has not all of its vectors yet"),
                };
                return Ok(Ways { terms: None, vector, note });
            }
            Sought::Vector(vector) => {
                let generation = ground.generation.as_ref().ok_or_else(no_model)?;
                if usize::try_from(generation.dimensions) != Ok(vector.len()) {
                    let message = format!("vector has {} numbers, the model {}", vector.len(), generation.dimensions);
                    return Err(Error::invalid(message));
                }
                let Some(vector) = unit(vector) else {
                    return Err(Error::invalid("vector is zero, or has something in it that is no number"));
                };
                let vector = Some((Arc::clone(generation), vector.into()));
                return Ok(Ways { terms: None, vector, note: None });
            }
        };
        let terms = async {
            if request.mode == SearchMode::Semantic || ground.configs.is_empty() {
                return Ok(None);
            }
            let _turn = self.search_turn().await?;
            let rows = self.rows(area, ground).await?;
            let terms = self.ports.search.terms(area, &query.text, &ground.configs, rows).await?;
            Ok(Some(terms).filter(|terms| !terms.terms.is_empty()))
        };
        let vector = async {
            match self.vector_of(request.mode, &query.text, ground).await {
                Ok(vector) => Ok((vector, None)),
                // Words are an answer too, and it is said that they are all of it.
                Err(error) if request.mode == SearchMode::Hybrid => {
                    tracing::warn!(cause = ?error.cause(), "A search goes without its vector: {error}");
                    Ok((None, Some(note_of(&error))))
                }
                Err(error) => Err(error),
            }
        };
        let (terms, (vector, note)) = try_join(terms, vector).await?;
        Ok(Ways { terms, vector, note })
    }

    async fn vector_of(
        &self,
        mode: SearchMode,
        text: &str,
        ground: &SearchGround,
    ) -> Result<Option<(Arc<Generation>, Arc<[f32]>)>> {
        if mode == SearchMode::Keyword {
            return Ok(None);
        }
        let generation = ground.generation.as_ref().ok_or_else(no_model)?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(vector) = self.ports.search_memory.vector(generation.id, &text) {
            return Ok(Some((Arc::clone(generation), vector)));
        }
        let embedder = self.ports.embedders.of(generation).ok_or_else(no_model)?;
        let embedding = embedder.embed(std::slice::from_ref(&text), Purpose::Query);
        let too_late = |_| Error::new(Code::Timeout, "The model did not answer in time");
        let vectors = timeout(QUERY_PATIENCE, embedding).await.map_err(too_late)??;
        let vector: Arc<[f32]> =
            vectors.into_iter().next().ok_or_else(|| Error::internal("a model without answer"))?.into();
        self.ports.search_memory.keep_vector(generation.id, &text, Arc::clone(&vector));
        Ok(Some((Arc::clone(generation), vector)))
    }
}

/// What tells two searches apart stands in their text form, down to the last digit of a vector.
fn key_of(search: &impl Debug) -> SearchKey {
    SearchKey(Sha256::digest(format!("{search:?}")).into())
}

fn no_model() -> Error {
    Error::invalid("There is no model to search by meaning with: ask for KEYWORD")
}

fn note_of(error: &Error) -> &'static str {
    match error.code() {
        Code::InvalidArgument => "There is no model: found by words only",
        Code::Overloaded => "The model is busy: found by words only",
        Code::Timeout => "The model did not answer in time: found by words only",
        _ => "The model failed: found by words only",
    }
}

/// Whether the walk gave fewer rows than there are and were wanted: the condition let too few of the near ones through.
fn lost_too_many(found: &Found, rows: i64) -> bool {
    let by_vector = found.candidates.iter().filter(|candidate| candidate.by_vector.is_some()).count();
    by_vector < CANDIDATES && found.vectors < rows.min((CANDIDATES * 4) as i64)
}

/// What a chunk has to score at least to be among the candidates by words: nothing, as long as there is room for more.
fn least_of_full(found: &Found) -> f64 {
    let scores: Vec<f64> =
        found.candidates.iter().filter_map(|candidate| candidate.by_text.map(|(.., score)| score)).collect();
    if scores.len() < CANDIDATES { 0.0 } else { scores.into_iter().fold(f64::INFINITY, f64::min) }
}

/// The middle of vectors, as one vector of unit length.
fn middle(vectors: &[Vec<f32>]) -> Option<Arc<[f32]>> {
    let mut sum = vec![0.0_f32; vectors.first()?.len()];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    unit(&sum).map(Into::into)
}
