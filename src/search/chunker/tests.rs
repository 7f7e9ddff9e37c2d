//! What holds for every text, and where particular texts are cut.

#![allow(clippy::string_slice, reason = "tests fail by panicking")]

use std::{collections::HashSet, ops::Range};

use unicode_segmentation::UnicodeSegmentation;

use super::*;

const SMALL: ChunkSize = ChunkSize { target_tokens: 40, overlap_tokens: 10, max_tokens: 50 };

fn chunker(size: ChunkSize) -> Chunker {
    Chunker::new(Arc::new(Words), size)
}

fn texts(size: ChunkSize, text: &str) -> Vec<String> {
    chunker(size).cut(text).unwrap().into_iter().map(|piece| piece.text).collect()
}

fn count(text: &str) -> usize {
    Words.pieces(text).unwrap().len()
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % limit as u64) as usize
    }

    fn one_of<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.below(choice.len())]
    }

    fn word(&mut self) -> String {
        (0..1 + self.below(9)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn sentence(&mut self) -> String {
        let words: Vec<String> = (0..4 + self.below(16)).map(|_| self.word()).collect();
        format!("A{}.", words.join(" "))
    }

    fn paragraph(&mut self) -> String {
        (0..1 + self.below(6)).map(|_| self.sentence()).collect::<Vec<_>>().join(" ")
    }

    /// Anything that may come in a text, in no good order.
    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(400) {
            match self.below(24) {
                0 => text.push_str("\n\n"),
                1 => text.push('\n'),
                2 => text.push_str(self.one_of(&["\n# ", "\n## ", "\n---\n", "\n===\n", "\n***\n", "\n#\n"])),
                3 => {
                    text.push_str(self.one_of(&["\n```\n", "\n~~~ rust\n", "\n    ", "\n- ", "\n1. ", "\n| a | b |\n"]))
                }
                4 => {
                    text.push_str(self.one_of(&["东京都", "日本語のテキスト。", "ภาษาไทย", "हिन्दी", "한국어", "עברית"]))
                }
                5 => text.push_str(self.one_of(&["👩‍👩‍👧", "🇮🇹🇩🇪", "e\u{301}\u{302}", "👍🏽", "\r\n", "\u{2028}", "\u{85}"])),
                6 => text.push_str(self.one_of(&[". ", "! ", "? ", "… ", "。", "; ", ".\" ", ".)\n"])),
                7 => (0..self.below(120)).for_each(|_| text.push(char::from(b'A' + self.below(57) as u8))),
                8 => text.push_str(&self.sentence()),
                9 => text.push_str(self.one_of(&["\u{200b}", "\u{feff}", "\t", "   ", "\u{3000}"])),
                _ => {
                    text.push_str(&self.word());
                    text.push(' ');
                }
            }
        }
        text
    }
}

/// The bytes of a chunk, looked up by each of both counts.
fn bytes(text: &str, span: Span) -> Range<usize> {
    let at = |number: i32| {
        text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(usize::try_from(number).unwrap()).unwrap()
    };
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let units = &utf16[usize::try_from(span.start_utf16).unwrap()..usize::try_from(span.end_utf16).unwrap()];
    let range = at(span.start_char)..at(span.end_char);
    assert_eq!(String::from_utf16(units).unwrap(), text[range.clone()]);
    range
}

