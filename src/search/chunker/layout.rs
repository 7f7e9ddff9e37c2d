//! What the lines of a text say about where it may be cut: headings, paragraphs, lists, tables, code.
//!
//! It reads Markdown, and what is alike in plain text and in source code; it knows no programming language. What is not Markdown
//! loses nothing by it: a comment that looks like a heading stays with what it is about, too.

use std::{mem, ops::Range};

use super::Level;

/// Places and stretches of a text, in bytes.
#[derive(Default)]
pub(super) struct Layout {
    /// Beginnings of lines (after their indentation), in ascending order.
    pub(super) breaks: Vec<(usize, Level)>,
    /// What should not be cut inside: headings and heads of tables with the beginning of what follows, and code between fences. Ascending; the end
    /// of one may lie in the next.
    pub(super) kept: Vec<Range<usize>>,
}

/// Reads a text line by line.
pub(super) fn read(text: &str) -> Layout {
    let mut reader = Reader { after_blank: true, ..Reader::default() };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let visible = line.trim_start();
        if visible.is_empty() {
            reader.after_blank = true;
        } else {
            reader.line(
                at + line.len() - visible.len(),
                visible.trim_end(),
                line.len() - visible.len(),
                at + line.len(),
            );
        }
        at += line.len();
    }
    reader.layout
}

/// Code between fences that has begun.
struct Fence {
    mark: char,
    length: usize,
    start: usize,
}

#[derive(Default)]
struct Reader {
    layout: Layout,
    /// Whether the line before was empty.
    after_blank: bool,
    /// How far the line before was indented.
    indent: usize,
    /// The heading, of a text or of a table, that waits for what follows it.
    heading: Option<usize>,
    /// Where the paragraph began, as long as it has one line.
    single_line: Option<usize>,
    fence: Option<Fence>,
}

impl Reader {
    /// A line that is not empty: where its text begins, the text, its indentation, and where the line ends.
    fn line(&mut self, start: usize, text: &str, indent: usize, end: usize) {
        let after_blank = mem::take(&mut self.after_blank);
        let outdented = indent < mem::replace(&mut self.indent, indent);
        let single_line = self.single_line.take();
        let level = if after_blank && indent == 0 {
            Level::Block
        } else if after_blank || (outdented && indent == 0 && !closes(text)) {
            Level::Item
        } else {
            Level::Line
        };

        if let Some(fence) = &self.fence {
            self.layout.breaks.push((start, level));
            if run_of(text, fence.mark) >= fence.length && text.trim_start_matches(fence.mark).is_empty() {
                self.layout.kept.push(fence.start..end);
                self.fence = None;
                self.after_blank = true;
            }
            return;
        }
        if is_underline(text)
            && let Some(title) = single_line
            && !after_blank
        {
            // The line before was a heading, and we know it only now.
            self.layout.breaks.pop();
            self.begin_heading(title);
            return;
        }
        if indent < 4 && (is_heading(text) || is_rule(text)) {
            self.begin_heading(start);
            return;
        }
        if let Some(heading) = self.heading.take() {
            self.layout.kept.push(heading..start + 1);
        }
        if let Some(mark @ ('`' | '~')) = text.chars().next()
            && run_of(text, mark) >= 3
            && !text.trim_start_matches(mark).contains('`')
        {
            self.fence = Some(Fence { mark, length: run_of(text, mark), start });
            self.layout.breaks.push((start, level.min(Level::Item)));
            return;
        }
        let level = if is_item(text) { level.min(Level::Item) } else { level };
        if text.starts_with('|') && text.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ')) {
            // The head of a table waits for its first row.
            self.heading = single_line;
        }
        self.single_line = after_blank.then_some(start);
        self.layout.breaks.push((start, level));
    }

    fn begin_heading(&mut self, start: usize) {
        self.layout.breaks.push((start, Level::Section));
        if let Some(before) = self.heading.replace(start) {
            self.layout.kept.push(before..start + 1);
        }
        self.after_blank = true;
    }
}

fn run_of(text: &str, mark: char) -> usize {
    text.chars().take_while(|&c| c == mark).count()
}

/// `# Title`, of up to six.
fn is_heading(text: &str) -> bool {
    let rest = text.trim_start_matches('#');
    (1..=6).contains(&(text.len() - rest.len())) && (rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// `---`, `* * *` and the like.
fn is_rule(text: &str) -> bool {
    let mut marks = text.chars().filter(|c| !c.is_whitespace());
    let Some(first @ ('-' | '*' | '_' | '=')) = marks.next() else { return false };
    let mut count = 1;
    marks.all(|c| {
        count += 1;
        c == first
    }) && count >= 3
}

/// What makes a heading of the line before.
fn is_underline(text: &str) -> bool {
    text.len() >= 3 && (text.chars().all(|c| c == '=') || text.chars().all(|c| c == '-'))
}

/// `- item`, `1. item`, `| a row |`.
fn is_item(text: &str) -> bool {
    if text.starts_with(['|', '•']) || ["- ", "* ", "+ "].iter().any(|mark| text.starts_with(mark)) {
        return true;
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (1..=9).contains(&(text.len() - rest.len())) && [". ", ") "].iter().any(|mark| rest.starts_with(mark))
}

/// Whether a line at the margin ends something rather than beginning it.
fn closes(text: &str) -> bool {
    text.starts_with(['}', ')', ']']) || text.starts_with("</") || text.starts_with("end")
}
