//! What an import leaves out, and why.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, io,
};

/// How many left out files and folders are named in a report; the rest is only counted.
const NAMED: usize = 200;

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The content is no text.
    Binary,
    /// The content is not UTF-8.
    NotUtf8,
    /// An image, a PDF, a recording, an archive: by its name.
    Media,
    /// Larger than an imported file may be.
    TooLarge,
    /// A symbolic link.
    Symlink,
    /// Neither file nor folder: a socket, a pipe, a device.
    Special,
    /// Folders would nest too deeply.
    TooDeep,
    /// It could not be read. What an earlier import made of it stays.
    Unreadable(io::ErrorKind),
    /// It changed while it was imported. What an earlier import made of it stays; the next one brings it up to date.
    Changed,
    /// Its name begins with a dot.
    Hidden,
    /// It holds what was built or fetched.
    BuildFolder,
}

impl SkipReason {
    /// Hidden and built things are left out on purpose: counted, not named.
    fn is_expected(self) -> bool {
        matches!(self, SkipReason::Hidden | SkipReason::BuildFolder)
    }

    /// Whether something may be there, or is there, that only cannot be taken now. What an earlier import made of it is
    /// the best there is, and stays.
    fn keeps_its_node(self) -> bool {
        !self.is_expected()
    }

    /// What it is called, without details.
    pub(super) fn name(self) -> &'static str {
        match self {
            SkipReason::Binary => "binary",
            SkipReason::NotUtf8 => "not UTF-8",
            SkipReason::Media => "media, not imported yet",
            SkipReason::TooLarge => "larger than 10 MB",
            SkipReason::Symlink => "symbolic link",
            SkipReason::Special => "neither file nor folder",
            SkipReason::TooDeep => "nested too deeply",
            SkipReason::Unreadable(_) => "unreadable",
            SkipReason::Changed => "changed while it was imported",
            SkipReason::Hidden => "hidden",
            SkipReason::BuildFolder => "build folder",
        }
    }
}

// Reasons are counted by what they are called: all that is unreadable is one, whatever the error.
impl Ord for SkipReason {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for SkipReason {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Unreadable(kind) => write!(f, "{}: {kind}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// All that was left out: counted by reason, named up to a limit.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    counts: BTreeMap<SkipReason, u64>,
    named: Vec<(String, SkipReason)>,
    /// Paths at and below which nothing is taken for vanished.
    unseen: HashSet<String>,
}

impl Skipped {
    pub(super) fn add(&mut self, path: String, reason: SkipReason) {
        *self.counts.entry(reason).or_default() += 1;
        if reason.keeps_its_node() {
            self.unseen.insert(path.clone());
        }
        if !reason.is_expected() && self.named.len() < NAMED {
            self.named.push((path, reason));
        }
    }

    /// How many there are of each reason.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<SkipReason, u64> {
        &self.counts
    }

    /// Paths with the reason; at most 200, without what is hidden or built.
    #[must_use]
    pub fn named(&self) -> &[(String, SkipReason)] {
        &self.named
    }

    /// How many are counted but not named though they are neither hidden nor built.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        let counted: u64 = self.counts.iter().filter(|(reason, _)| !reason.is_expected()).map(|(_, count)| count).sum();
        counted.saturating_sub(self.named.len() as u64)
    }

    /// How many could not be read.
    pub(super) fn unreadable(&self) -> u64 {
        self.counts.get(&SkipReason::Unreadable(io::ErrorKind::Other)).copied().unwrap_or_default()
    }

    /// Whether the path, or a folder around it, is there but was left out this time: its node is not taken for vanished.
    pub(super) fn hides(&self, path: &str) -> bool {
        !self.unseen.is_empty()
            && (self.unseen.contains(path)
                || path
                    .match_indices('/')
                    .any(|(at, _)| path.get(..at).is_some_and(|folder| self.unseen.contains(folder))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_but_cannot_be_taken_is_not_taken_for_vanished() {
        let mut skipped = Skipped::default();
        skipped.add("a/locked".to_owned(), SkipReason::Unreadable(io::ErrorKind::PermissionDenied));
        skipped.add("a/image".to_owned(), SkipReason::Binary);
        skipped.add("a/.old".to_owned(), SkipReason::Hidden);
        for (path, hidden) in [
            ("a/locked", true),
            ("a/locked/x/y.md", true),
            ("a/lockedx", false),
            ("a/image", true),
            ("a/.old", false),
            ("a", false),
        ] {
            assert_eq!(skipped.hides(path), hidden, "{path}");
        }
        assert_eq!(skipped.unreadable(), 1);
    }

    #[test]
    fn many_are_counted_and_few_are_named() {
        let mut skipped = Skipped::default();
        for number in 0..1_000 {
            let kind = if number % 2 == 0 { io::ErrorKind::PermissionDenied } else { io::ErrorKind::NotFound };
            skipped.add(number.to_string(), SkipReason::Unreadable(kind));
            skipped.add(format!(".{number}"), SkipReason::Hidden);
        }
        assert_eq!(skipped.counts().values().copied().collect::<Vec<_>>(), [1_000, 1_000]);
        assert_eq!((skipped.named().len(), skipped.unnamed()), (200, 800));
    }
}
