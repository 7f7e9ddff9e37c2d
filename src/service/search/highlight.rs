//! The part of a chunk that shows why it was found: the words that are meant, marked, with some text around them.

/// About how long an excerpt is, in characters.
const EXCERPT_CHARS: usize = 280;

/// The words of a text as they are written, each once; what is asked about them is in the order of these.
#[must_use]
pub fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> =
        pieces(text).filter(|(_, is_word)| *is_word).map(|(word, _)| word.to_owned()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The excerpt of a text with the most words that are meant, as HTML: everything escaped, and `<mark>` around these words. `None`
/// where no word is meant.
#[must_use]
pub fn excerpt(text: &str, words: &[String], meant: &[bool]) -> Option<String> {
    let is_meant = |piece: &str| {
        let place = words.binary_search_by(|word| word.as_str().cmp(piece)).ok();
        place.and_then(|place| meant.get(place)).copied().unwrap_or_default()
    };
    let pieces: Vec<(&str, bool)> = pieces(text).map(|(piece, is_word)| (piece, is_word && is_meant(piece))).collect();
    let (start, end) = densest(&pieces)?;
    let mut html = String::new();
    if start > 0 {
        html.push('…');
    }
    for (piece, is_marked) in pieces.get(start..end).unwrap_or_default() {
        if *is_marked {
            html.push_str("<mark>");
        }
        escape(piece, &mut html);
        if *is_marked {
            html.push_str("</mark>");
        }
    }
    if end < pieces.len() {
        html.push('…');
    }
    Some(html)
}

/// The stretch of about [`EXCERPT_CHARS`] with the most marked pieces, the first of equals, some text before the first mark.
fn densest(pieces: &[(&str, bool)]) -> Option<(usize, usize)> {
    let chars: Vec<usize> = pieces.iter().map(|(piece, _)| piece.chars().count()).collect();
    let (mut start, mut length, mut marks) = (0, 0, 0_usize);
    let mut best: Option<(usize, usize, usize)> = None;
    for (end, ((_, is_marked), size)) in pieces.iter().zip(&chars).enumerate() {
        length += size;
        marks += usize::from(*is_marked);
        while length > EXCERPT_CHARS && start < end {
            length -= chars.get(start).copied().unwrap_or_default();
            marks -= usize::from(pieces.get(start).is_some_and(|(_, is_marked)| *is_marked));
            start += 1;
        }
        if marks > 0 && best.is_none_or(|(most, ..)| marks > most) {
            best = Some((marks, start, end + 1));
        }
    }
    let (_, mut start, mut end) = best?;
    // What is left of the length goes behind the last mark, or before the first at the end of the text.
    let mut length: usize = chars.get(start..end).unwrap_or_default().iter().sum();
    let leads = |at: usize| pieces.get(at).is_some_and(|(_, is_marked)| *is_marked);
    while start < end && !leads(start) && length > EXCERPT_CHARS / 2 {
        length -= chars.get(start).copied().unwrap_or_default();
        start += 1;
    }
    while let Some(size) = chars.get(end).filter(|size| length + *size <= EXCERPT_CHARS) {
        length += size;
        end += 1;
    }
    while let Some(size) =
        start.checked_sub(1).and_then(|at| chars.get(at)).filter(|size| length + *size <= EXCERPT_CHARS)
    {
        length += size;
        start -= 1;
    }
    Some((start, end))
}

/// The text in order, as words and as what is between them.
fn pieces(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = is_of_word(first);
        // Scripts without spaces: each letter for itself, as it is searched.
        let end = if is_alone(first) {
            first.len_utf8()
        } else {
            rest.find(|c| is_of_word(c) != is_word || is_alone(c)).unwrap_or(rest.len())
        };
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        Some((piece, is_word))
    })
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

fn is_alone(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, meant: &[&str]) -> Option<String> {
        let words = words_of(text);
        let flags: Vec<bool> = words.iter().map(|word| meant.contains(&word.as_str())).collect();
        excerpt(text, &words, &flags)
    }

    #[test]
    fn words_are_marked_and_everything_is_escaped() {
        assert_eq!(
            marked("Use <b>locks</b> & rows; Locks help.", &["locks", "Locks"]).unwrap(),
            "Use &lt;b&gt;<mark>locks</mark>&lt;/b&gt; &amp; rows; <mark>Locks</mark> help."
        );
        assert_eq!(marked("Nothing here", &["locks"]), None);
        assert_eq!(marked("日本語", &["本"]).unwrap(), "日<mark>本</mark>語");
    }

    #[test]
    fn the_densest_part_is_shown() {
        let text = format!("one {} one two {} end", "x ".repeat(300), "y ".repeat(300));
        let html = marked(&text, &["one", "two"]).unwrap();
        assert!(
            html.starts_with('…') && html.ends_with('…') && html.contains("<mark>one</mark> <mark>two</mark>"),
            "{html}"
        );
        let shown = html.replace("<mark>", "").replace("</mark>", "").chars().count();
        assert!(shown <= EXCERPT_CHARS + 2, "{shown}");
    }
}
