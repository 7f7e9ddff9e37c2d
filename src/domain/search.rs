//! Searching: what is asked, where, and what is found. The words of the API and of the adapters that answer.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    BoardId, BoardsOf, Chunk, ChunkId, CutText, Embedder, GenerationId, NodeId, NodeKey, Page, PageRequest,
    ResourceType, Result, SourceText, Unembedded, words::words,
};

/// Nodes (or chunks) that each of the two ways of searching contributes at most: twice the longest page, which found a tenth more
/// of what is relevant on a page of 100 than 100 did.
pub const CANDIDATES: usize = 200;

/// How a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchMode {
    /// By words and by meaning.
    Hybrid,
    /// By meaning.
    Semantic,
    /// By words.
    Keyword,
}

/// How much may be missed for the sake of speed, where the scope is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recall {
    /// Fast.
    Fast,
    /// Little is missed.
    High,
    /// Nothing.
    Exact,
}

/// What one hit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// A resource with its best chunk.
    Node,
    /// A chunk.
    Chunk,
}

/// What of a scope is searched. Part of the scope and never applied afterwards, so that nothing is lost by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SearchFilter {
    /// Only these kinds of resources; none for all.
    pub resource_types: Vec<ResourceType>,
    /// Only these languages (BCP 47); none for all.
    pub languages: Vec<String>,
    /// Only resources whose metadata has all of these under `tags`.
    pub tags: Vec<String>,
    /// Made at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Made before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Last changed at this time or later.
    pub updated_from: Option<DateTime<Utc>>,
    /// Last changed before this time.
    pub updated_before: Option<DateTime<Utc>>,
}

impl SearchFilter {
    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == SearchFilter::default()
    }
}

/// What may be searched: boards that somebody may see, without the folders that they are shut out of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SearchArea {
    /// The boards, in the order of their ids.
    pub boards: Vec<BoardId>,
    /// Folders of them that are shut, in the order of their ids.
    pub sealed: Vec<NodeId>,
    /// Only what lies in this folder, at any depth.
    pub within: Option<NodeId>,
    /// Whether there are more boards than can be looked at.
    pub is_cut: bool,
    /// Not this resource: others like it are asked for.
    pub except: Option<NodeId>,
    /// Only this.
    pub filter: SearchFilter,
    /// Only resources in which all of these phrases stand.
    pub phrases: Vec<String>,
    /// Only resources in which none of these words or phrases stands.
    pub excluded: Vec<String>,
}

words!(
    /// How vectors of a generation are looked up.
    GenerationState {
        /// Vectors are being made; nobody searches in it.
        Building = "building",
        /// The one that is searched.
        Active = "active",
        /// Was searched before, and can be again.
        Kept = "kept",
        /// Its vectors are gone.
        Dropped = "dropped",
    }
);

words!(
    /// Who computes vectors.
    Provider {
        /// A model in a folder.
        Local = "local",
        /// A service that speaks OpenAI's protocol.
        Http = "http",
    }
);

/// A model with its dimensions; vectors of two generations are never compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Its id.
    pub id: GenerationId,
    /// Who computes it.
    pub provider: Provider,
    /// Name of the model.
    pub model: String,
    /// Length of its vectors.
    pub dimensions: i32,
    /// What becomes of it.
    pub state: GenerationState,
    /// Folder of the model, if it is in one that the program does not find by itself.
    pub source: Option<String>,
}

/// What boards hold at a moment, as far as searches are concerned.
#[derive(Clone, Debug)]
pub struct SearchGround {
    /// Changes with the boards, with what is searchable of them, and with `is_unsettled`.
    pub stamp: i64,
    /// The generation that is searched, if there is one.
    pub generation: Option<Arc<Generation>>,
    /// Text search configurations that are in use there.
    pub configs: Vec<String>,
    /// Whether texts wait to be cut.
    pub is_unsettled: bool,
}

/// A word of a query in one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The configuration.
    pub config: String,
    /// The stemmed word.
    pub lexeme: String,
    /// Where it stands in sparse vectors, from 1.
    pub place: i32,
    /// Which word of the query it comes from.
    pub ordinal: i32,
    /// How often it stands in the query.
    pub times: i32,
    /// How many chunks of the configuration were looked at.
    pub looked_at: i64,
    /// In how many of them it stands.
    pub found: i64,
}

/// The words of a query, and how common they are in the scope.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The words.
    pub terms: Vec<Term>,
    /// How many chunks of the scope were looked at, of all configurations.
    pub looked_at: i64,
}

/// The weights of the words of a query for chunks of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct WordWeights {
    /// The configuration.
    pub config: String,
    /// Places and weights, by place.
    pub weights: Vec<(i32, f32)>,
    /// Stemmed words of which a chunk has at least one, where chunks are found in an index.
    pub anchors: Vec<String>,
}

/// How chunks are looked for by words.
#[derive(Clone, Debug)]
pub enum TextPlan {
    /// Not at all.
    None,
    /// Every chunk of the scope is weighed.
    Scan(Vec<WordWeights>),
    /// Chunks with at least one of these words are found in an index and weighed.
    Index(Vec<WordWeights>),
}

/// How chunks are looked for by meaning.
#[derive(Clone, Debug)]
pub enum VectorPlan {
    /// Not at all.
    None,
    /// Every vector of the scope is compared.
    Scan(Arc<Generation>, Arc<[f32]>),
    /// An approximate index is walked, with a candidate list of this length.
    Index(Arc<Generation>, Arc<[f32]>, i32),
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The board.
    pub board_id: BoardId,
    /// The resource.
    pub node_id: NodeId,
    /// Its best chunk by meaning: place among all, from 1, and cosine similarity.
    pub by_vector: Option<(ChunkId, i64, f64)>,
    /// Its best chunk by words: place among all, from 1, and BM25.
    pub by_text: Option<(ChunkId, i64, f64)>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The candidates of both ways.
    pub candidates: Vec<Candidate>,
    /// How many vectors were compared by a scan, or were given by an index.
    pub vectors: i64,
    /// Whether there was an index where one was to be asked; without one, nothing was looked up.
    pub is_indexed: bool,
}

