//! Writes the planned folders and files; reads the files again for it, some at a time.

use std::sync::Arc;

use super::{
    batches, blocking, document,
    plan::{Plan, Planned, Work},
    progress::Progress,
    reading,
    skipped::{SkipReason, Skipped},
    survey::Surveyed,
    tree::{File, Tree},
};
use crate::{
    domain::import::{ChangedText, NewNode, NewNodeKind},
    ops::Failure,
    store::BoardImport,
};

pub(super) async fn folders(board: &mut BoardImport<'_>, tree: &Tree, plan: &Plan) -> Result<(), Failure> {
    let new = plan.nodes.iter().zip(&tree.folders).filter_map(|(node, folder)| {
        let Planned { id, work: Work::Insert { rect, z_index, placement } } = node.as_ref()? else { return None };
        Some(NewNode {
            id: *id,
            placement: *placement,
            rect: *rect,
            z_index: *z_index,
            metadata: document::folder_metadata(&folder.path),
            kind: NewNodeKind::Folder(document::folder_name(&folder.path)),
        })
    });
    Ok(board.insert_nodes(new.collect()).await?)
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
    Changed(ChangedText),
}

/// What has become another file since the survey is left for the next import, and with it the links that start at it.
pub(super) async fn files(
    board: &mut BoardImport<'_>,
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
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for (index, outcome) in prepare_all(tree, due.get(batch).unwrap_or_default()).await? {
            match outcome {
                Ok(Prepared::New(node)) => new.push(node),
                Ok(Prepared::Changed(text)) => changed.push(text),
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
        board.insert_nodes(new).await?;
        board.update_texts(changed).await?;
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
    Ok(match node.work {
        Work::Insert { rect, z_index, placement } => Prepared::New(NewNode {
            id: node.id,
            placement,
            rect,
            z_index,
            metadata,
            kind: NewNodeKind::Resource(text),
        }),
        Work::Rewrite | Work::Leave => Prepared::Changed(ChangedText { id: node.id, metadata, text }),
    })
}
