//! What an import did, or would do, for the terminal.

use std::{fmt, time::Duration};

use super::{
    plan::{Gone, Plan, Work},
    skipped::Skipped,
    tree::Tree,
};
use crate::domain::BoardId;

/// How many left out files are shown; more are in [`Skipped::named`].
const SHOWN: usize = 20;
/// How many files and folders are named of each kind of change.
const NAMED: usize = 100;

/// What an import found and did. After a dry run: what it would do.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// The board. After a dry run for a board that is not there: an id that nothing has.
    pub board_id: BoardId,
    /// Its name.
    pub board_name: String,
    /// Whether nothing was written.
    pub is_dry_run: bool,
    /// Folders that are on the board now.
    pub folders: usize,
    /// Files that are on the board now.
    pub files: usize,
    /// Links between them.
    pub links: usize,
    /// Size of these files.
    pub bytes: u64,
    /// Nodes that were added.
    pub inserted: usize,
    /// Nodes whose text is another one now.
    pub updated: usize,
    /// Nodes that had a text and whose file is empty now.
    pub emptied: usize,
    /// Nodes whose file has nothing to do with the text that they had. Looked for in a dry run, and where it might have
    /// been most of the board; 0 else.
    pub replaced: usize,
    /// Nodes whose file has another text now, and whose text or title somebody edited on the board: that stays.
    pub edited: usize,
    /// Nodes whose file or folder has another path now.
    pub renamed: usize,
    /// Nodes that had been removed or deleted and are back.
    pub restored: usize,
    /// Nodes whose file or folder is gone.
    pub deleted: usize,
    /// Nodes whose file or folder is what and where it was at the last import.
    pub unchanged: usize,
    /// Nodes, among them unchanged ones, that got another place or size on the canvas.
    pub moved: usize,
    /// Nodes that stay though their file or folder could not be taken.
    pub kept: usize,
    /// Files and folders that are left out because somebody deleted their nodes on the board.
    pub left_deleted: usize,
    /// Links that were added, changed or removed.
    pub links_changed: usize,
    /// Rows that were left for the next import, because somebody changed the board meanwhile.
    pub left: usize,
    /// How many transactions it was.
    pub slices: usize,
    /// The longest time that the board was held.
    pub longest_hold: Duration,
    /// What happened to which files and folders.
    pub lists: Vec<Listed>,
    /// What was left out.
    pub skipped: Skipped,
    /// How long it took.
    pub took: Duration,
}

/// Files and folders to which the same happened.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What happened: `new`, `changed`, `renamed`, `restored`, `emptied`, `replaced`, `edited on the board, kept`,
    /// `gone`, `kept`, `left deleted`.
    pub what: &'static str,
    /// How many there are.
    pub count: usize,
    /// Their paths, with ids where they have nodes; at most 100.
    pub named: Vec<String>,
}

impl Listed {
    fn new(what: &'static str) -> Listed {
        Listed { what, count: 0, named: Vec::new() }
    }

    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(name());
        }
    }

    fn of_nodes(what: &'static str, nodes: &[Gone]) -> Listed {
        let mut list = Listed::new(what);
        nodes.iter().for_each(|node| list.add(|| format!("{}  {}", shown(&node.path), node.id)));
        list
    }
}

/// A path for a terminal: it may contain anything, also what a terminal obeys.
pub(super) fn shown(path: &str) -> String {
    path.replace(char::is_control, "\u{fffd}")
}

