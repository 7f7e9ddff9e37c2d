//! Cuts the texts of resources for the model in use: the chunker, with room for the title that goes with each chunk.

use std::sync::Arc;

use super::chunker::{ChunkSize, Chunker};
use crate::domain::{Cutter, Piece, Result, Tokenizer};

/// What a model reads besides the text: where it begins and where it ends.
const SPECIAL_TOKENS: usize = 2;

/// See [`Cutter`].
pub struct TextCutter {
    tokenizer: Arc<dyn Tokenizer>,
    chunker: Chunker,
}

impl TextCutter {
    /// For a model that reads so many tokens of a text, special ones included.
    #[must_use]
    pub fn new(tokenizer: Arc<dyn Tokenizer>, max_tokens: usize) -> Self {
        let size = ChunkSize::default();
        let max_tokens = size.max_tokens.min(max_tokens.saturating_sub(SPECIAL_TOKENS));
        TextCutter { chunker: Chunker::new(Arc::clone(&tokenizer), ChunkSize { max_tokens, ..size }), tokenizer }
    }
}

impl Cutter for TextCutter {
    fn cut(&self, text: &str, title: &str) -> Result<Vec<Piece>> {
        let room = self.tokenizer.pieces(title)?.len();
        self.chunker.leaving_room(room).cut(text)
    }
}
