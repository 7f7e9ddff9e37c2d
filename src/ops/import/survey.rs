//! The first look into every file: its digest and its links. The text is let go at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    batches, blocking, document,
    progress::Progress,
    reading, reference,
    skipped::{SkipReason, Skipped},
    tree::{File, Tree},
};
use crate::ops::Failure;

/// What is known of a file that can be imported.
#[derive(Debug)]
pub(super) struct Surveyed {
    /// SHA-256 in hex.
    pub(super) digest: String,
    /// Whether a reader would see nothing of it.
    pub(super) is_blank: bool,
    /// Where its links lead, each entry of the tree at most once and never itself.
    pub(super) links: Vec<FoundReference>,
}

/// A link to another entry of the tree: a folder by its index, a file by its index behind all folders.
#[derive(Debug)]
pub(super) struct FoundReference {
    pub(super) target: u32,
    pub(super) label: Option<Box<str>>,
}

/// One for each file of the tree; `None` for those that are left out.
pub(super) async fn survey(
    tree: &Arc<Tree>,
    skipped: &mut Skipped,
    progress: &Progress,
) -> Result<Vec<Option<Surveyed>>, Failure> {
    let bar = progress.count("Reading", tree.files.len());
    let entries = Arc::new(entries_by_path(tree)?);
    let mut all = Vec::with_capacity(tree.files.len());
    for batch in batches(tree.files.iter().map(|file| file.size_bytes)) {
        let (tree_there, entries) = (Arc::clone(tree), Arc::clone(&entries));
        let outcomes = blocking(move || {
            let files = tree_there.files.get(batch).unwrap_or_default();
            files.iter().map(|file| look_into(file, &entries)).collect::<Vec<_>>()
        });
        for outcome in outcomes.await? {
            match (outcome, tree.files.get(all.len())) {
                (Ok(file), _) => all.push(Some(file)),
                (Err(reason), Some(file)) => {
                    skipped.add(file.path.clone(), reason);
                    all.push(None);
                }
                (Err(_), None) => all.push(None),
            }
        }
        bar.at(all.len());
    }
    Ok(all)
}

fn entries_by_path(tree: &Tree) -> Result<HashMap<String, u32>, Failure> {
    let folders = tree.folders.iter().map(|folder| &folder.path);
    let paths = folders.chain(tree.files.iter().map(|file| &file.path));
    paths
        .enumerate()
        .map(|(index, path)| Ok((path.clone(), u32::try_from(index)?)))
        .collect::<Result<_, std::num::TryFromIntError>>()
        .map_err(Failure::while_doing("counting the files"))
}

fn look_into(file: &File, entries: &HashMap<String, u32>) -> Result<Surveyed, SkipReason> {
    let read = reading::read(file)?;
    let mut links: Vec<FoundReference> = Vec::new();
    let mut seen = HashSet::new();
    let glance = document::glance(file.kind, &read.text);
    for link in glance.links {
        let Some(path) = reference::resolve(&file.path, &link.target) else { continue };
        let Some(&target) = entries.get(&path) else { continue };
        if path == file.path || !seen.insert(target) {
            continue;
        }
        links.push(FoundReference { target, label: document::label(&link.label).map(String::into_boxed_str) });
    }
    Ok(Surveyed { digest: read.digest.hex(), is_blank: glance.is_blank, links })
}
