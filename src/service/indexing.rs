//! Making resources searchable: their texts are cut into chunks, which can be found by words at once, and the chunks get vectors.
//! Both are done beside requests (`jobs/`), and may be done twice.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    access::Caller,
    domain::{
        ChunkField, Code, CutText, Cutter, Embedder, Embedders, Error, Generation, GenerationState, NodeId, Provider,
        Purpose, Result, SearchIndex, SourceText, UserId, language,
    },
};

/// Bytes of a text that is bulk work: it takes tenths of a second and more to be cut, and edits do not wait behind it.
pub const LONG_TEXT_BYTES: usize = 64 << 10;

/// What of a resource is cut, longest first to be left out: its end is not searchable.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Chunks that are embedded by one request to the model and kept by one transaction.
const CHUNKS_AT_ONCE: usize = 64;

/// See the module.
pub struct Indexing {
    index: Arc<dyn SearchIndex>,
    cutter: Arc<dyn Cutter>,
    embedders: Arc<dyn Embedders>,
    embedded: AtomicU64,
}

impl Indexing {
    /// Over these.
    #[must_use]
    pub fn new(index: Arc<dyn SearchIndex>, cutter: Arc<dyn Cutter>, embedders: Arc<dyn Embedders>) -> Self {
        Indexing { index, cutter, embedders, embedded: AtomicU64::new(0) }
    }

