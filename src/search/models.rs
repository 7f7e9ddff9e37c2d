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

impl Opened {
    /// Whether its vectors are those of a generation.
    fn makes(&self, generation: &Generation) -> bool {
        self.provider == generation.provider
            && self.embedder.model() == generation.model
            && i32::try_from(self.embedder.dimensions()) == Ok(generation.dimensions)
    }
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

    /// Closes models that made none of these, but not the first, which makes new ones.
    pub fn close_all_but(&self, generations: &[Generation]) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let mut place = 0;
        opened.retain(|opened| {
            place += 1;
            place == 1 || generations.iter().any(|generation| opened.makes(generation))
        });
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
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.iter().find(|opened| opened.makes(generation)).map(|opened| Arc::clone(&opened.embedder))
    }
}
