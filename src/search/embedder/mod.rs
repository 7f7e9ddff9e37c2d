//! Embedders: a sentence model on this machine, or a server that speaks OpenAI's protocol.
//!
//! Both implement `domain::Embedder`. Having none is no embedder of its own: callers hold `None` and search by words.

mod answer;
mod bert;
mod folder;
pub mod http;
pub mod local;
mod matrix;
pub mod pool;
mod tokens;

pub use http::{HttpEmbedder, HttpModel};
pub use local::{LocalEmbedder, Threads};
pub use tokens::ModelTokenizer;

use crate::domain::{Error, Result, embedding::unit};

/// The vector at unit length.
///
/// # Errors
/// When it has no length: such a vector would vanish from an index.
fn normalised(vector: Vec<f32>) -> Result<Vec<f32>> {
    unit(&vector).ok_or_else(|| Error::internal("the model gave a vector without a length"))
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn vectors_get_unit_length_and_those_without_one_are_refused() {
        assert_eq!(normalised(vec![3.0, 4.0]).unwrap(), [0.6, 0.8]);
        assert_eq!(normalised(vec![1e30, 0.0]).unwrap(), [1.0, 0.0]);
        assert_eq!(normalised(vec![1e-30, 0.0]).unwrap(), [1.0, 0.0]);
        for bad in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![]] {
            assert!(normalised(bad).is_err());
        }
    }
}
