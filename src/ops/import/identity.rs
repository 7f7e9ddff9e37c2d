//! Which node each file and each folder of the tree has: by its path, and by its content where the path is another one now.
//!
//! In this order, each step with what the ones before left over:
//! 1. The path with the same content.
//! 2. The same content under another path: renamed or moved. A node leaves a path that is still there only if another node
//!    comes to it (names that were exchanged); a copy that is edited keeps its node.
//! 3. The path with other content: edited. Then a path that differs in capital letters only.
//! 4. What somebody deleted on the board stays deleted, with all that is below it.
//! 5. What an earlier import removed comes back: by its path, else by its content.
//! 6. Folders: by most of what lay directly in them, else by their path, else those that an import removed.
//! 7. Moved and edited at once: the same place in a folder that was renamed, or a name that is there only once.
//!
//! Where several could be meant, the one whose path ends most alike is taken, then the first one.

use std::collections::{HashMap, HashSet};

use super::{pairing, skipped::Skipped, tree::name_of};
use crate::domain::{
    NodeType,
    import::{KnownNode, Life},
};

/// A folder or file of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) path: &'a str,
    /// The folder around it, by its index among the entries.
    pub(super) parent: Option<usize>,
    pub(super) is_folder: bool,
    /// SHA-256 in hex; `None` for folders, and for files that are left out.
    pub(super) digest: Option<&'a str>,
}

impl Entry<'_> {
    fn is_file(&self) -> bool {
        !self.is_folder && self.digest.is_some()
    }
}

/// What was recognised.
#[derive(Debug, Default)]
pub(super) struct Recognised {
    /// The node of each entry, by its index among the known nodes.
    pub(super) found: Vec<Option<usize>>,
    /// Whether an entry is left out because somebody deleted its node.
    pub(super) is_deleted: Vec<bool>,
}

/// The folder part of a path; empty for what lies in the imported folder itself.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Of the empty file.
const EMPTY_DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// `entries` have the folders first, each before what is in it; `known` is sorted by age.
pub(super) fn recognise(
    entries: &[Entry<'_>],
    known: &[KnownNode],
    skipped: &Skipped,
    restores_deleted: bool,
) -> Recognised {
    let mut search = Search::new(entries, known, skipped, restores_deleted);
    search.same_path_and_content();
    search.same_content();
    search.same_path(false);
    search.same_letters();
    search.deleted_by_hand();
    search.removed_before();
    search.folders();
    search.same_place_in_renamed_folder();
    search.only_one_of_this_name();
    Recognised { found: search.found, is_deleted: search.is_deleted }
}

type Key<'a> = (&'a str, bool);

struct Search<'a> {
    entries: &'a [Entry<'a>],
    known: &'a [KnownNode],
    /// By path and whether it is a folder: the oldest living node.
    living: HashMap<Key<'a>, usize>,
    /// The same of deleted nodes: the one that was deleted last.
    dead: HashMap<Key<'a>, usize>,
    /// By path and whether it is a folder; files that are left out are not in it.
    entry_at: HashMap<Key<'a>, usize>,
    /// Living nodes whose file or folder is there, or may be, but is left out this time.
    is_hidden: Vec<bool>,
    found: Vec<Option<usize>>,
    taken: Vec<bool>,
    is_deleted: Vec<bool>,
    restores_deleted: bool,
}

