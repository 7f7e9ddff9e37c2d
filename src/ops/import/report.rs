//! What an import did, for the terminal.

use std::{fmt, time::Duration};

use super::skipped::Skipped;
use crate::domain::BoardId;

/// How many left out files are shown; more are in [`Skipped::named`].
const SHOWN: usize = 20;

/// What an import found and did.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// The board.
    pub board_id: BoardId,
    /// Its name.
    pub board_name: String,
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
    /// Nodes whose file or folder is gone.
    pub deleted: usize,
    /// Nodes whose file or folder is what it was at the last import.
    pub unchanged: usize,
    /// Nodes, among them unchanged ones, that were moved or grew to make room for others.
    pub moved: usize,
    /// Links that were added, changed or removed.
    pub links_changed: usize,
    /// What was left out.
    pub skipped: Skipped,
    /// How long it took.
    pub took: Duration,
}

impl ImportReport {
    /// Whether the board is another one than before.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.inserted + self.updated + self.deleted + self.moved + self.links_changed > 0
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / f64::from(1 << 20);
        writeln!(f, "{} ({})", self.board_name, self.board_id)?;
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
                "  nodes: {} new, {} changed, {} gone, {} unchanged, {} moved; links: {} changed",
                self.inserted, self.updated, self.deleted, self.unchanged, self.moved, self.links_changed
            )?;
        } else {
            writeln!(f, "  nothing has changed")?;
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
            // A path may contain anything, also what a terminal obeys.
            writeln!(f, "    {}  ({reason})", path.replace(char::is_control, "\u{fffd}"))?;
        }
        let more = self.skipped.named().len().saturating_sub(SHOWN) as u64 + self.skipped.unnamed();
        if more > 0 {
            writeln!(f, "    and {more} more")?;
        }
        Ok(())
    }
}
