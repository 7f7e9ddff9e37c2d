//! Writes what was planned; reads the new and changed files again for it, some at a time, while nothing is held.

use std::sync::Arc;

use super::{
    batches, blocking, document,
    plan::{Edit, Plan, Planned, Work},
    progress::Progress,
    reading,
    skipped::{SkipReason, Skipped},
    slices::Slices,
    survey::Surveyed,
    tree::{File, Tree},
};
use crate::{
    domain::import::{ChangedText, NewNode, NewNodeKind, Relocation},
    ops::Failure,
};

/// Nodes that get another place on the canvas in one slice.
const MOVED_TOGETHER: usize = 5_000;

/// Nodes that come back, room for what is to come, new folders, and what has another path or another folder now.
pub(super) async fn before_files(slices: &mut Slices<'_>, tree: &Tree, plan: &Plan) -> Result<(), Failure> {
    for id in &plan.restored {
        slices.add(0, |slice| slice.restored.push(*id)).await?;
    }
    // A frame moves with what is in it, at once as far as that can be done; and it grows before it is filled.
    for moved in plan.moved.chunks(MOVED_TOGETHER) {
        slices.add(0, |slice| slice.moved.extend_from_slice(moved)).await?;
    }
    for (node, folder) in plan.nodes.iter().zip(&tree.folders) {
        let Some(Planned { id, work: Work::Insert { rect, z_index, placement }, .. }) = node else { continue };
        let node = NewNode {
            id: *id,
            placement: *placement,
            rect: *rect,
            z_index: *z_index,
            metadata: document::put_at(document::folder_metadata(&folder.path), *rect),
            kind: NewNodeKind::Folder(document::folder_name(&folder.path)),
        };
        slices.add(0, |slice| slice.inserted.push(node)).await?;
    }
    let folders = tree.folders.iter().map(|folder| (folder.path.as_str(), true));
    let paths = folders.chain(tree.files.iter().map(|file| (file.path.as_str(), false)));
    for (node, (path, is_folder)) in plan.nodes.iter().zip(paths) {
        // A text that is written anew brings its path and its title with it.
        let Some(Planned { id, work: Work::Leave, old_path: Some(old_path), .. }) = node else { continue };
        let name = if is_folder { document::folder_name } else { document::file_title };
        let (old_name, new_name) = (name(old_path), name(path));
        let relocation = Relocation { id: *id, path: path.to_owned(), old_name, new_name };
        slices.add(0, |slice| slice.relocated.push(relocation)).await?;
    }
    // Folders together: among them one may have to leave another before that can come into it.
    let (folders, files) = plan.placed.split_at_checked(plan.placed_folders).unwrap_or_default();
    slices.add(0, |slice| slice.placed.extend_from_slice(folders)).await?;
    for place in files {
        slices.add(0, |slice| slice.placed.push(*place)).await?;
    }
    Ok(())
}

/// What is gone.
pub(super) async fn after_files(slices: &mut Slices<'_>, plan: &Plan) -> Result<(), Failure> {
    for gone in &plan.vanished {
        slices.add(0, |slice| slice.removed.push(gone.id)).await?;
    }
    Ok(())
}

/// A file that is to be written.
#[derive(Clone)]
struct Due {
    /// Among the files of the tree.
    index: usize,
    node: Planned,
    digest: String,
}

enum Prepared {
    New(NewNode),
    /// With the size of the text that stands there.
    Changed(ChangedText, usize),
}

/// What has become another file since the survey is left for the next import, and with it the links that start at it.
pub(super) async fn files(
    slices: &mut Slices<'_>,
    tree: &Arc<Tree>,
    plan: &mut Plan,
    surveyed: &mut [Option<Surveyed>],
    skipped: &mut Skipped,
    progress: &Progress,
) -> Result<(), Failure> {
    let nodes = plan.nodes.get_mut(tree.folders.len()..).unwrap_or_default();
    let due: Vec<Due> = nodes
        .iter()
        .zip(surveyed.iter())
        .enumerate()
        .filter_map(|(index, (node, file))| {
            Some(Due { index, node: node.clone()?, digest: file.as_ref()?.digest.clone() })
        })
        .filter(|due| due.node.work != Work::Leave)
        .collect();
    let bar = progress.count("Writing", due.len());
    let size = |due: &Due| tree.files.get(due.index).map_or(0, |file| file.size_bytes);
    for batch in batches(due.iter().map(size)) {
        let end = batch.end;
        for (index, outcome) in prepare_all(tree, due.get(batch).unwrap_or_default()).await? {
            match outcome {
                Ok(Prepared::New(node)) => {
                    let bytes = match &node.kind {
                        NewNodeKind::Resource(text) => text.content.len(),
                        NewNodeKind::Folder(_) => 0,
                    };
                    slices.add(bytes, |slice| slice.inserted.push(node)).await?;
                }
                Ok(Prepared::Changed(changed, standing_bytes)) => {
                    // What stands there is read once more while the board is held.
                    let bytes = changed.text.content.len() + standing_bytes;
                    slices.add(bytes, |slice| slice.rewritten.push(changed)).await?;
                }
                Err(reason) => {
                    if let (Some(node), Some(survey), Some(file)) =
                        (nodes.get_mut(index), surveyed.get_mut(index), tree.files.get(index))
                    {
                        *survey = None;
                        *node = node.take().filter(|node| node.work == Work::Rewrite);
                        if let Some(node) = node {
                            node.work = Work::Leave;
                        }
                        skipped.add(file.path.clone(), reason);
                    }
                }
            }
        }
        bar.at(end);
    }
    Ok(())
}

async fn prepare_all(tree: &Arc<Tree>, due: &[Due]) -> Result<Vec<(usize, Result<Prepared, SkipReason>)>, Failure> {
    let (tree, due) = (Arc::clone(tree), due.to_vec());
    blocking(move || {
        due.into_iter()
            .filter_map(|due| Some((due.index, prepare(tree.files.get(due.index)?, due.node, &due.digest))))
            .collect()
    })
    .await
}

fn prepare(file: &File, node: Planned, digest: &str) -> Result<Prepared, SkipReason> {
    let read = reading::read(file)?;
    if read.digest.hex() != digest {
        return Err(SkipReason::Changed);
    }
    let metadata = document::file_metadata(file.kind, &file.path, digest, read.size_bytes);
    let text = document::text_of(file.kind, &file.path, read.text);
    let metadata = document::with_text(metadata, &text);
    Ok(match node.work {
        Work::Insert { rect, z_index, placement } => Prepared::New(NewNode {
            id: node.id,
            placement,
            rect,
            z_index,
            metadata: document::put_at(metadata, rect),
            kind: NewNodeKind::Resource(text),
        }),
        Work::Rewrite | Work::Leave => {
            let keeps_title = node.standing.edit == Some(Edit::Title);
            let seen = node.standing.digests;
            Prepared::Changed(ChangedText { id: node.id, seen, keeps_title, metadata, text }, node.standing.size_bytes)
        }
    })
}