#[test]
fn what_holds_for_every_text_holds_for_random_ones() {
    for seed in 0..150 {
        let text = Random(seed).text();
        for size in [ChunkSize::default(), SMALL, ChunkSize { target_tokens: 5, overlap_tokens: 2, max_tokens: 8 }] {
            let chunks = chunker(size).cut(&text).unwrap();
            let pieces = Words.pieces(&text).unwrap();
            let clusters: HashSet<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
            let mut covered = 0;
            let mut before: Option<Range<usize>> = None;
            for chunk in &chunks {
                let range = bytes(&text, chunk.span);
                assert_eq!(chunk.text, text[range.clone()], "seed {seed}");
                assert_eq!(chunk.text, chunk.text.trim(), "seed {seed}");
                assert!(clusters.contains(&range.start) && clusters.contains(&range.end), "seed {seed}: {chunk:?}");
                assert_eq!(usize::try_from(chunk.token_count).unwrap(), count(&chunk.text), "seed {seed}");
                assert!((1..=size.max_tokens).contains(&count(&chunk.text)), "seed {seed}: {chunk:?}");
                if let Some(before) = before {
                    assert!(before.start < range.start && before.end < range.end, "seed {seed}");
                    let repeated =
                        pieces.iter().filter(|piece| (range.start..before.end).contains(&piece.start)).count();
                    assert!(repeated <= size.overlap_tokens, "seed {seed}: {repeated} in {chunk:?}");
                }
                let gap = text.get(covered..range.start).unwrap_or_default();
                assert!(gap.trim().is_empty(), "seed {seed}: {gap:?} is in no chunk");
                covered = range.end;
                before = Some(range);
            }
            assert!(text[covered..].trim().is_empty(), "seed {seed}: the end is in no chunk");
            assert_eq!(chunker(size).cut(&text).unwrap(), chunks, "seed {seed}");
        }
    }
}

#[test]
fn a_text_without_anything_visible_has_no_chunk() {
    for text in ["", " ", "\n\n\t\r\n \u{3000}"] {
        assert!(texts(ChunkSize::default(), text).is_empty(), "{text:?}");
    }
}

#[test]
fn a_short_text_is_one_chunk_without_the_blanks_around_it() {
    let chunks = chunker(ChunkSize::default()).cut("\n  Ünï 👍 text.\n").unwrap();
    let span = Span { start_char: 3, end_char: 14, start_utf16: 3, end_utf16: 15 };
    assert_eq!(chunks, [Piece { text: "Ünï 👍 text.".into(), span, token_count: count("Ünï 👍 text.") as i32 }]);
}

#[test]
fn chunks_are_about_as_long_as_wanted() {
    let mut random = Random(7);
    let text: Vec<String> = (0..200).map(|_| random.paragraph()).collect();
    let chunks = chunker(ChunkSize::default()).cut(&text.join("\n\n")).unwrap();
    let counts: Vec<i32> = chunks.iter().map(|chunk| chunk.token_count).collect();
    let mean = counts.iter().sum::<i32>() / i32::try_from(counts.len()).unwrap();
    assert!((180..=220).contains(&mean), "mean {mean} of {counts:?}");
    assert!(counts.iter().rev().skip(1).all(|count| (140..=254).contains(count)), "{counts:?}");
}

#[test]
fn a_cut_is_before_a_heading_and_nothing_is_repeated_there() {
    let mut random = Random(3);
    let sections: Vec<String> =
        (0..3).map(|i| format!("## Part {i}\n\n{} {}", random.sentence(), random.sentence())).collect();
    let text = sections.join("\n\n");
    let size = ChunkSize { target_tokens: count(&sections[0]) + 3, overlap_tokens: 10, max_tokens: 60 };
    assert_eq!(texts(size, &text), sections);
}

#[test]
fn a_heading_stays_with_what_follows_it() {
    let mut random = Random(5);
    for underlined in [false, true] {
        let text: Vec<String> = (0..60)
            .map(|i| {
                let title = if underlined { format!("Part {i}\n------") } else { format!("# All\n\n### Part {i}") };
                format!("{title}\n\n{}\n\n{}", random.paragraph(), random.paragraph())
            })
            .collect();
        for chunk in texts(SMALL, &text.join("\n\n")) {
            let last = chunk.lines().last().unwrap();
            assert!(!last.starts_with('#') && !last.starts_with("Part") && !last.starts_with("---"), "{chunk}");
        }
    }
}

