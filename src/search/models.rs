//! The models that this process can ask, by the generations of vectors that they make, and how texts are cut for them.

use std::sync::{Arc, PoisonError, RwLock};

use super::{chunker::words::Words, cutter::TextCutter};
use crate::domain::{Cutter, Embedder, Embedders, Generation, Provider, Tokenizer};

/// What texts are cut for where no model says how much it reads.
const MAX_TOKENS: usize = 256;

/// See [`Embedders`]. Without any, search goes by words. Clones share the models, also those that are opened later.
#[derive(Clone, Default)]
pub struct Models {
    opened: Arc<RwLock<Vec<Opened>>>,
    tokenizer: Option<Arc<dyn Tokenizer>>,
}

/// A model that can be asked.
#[derive(Clone)]
pub struct Opened {
    /// Who computes it.
    pub provider: Provider,
    /// Its folder, if the program does not find it by itself.
    pub source: Option<String>,
    /// The model.
    pub embedder: Arc<dyn Embedder>,
}

impl Models {
    /// The same, and one more. The first is the one that new databases begin with.
    #[must_use]
    pub fn with(self, provider: Provider, embedder: Arc<dyn Embedder>) -> Self {
        self.add(Opened { provider, source: None, embedder });
        self
    }

    /// Adds a model, for all clones.
    pub fn add(&self, opened: Opened) {
        self.opened.write().unwrap_or_else(PoisonError::into_inner).push(opened);
    }

    /// The same, with the tokenizer of its first model.
    #[must_use]
    pub fn cutting_by(mut self, tokenizer: Arc<dyn Tokenizer>) -> Self {
        self.tokenizer = Some(tokenizer);
        self
    }

    /// The first.
    #[must_use]
    pub fn first(&self) -> Option<Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// What cuts texts for the first.
    #[must_use]
    pub fn cutter(&self) -> Arc<dyn Cutter> {
        let max_tokens = self.first().map_or(MAX_TOKENS, |first| first.embedder.max_tokens());
        let tokenizer = self.tokenizer.clone().unwrap_or_else(|| Arc::new(Words));
        Arc::new(TextCutter::new(tokenizer, max_tokens))
    }
}

impl Embedders for Models {
    fn of(&self, generation: &Generation) -> Option<Arc<dyn Embedder>> {
        let makes = |opened: &&Opened| {
            opened.provider == generation.provider
                && opened.embedder.model() == generation.model
                && i32::try_from(opened.embedder.dimensions()) == Ok(generation.dimensions)
        };
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.iter().find(makes).map(|opened| Arc::clone(&opened.embedder))
    }
}
