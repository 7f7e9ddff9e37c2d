//! What there is to import: folders and files by name and size, before any of them is read.
//!
//! Walking goes in steps, so that it can be shown and given up in between. Nothing is followed and nothing is opened but
//! folders. How much is looked at has an end: so many entries, so many bytes.

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
use crate::{domain::MAX_FOLDER_DEPTH, ops::Failure};

/// Larger files are not imported.
pub const MAX_FILE_BYTES: u64 = 10 << 20;
/// With more files and folders than this nothing is imported.
pub const MAX_ENTRIES: usize = 250_000;
/// With more bytes of text than this nothing is imported: 16 GB.
pub const MAX_BYTES: u64 = 16 << 30;
/// More names than this, with those of what is left out, are not even looked at.
const MAX_NAMES: usize = 4 * MAX_ENTRIES;

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
    root: Option<Root>,
    /// How many more files and folders may be found.
    room: usize,
    /// How many more names may be looked at.
    names: usize,
    bytes: u64,
    /// Why there is no use in going on.
    failure: Option<Failure>,
}

/// The imported folder, by which it is known again.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
    mark: Mark,
}

/// Device and inode, where there are such.
type Mark = (u64, u64);

impl Root {
    fn new(path: PathBuf) -> io::Result<Root> {
        Ok(Root { mark: mark(&path)?, path })
    }

    /// Fails unless the folder is still there and still the same one: a disk that was taken away leaves its files missing,
    /// or an empty folder in their place.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let shown = self.path.display();
        let hint = "Nothing was changed. Import again when it is there.";
        match mark(&self.path) {
            Ok(mark) if mark == self.mark => Ok(()),
            Ok(_) => Err(Failure::new(format!("{shown} became another folder while it was read")).hint(hint)),
            Err(error) => Err(Failure::new(format!("{shown} went away while it was read: {error}")).hint(hint)),
        }
    }
}

/// # Errors
/// The folder cannot be read.
fn mark(path: &Path) -> io::Result<Mark> {
    fs::read_dir(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    Ok((0, 0))
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
        let (folder, root) = match source {
            Source::Folder(path) => (Branch::Disk(path.clone()), Some(Root::new(path)?)),
            Source::Embedded(files) => (Branch::Memory(files), None),
        };
        let ahead = vec![Ahead { folder, path: String::new(), parent: None, level: 0 }];
        let (room, names) = (MAX_ENTRIES, MAX_NAMES);
        Ok(Walk { tree: Tree::default(), ahead, root, room, names, bytes: 0, failure: None })
    }

    /// The folder that is walked; none for embedded files.
    pub(super) fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// How many files were found so far.
    pub(super) fn files(&self) -> usize {
        self.tree.files.len()
    }

    /// Looks into the next `folders` folders; tells whether there are more.
    pub(super) fn step(&mut self, folders: usize) -> bool {
        for _ in 0..folders {
            let Some(next) = self.ahead.pop() else { return false };
            if let Err(failure) = self.enter(next) {
                self.ahead.clear();
                self.failure = Some(failure);
            }
        }
        !self.ahead.is_empty()
    }

    /// What was found.
    ///
    /// # Errors
    /// The folder itself could not be read, or there is more in it than can be imported.
    pub(super) fn finish(self) -> Result<Tree, Failure> {
        match self.failure {
            None => Ok(self.tree),
            Some(failure) => Err(failure),
        }
    }

    fn enter(&mut self, Ahead { folder, path, parent, level }: Ahead) -> Result<(), Failure> {
        let entries = match folder {
            Branch::Disk(folder) => match entries_on_disk(&folder, self.names) {
                Ok(entries) => entries,
                // Without the folder itself, all that was in it would seem to have vanished.
                Err(error) if level == 0 => {
                    return Err(Failure::new(format!("reading {}: {error}", folder.display()))
                        .hint("Give a folder that this user may read."));
                }
                Err(error) => {
                    self.tree.skipped.add(path, SkipReason::Unreadable(error.kind()));
                    return Ok(());
                }
            },
            Branch::Memory(files) => entries_in_memory(files),
        };
        self.names = self.names.checked_sub(entries.len()).ok_or_else(too_many)?;
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
                    Some(kind) => {
                        self.bytes += size_bytes;
                        self.tree.files.push(File { path, parent: this, size_bytes, kind, place });
                    }
                },
            }
        }
        self.ahead.extend(below.into_iter().rev());
        if self.tree.files.len() + self.tree.folders.len() + self.ahead.len() > self.room {
            return Err(too_many());
        }
        if self.bytes > MAX_BYTES {
            return Err(Failure::new(format!("there are more than {} GB of text", MAX_BYTES >> 30))
                .hint("Import the folders in it one by one."));
        }
        Ok(())
    }
}

fn too_many() -> Failure {
    Failure::new(format!("there are more than {MAX_ENTRIES} files and folders"))
        .hint("Import the folders in it one by one.")
}

/// Reads one name more than `at_most`, and no further.
fn entries_on_disk(folder: &Path, at_most: usize) -> io::Result<Vec<Entry>> {
    let mut names: Vec<(OsString, fs::DirEntry)> = Vec::new();
    for entry in fs::read_dir(folder)?.take(at_most.saturating_add(1)) {
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
        walk.finish().unwrap()
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
        let tree = walk.finish().unwrap();
        assert_eq!((steps, tree.folders.len(), tree.files.len()), (4, 3, 2));
    }

    #[test]
    fn a_walk_ends_where_there_is_too_much() {
        let files: Vec<_> = (0..20).map(|number| (format!("a/{number}.md"), &b""[..])).collect();
        for (room, names, fits) in [(21, 21, true), (20, 21, false), (21, 20, false)] {
            let mut walk = Walk::begin(Source::Embedded(files.clone())).unwrap();
            (walk.room, walk.names) = (room, names);
            while walk.step(1) {}
            assert_eq!(walk.finish().is_ok(), fits, "{room} {names}");
        }
        let folder = tempfile::tempdir().unwrap();
        for number in 0..20 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(entries_on_disk(folder.path(), 7).unwrap().len(), 8);
    }

    #[test]
    fn a_folder_that_goes_away_is_noticed() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("notes");
        fs::create_dir(&path).unwrap();
        let root = Root::new(path.clone()).unwrap();
        assert!(root.check().is_ok());
        let mut walk = Walk::begin(Source::Folder(path.clone())).unwrap();
        fs::rename(&path, outer.path().join("elsewhere")).unwrap();
        assert!(root.check().unwrap_err().to_string().contains("went away"));
        while walk.step(1) {}
        assert!(walk.finish().unwrap_err().to_string().contains("notes"));
        // As a mount point looks without its disk.
        fs::create_dir(&path).unwrap();
        assert!(root.check().unwrap_err().to_string().contains("another folder"));
    }

    #[test]
    fn folders_nest_so_deep_and_no_deeper() {
        let path = |levels: usize| format!("{}file.md", "d/".repeat(levels));
        let tree = tree_of(&[&path(64), &path(65)]);
        assert_eq!((tree.folders.len(), tree.files.len()), (64, 1));
        assert_eq!(tree.skipped.counts().get(&SkipReason::TooDeep), Some(&1));
    }
}
