//! Brings the links between imported nodes up to date; only what differs is written.

use std::collections::{HashMap, HashSet};

use super::{
    plan::Plan,
    progress::Progress,
    slices::Slices,
    survey::{FoundReference, Surveyed},
    tree::Tree,
};
use crate::{
    domain::{BoardId, LinkId, NodeId, import::ImportedLink},
    ops::Failure,
    store::Store,
};

/// Files whose links are looked at together.
const SOURCES: usize = 500;

/// A file with the links that its text has.
struct Origin<'a> {
    node: NodeId,
    is_new: bool,
    links: &'a [FoundReference],
}

/// Returns how many links there are between the nodes of the tree, and how many of them are added, changed or removed.
/// Without `slices` nothing is written.
pub(super) async fn write(
    (store, board): (&Store, Option<BoardId>),
    mut slices: Option<&mut Slices<'_>>,
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
            Some(Origin { node: node.id, is_new: node.is_new(), links: &file.links })
        })
        .collect();
    let bar = progress.count("Linking", origins.len());
    let (mut total, mut changed) = (0, 0);
    for (count, origins) in origins.chunks(SOURCES).enumerate() {
        let there: Vec<NodeId> = origins.iter().filter(|origin| !origin.is_new).map(|origin| origin.node).collect();
        let mut existing: HashMap<(NodeId, NodeId), (ImportedLink, bool)> = HashMap::new();
        if let Some(board) = board.filter(|_| !there.is_empty()) {
            let links = store.import_links(board, &there).await?;
            existing.extend(links.into_iter().map(|link| ((link.0.from, link.0.to), link)));
        }
        let mut difference = Difference::default();
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
        changed += difference.write(slices.as_deref_mut()).await?;
        bar.at((count + 1) * SOURCES);
    }
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

    async fn write(self, slices: Option<&mut Slices<'_>>) -> Result<usize, Failure> {
        let Difference { added, relabelled, removed } = self;
        let count = added.len() + relabelled.len() + removed.len();
        let Some(slices) = slices else { return Ok(count) };
        for link in removed {
            slices.add(0, |slice| slice.links_removed.push(link)).await?;
        }
        for link in relabelled {
            slices.add(0, |slice| slice.links_relabelled.push(link)).await?;
        }
        for link in added {
            slices.add(0, |slice| slice.links_added.push(link)).await?;
        }
        Ok(count)
    }
}