#[test]
fn code_between_fences_is_whole_if_it_fits() {
    let mut random = Random(11);
    let code = "```rust\nfn first() {\n    one();\n\n    two();\n}\n\nfn second() {}\n```";
    let text: Vec<String> = (0..40).map(|_| format!("{}\n\n{code}", random.paragraph())).collect();
    for chunk in texts(SMALL, &text.join("\n\n")) {
        assert_eq!(chunk.matches("```").count(), 2 * chunk.matches(code).count(), "{chunk}");
    }
    // What does not fit is cut between definitions.
    let definition = "fn name() {\n    one(1, 2, 3);\n\n    two(4, 5, 6);\n}\n\n";
    let long = format!("```\n{}```", definition.repeat(20));
    let chunks = texts(SMALL, &long);
    assert!(chunks.len() > 5);
    assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.ends_with("two(4, 5, 6);\n}")), "{chunks:?}");
}

#[test]
fn prose_is_cut_at_sentences_in_any_script() {
    let size = ChunkSize { overlap_tokens: 15, ..SMALL };
    let sentence = "The quick brown fox jumps over the lazy dog again. ";
    for chunk in texts(size, &sentence.repeat(30)) {
        assert!(chunk.starts_with("The") && chunk.ends_with("again."), "{chunk}");
    }
    // Lines that are broken by hand are no sentences.
    for chunk in texts(size, &"The quick brown fox\njumps over the lazy\ndog again. ".repeat(30)) {
        assert!(chunk.starts_with("The") && chunk.ends_with("again."), "{chunk}");
    }
    for chunk in texts(size, &"人人生而自由在尊严和权利上一律平等。".repeat(20)) {
        assert!(chunk.ends_with('。') && chunk.starts_with("人人"), "{chunk}");
    }
}

#[test]
fn marks_in_code_end_no_sentence() {
    let line = "if status != 200 && given ?? last == a.b || x ? y : z { }";
    let found = boundaries::find(line, &Words.pieces(line).unwrap(), SMALL);
    assert!(found.iter().all(|boundary| boundary.level != Level::Sentence), "{found:?}");
    // A blank before the mark, as in French, is no hindrance where a capital letter follows.
    let size = ChunkSize { overlap_tokens: 15, ..SMALL };
    for chunk in texts(size, &"Le renard brun saute par-dessus le chien ? ".repeat(30)) {
        assert!(chunk.starts_with("Le") && chunk.ends_with('?'), "{chunk}");
    }
}

#[test]
fn items_and_rows_are_not_cut() {
    let list = "- one two three four\n- five six seven eight\n".repeat(30);
    let table = format!("| a | b |\n|---|---|\n{}", "| one two three | four five |\n".repeat(30));
    for text in [list, table] {
        let lines: HashSet<&str> = text.lines().collect();
        for chunk in texts(SMALL, &text) {
            assert!(chunk.lines().all(|line| lines.contains(line)), "{chunk}");
        }
    }
    // The head of a table stays with its first row.
    let mut random = Random(17);
    let text: Vec<String> =
        (0..40).map(|_| format!("{}\n\n| a | b |\n|---|---|\n| c | d |", random.paragraph())).collect();
    for chunk in texts(SMALL, &text.join("\n\n")) {
        assert!(!chunk.ends_with("| a | b |") && !chunk.ends_with("|---|---|"), "{chunk}");
    }
}

#[test]
fn room_for_a_context_makes_chunks_smaller() {
    let text = Random(1).paragraph().repeat(50);
    let all = chunker(ChunkSize::default());
    assert!(all.cut(&text).unwrap().iter().any(|chunk| chunk.token_count > 150));
    assert!(all.leaving_room(104).cut(&text).unwrap().iter().all(|chunk| chunk.token_count <= 150));
    // There is always some room left for the text.
    assert!(!all.leaving_room(9_999).cut(&text).unwrap().is_empty());
}

