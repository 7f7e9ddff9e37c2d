//! Brings the links between imported nodes up to date; only what differs is written.

use std::collections::{HashMap, HashSet};

use super::{
    plan::{Plan, Work},
    progress::Progress,
    survey::{FoundReference, Surveyed},
    tree::Tree,
};
use crate::{
    domain::{LinkId, NodeId, import::ImportedLink},
    ops::Failure,
    store::BoardImport,
};

/// Files whose links are looked at together.
const SOURCES: usize = 500;
/// Links that are written together, so that a large tree does not pile them up.
const PENDING: usize = 10_000;

/// A file with the links that its text has.
struct Origin<'a> {
    node: NodeId,
    is_new: bool,
    links: &'a [FoundReference],
}

/// Returns how many links there are between the nodes of the tree, and how many of them were added, changed or removed.
pub(super) async fn write(
    board: &mut BoardImport<'_>,
    tree: &Tree,
    plan: &Plan,
    surveyed: &[Option<Surveyed>],
    progress: &Progress,
) -> Result<(usize, usize), Failure> {
    let nodes: HashSet<NodeId> = plan.nodes.iter().flatten().map(|node| node.id).collect();
    let files = plan.nodes.get(tree.folders.len()..).unwrap_or_default();
    let origins: Vec<Origin<'_>> = files
        .iter()
        .zip(surveyed)
        .zip(&tree.files)
        .filter(|(_, file)| file.kind.has_links())
        .filter_map(|((node, file), _)| {
            let (node, file) = (node.as_ref()?, file.as_ref()?);
            Some(Origin { node: node.id, is_new: matches!(node.work, Work::Insert { .. }), links: &file.links })
        })
        .collect();
    let bar = progress.count("Linking", origins.len());
    let (mut total, mut changed) = (0, 0);
    let mut difference = Difference::default();
    for (count, origins) in origins.chunks(SOURCES).enumerate() {
        let there: Vec<NodeId> = origins.iter().filter(|origin| !origin.is_new).map(|origin| origin.node).collect();
        let mut existing: HashMap<(NodeId, NodeId), (ImportedLink, bool)> = HashMap::new();
        if !there.is_empty() {
            existing.extend(board.links_from(&there).await?.into_iter().map(|link| ((link.0.from, link.0.to), link)));
        }
        for origin in origins {
            for link in origin.links {
                let target = usize::try_from(link.target).ok().and_then(|index| plan.nodes.get(index)?.as_ref());
                let Some(target) = target else { continue };
                total += 1;
                difference.want(
                    origin.node,
                    target.id,
                    link.label.as_deref(),
                    existing.remove(&(origin.node, target.id)),
                );
            }
        }
        // A link to what could not be seen this time may still be right.
        let rest = existing.into_values().filter(|(link, is_imported)| *is_imported && nodes.contains(&link.to));
        difference.removed.extend(rest.map(|(link, _)| link.id));
        if difference.len() >= PENDING {
            changed += difference.write(board).await?;
        }
        bar.at((count + 1) * SOURCES);
    }
    changed += difference.write(board).await?;
    Ok((total, changed))
}

#[derive(Default)]
struct Difference {
    added: Vec<ImportedLink>,
    relabelled: Vec<(LinkId, Option<String>)>,
    removed: Vec<LinkId>,
}

impl Difference {
    /// `existing` comes with whether an import made it; a link that somebody drew is as good as ours, and stays.
    fn want(&mut self, from: NodeId, to: NodeId, label: Option<&str>, existing: Option<(ImportedLink, bool)>) {
        match existing {
            None => self.added.push(ImportedLink { id: LinkId::generate(), from, to, label: label.map(str::to_owned) }),
            Some((link, true)) if link.label.as_deref() != label => {
                self.relabelled.push((link.id, label.map(str::to_owned)));
            }
            Some(_) => {}
        }
    }

    fn len(&self) -> usize {
        self.added.len() + self.relabelled.len() + self.removed.len()
    }

    async fn write(&mut self, board: &mut BoardImport<'_>) -> Result<usize, Failure> {
        let count = self.len();
        let Difference { added, relabelled, removed } = std::mem::take(self);
        board.delete_links(&removed).await?;
        board.relabel_links(&relabelled).await?;
        board.insert_links(&added).await?;
        Ok(count)
    }
}
