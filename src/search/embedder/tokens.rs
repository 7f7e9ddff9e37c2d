//! Texts to the pieces that a model reads, by the rules in its `tokenizer.json`.
//!
//! Those rules come with a truncation and a padding for some other use of the model; both are replaced here, or long texts
//! would lose their second half.

use std::{ops::Range, path::Path};

use tokenizers::{Tokenizer as Rules, TruncationParams};

use super::folder::unusable;
use crate::domain::{Error, Result, Tokenizer};

/// A text of which only the first tokens are read is cut to this many bytes for each of them before anything else: that
/// holds them in every language, and a text of megabytes costs no more than what is read of it.
const BYTES_PER_TOKEN: usize = 128;

/// Long texts are cut into pieces by parts of about so many bytes: the rules take some hundred times the memory of what they
/// are at.
const PART_BYTES: usize = 64 * 1024;

/// Cuts texts into the pieces of one model.
pub struct ModelTokenizer {
    /// For whole texts.
    cutting: Rules,
    /// For what the model reads at once.
    reading: Rules,
    max_tokens: usize,
}

impl ModelTokenizer {
    /// The rules of the model in `folder`, which reads `max_tokens` tokens of a text, special ones included.
    ///
    /// # Errors
    /// `InvalidArgument` with a sentence for the operator when the file is missing or damaged.
    pub fn open(folder: &Path, max_tokens: usize) -> Result<Self> {
        let unusable = |error| unusable(folder, &format!("tokenizer.json: {error}"));
        let mut cutting = Rules::from_file(folder.join("tokenizer.json")).map_err(unusable)?;
        cutting.with_padding(None).with_truncation(None).map_err(unusable)?;
        let mut reading = cutting.clone();
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        reading.with_truncation(Some(truncation)).map_err(unusable)?;
        Ok(ModelTokenizer { cutting, reading, max_tokens })
    }

    /// How many tokens there are.
    pub(super) fn vocabulary(&self) -> usize {
        self.cutting.get_vocab_size(true)
    }

    /// What the model reads of a text: ids of its tokens, special ones included.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let end = boundary(text, self.max_tokens.saturating_mul(BYTES_PER_TOKEN));
        let text = text.get(..end).unwrap_or(text);
        let read = self.reading.encode_fast(text, true).map_err(Error::internal)?;
        Ok(read.get_ids().to_vec())
    }
}

impl Tokenizer for ModelTokenizer {
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let (mut pieces, mut done, mut rest) = (Vec::new(), 0, text);
        while !rest.is_empty() {
            let (part, after) = rest.split_at_checked(part_end(rest)).unwrap_or((rest, ""));
            let read = self.cutting.encode(part, false).map_err(Error::internal)?;
            pieces.extend(read.get_offsets().iter().map(|(start, end)| done + start..done + end));
            (done, rest) = (done + part.len(), after);
        }
        Ok(pieces)
    }
}

/// Where the first part of a text ends: before white space, so that no word is torn, or else where it must.
fn part_end(text: &str) -> usize {
    let longest = boundary(text, PART_BYTES);
    if longest == text.len() {
        return longest;
    }
    let space = text.get(..longest).and_then(|part| part.rfind(char::is_whitespace));
    space.filter(|at| *at > 0).unwrap_or(longest)
}

/// The last place up to `bytes` that is between two characters.
fn boundary(text: &str, bytes: usize) -> usize {
    (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}