#[test]
fn an_edit_changes_the_chunks_around_it_only() {
    let mut random = Random(13);
    let plain: Vec<String> = (0..400).map(|_| random.paragraph()).collect();
    let mut marked = plain.clone();
    marked.iter_mut().step_by(4).for_each(|paragraph| paragraph.insert_str(0, "## Heading\n\n"));
    for (name, mut paragraphs, mean, most) in [("paragraphs", plain, 6, 40), ("headings", marked, 3, 6)] {
        let before: HashSet<String> = texts(ChunkSize::default(), &paragraphs.join("\n\n")).into_iter().collect();
        let edits = (5..395).step_by(13);
        let mut new: Vec<usize> = Vec::new();
        for at in edits {
            let whole = paragraphs[at].clone();
            paragraphs[at].push_str(" And one more sentence, which was not there before, with some words in it.");
            let after = texts(ChunkSize::default(), &paragraphs.join("\n\n"));
            new.push(after.iter().filter(|chunk| !before.contains(*chunk)).count());
            paragraphs[at] = whole;
        }
        let sum: usize = new.iter().sum();
        assert!(
            sum <= mean * new.len() && new.iter().all(|&count| count <= most),
            "{name}: {new:?} of {}",
            before.len()
        );
    }
}

#[test]
fn a_long_text_without_a_blank_is_cut() {
    for unit in ["QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo", "自由平等博爱", "a.b(c),{d};", "\u{200b}", "# \n"] {
        let text = unit.repeat(300_000 / unit.len());
        let chunks = chunker(ChunkSize::default()).cut(&text).unwrap();
        assert!(chunks.iter().all(|chunk| (1..=254).contains(&chunk.token_count)), "{unit}");
        assert!(chunks.len() > 150, "{unit}: {}", chunks.len());
    }
}

/// Reads a whole word as one piece, however long it is, as models do with words that they do not know.
struct Unknown;

impl Tokenizer for Unknown {
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let words = text.split_word_bound_indices().filter(|(_, word)| !word.trim().is_empty());
        Ok(words.map(|(at, word)| at..at + word.len()).collect())
    }
}

#[test]
fn a_word_of_a_megabyte_is_many_chunks_even_if_it_is_one_piece() {
    let text = format!("before {} after", "x".repeat(1_000_000));
    let chunks = Chunker::new(Arc::new(Unknown), ChunkSize::default()).cut(&text).unwrap();
    assert!(chunks.len() > 50, "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.text.len() < 20_000));
}

/// Reads whole words as one piece and parts of them letter by letter, as models do when a word is cut.
struct Fragile;

impl Tokenizer for Fragile {
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let words = text.split_inclusive('.').scan(0, |at, word| {
            *at += word.len();
            Some(*at - word.len()..*at)
        });
        let whole = |range: &Range<usize>| text[range.clone()].ends_with('.');
        Ok(words
            .flat_map(|range| if whole(&range) { vec![range] } else { range.map(|at| at..at + 1).collect() })
            .collect())
    }
}

#[test]
fn the_limit_holds_although_parts_of_words_are_more_pieces() {
    let text = format!("{}.", "x".repeat(60)).repeat(100);
    let size = ChunkSize { target_tokens: 40, overlap_tokens: 8, max_tokens: 44 };
    let chunks = Chunker::new(Arc::new(Fragile), size).cut(&text).unwrap();
    assert!(chunks.iter().all(|chunk| Fragile.pieces(&chunk.text).unwrap().len() <= 44), "{chunks:?}");
}

/// Reads each letter as two pieces, as some models do with letters that they do not know.
struct Doubled;

impl Tokenizer for Doubled {
    fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let letters = text.char_indices().filter(|(_, c)| !c.is_whitespace());
        Ok(letters.flat_map(|(at, c)| [at..at + c.len_utf8(), at..at + c.len_utf8()]).collect())
    }
}

#[test]
fn letters_of_several_pieces_count_as_several() {
    let text = "Dies ist ein Satz. ".repeat(50);
    let size = ChunkSize { target_tokens: 100, overlap_tokens: 30, max_tokens: 120 };
    let chunks = Chunker::new(Arc::new(Doubled), size).cut(&text).unwrap();
    let counts: Vec<i32> = chunks.iter().rev().skip(1).map(|chunk| chunk.token_count).collect();
    assert!(counts.len() > 5 && counts.iter().all(|count| (80..=120).contains(count)), "{counts:?}");
}
