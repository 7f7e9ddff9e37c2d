//! A tokenizer for when there is no model: words, the long ones in parts.
//!
//! It is for the sizes of chunks only; nothing is embedded by it. Beside the tokenizer of an English model (BERT, uncased) it counts
//! within a tenth of it in English prose, Markdown and source code (0.95 to 1.10 over eight texts of 10,000 to 80,000 pieces), and
//! 0.6 to 1.2 of it in short texts of other languages, which such a model cuts nearly into letters.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::domain::{Result, embedding::Tokenizer};

/// Counts about as the tokenizer of a model does, and needs none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words;

impl Tokenizer for Words {
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut pieces: Vec<Range<usize>> = Vec::new();
        // How many more characters the last piece takes.
        let mut room = 0_usize;
        for (at, cluster) in text.grapheme_indices(true) {
            let first = cluster.chars().next().unwrap_or(' ');
            let end = at + cluster.len();
            if first.is_whitespace() {
                room = 0;
            } else if room > 0
                && first.is_alphanumeric()
                && let Some(piece) = pieces.last_mut()
            {
                piece.end = end;
                room -= 1;
            } else {
                pieces.push(at..end);
                room = if first.is_alphanumeric() { letters_of_a_piece(first) - 1 } else { 0 };
            }
        }
        Ok(pieces)
    }
}

/// How long pieces get that begin with this letter or digit.
fn letters_of_a_piece(first: char) -> usize {
    match first {
        '\0'..='\u{7f}' => 7,
        '\u{80}'..='\u{2e7f}' => 2,
        _ => 1, // Chinese characters and their neighbours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_pieces_and_long_ones_several() {
        let text = "Chunks, internationally: 3 café 東京 👩‍👩‍👧";
        let pieces: Vec<&str> = Words.pieces(text).unwrap().into_iter().filter_map(|span| text.get(span)).collect();
        assert_eq!(pieces, ["Chunks", ",", "interna", "tionall", "y", ":", "3", "café", "東", "京", "👩‍👩‍👧"]);
        assert!(Words.pieces(" \n\t").unwrap().is_empty());
    }
}
