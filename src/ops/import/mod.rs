//! `ragboard import`: a tree of files becomes a board, and the same tree later brings that board up to date.
//!
//! First everything is looked at: names and sizes (`tree`), then every file once for its digest and its links. From that
//! and from what lies on the board the work is planned (`identity`, `places`, `plan`, `layout`). It is held against the
//! texts that stand there (`overwrite`), and refused if it would empty the board (`guard`). Then the files that are new or
//! changed are read again, some at a time, and written in slices (`slices`). So memory holds names, digests and links of
//! all files, but texts only of a few, and the board is held for moments only. An import that ends early leaves a board
//! that the next one finishes.
//!
//! A node is recognised by the path and by the content of its file. Nodes and links that no import made never change. Nor
//! does the place of anything that somebody put there, nor a text or title that somebody edited on the board.
//! `docs/decisions/import.md` says why.

#[cfg(test)]
mod again;
mod document;
mod guard;
mod handbook;
mod html;
mod identity;
mod kind;
mod layout;
mod links;
mod markdown;
mod overwrite;
mod pairing;
mod places;
mod plan;
mod reading;
mod reference;
mod report;
mod skipped;
mod slices;
mod survey;
mod tree;
mod turn;
mod write;

use std::{mem, ops::Range, sync::Arc, time::Instant};

use self::{
    guard::Loss,
    slices::{Done, Slices},
    tree::{Tree, Walk},
    turn::Turn,
};
pub use self::{
    handbook::{HANDBOOK, handbook},
    report::{ImportReport, Listed},
    skipped::{SkipReason, Skipped},
    tree::{EmbeddedFile, MAX_BYTES, MAX_ENTRIES, MAX_FILE_BYTES, Source},
};
use super::progress::{self, Progress};
use crate::{
    domain::{BoardId, UserId, import::ImportTarget},
    ops::Failure,
    store::Store,
};

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
    /// What it may do.
    pub options: ImportOptions,
}

/// What an import may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// It may remove, empty or replace most of what earlier imports made, and may find nothing at all.
    pub allow_emptying: bool,
    /// It also brings back what somebody deleted on the board.
    pub restore_deleted: bool,
    /// It writes nothing, and reports what it would do.
    pub dry_run: bool,
}

/// Makes the board of this name what the source is. Dropping the future leaves a board that the next import finishes.
///
/// # Errors
/// The folder cannot be read or went away while it was read, the name cannot be one, or the import would empty the board: then
/// nothing has changed. Or the database fails, or the board is deleted: then what was written stays.
pub async fn import(store: &Store, request: ImportRequest, show_progress: bool) -> Result<ImportReport, Failure> {
    let ImportRequest { source, board_name, owner, is_public, options } = request;
    check_name(&board_name)?;
    let progress = Progress::new(show_progress);
    let walk = blocking(move || begin(source)).await??;
    let target = ImportTarget { owner, board_name, is_public };
    if options.dry_run {
        return run(store, &target, options, None, walk, &progress).await;
    }
    let turn = Turn::take(store, &target, &progress).await?;
    let outcome = run(store, &target, options, Some(&turn), walk, &progress).await;
    turn.end().await;
    outcome
}

/// Without a turn nothing is written.
async fn run(
    store: &Store,
    target: &ImportTarget,
    options: ImportOptions,
    turn: Option<&Turn>,
    walk: Walk,
    progress: &Progress,
) -> Result<ImportReport, Failure> {
    let began = Instant::now();
    let root = walk.root().cloned();
    let mut tree = find(walk, progress).await?;
    let mut skipped = mem::take(&mut tree.skipped);
    let tree = Arc::new(tree);
    let mut surveyed = survey::survey(&tree, &mut skipped, progress).await?;
    if let Some(root) = root {
        blocking(move || root.check()).await??;
    }
    let snapshot = store.import_snapshot(target.owner, &target.board_name).await?;
    let board = snapshot.as_ref().map(|snapshot| snapshot.board_id);
    let taken_at = snapshot.as_ref().map(|snapshot| snapshot.taken_at);
    let known = snapshot.map(|snapshot| snapshot.nodes).unwrap_or_default();
    let mut plan = {
        let (tree, skipped) = (Arc::clone(&tree), skipped.clone());
        let digests: Vec<Option<String>> =
            surveyed.iter().map(|file| file.as_ref().map(|file| file.digest.clone())).collect();
        blocking(move || plan::plan(&tree, &digests, &skipped, &known, options.restore_deleted)).await??
    };
    if let Some(board) = board {
        let unreadable = skipped.unreadable();
        let origin = (store, board);
        overwrite::look(origin, &tree, &mut plan, &mut surveyed, progress).await?;
        // All texts that change might be replaced ones. Only where that would be too much, each is compared.
        let is_doubtful = !options.allow_emptying && Loss::of(&target.board_name, &plan, unreadable).check().is_err();
        if is_doubtful || options.dry_run {
            overwrite::compare(origin, &tree, &mut plan, progress).await?;
        } else {
            plan.replaced.clear();
        }
    }
    if !options.allow_emptying {
        Loss::of(&target.board_name, &plan, skipped.unreadable()).check()?;
    }

    let (links, links_changed, board_id, done) = match turn {
        None => {
            let (links, changed) = links::write((store, board), None, &tree, &plan, &surveyed, progress).await?;
            (links, changed, board.unwrap_or_else(BoardId::generate), Done::default())
        }
        Some(turn) => {
            let mut slices = Slices::new(store, target, turn.holder, board.zip(taken_at));
            write::before_files(&mut slices, &tree, &plan).await?;
            write::files(&mut slices, &tree, &mut plan, &mut surveyed, &mut skipped, progress).await?;
            let origin = (store, board);
            let (links, changed) = links::write(origin, Some(&mut slices), &tree, &plan, &surveyed, progress).await?;
            write::after_files(&mut slices, &plan).await?;
            let (board, done) = slices.finish().await?;
            (links, changed, board, done)
        }
    };
    let report = ImportReport {
        board_id,
        board_name: target.board_name.clone(),
        is_dry_run: turn.is_none(),
        links,
        links_changed,
        left: done.left,
        slices: done.slices,
        longest_hold: done.longest,
        skipped,
        took: began.elapsed(),
        ..ImportReport::of(&tree, &plan)
    };
    Ok(report)
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
            return further.finish();
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
