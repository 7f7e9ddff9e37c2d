//! The forward pass of BERT with pooling: token ids in, one vector per text out.
//!
//! Texts of one lot are laid one after the other, without padding: what works on single tokens sees one long row of them, and
//! only attention looks at each text by itself. So a lot costs what its tokens cost, and a text has the same vector whatever
//! it is embedded with. Files and their checks are `folder.rs`.

use std::mem;

use super::{
    matrix::{Linear, Multiplier, Norm, attend, gelu},
    normalised,
};
use crate::domain::{Error, Result};

/// A model in memory.
pub(super) struct Bert {
    /// Vectors of the tokens, one row each.
    pub(super) words: Vec<f32>,
    /// Vectors of the places in a text, with that of the only kind of token added.
    pub(super) places: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) pooling: Pooling,
}

/// One layer.
pub(super) struct Layer {
    /// Query, key and value in one matrix.
    pub(super) mix: Linear,
    pub(super) join: Linear,
    pub(super) joined: Norm,
    pub(super) widen: Linear,
    pub(super) narrow: Linear,
    pub(super) narrowed: Norm,
}

/// How the vectors of the tokens become that of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
}

impl Bert {
    /// How many tokens there are.
    pub(super) fn vocabulary(&self) -> usize {
        self.words.len() / self.width
    }

    /// One vector of unit length for each text, or why this text has none.
    ///
    /// # Errors
    /// For all of them: when a token is not in the model, or a text has none or more than the model has places for.
    pub(super) fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<Result<Vec<f32>>>> {
        let with = Multiplier::new();
        let mut rows = self.looked_up(texts)?;
        self.norm.apply(&mut rows);
        for layer in &self.layers {
            let mixed = layer.mix.apply(&with, &rows)?;
            let mut found = vec![0.0; rows.len()];
            let (mut rest_mixed, mut rest_found) = (mixed.as_slice(), found.as_mut_slice());
            for text in texts {
                let size = text.len() * self.width;
                let (Some((mixed, after)), Some((out, out_after))) =
                    (rest_mixed.split_at_checked(3 * size), mem::take(&mut rest_found).split_at_mut_checked(size))
                else {
                    return Err(Error::internal("fewer rows than tokens"));
                };
                attend(&with, mixed, out, self.heads, self.width / self.heads)?;
                (rest_mixed, rest_found) = (after, out_after);
            }
            layer.join.add_to(&with, &found, &mut rows)?;
            layer.joined.apply(&mut rows);
            let mut wide = layer.widen.apply(&with, &rows)?;
            gelu(&mut wide);
            layer.narrow.add_to(&with, &wide, &mut rows)?;
            layer.narrowed.apply(&mut rows);
        }
        let mut rows = rows.chunks_exact(self.width);
        Ok(texts.iter().map(|text| normalised(self.pooled(rows.by_ref().take(text.len())))).collect())
    }

    fn looked_up(&self, texts: &[Vec<u32>]) -> Result<Vec<f32>> {
        let mut rows = Vec::with_capacity(texts.iter().map(Vec::len).sum::<usize>() * self.width);
        for text in texts {
            if text.is_empty() {
                return Err(Error::internal("a text without tokens"));
            }
            for (place, token) in text.iter().enumerate() {
                let word = row(&self.words, *token as usize, self.width).ok_or("a token that the model does not know");
                let place = row(&self.places, place, self.width).ok_or("a text longer than the model reads");
                let (word, place) = (word.map_err(Error::internal)?, place.map_err(Error::internal)?);
                rows.extend(word.iter().zip(place).map(|(word, place)| word + place));
            }
        }
        Ok(rows)
    }

    fn pooled<'a>(&self, mut tokens: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
        let mut vector = tokens.next().unwrap_or_default().to_vec();
        if self.pooling == Pooling::Mean {
            // The sum points where the mean does, and only the direction counts.
            for token in tokens {
                vector.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
            }
        } else {
            tokens.for_each(drop);
        }
        vector
    }
}

fn row(rows: &[f32], index: usize, width: usize) -> Option<&[f32]> {
    let start = index.checked_mul(width)?;
    rows.get(start..start.checked_add(width)?)
}
