//! Making resources searchable: their texts are cut into chunks, which can be found by words at once, and the chunks get vectors.
//! Both are done beside requests (`jobs/`), and may be done twice.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::domain::{
    ChunkField, Code, CutText, Cutter, Embedders, Error, GenerationState, NodeId, Provider, Purpose, Result,
    SearchIndex, SourceText, language,
};

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
        let Some(source) = self.index.source_texts(&[node]).await?.into_iter().next() else { return Ok(()) };
        let cutter = Arc::clone(&self.cutter);
        // Megabytes take a while, and others wait for this thread.
        let cut = tokio::task::spawn_blocking(move || cut(&*cutter, source)).await.map_err(Error::internal)??;
        self.index.replace_chunks(&cut, priority).await.map(drop)
    }

    /// Gives vectors to the chunks of resources that have none, by every model that is in use and can be asked here.
    ///
    /// # Errors
    /// Those of the database and of the model. What was embedded before stays.
    pub async fn embed(&self, nodes: &[NodeId]) -> Result<()> {
        for generation in self.index.generations(&[GenerationState::Active, GenerationState::Building]).await? {
            let embedder = match self.embedders.of(&generation) {
                Some(embedder) => embedder,
                // Whoever builds it follows what is written meanwhile.
                None if generation.state == GenerationState::Building => continue,
                None => return Err(Error::new(Code::Overloaded, "The model in use cannot be asked here")),
            };
            loop {
                let chunks = self.index.unembedded(nodes, &generation, CHUNKS_AT_ONCE).await?;
                if chunks.is_empty() {
                    break;
                }
                let texts: Vec<String> = chunks.iter().map(|chunk| chunk.text.clone()).collect();
                let vectors = embedder.embed(&texts, Purpose::Passage).await?;
                if vectors.len() != chunks.len() {
                    return Err(Error::internal("the model did not answer every text"));
                }
                let count = vectors.len() as u64;
                if !self.index.keep_embeddings(&generation, chunks.into_iter().zip(vectors).collect()).await? {
                    break;
                }
                self.embedded.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(())
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
