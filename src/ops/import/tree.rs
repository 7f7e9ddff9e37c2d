//! What there is to import: folders and files by name and size, before any of them is read.
//!
//! Walking goes in steps, so that it can be shown and given up in between. Nothing is followed and nothing is opened but
//! folders.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    kind::FileKind,
    skipped::{SkipReason, Skipped},
};
use crate::domain::MAX_FOLDER_DEPTH;

/// Larger files are not imported.
pub const MAX_FILE_BYTES: u64 = 10 << 20;

/// Folders that hold what was built or fetched, not written.
const BUILD_FOLDERS: &[&str] = &["target", "node_modules"];

/// Path with `/` between names, and content.
pub type EmbeddedFile = (String, &'static [u8]);

/// Where files come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder of this machine. Links in it are not followed; the path itself may lead through links.
    Folder(PathBuf),
    /// Files that are part of the program.
    Embedded(Vec<EmbeddedFile>),
}

/// Folders and files, each by its index in its list.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// A folder comes before the folders in it; siblings are sorted by name.
    pub(super) folders: Vec<Folder>,
    /// Siblings are sorted by name.
    pub(super) files: Vec<File>,
    /// What is left out.
    pub(super) skipped: Skipped,
}

#[derive(Debug)]
pub(super) struct Folder {
    /// Below the root, with `/` between names.
    pub(super) path: String,
    pub(super) parent: Option<usize>,
    /// 1 for a folder in the root.
    pub(super) level: i32,
}

#[derive(Debug)]
pub(super) struct File {
    /// Below the root, with `/` between names.
    pub(super) path: String,
    pub(super) parent: Option<usize>,
    pub(super) size_bytes: u64,
    pub(super) kind: FileKind,
    pub(super) place: Place,
}

/// Where the content of a file is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Disk(PathBuf),
    Memory(&'static [u8]),
}

/// The last name of a path.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A walk over a source, under way.
#[derive(Debug)]
pub(super) struct Walk {
    tree: Tree,
    /// Folders still to be looked into, the next one last.
    ahead: Vec<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    folder: Branch,
    path: String,
    parent: Option<usize>,
    level: i32,
}

/// A folder with what is known about its content before looking into it.
#[derive(Debug)]
enum Branch {
    Disk(PathBuf),
    Memory(Vec<EmbeddedFile>),
}

struct Entry {
    /// As shown and stored; unique among its siblings.
    name: String,
    what: What,
}

enum What {
    Folder(Branch),
    File(Place, u64),
    Skip(SkipReason),
}

impl Walk {
    /// # Errors
    /// The folder is none, or cannot be read.
    pub(super) fn begin(source: Source) -> io::Result<Walk> {
        let folder = match source {
            Source::Folder(path) => {
                fs::read_dir(&path)?;
                Branch::Disk(path)
            }
            Source::Embedded(files) => Branch::Memory(files),
        };
        let ahead = vec![Ahead { folder, path: String::new(), parent: None, level: 0 }];
        Ok(Walk { tree: Tree::default(), ahead })
    }

    /// How many files were found so far.
    pub(super) fn files(&self) -> usize {
        self.tree.files.len()
    }

    /// Looks into the next `folders` folders; tells whether there are more.
    pub(super) fn step(&mut self, folders: usize) -> bool {
        for _ in 0..folders {
            let Some(next) = self.ahead.pop() else { return false };
            self.enter(next);
        }
        !self.ahead.is_empty()
    }

    /// What was found.
    pub(super) fn finish(self) -> Tree {
        self.tree
    }

    fn enter(&mut self, Ahead { folder, path, parent, level }: Ahead) {
        let entries = match folder {
            Branch::Disk(folder) => match entries_on_disk(&folder) {
                Ok(entries) => entries,
                Err(error) => return self.tree.skipped.add(path, SkipReason::Unreadable(error.kind())),
            },
            Branch::Memory(files) => entries_in_memory(files),
        };
        let this = if level == 0 {
            None
        } else {
            self.tree.folders.push(Folder { path: path.clone(), parent, level });
            Some(self.tree.folders.len() - 1)
        };
        let mut below = Vec::new();
        for Entry { name, what } in entries {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match what {
                What::Skip(reason) => self.tree.skipped.add(path, reason),
                What::Folder(_) if level == MAX_FOLDER_DEPTH => self.tree.skipped.add(path, SkipReason::TooDeep),
                What::Folder(folder) => below.push(Ahead { folder, path, parent: this, level: level + 1 }),
                What::File(place, size_bytes) => match FileKind::of(name_of(&path)) {
                    None => self.tree.skipped.add(path, SkipReason::Media),
                    Some(_) if size_bytes > MAX_FILE_BYTES => self.tree.skipped.add(path, SkipReason::TooLarge),
                    Some(kind) => self.tree.files.push(File { path, parent: this, size_bytes, kind, place }),
                },
            }
        }
        self.ahead.extend(below.into_iter().rev());
    }
}

