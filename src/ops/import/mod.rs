//! `ragboard import`: a tree of files becomes a board, and the same tree later brings that board up to date.
//!
//! First everything is looked at: names and sizes (`tree`), then every file once for its digest and its links. From that
//! and from what lies on the board the work is planned (`plan`, `layout`). Then the files that are new or changed are
//! read again, some at a time, and written. So memory holds names, digests and links of all files, but texts only of a
//! few. All writing is one transaction that holds the board from before the first look: whatever ends it, the board is
//! as it was, or as it should be.
//!
//! A node is recognised by the path of its file. Nodes and links that no import made are never changed, nor is the place
//! of anything that is there. `docs/decisions/import.md` says why.

mod document;
mod handbook;
mod html;
mod kind;
mod layout;
mod links;
mod markdown;
mod plan;
mod reading;
mod reference;
mod report;
mod skipped;
mod survey;
mod tree;
mod write;

use std::{mem, ops::Range, sync::Arc, time::Instant};

pub use self::{
    handbook::{HANDBOOK, handbook},
    report::ImportReport,
    skipped::{SkipReason, Skipped},
    tree::{EmbeddedFile, MAX_FILE_BYTES, Source},
};
use self::{
    plan::Work,
    tree::{Tree, Walk},
};
use super::progress::{self, Progress};
use crate::{domain::UserId, ops::Failure, store::Store};

/// Files that are read at once.
const BATCH_FILES: usize = 500;
/// Bytes that are read at once; a single file may be larger.
const BATCH_BYTES: u64 = 8 << 20;
/// Folders that are looked into between two signs of life.
const FOLDERS_PER_STEP: usize = 200;
const MAX_NAME_CHARS: usize = 255;

/// What to import, and where to.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The files.
    pub source: Source,
    /// Name of the board, 1 to 255 characters; it is made when the owner has none of this name.
    pub board_name: String,
    /// Whose board it is.
    pub owner: UserId,
    /// Whether a board that is made is readable by anyone. One that is there keeps what it is.
    pub is_public: bool,
}

/// Makes the board of this name what the source is. Dropping the future leaves the board as it was.
///
/// # Errors
/// The folder cannot be read, the name cannot be one, or the database fails; then nothing has changed.
pub async fn import(store: &Store, request: ImportRequest, show_progress: bool) -> Result<ImportReport, Failure> {
    let began = Instant::now();
    let ImportRequest { source, board_name, owner, is_public } = request;
    check_name(&board_name)?;
    let progress = Progress::new(show_progress);
    let walk = blocking(move || begin(source)).await??;
    let mut board = store.begin_import(owner, &board_name, is_public).await?;

    let mut tree = find(walk, &progress).await?;
    let mut skipped = mem::take(&mut tree.skipped);
    let tree = Arc::new(tree);
    let mut surveyed = survey::survey(&tree, &mut skipped, &progress).await?;
    let known = board.nodes().await?;
    let mut plan = {
        let (tree, skipped) = (Arc::clone(&tree), skipped.clone());
        let digests: Vec<Option<String>> =
            surveyed.iter().map(|file| file.as_ref().map(|file| file.digest.clone())).collect();
        blocking(move || plan::plan(&tree, &digests, &skipped, &known)).await??
    };

    board.delete_nodes(&plan.vanished).await?;
    write::folders(&mut board, &tree, &plan).await?;
    write::files(&mut board, &tree, &mut plan, &mut surveyed, &mut skipped, &progress).await?;
    let (links, links_changed) = links::write(&mut board, &tree, &plan, &surveyed, &progress).await?;
    board.move_nodes(&plan.moved).await?;
    let board_id = board.board_id();
    board.commit().await?;

    let count = |wanted: fn(&Work) -> bool| plan.nodes.iter().flatten().filter(|node| wanted(&node.work)).count();
    let on_board = plan.nodes.iter().skip(tree.folders.len()).zip(&tree.files).filter(|(node, _)| node.is_some());
    Ok(ImportReport {
        board_id,
        board_name,
        folders: tree.folders.len(),
        files: on_board.clone().count(),
        links,
        bytes: on_board.map(|(_, file)| file.size_bytes).sum(),
        inserted: count(|work| matches!(work, Work::Insert { .. })),
        updated: count(|work| matches!(work, Work::Rewrite)),
        deleted: plan.vanished.len(),
        unchanged: count(|work| matches!(work, Work::Leave)),
        moved: plan.moved.len(),
        links_changed,
        skipped,
        took: began.elapsed(),
    })
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.contains(char::is_control) {
        let message = format!("the name of a board has 1 to {MAX_NAME_CHARS} characters and no control characters");
        return Err(Failure::new(message));
    }
    Ok(())
}

fn begin(source: Source) -> Result<Walk, Failure> {
    let what = match &source {
        Source::Folder(path) => path.display().to_string(),
        Source::Embedded(_) => "the embedded files".to_owned(),
    };
    Walk::begin(source).map_err(|error| {
        Failure::new(format!("reading {what}: {error}")).hint("Give a folder that this user may read.")
    })
}

async fn find(mut walk: Walk, progress: &Progress) -> Result<Tree, Failure> {
    let bar = progress.spinner("Looking for files");
    loop {
        let (further, has_more) = blocking(move || {
            let has_more = walk.step(FOLDERS_PER_STEP);
            (walk, has_more)
        })
        .await?;
        if !has_more {
            return Ok(further.finish());
        }
        bar.at(further.files());
        walk = further;
    }
}

/// Cuts files, given by their sizes, into portions to be read at once.
fn batches(sizes: impl Iterator<Item = u64>) -> Vec<Range<usize>> {
    let (mut all, mut start, mut end, mut bytes) = (Vec::new(), 0, 0, 0);
    for size in sizes {
        if end > start && (end - start == BATCH_FILES || bytes + size > BATCH_BYTES) {
            all.push(start..end);
            (start, bytes) = (end, 0);
        }
        end += 1;
        bytes += size;
    }
    if end > start {
        all.push(start..end);
    }
    all
}

/// Files and computation keep their thread busy: they get one of their own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::while_doing("importing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_number_and_by_size() {
        assert!(batches([].into_iter()).is_empty());
        assert_eq!(batches((0..1_001).map(|_| 1)), [0..500, 500..1_000, 1_000..1_001]);
        let (small, large) = (BATCH_BYTES / 2, BATCH_BYTES + 1);
        assert_eq!(batches([small, small, 1, large, large, 1].into_iter()), [0..2, 2..3, 3..4, 4..5, 5..6]);
    }

    #[test]
    fn a_board_cannot_have_just_any_name() {
        for (name, fits) in [("Notes", true), (" ", false), ("a\0b", false), (&*"ü".repeat(255), true)] {
            assert_eq!(check_name(name).is_ok(), fits, "{name:?}");
        }
        assert!(check_name(&"ü".repeat(256)).is_err());
    }
}