/// Searching what is stored.
#[async_trait]
pub trait Search: Send + Sync {
    /// Ids of living boards of a list, those that changed last, at most `most` of them.
    async fn board_ids(&self, of: &BoardsOf, most: usize) -> Result<Vec<BoardId>>;
    /// What an area holds at this moment, and a resource that others are to be like.
    async fn ground(&self, area: &SearchArea, example: Option<NodeKey>) -> Result<SearchGround>;
    /// How many chunks there are in an area.
    async fn count(&self, area: &SearchArea) -> Result<i64>;
    /// The words of a query, and how common they are in an area of about `rows` chunks.
    async fn terms(&self, area: &SearchArea, text: &str, configs: &[String], rows: i64) -> Result<Terms>;
    /// What fits best, at most [`CANDIDATES`] in each way.
    async fn rank(
        &self,
        area: &SearchArea,
        grouping: Grouping,
        by_text: TextPlan,
        by_vector: VectorPlan,
    ) -> Result<Found>;
    /// The vectors of the first chunks of a resource; `None` for a chunk without.
    async fn vectors_of(&self, node: NodeId, generation: &Generation, most: usize) -> Result<Vec<Option<Vec<f32>>>>;
}

/// A word of a text, and a query that may mean it: `(configuration, query, words)`.
pub type MeantWords = (Arc<str>, Arc<str>, Arc<[String]>);

/// Reading chunks.
#[async_trait]
pub trait Chunks: Send + Sync {
    /// Chunks by id, with their boards.
    async fn chunks(&self, keys: &[(BoardId, ChunkId)]) -> Result<Vec<Option<Arc<Chunk>>>>;
    /// On which board chunks lie.
    async fn locate_chunks(&self, ids: &[ChunkId]) -> Result<Vec<Option<BoardId>>>;
    /// Pages of the chunks of resources, in the order of the text.
    async fn chunk_pages(&self, keys: &[(NodeKey, PageRequest)]) -> Result<Vec<Page<Arc<Chunk>>>>;
    /// How many chunks resources have.
    async fn chunk_counts(&self, keys: &[NodeKey]) -> Result<Vec<i64>>;
    /// How far resources can be found.
    async fn embedding_states(&self, keys: &[NodeKey]) -> Result<Vec<EmbeddingState>>;
    /// Which words, as they are written, are meant by a query: one answer for each word of each key.
    async fn meant_words(&self, keys: &[MeantWords]) -> Result<Vec<Arc<[bool]>>>;
}

/// How far a resource can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingState {
    /// It has no text.
    NoText,
    /// Its text is not cut yet, or some of its chunks have no vector yet.
    Pending,
    /// By its words; there is no model.
    WordsOnly,
    /// By words and by meaning.
    Ready,
}

/// Keeping what is searchable true.
#[async_trait]
pub trait SearchIndex: Send + Sync {
    /// Texts of resources, also of deleted ones, which may come back.
    async fn source_texts(&self, nodes: &[NodeId]) -> Result<Vec<SourceText>>;
    /// Puts the chunks of a resource in place of those it had, unless those of a newer version are there. Chunks whose text
    /// stays keep their ids and vectors. Asks for the vectors of the others. Whether anything was done.
    async fn replace_chunks(&self, text: &CutText, priority: i32) -> Result<bool>;
    /// Makes the copy of a resource searchable as the original is, with its chunks and vectors. Whether that was done: not where the
    /// text of either has changed, or the original is not searchable as it is.
    async fn copy_chunks(&self, from: NodeId, to: NodeId) -> Result<bool>;
    /// Chunks of resources that have no vector of a generation, at most `limit`: first one of each resource, then all of those that
    /// have the fewest.
    async fn unembedded(&self, nodes: &[NodeId], generation: &Generation, limit: usize) -> Result<Vec<Unembedded>>;
    /// Of these resources those of which chunks have no vector of a generation, with the part, 0 to 1, that lies before the first
    /// of them.
    async fn embedded_parts(&self, nodes: &[NodeId], generation: &Generation) -> Result<HashMap<NodeId, f32>>;
    /// Keeps vectors of chunks that are still there. Whether the generation takes vectors; one that was dropped does not.
    async fn keep_embeddings(&self, generation: &Generation, vectors: Vec<(Unembedded, Vec<f32>)>) -> Result<bool>;
    /// Asks for vectors of the active generation where chunks have none and nobody was asked for them; of how many resources. Looks at
    /// every chunk there is.
    async fn ask_for_missing(&self) -> Result<u64>;
    /// Generations in these states, the oldest first.
    async fn generations(&self, states: &[GenerationState]) -> Result<Vec<Generation>>;
    /// Makes a generation, with room for its vectors; active if there is no active one. One that is active or being built for the
    /// same model is it. `source` is the folder of the model, if the program does not find it by itself.
    async fn begin_generation(
        &self,
        provider: Provider,
        model: &str,
        dimensions: i32,
        source: Option<&str>,
    ) -> Result<Generation>;
}

/// The models that this process can ask.
pub trait Embedders: Send + Sync {
    /// The model of a generation, if it is one of them.
    fn of(&self, generation: &Generation) -> Option<Arc<dyn Embedder>>;
}