impl ImportReport {
    /// What follows from the plan.
    pub(super) fn of(tree: &Tree, plan: &Plan) -> ImportReport {
        let [mut new, mut changed, mut renamed, mut restored, mut edited] =
            ["new", "changed", "renamed", "restored", "edited on the board, kept"].map(Listed::new);
        let folders = tree.folders.iter().map(|folder| (folder.path.as_str(), None));
        let entries = folders.chain(tree.files.iter().map(|file| (file.path.as_str(), Some(file.size_bytes))));
        let (mut on_board, mut folders_on_board, mut bytes, mut unchanged) = (0, 0, 0, 0);
        for (node, (path, size)) in plan.nodes.iter().zip(entries) {
            let Some(node) = node else { continue };
            match size {
                Some(size) => (on_board, bytes) = (on_board + 1, bytes + size),
                None => folders_on_board += 1,
            }
            let name = || format!("{}  {}", shown(path), node.id);
            match node.work {
                Work::Insert { .. } => new.add(|| shown(path)),
                Work::Rewrite => changed.add(name),
                Work::Leave => {
                    let is_quiet = node.old_path.is_none() && !node.is_restored && node.standing.edit.is_none();
                    unchanged += usize::from(is_quiet);
                }
            }
            if let Some(edit) = node.standing.edit {
                edited.add(|| format!("{}  ({})", name(), edit.name()));
            }
            if let Some(old) = &node.old_path {
                renamed.add(|| format!("{} -> {}  {}", shown(old), shown(path), node.id));
            }
            if node.is_restored {
                restored.add(name);
            }
        }
        let gone = Listed::of_nodes("gone", &plan.vanished);
        let kept = Listed::of_nodes("kept", &plan.kept);
        let emptied = Listed::of_nodes("emptied", &plan.emptied);
        let replaced = Listed::of_nodes("replaced", &plan.replaced);
        let mut left_deleted = Listed::new("left deleted");
        plan.deleted.iter().for_each(|path| left_deleted.add(|| shown(path)));
        ImportReport {
            board_id: BoardId::generate(),
            board_name: String::new(),
            is_dry_run: false,
            folders: folders_on_board,
            files: on_board,
            links: 0,
            bytes,
            inserted: new.count,
            updated: changed.count,
            emptied: emptied.count,
            replaced: replaced.count,
            edited: edited.count,
            renamed: renamed.count,
            restored: restored.count,
            deleted: gone.count,
            unchanged,
            moved: plan.moved.len(),
            kept: kept.count,
            left_deleted: left_deleted.count,
            links_changed: 0,
            left: 0,
            slices: 0,
            longest_hold: Duration::ZERO,
            lists: vec![new, changed, renamed, restored, emptied, replaced, edited, gone, kept, left_deleted],
            skipped: Skipped::default(),
            took: Duration::ZERO,
        }
    }

    /// Whether the board is another one than before.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let nodes = self.inserted + self.updated + self.renamed + self.restored + self.deleted + self.moved;
        nodes + self.links_changed > 0
    }

    /// What happened to which files, as far as it is worth a line: a dry run tells all, an import what is no everyday work.
    fn lists(&self) -> impl Iterator<Item = &Listed> {
        let everyday = |list: &&Listed| self.is_dry_run || !matches!(list.what, "new" | "changed");
        self.lists.iter().filter(|list| list.count > 0).filter(everyday)
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / f64::from(1 << 20);
        if self.is_dry_run {
            writeln!(f, "{}: a dry run, nothing was written", self.board_name)?;
        } else {
            writeln!(f, "{} ({})", self.board_name, self.board_id)?;
        }
        writeln!(
            f,
            "  {} folders, {} files with {megabytes:.1} MB, {} links, in {:.1} s",
            self.folders,
            self.files,
            self.links,
            self.took.as_secs_f64()
        )?;
        if self.has_changes() {
            writeln!(
                f,
                "  nodes: {} new, {} changed, {} renamed, {} restored, {} gone, {} unchanged, {} moved on the canvas; \
                 links: {} changed",
                self.inserted,
                self.updated,
                self.renamed,
                self.restored,
                self.deleted,
                self.unchanged,
                self.moved,
                self.links_changed
            )?;
        } else {
            writeln!(f, "  nothing has changed")?;
        }
        if self.left > 0 {
            writeln!(f, "  {} left for the next import: somebody changed them on the board meanwhile", self.left)?;
        }
        for list in self.lists() {
            writeln!(f, "  {} ({}):", list.what, list.count)?;
            // The ids of what is gone are for bringing it back.
            let shown = if list.what == "gone" { NAMED } else { SHOWN };
            for name in list.named.iter().take(shown) {
                writeln!(f, "    {name}")?;
            }
            let more = list.count - list.named.len().min(shown);
            if more > 0 {
                writeln!(f, "    and {more} more")?;
            }
        }
        if self.deleted > 0 && !self.is_dry_run {
            writeln!(
                f,
                "  What is gone comes back, with its links and its place, when its file is there again at an import. \
                 Or by the mutation restoreNodes with the ids above: a folder comes with all that went with it."
            )?;
        }
        if self.edited > 0 {
            writeln!(
                f,
                "  What somebody edited on the board stays. To take what the file has, restore the imported text or \
                 title on the board. Or delete the node there and import with --restore-deleted."
            )?;
        }
        if self.left_deleted > 0 {
            writeln!(f, "  What somebody deleted on the board stays deleted; --restore-deleted brings it back.")?;
        }
        if self.skipped.counts().is_empty() {
            return Ok(());
        }
        f.write_str("  left out:")?;
        for (index, (reason, count)) in self.skipped.counts().iter().enumerate() {
            write!(f, "{} {count} {}", if index == 0 { "" } else { "," }, reason.name())?;
        }
        writeln!(f)?;
        for (path, reason) in self.skipped.named().iter().take(SHOWN) {
            writeln!(f, "    {}  ({reason})", shown(path))?;
        }
        let more = self.skipped.named().len().saturating_sub(SHOWN) as u64 + self.skipped.unnamed();
        if more > 0 {
            writeln!(f, "    and {more} more")?;
        }
        Ok(())
    }
}