    /// Makes room for the vectors of a model, which is searched from then on, unless another one is searched already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_first_generation(
        &self,
        provider: Provider,
        model: &str,
        dimensions: usize,
        source: Option<&str>,
    ) -> Result<()> {
        let active = self.index.generations(&[GenerationState::Active]).await?;
        match active.first() {
            None => {
                let dimensions = i32::try_from(dimensions).map_err(Error::internal)?;
                self.index.begin_generation(provider, model, dimensions, source).await?;
                // What was cut before there was a model.
                self.index.ask_for_missing().await?;
            }
            Some(active) if self.embedders.of(active).is_none() => tracing::warn!(
                model = active.model,
                "What is stored was embedded by {}, which this process cannot ask: search goes by words only",
                active.model
            ),
            Some(_) => {}
        }
        Ok(())
    }

    /// Asks for the vectors that were given up while the model did not answer. Takes seconds where there are many chunks.
    pub async fn ask_for_missing(&self) {
        match self.index.ask_for_missing().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Vectors of {count} resources are missing and will be made"),
            Err(error) => tracing::warn!(cause = ?error.cause(), "Could not ask for missing vectors: {error}"),
        }
    }

    /// How many chunks were given vectors since the start.
    #[must_use]
    pub fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::Relaxed)
    }

    /// Cuts the text of a resource. One that is gone is left as it is.
    ///
    /// # Errors
    /// Those of the database and of the tokenizer.
    pub async fn cut(&self, node: NodeId, priority: i32) -> Result<()> {
        self.cut_up_to(node, priority, None).await.map(drop)
    }

    /// The same for a text of at most so many bytes; how many it has. `None` where it has more: nothing was done.
    ///
    /// # Errors
    /// Those of [`Indexing::cut`].
    pub async fn cut_up_to(&self, node: NodeId, priority: i32, most: Option<usize>) -> Result<Option<usize>> {
        let Some(source) = self.index.source_texts(&[node]).await?.into_iter().next() else { return Ok(Some(0)) };
        let bytes = [&source.content, &source.extracted_text].into_iter().flatten().map(String::len).sum::<usize>();
        if most.is_some_and(|most| bytes > most) {
            return Ok(None);
        }
        let cutter = Arc::clone(&self.cutter);
        // Megabytes take a while, and others wait for this thread.
        let cut = tokio::task::spawn_blocking(move || cut(&*cutter, source)).await.map_err(Error::internal)??;
        self.index.replace_chunks(&cut, priority).await?;
        Ok(Some(bytes))
    }

    /// Makes the copy of a resource searchable as its original is, without asking a model; whether that was possible.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn copy(&self, from: NodeId, to: NodeId) -> Result<bool> {
        self.index.copy_chunks(from, to).await
    }

    /// Gives vectors to the chunks of resources that have none, by every model that is in use and can be asked here.
    ///
    /// # Errors
    /// Those of the database and of the model. What was embedded before stays.
    pub async fn embed(&self, nodes: &[NodeId]) -> Result<()> {
        while !self.embed_slice(None, nodes, CHUNKS_AT_ONCE).await?.is_empty() {}
        Ok(())
    }

    /// Gives vectors to at most so many chunks of resources, in the name of an account, which takes turns with others at the model.
    /// The resources that still lack some, with the part, 0 to 1, that has all.
    ///
    /// # Errors
    /// Those of [`Indexing::embed`].
    pub async fn embed_slice(
        &self,
        owner: Option<UserId>,
        nodes: &[NodeId],
        most: usize,
    ) -> Result<HashMap<NodeId, f32>> {
        let caller = owner.map_or(Caller::System, Caller::Account);
        let mut left = HashMap::new();
        for generation in self.index.generations(&[GenerationState::Active, GenerationState::Building]).await? {
            let embedder = match self.embedders.of(&generation) {
                Some(embedder) => embedder,
                // Whoever builds it follows what is written meanwhile.
                None if generation.state == GenerationState::Building => continue,
                None => return Err(Error::new(Code::Overloaded, "The model in use cannot be asked here")),
            };
            let parts = caller.scope(self.embed_by(&*embedder, &generation, nodes, most)).await?;
            for (node, part) in parts {
                let least = left.entry(node).or_insert(part);
                *least = part.min(*least);
            }
        }
        Ok(left)
    }

    /// The slice of one model.
    async fn embed_by(
        &self,
        embedder: &dyn Embedder,
        generation: &Generation,
        nodes: &[NodeId],
        most: usize,
    ) -> Result<HashMap<NodeId, f32>> {
        let chunks = self.index.unembedded(nodes, generation, most.max(1)).await?;
        if chunks.is_empty() {
            return Ok(HashMap::new());
        }
        let texts: Vec<String> = chunks.iter().map(|chunk| chunk.text.clone()).collect();
        let vectors = embedder.embed(&texts, Purpose::Passage).await?;
        if vectors.len() != chunks.len() {
            return Err(Error::internal("the model did not answer every text"));
        }
        let count = vectors.len() as u64;
        let is_whole = chunks.len() < most;
        if !self.index.keep_embeddings(generation, chunks.into_iter().zip(vectors).collect()).await? {
            return Ok(HashMap::new());
        }
        self.embedded.fetch_add(count, Ordering::Relaxed);
        // Fewer than there was room for are all that there were; what is cut meanwhile asks for itself.
        if is_whole { Ok(HashMap::new()) } else { self.index.embedded_parts(nodes, generation).await }
    }
}

fn cut(cutter: &dyn Cutter, source: SourceText) -> Result<CutText> {
    let texts = [(ChunkField::Content, source.content), (ChunkField::ExtractedText, source.extracted_text)];
    let mut cut = CutText {
        node_id: source.node_id,
        board_id: source.board_id,
        version: source.version,
        read_at: source.read_at,
        config: "simple",
        language: source.language,
        field: ChunkField::Title,
        pieces: Vec::new(),
        title: source.title,
    };
    let mut read = None;
    for (field, text) in texts {
        let Some(mut text) = text else { continue };
        let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        let pieces = cutter.cut(&text, &cut.title)?;
        if !pieces.is_empty() {
            (cut.field, cut.pieces, read) = (field, pieces, Some(text));
            break;
        }
    }
    if cut.pieces.is_empty() {
        cut.pieces = cutter.cut(&cut.title, "")?;
    }
    if cut.language.is_none() {
        let text = read.as_deref().unwrap_or(&cut.title);
        cut.language = language::detect(text).map(ToOwned::to_owned);
    }
    // A few words tell nothing certain of their language; that of the board is the better guess.
    let language = cut.language.as_deref().or(source.usual_language.as_deref());
    cut.config = language::text_search_config(language);
    Ok(cut)
}
