//! Cuts the text of a resource into chunks that a model can read whole.
//!
//! Each chunk ends at the best place near the wanted size: before a heading rather than between paragraphs, there
//! rather than between sentences, and so on down to characters (`Level`). What belongs together (`layout.rs`) is kept
//! together if it fits. The next chunk repeats the end of the one before, but for what stands before a heading. A cut depends on
//! nothing but what lies around it, so after an edit the cuts soon fall where they fell before. Nothing is read or
//! written here, and what a chunk is about (title, path) is put before it by whoever embeds it.

mod boundaries;
mod layout;
pub mod words;

use std::{ops::Range, sync::Arc};

use crate::domain::{
    Error, Result,
    chunk::{Piece, Span},
    embedding::Tokenizer,
};

use boundaries::Boundary;
pub use words::Words;

/// How large chunks are, in word pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize {
    /// What is aimed at.
    pub target_tokens: usize,
    /// How much a chunk repeats of the one before, at most.
    pub overlap_tokens: usize,
    /// What no chunk exceeds: what the model reads, less what it adds by itself.
    pub max_tokens: usize,
}

impl Default for ChunkSize {
    /// What measured best with models that read 256 pieces, two of which are their own.
    fn default() -> Self {
        ChunkSize { target_tokens: 200, overlap_tokens: 40, max_tokens: 254 }
    }
}

/// How good a place is for a cut, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Before a heading or a horizontal rule, and the end of the text.
    Section,
    /// After an empty line, at the left margin.
    Block,
    /// Before a list item, a table row, a definition, or something indented after an empty line.
    Item,
    /// After the end of a sentence.
    Sentence,
    /// At any other line.
    Line,
    /// After a blank.
    Word,
    /// Between words that no blank separates.
    Part,
    /// Between characters as people see them.
    Cluster,
}

impl Level {
    /// By how many pieces a chunk may miss the wanted size rather than be cut at such a place.
    const fn penalty(self) -> usize {
        match self {
            Level::Section => 0,
            Level::Block => 30,
            Level::Item => 50,
            Level::Sentence => 60,
            Level::Line => 80,
            Level::Word => 120,
            Level::Part => 160,
            Level::Cluster => 300,
        }
    }
}

/// Cuts texts for one model. Cheap to clone.
#[derive(Clone)]
pub struct Chunker {
    tokenizer: Arc<dyn Tokenizer>,
    size: ChunkSize,
}

impl Chunker {
    /// A chunker for the model whose tokenizer this is. Sizes that contradict each other are made to fit.
    #[must_use]
    pub fn new(tokenizer: Arc<dyn Tokenizer>, size: ChunkSize) -> Self {
        let max_tokens = size.max_tokens.max(1);
        let target_tokens = size.target_tokens.clamp(1, max_tokens);
        let overlap_tokens = size.overlap_tokens.min(target_tokens / 2);
        Chunker { tokenizer, size: ChunkSize { target_tokens, overlap_tokens, max_tokens } }
    }

    /// The same, with room for so many pieces of context before each chunk: at most half of what the model reads.
    #[must_use]
    pub fn leaving_room(&self, tokens: usize) -> Self {
        let max_tokens = self.size.max_tokens - tokens.min(self.size.max_tokens / 2);
        Chunker::new(Arc::clone(&self.tokenizer), ChunkSize { max_tokens, ..self.size })
    }

    /// The chunks of a text in its order. Together they have every visible character that the tokenizer sees; a text
    /// without any has none. Time and memory grow with the length of the text and not faster.
    ///
    /// # Errors
    /// When the tokenizer fails, or the text has more than 2³¹ bytes.
    pub fn cut(&self, text: &str) -> Result<Vec<Piece>> {
        let pieces = self.tokenizer.pieces(text)?;
        let boundaries = boundaries::find(text, &pieces, self.size);
        let cutting = Cutting { chunker: self, text, pieces: &pieces, boundaries: &boundaries };
        let (mut starts, mut ends) = (Place::default(), Place::default());
        let mut cut = Vec::new();
        let (mut start, mut from) = (0, 0);
        while from + 1 < boundaries.len() {
            let (end, chunk, token_count) = cutting.next(start, from)?;
            if token_count > 0 {
                starts.go_to(chunk.start, text);
                ends.go_to(chunk.end, text);
                cut.push(Piece {
                    text: text.get(chunk).unwrap_or_default().to_owned(),
                    span: span(&starts, &ends)?,
                    token_count: number(token_count)?,
                });
            }
            (start, from) = (cutting.repeated_from(start, end), end);
        }
        Ok(cut)
    }
}

/// One text and where it may be cut. Chunks are found by the numbers of boundaries.
struct Cutting<'a> {
    chunker: &'a Chunker,
    text: &'a str,
    pieces: &'a [Range<usize>],
    boundaries: &'a [Boundary],
}

