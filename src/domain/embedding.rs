//! Ports: texts become vectors by meaning, and texts are cut into the pieces that a model reads.
//!
//! Which model that is, and where it runs, is the adapters' business. Where there is none, callers hold `None`.

use std::ops::Range;

use super::{Piece, Result};

/// A vector at unit length; `None` if it has no length (zero, or a component that is no number), because it is near to nothing.
#[must_use]
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    // In f64, where the squares of finite components are finite and small ones do not vanish.
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
}

/// What a text is embedded for. Some models want another prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To be found.
    Passage,
    /// To find. Somebody waits for it, so it goes before passages.
    Query,
}

/// Turns texts into vectors whose cosine is their nearness in meaning.
#[async_trait::async_trait]
pub trait Embedder: Send + Sync {
    /// Name of the model, kept with a generation of vectors: vectors of different models are never compared.
    fn model(&self) -> &str;

    /// Length of every vector, 1 to 16,000.
    fn dimensions(&self) -> usize;

    /// Tokens of one text that are read, special tokens included; the rest of a longer text does not count.
    fn max_tokens(&self) -> usize;

    /// One vector per text, in their order, each of unit length and never zero.
    ///
    /// # Errors
    /// `Overloaded` when too much waits already or the model's server says so, `Timeout`, and `Internal`, also when one of
    /// the texts has no usable vector. Then there are none of the others either.
    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>>;
}

/// Cuts a text into the pieces that a model reads, such as word pieces.
pub trait Tokenizer: Send + Sync {
    /// Where the pieces are: byte ranges of the text whose beginnings ascend, without special tokens and however long the
    /// text is. Pieces that come from one character have the same range.
    ///
    /// # Errors
    /// `Internal` when the model's rules cannot read the text.
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>>;
}

/// Cuts texts into pieces for search.
pub trait Cutter: Send + Sync {
    /// Pieces of a text, in its order, each with room for a title that is embedded with it; none of a text without letters.
    ///
    /// # Errors
    /// Those of the tokenizer.
    fn cut(&self, text: &str, title: &str) -> Result<Vec<Piece>>;
}