impl<'a> Search<'a> {
    fn new(entries: &'a [Entry<'a>], known: &'a [KnownNode], skipped: &Skipped, restores_deleted: bool) -> Self {
        let (mut living, mut dead): (HashMap<Key<'a>, usize>, HashMap<Key<'a>, usize>) = Default::default();
        let mut is_hidden = vec![false; known.len()];
        for (index, node) in known.iter().enumerate() {
            let (Some(path), Some(is_folder)) = (path_of(node), is_folder(node)) else { continue };
            if let Some(slot) = is_hidden.get_mut(index) {
                *slot = skipped.hides(path);
            }
            match deleted_at(node) {
                // Of copies, the oldest is the one that an import made.
                None => {
                    living.entry((path, is_folder)).or_insert(index);
                }
                Some(at) => {
                    let last = dead.entry((path, is_folder)).or_insert(index);
                    if known.get(*last).and_then(deleted_at).is_some_and(|before| before < at) {
                        *last = index;
                    }
                }
            }
        }
        let there = entries.iter().enumerate().filter(|(_, entry)| entry.is_folder || entry.is_file());
        let entry_at = there.map(|(index, entry)| ((entry.path, entry.is_folder), index)).collect();
        Search {
            entries,
            known,
            living,
            dead,
            entry_at,
            is_hidden,
            found: vec![None; entries.len()],
            taken: vec![false; known.len()],
            is_deleted: vec![false; entries.len()],
            restores_deleted,
        }
    }

    fn take(&mut self, entry: usize, node: usize) {
        if let (Some(found), Some(taken)) = (self.found.get_mut(entry), self.taken.get_mut(node)) {
            (*found, *taken) = (Some(node), true);
        }
    }

    fn is_free(&self, node: usize) -> bool {
        self.taken.get(node) == Some(&false)
    }

    /// Entries without a node, of which somebody wants one.
    fn open(&self, is_folder: bool) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        let wanted = entries.filter(|(_, entry)| if is_folder { entry.is_folder } else { entry.is_file() });
        let open = wanted.map(|(index, _)| index).filter(|index| self.found.get(*index) == Some(&None));
        open.filter(|index| self.is_deleted.get(*index) == Some(&false)).collect()
    }

    fn entry(&self, index: usize) -> Option<&'a Entry<'a>> {
        self.entries.get(index)
    }

    fn entry_path(&self, index: usize) -> &'a str {
        self.entries.get(index).map_or("", |entry| entry.path)
    }

    fn path_of(&self, node: usize) -> &'a str {
        self.known.get(node).and_then(path_of).unwrap_or_default()
    }

    fn digest_of(&self, node: usize) -> Option<&'a str> {
        self.known.get(node)?.origin.as_ref()?.digest.as_deref()
    }

    /// The living node of the entry's path, if no entry has it yet.
    fn node_at(&self, entry: &Entry<'a>) -> Option<usize> {
        self.living.get(&(entry.path, entry.is_folder)).copied().filter(|node| self.is_free(*node))
    }

    /// Living imported nodes whose path is gone, or is that of another content, and whose file may be elsewhere.
    fn leaving(&self, is_folder: bool) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.living.iter().filter(|(key, _)| key.1 == is_folder).map(|(_, n)| *n).collect();
        nodes.retain(|node| self.is_free(*node) && self.is_hidden.get(*node) == Some(&false));
        nodes.sort_unstable_by_key(|node| self.path_of(*node));
        nodes
    }

    fn same_path_and_content(&mut self) {
        for index in self.open(false) {
            let Some(entry) = self.entry(index) else { continue };
            if let Some(node) = self.node_at(entry).filter(|node| self.digest_of(*node) == entry.digest) {
                self.take(index, node);
            }
        }
    }

    fn same_content(&mut self) {
        let nodes = self.leaving(false);
        let pairs = self.alike(&self.open(false), &nodes);
        self.settle(pairs, false);
    }

    /// Pairs entries and nodes of the same content. An empty file has none: it is known by its name.
    fn alike(&self, entries: &[usize], nodes: &[usize]) -> Vec<(usize, usize)> {
        let mut groups: HashMap<&str, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for node in nodes {
            if let Some(digest) = self.digest_of(*node) {
                groups.entry(digest).or_default().1.push(*node);
            }
        }
        for index in entries {
            let group = self.entry(*index).and_then(|entry| groups.get_mut(entry.digest?));
            if let Some(group) = group {
                group.0.push(*index);
            }
        }
        // What is the only one of its content says which folder became which; the others are looked for accordingly.
        let mut pairs = Vec::new();
        let mut became: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
        for (entries, nodes) in groups.values() {
            if let ([index], [node]) = (entries.as_slice(), nodes.as_slice()) {
                let (new, old) = (folder_of(self.entry_path(*index)), folder_of(self.path_of(*node)));
                *became.entry(new).or_default().entry(old).or_default() += 1;
            }
        }
        let became: HashMap<&str, &str> = became
            .into_iter()
            .filter_map(|(new, old)| Some((new, old.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))?.0)))
            .collect();
        for (digest, (mut entries, mut nodes)) in groups {
            if entries.len() + nodes.len() > 2 {
                let by_path: HashMap<&str, usize> = nodes.iter().map(|node| (self.path_of(*node), *node)).collect();
                let mut paired = HashSet::new();
                entries.retain(|index| {
                    let path = self.entry_path(*index);
                    let old = became.get(folder_of(path)).map(|folder| join(folder, name_of(path)));
                    let node = old.and_then(|old| by_path.get(old.as_str()).copied());
                    let Some(node) = node.filter(|node| paired.insert(*node)) else { return true };
                    pairs.push((*index, node));
                    false
                });
                nodes.retain(|node| !paired.contains(node));
            }
            let left: Vec<&str> = entries.iter().map(|index| self.entry_path(*index)).collect();
            let right: Vec<&str> = nodes.iter().map(|node| self.path_of(*node)).collect();
            for (entry, node) in pairing::pair(&left, &right, digest != EMPTY_DIGEST) {
                pairs.extend(entries.get(entry).copied().zip(nodes.get(node).copied()));
            }
        }
        pairs
    }

    /// Takes those pairs whose node is free to leave its path: nothing is there any more, or another node comes to it.
    fn settle(&mut self, pairs: Vec<(usize, usize)>, is_folder: bool) {
        let by_node: HashMap<usize, usize> = pairs.iter().map(|(index, node)| (*node, *index)).collect();
        let mut wanted: HashMap<usize, usize> = pairs.into_iter().collect();
        let mut ahead: Vec<usize> = wanted.keys().copied().collect();
        while let Some(index) = ahead.pop() {
            let Some(node) = wanted.get(&index) else { continue };
            let stays = self
                .entry_at
                .get(&(self.path_of(*node), is_folder))
                .is_some_and(|old| *old != index && !wanted.contains_key(old) && self.found.get(*old) == Some(&None));
            if stays {
                wanted.remove(&index);
                // Its own node may not leave either then.
                let own = self.entry(index).and_then(|entry| self.living.get(&(entry.path, is_folder)));
                ahead.extend(own.and_then(|own| by_node.get(own)));
            }
        }
        let mut wanted: Vec<(usize, usize)> = wanted.into_iter().collect();
        wanted.sort_unstable();
        for (index, node) in wanted {
            self.take(index, node);
        }
    }

    fn same_path(&mut self, is_folder: bool) {
        for index in self.open(is_folder) {
            if let Some(node) = self.entry(index).and_then(|entry| self.node_at(entry)) {
                self.take(index, node);
            }
        }
    }

    /// Paths that differ in capital letters only, where just one node and one file are meant.
    fn same_letters(&mut self) {
        let (nodes, open) = (self.leaving(false), self.open(false));
        let nodes = unique(nodes.iter().map(|node| (self.path_of(*node).to_lowercase(), *node)));
        let entries = open.iter().filter_map(|index| Some((self.entry(*index)?.path.to_lowercase(), *index)));
        for (path, index) in unique(entries) {
            if let Some(node) = nodes.get(&path) {
                self.take(index, *node);
            }
        }
    }

    fn deleted_by_hand(&mut self) {
        if self.restores_deleted {
            return;
        }
        for (index, entry) in self.entries.iter().enumerate() {
            // A folder that has its node, or whose node is still to be found, is no reason.
            let key = (entry.path, entry.is_folder);
            let has_node = self.found.get(index) != Some(&None) || self.living.contains_key(&key);
            let own = self.dead.get(&key).and_then(|node| self.known.get(*node));
            let is_own = own.is_some_and(|node| matches!(node.life, Life::DeletedByHand(_)));
            let is_below = entry.parent.is_some_and(|folder| self.is_deleted.get(folder) == Some(&true));
            if let Some(slot) = self.is_deleted.get_mut(index) {
                *slot = !has_node && (is_own || is_below);
            }
        }
    }

    fn removed_before(&mut self) {
        for index in self.open(false) {
            if let Some(node) = self.removed_at(index) {
                self.take(index, node);
            }
        }
        let removed = self.dead.iter().filter(|(key, node)| !key.1 && self.is_free(**node));
        let mut removed: Vec<usize> = removed.map(|(_, node)| *node).collect();
        removed.retain(|node| self.known.get(*node).is_some_and(|node| matches!(node.life, Life::RemovedByImport(_))));
        removed.sort_unstable_by_key(|node| self.path_of(*node));
        let pairs = self.alike(&self.open(false), &removed);
        for (index, node) in pairs {
            self.take(index, node);
        }
    }

    /// The deleted node of an entry's path, if it may come back.
    fn removed_at(&self, index: usize) -> Option<usize> {
        let entry = self.entry(index)?;
        let node = *self.dead.get(&(entry.path, entry.is_folder))?;
        let may_return = self.restores_deleted || matches!(self.known.get(node)?.life, Life::RemovedByImport(_));
        (may_return && self.is_free(node)).then_some(node)
    }

    fn folders(&mut self) {
        // How many living nodes lie directly in each folder, by its path.
        let mut content: HashMap<&str, usize> = HashMap::new();
        for (path, _) in self.living.keys() {
            *content.entry(folder_of(path)).or_default() += 1;
        }
        let mut votes: HashMap<usize, HashMap<&str, usize>> = HashMap::new();
        let mut vote = |folder: Option<usize>, from: &'a str| {
            if let Some(folder) = folder {
                *votes.entry(folder).or_default().entry(from).or_default() += 1;
            }
        };
        for (entry, node) in self.entries.iter().zip(&self.found) {
            if let Some(node) = node {
                vote(entry.parent, folder_of(self.path_of(*node)));
            }
        }
        // What is deep comes first: a folder that is recognised speaks for the one around it.
        let mut pairs = Vec::new();
        for index in (0..self.entries.len()).rev() {
            let Some(entry) = self.entry(index).filter(|entry| entry.is_folder) else { continue };
            if self.is_deleted.get(index) == Some(&true) {
                continue;
            }
            let all = votes.get(&index);
            let best = all.and_then(|all| all.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))));
            let (from, count) = best.map_or((entry.path, 0), |(from, count)| (*from, *count));
            let own = all.and_then(|all| all.get(entry.path)).copied().unwrap_or_default();
            let node = self.living.get(&(from, true)).or_else(|| self.dead.get(&(from, true))).copied();
            let is_most = count > own && 2 * count > content.get(from).copied().unwrap_or_default();
            match node.filter(|node| from != entry.path && is_most && self.may_live(*node)) {
                Some(node) => {
                    pairs.push((index, node));
                    if let Some(around) = entry.parent {
                        *votes.entry(around).or_default().entry(folder_of(from)).or_default() += 1;
                    }
                }
                None if self.living.contains_key(&(entry.path, true)) => {
                    if let Some(around) = entry.parent {
                        *votes.entry(around).or_default().entry(folder_of(entry.path)).or_default() += 1;
                    }
                }
                None => {}
            }
        }
        // Each node once, for the first folder that wants it.
        pairs.sort_unstable();
        let mut wanted = HashSet::new();
        pairs.retain(|(_, node)| self.is_free(*node) && wanted.insert(*node));
        self.settle(pairs, true);
        self.same_path(true);
        for index in self.open(true) {
            if let Some(node) = self.removed_at(index) {
                self.take(index, node);
            }
        }
    }

    /// Whether a node lives, or may be brought back.
    fn may_live(&self, node: usize) -> bool {
        let hidden = self.is_hidden.get(node) == Some(&true);
        let life = self.known.get(node).map(|node| node.life);
        matches!(life, Some(Life::RemovedByImport(_))) || (life == Some(Life::Living) && !hidden)
    }

    fn same_place_in_renamed_folder(&mut self) {
        for is_folder in [true, false] {
            // Folders come before what is in them, so that one leads to the next.
            for index in self.open(is_folder) {
                let Some(entry) = self.entry(index) else { continue };
                let around = entry.parent.and_then(|parent| self.found.get(parent).copied().flatten());
                let Some(around) = around.map(|around| self.path_of(around)) else { continue };
                let old = join(around, name_of(entry.path));
                let node = self.living.get(&(old.as_str(), is_folder)).copied();
                let is_gone = !self.entry_at.contains_key(&(old.as_str(), is_folder));
                if let Some(node) = node.filter(|node| is_gone && self.is_free(*node) && self.may_live(*node)) {
                    self.take(index, node);
                }
            }
        }
    }

    fn only_one_of_this_name(&mut self) {
        let files = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_file());
        let entries = unique(files.map(|(index, entry)| (name_of(entry.path), index)));
        let living = self.living.iter().filter(|(key, _)| !key.1);
        let nodes = unique(living.map(|(key, node)| (name_of(key.0), *node)));
        for index in self.open(false) {
            let Some(name) = self.entry(index).map(|entry| name_of(entry.path)) else { continue };
            let node = nodes.get(name).filter(|_| entries.contains_key(name)).copied();
            let free = node.filter(|node| {
                self.is_free(*node)
                    && self.may_live(*node)
                    && !self.entry_at.contains_key(&(self.path_of(*node), false))
            });
            if let Some(node) = free {
                self.take(index, node);
            }
        }
    }
}

/// Of pairs, those whose key comes only once.
fn unique<K: std::hash::Hash + Eq>(pairs: impl Iterator<Item = (K, usize)>) -> HashMap<K, usize> {
    let mut all: HashMap<K, Option<usize>> = HashMap::new();
    for (key, value) in pairs {
        all.entry(key).and_modify(|there| *there = None).or_insert(Some(value));
    }
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn path_of(node: &KnownNode) -> Option<&str> {
    node.origin.as_ref().map(|origin| origin.path.as_str())
}

/// Imports make folders and resources only.
fn is_folder(node: &KnownNode) -> Option<bool> {
    match node.node_type {
        NodeType::Folder => Some(true),
        NodeType::Resource => Some(false),
        NodeType::Chat => None,
    }
}

fn deleted_at(node: &KnownNode) -> Option<i64> {
    match node.life {
        Life::Living => None,
        Life::RemovedByImport(at) | Life::DeletedByHand(at) => Some(at),
    }
}