impl Cutting<'_> {
    /// The chunk that begins at `start` and goes beyond `from`: its end, its bytes and how many pieces it has. If not even the
    /// next boundary can be reached, it begins at `from` and repeats nothing.
    fn next(&self, start: usize, from: usize) -> Result<(usize, Range<usize>, usize)> {
        let max = self.chunker.size.max_tokens;
        let (mut start, mut limit) = (start, max);
        loop {
            let end = self.best_end(start, from, limit);
            let chunk = self.visible(start, end);
            let token_count = self.count(&chunk)?;
            if token_count <= max || (start == from && end == from + 1) {
                return Ok((end, chunk, token_count));
            }
            if end == from + 1 {
                (start, limit) = (from, max);
            } else {
                limit = (self.weight(end) - self.weight(start)) * 3 / 4;
            }
        }
    }

    /// The end that misses the wanted size least, as `Level::penalty` counts.
    fn best_end(&self, start: usize, from: usize, limit: usize) -> usize {
        let target = self.chunker.size.target_tokens.min(limit);
        let before = self.weight(start);
        let (mut best, mut least) = (from + 1, usize::MAX);
        for (end, boundary) in self.boundaries.iter().enumerate().skip(from + 1) {
            let size = boundary.weight - before;
            if size > limit {
                break;
            }
            let cost = size.abs_diff(target) + boundary.level.penalty();
            if cost < least {
                (best, least) = (end, cost);
            }
        }
        best
    }

    /// Where the chunk after the one from `start` to `cut` begins: at the first sentence that may be repeated. If none is short
    /// enough, words are repeated where a sentence was cut, and nothing elsewhere.
    fn repeated_from(&self, start: usize, cut: usize) -> usize {
        if self.level(cut) == Level::Section {
            return cut;
        }
        let most = self.chunker.size.overlap_tokens.min((self.weight(cut) - self.weight(start)) / 2);
        let mut best = cut;
        let mut best_level = if self.level(cut) <= Level::Sentence { Level::Sentence } else { Level::Cluster };
        for (at, boundary) in self.boundaries.iter().enumerate().take(cut).skip(start + 1).rev() {
            if self.weight(cut) - boundary.weight > most {
                break;
            }
            // What is no worse than a sentence is alike here.
            let level = boundary.level.max(Level::Sentence);
            if level <= best_level {
                (best, best_level) = (at, level);
            }
            if boundary.level == Level::Section {
                break; // before it, it was about something else
            }
        }
        best
    }

    /// The bytes between two boundaries without the blanks at both ends.
    fn visible(&self, start: usize, end: usize) -> Range<usize> {
        let (start, end) = (self.at(start), self.at(end));
        let text = self.text.get(start..end).unwrap_or_default();
        let start = start + text.len() - text.trim_start().len();
        start..start + text.trim().len()
    }

    /// How many pieces these bytes are. They are counted anew only if the edges are not at blanks, because a part of a word
    /// can be more pieces than it was in the whole.
    fn count(&self, chunk: &Range<usize>) -> Result<usize> {
        let touches = |text: Option<&str>, last: bool| {
            text.and_then(|t| if last { t.chars().next_back() } else { t.chars().next() })
                .is_some_and(|c| !c.is_whitespace())
        };
        if touches(self.text.get(..chunk.start), true) || touches(self.text.get(chunk.end..), false) {
            let text = self.text.get(chunk.clone()).unwrap_or_default();
            return Ok(self.chunker.tokenizer.pieces(text)?.len());
        }
        let before = |at: usize| self.pieces.partition_point(|piece| piece.start < at);
        Ok(before(chunk.end) - before(chunk.start))
    }

    fn boundary(&self, index: usize) -> Boundary {
        let end = Boundary { at: self.text.len(), weight: usize::MAX, level: Level::Section };
        self.boundaries.get(index).copied().unwrap_or(end)
    }

    fn at(&self, index: usize) -> usize {
        self.boundary(index).at
    }

    fn weight(&self, index: usize) -> usize {
        self.boundary(index).weight
    }

    fn level(&self, index: usize) -> Level {
        self.boundary(index).level
    }
}

/// A place in a text, in all three ways to count; it only goes forward.
#[derive(Default)]
struct Place {
    byte: usize,
    character: usize,
    utf16: usize,
}

impl Place {
    fn go_to(&mut self, byte: usize, text: &str) {
        for c in text.get(self.byte..byte).unwrap_or_default().chars() {
            self.character += 1;
            self.utf16 += c.len_utf16();
        }
        self.byte = byte;
    }
}

fn span(start: &Place, end: &Place) -> Result<Span> {
    Ok(Span {
        start_char: number(start.character)?,
        end_char: number(end.character)?,
        start_utf16: number(start.utf16)?,
        end_utf16: number(end.utf16)?,
    })
}

fn number(count: usize) -> Result<i32> {
    i32::try_from(count).map_err(|_| Error::invalid("A text of more than 2 GiB cannot be cut into chunks"))
}

#[cfg(test)]
mod tests;
