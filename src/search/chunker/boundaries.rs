//! Every place where a text may be cut, how good it is, and how much of the text lies before it.
//!
//! Which of them are taken is decided in `chunker.rs`.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::{ChunkSize, Level, layout};

/// A piece counts one more for each so many bytes that it and the blanks after it have. So a chunk is never longer than
/// some kilobytes: a model reads a thousand letters without a blank as one word that it does not know.
const BYTES_OF_A_PIECE: usize = 64;
/// A stretch of more pieces without a boundary is given some inside.
const LONG_WORD: usize = 8;

/// A place where the text may be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundary {
    /// The byte before which it is.
    pub(super) at: usize,
    /// Pieces before it, long ones counted more than once.
    pub(super) weight: usize,
    /// How good it is.
    pub(super) level: Level,
}

/// All boundaries in the order of the text, its beginning and its end among them. None is inside of a grapheme cluster.
pub(super) fn find(text: &str, pieces: &[Range<usize>], size: ChunkSize) -> Vec<Boundary> {
    let layout = layout::read(text);
    let mut places = vec![(0, Level::Section)];
    places.extend(layout.breaks);
    places.extend(sentences(text));
    places.extend(words(text));
    places.push((text.len(), Level::Section));
    // Runs that are in order already, so this is merging and takes linear time.
    places.sort();
    places.dedup_by_key(|&mut (at, _)| at);

    let scale = Scale::new(pieces);
    let long_word = LONG_WORD.min(size.max_tokens / 4);
    let mut clusters = text.grapheme_indices(true).map(|(at, _)| at).peekable();
    let mut found: Vec<Boundary> = Vec::with_capacity(places.len());
    for (at, level) in places {
        let weight = scale.before(at);
        let last = found.last().map_or((0, 0), |last| (last.at, last.weight));
        while let Some(inside) = clusters.next_if(|&cluster| cluster < at) {
            if inside > last.0 && weight - last.1 > long_word {
                found.push(Boundary { at: inside, weight: scale.before(inside), level: Level::Cluster });
            }
        }
        if at == text.len() || clusters.peek() == Some(&at) {
            found.push(Boundary { at, weight, level });
        }
    }
    // What is kept together has to fit into a chunk beside what is repeated before it.
    let room = size.max_tokens.saturating_sub(size.overlap_tokens + long_word);
    let kept = fitting(layout.kept, |range| scale.before(range.end) - scale.before(range.start) <= room);
    let mut kept = kept.into_iter().peekable();
    found.retain(|boundary| {
        while kept.next_if(|range| range.end <= boundary.at).is_some() {}
        kept.peek().is_none_or(|range| boundary.at <= range.start)
    });
    found
}

/// Ranges that touch each other as one. Of those that do not fit, alone or with the one before, nothing is kept.
fn fitting(ranges: Vec<Range<usize>>, fits: impl Fn(&Range<usize>) -> bool) -> Vec<Range<usize>> {
    let mut kept: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        let last = kept.pop_if(|last| range.start < last.end);
        let joined = last.as_ref().map_or(range.start, |last| last.start)..range.end;
        if fits(&joined) {
            kept.push(joined);
        } else {
            kept.extend(last);
        }
    }
    kept
}

/// Beginnings of sentences.
fn sentences(text: &str) -> impl Iterator<Item = (usize, Level)> {
    let mut before = "";
    text.split_sentence_bound_indices().filter_map(move |(at, sentence)| {
        let visible = sentence.trim_start();
        if visible.is_empty() {
            return None;
        }
        let begins = has_ended(before, visible);
        before = sentence;
        begins.then_some((at + sentence.len() - visible.len(), Level::Sentence))
    })
}

/// Whether there is an end of a sentence where the standard sees one. It sees one at the end of every line too, and after every
/// mark, as in `a != b` and `a ?? b`.
fn has_ended(before: &str, after: &str) -> bool {
    let closing =
        |c: char| c.is_whitespace() || matches!(c, ')' | ']' | '"' | '\'' | '’' | '”' | '»' | '*' | '_' | '」');
    let body = before.trim_end_matches(closing);
    let words = body.trim_end_matches(['.', '!', '?']);
    if words.len() < body.len() {
        let is_spaced = words.ends_with(char::is_whitespace);
        return before.ends_with(char::is_whitespace) && !(is_spaced && after.starts_with(char::is_lowercase));
    }
    !before.is_empty()
        && (!before.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
            || body.ends_with(['…', '。', '！', '？', '｡', '؟', '۔', '।', '॥', '።', '။', '։']))
}

/// Beginnings of words and of what else is visible.
fn words(text: &str) -> impl Iterator<Item = (usize, Level)> {
    let mut after_blank = true;
    text.split_word_bound_indices().filter_map(move |(at, word)| {
        let level = if after_blank { Level::Word } else { Level::Part };
        after_blank = word.ends_with(char::is_whitespace);
        (!word.starts_with(char::is_whitespace)).then_some((at, level))
    })
}

/// How many pieces lie before a byte.
struct Scale {
    /// Where each piece begins, and the weight of those before it.
    pieces: Vec<(usize, usize)>,
}

impl Scale {
    fn new(pieces: &[Range<usize>]) -> Self {
        let mut scale = Scale { pieces: Vec::with_capacity(pieces.len()) };
        for piece in pieces {
            let before = match scale.pieces.last() {
                // One character can be several pieces.
                Some(&(start, before)) if start >= piece.start => before + 1,
                _ => scale.before(piece.start),
            };
            scale.pieces.push((piece.start, before));
        }
        scale
    }

    fn before(&self, at: usize) -> usize {
        let place = self.pieces.partition_point(|&(start, _)| start < at);
        match place.checked_sub(1).and_then(|last| self.pieces.get(last)) {
            Some(&(start, before)) => before + 1 + (at - start) / BYTES_OF_A_PIECE,
            None => at / BYTES_OF_A_PIECE,
        }
    }
}