fn entries_on_disk(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut names: Vec<(OsString, fs::DirEntry)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        names.push((entry.file_name(), entry));
    }
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut taken = HashSet::new();
    let entries = names.into_iter().map(|(raw, entry)| {
        // Names that are no UTF-8 are shown with U+FFFD, and two of them may then be the same: the marks are repeated.
        let mut name = raw.to_string_lossy().into_owned();
        while !taken.insert(name.clone()) {
            name.push(char::REPLACEMENT_CHARACTER);
        }
        let what = excluded(&name).map_or_else(|| look_at(&entry, &name), What::Skip);
        Entry { name, what }
    });
    Ok(sorted(entries.collect()))
}

fn look_at(entry: &fs::DirEntry, name: &str) -> What {
    // Does not follow links.
    let metadata = match entry.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return What::Skip(SkipReason::Unreadable(error.kind())),
    };
    if metadata.is_symlink() {
        What::Skip(SkipReason::Symlink)
    } else if metadata.is_dir() {
        if BUILD_FOLDERS.contains(&name) {
            What::Skip(SkipReason::BuildFolder)
        } else {
            What::Folder(Branch::Disk(entry.path()))
        }
    } else if metadata.is_file() {
        What::File(Place::Disk(entry.path()), metadata.len())
    } else {
        What::Skip(SkipReason::Special)
    }
}

fn entries_in_memory(files: Vec<EmbeddedFile>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut folders: BTreeMap<String, Vec<EmbeddedFile>> = BTreeMap::new();
    for (path, content) in files {
        match path.split_once('/') {
            None => {
                let what = match excluded(&path) {
                    Some(reason) => What::Skip(reason),
                    None => What::File(Place::Memory(content), content.len() as u64),
                };
                entries.push(Entry { name: path, what });
            }
            Some((folder, rest)) => folders.entry(folder.to_owned()).or_default().push((rest.to_owned(), content)),
        }
    }
    entries.extend(folders.into_iter().map(|(name, files)| {
        let what = excluded(&name).map_or(What::Folder(Branch::Memory(files)), What::Skip);
        Entry { name, what }
    }));
    sorted(entries)
}

fn excluded(name: &str) -> Option<SkipReason> {
    name.starts_with('.').then_some(SkipReason::Hidden)
}

/// As people sort names: without regard to case.
fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_cached_key(|entry| (entry.name.to_lowercase(), entry.name.clone()));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(paths: &[&str]) -> Tree {
        let files = paths.iter().map(|path| ((*path).to_owned(), &b"text"[..])).collect();
        let mut walk = Walk::begin(Source::Embedded(files)).unwrap();
        assert!(!walk.step(usize::MAX));
        walk.finish()
    }

    #[test]
    fn folders_come_before_their_content_and_siblings_by_name() {
        let tree = tree_of(&["b/two.md", "b/One.md", "a/c/deep.md", "top.md", ".gitkeep"]);
        let folders: Vec<_> = tree.folders.iter().map(|f| (f.path.as_str(), f.parent, f.level)).collect();
        assert_eq!(folders, [("a", None, 1), ("a/c", Some(0), 2), ("b", None, 1)]);
        let files: Vec<_> = tree.files.iter().map(|f| (f.path.as_str(), f.parent)).collect();
        assert_eq!(files, [("top.md", None), ("a/c/deep.md", Some(1)), ("b/One.md", Some(2)), ("b/two.md", Some(2))]);
        assert_eq!(tree.skipped.counts().get(&SkipReason::Hidden), Some(&1));
    }

    #[test]
    fn a_walk_can_be_made_in_steps() {
        let files = vec![("a/b/c.md".to_owned(), &b""[..]), ("d/e.md".to_owned(), &b""[..])];
        let mut walk = Walk::begin(Source::Embedded(files)).unwrap();
        let mut steps = 1;
        while walk.step(1) {
            steps += 1;
        }
        let tree = walk.finish();
        assert_eq!((steps, tree.folders.len(), tree.files.len()), (4, 3, 2));
    }

    #[test]
    fn folders_nest_so_deep_and_no_deeper() {
        let path = |levels: usize| format!("{}file.md", "d/".repeat(levels));
        let tree = tree_of(&[&path(64), &path(65)]);
        assert_eq!((tree.folders.len(), tree.files.len()), (64, 1));
        assert_eq!(tree.skipped.counts().get(&SkipReason::TooDeep), Some(&1));
    }
}
