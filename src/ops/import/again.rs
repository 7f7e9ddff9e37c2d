//! Tests of planning alone: a board of values is imported into again and again while files are renamed, exchanged, edited,
//! removed and brought back at random. What this comes to in the database is tested in `tests/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    layout::overlap,
    plan::{Plan, Work, plan},
    skipped::Skipped,
    tree::{Source, Walk},
};
use crate::domain::{
    NodeId, NodeType,
    import::{KnownNode, Life, Origin},
};

type Files = BTreeMap<String, String>;

#[derive(Default)]
struct Board {
    nodes: Vec<KnownNode>,
    imports: i64,
}

impl Board {
    fn import(&mut self, files: &Files) -> Plan {
        let sources = files.iter().map(|(path, text)| (path.clone(), text.clone().leak().as_bytes() as &[u8]));
        let mut walk = Walk::begin(Source::Embedded(sources.collect())).unwrap();
        while walk.step(100) {}
        let tree = walk.finish().unwrap();
        let digests: Vec<Option<String>> = tree.files.iter().map(|file| files.get(&file.path).cloned()).collect();
        let plan = plan(&tree, &digests, &Skipped::default(), &self.nodes, false).unwrap();
        self.imports += 1;
        let mut by_id: HashMap<NodeId, usize> =
            self.nodes.iter().enumerate().map(|(index, node)| (node.id, index)).collect();
        let folders = tree.folders.iter().map(|folder| (&folder.path, NodeType::Folder));
        let paths = folders.chain(tree.files.iter().map(|file| (&file.path, NodeType::Resource)));
        for ((node, (path, node_type)), digest) in
            plan.nodes.iter().zip(paths).zip(std::iter::repeat_n(&None, tree.folders.len()).chain(&digests))
        {
            let Some(node) = node else { continue };
            let origin = Some(Origin { path: path.clone(), digest: digest.clone(), is_where_put: true });
            if let Work::Insert { rect, placement, .. } = node.work {
                by_id.insert(node.id, self.nodes.len());
                self.nodes.push(KnownNode { id: node.id, node_type, rect, placement, origin, life: Life::Living });
            } else {
                let known = &mut self.nodes[by_id[&node.id]];
                assert_eq!(node.is_restored, known.life != Life::Living);
                (known.origin, known.life) = (origin, Life::Living);
            }
        }
        for place in &plan.placed {
            let known = &mut self.nodes[by_id[&place.id]];
            assert_eq!(known.placement.map(|placement| placement.folder_id), place.from);
            known.placement = place.to;
        }
        for (id, before, rect) in &plan.moved {
            let known = &mut self.nodes[by_id[id]];
            assert_eq!(known.rect, *before);
            known.rect = *rect;
        }
        for gone in &plan.vanished {
            self.nodes[by_id[&gone.id]].life = Life::RemovedByImport(self.imports);
        }
        self.check(files);
        plan
    }

    fn living(&self) -> impl Iterator<Item = &KnownNode> {
        self.nodes.iter().filter(|node| node.life == Life::Living)
    }

    fn ids(&self) -> BTreeMap<&str, NodeId> {
        self.living().map(|node| (node.origin.as_ref().unwrap().path.as_str(), node.id)).collect()
    }

    /// The board is what the files are: one node for each path, in the node of its folder, within its frame and beside its
    /// siblings.
    fn check(&self, files: &Files) {
        let mut expected: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        for path in files.keys() {
            expected.extend(path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
        }
        let ids = self.ids();
        assert_eq!(self.living().count(), ids.len(), "a path has two nodes");
        assert_eq!(ids.keys().copied().collect::<BTreeSet<_>>(), expected);
        let by_id: HashMap<NodeId, &KnownNode> = self.living().map(|node| (node.id, node)).collect();
        for node in self.living() {
            let origin = node.origin.as_ref().unwrap();
            assert_eq!(origin.digest.as_ref(), files.get(&origin.path), "{}", origin.path);
            let folder = node.placement.map(|placement| placement.folder_id);
            let around = origin.path.rsplit_once('/').map(|(folder, _)| ids[folder]);
            assert_eq!(folder, around, "{} lies in another folder", origin.path);
            if let Some(frame) = folder.map(|folder| by_id[&folder].rect) {
                let rect = node.rect;
                let inside = rect.x >= frame.x
                    && rect.y >= frame.y
                    && rect.x + rect.width <= frame.x + frame.width
                    && rect.y + rect.height <= frame.y + frame.height;
                assert!(inside, "{} {rect:?} is not within {frame:?}", origin.path);
            }
            let siblings =
                self.living().filter(|other| other.id < node.id && other.placement.map(|p| p.folder_id) == folder);
            for other in siblings {
                assert!(!overlap(&node.rect, &other.rect), "{} lies on {:?}", origin.path, other.origin);
            }
        }
    }
}

fn files(pairs: &[(&str, &str)]) -> Files {
    pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// Numbers that look random, the same at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

#[test]
fn however_files_are_renamed_texts_keep_their_nodes() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut board = Board::default();
        // Every text is there once, so that what became of it is certain.
        let mut all: Files = Files::new();
        for number in 0..40 {
            let depth = random.below(4);
            let folders: String = (0..depth).map(|_| format!("{}/", ["a", "b", "c"][random.below(3)])).collect();
            all.insert(format!("{folders}{number}.md"), format!("text {number}"));
        }
        board.import(&all);
        for _ in 0..12 {
            let before: BTreeMap<String, NodeId> =
                board.ids().into_iter().filter_map(|(path, id)| Some((all.get(path)?.clone(), id))).collect();
            let paths: Vec<String> = all.keys().cloned().collect();
            let path = |random: &mut Random| paths[random.below(paths.len())].clone();
            match random.below(3) {
                0 => {
                    // Names are exchanged in a circle.
                    let mut circle: Vec<String> = (0..4).map(|_| path(&mut random)).collect();
                    circle.sort();
                    circle.dedup();
                    let texts: Vec<String> = circle.iter().map(|path| all[path].clone()).collect();
                    for (index, text) in texts.into_iter().enumerate() {
                        all.insert(circle[(index + 1) % circle.len()].clone(), text);
                    }
                }
                1 => {
                    // A folder gets another name, or comes into another one.
                    let old = path(&mut random);
                    let Some((folder, _)) = old.rsplit_once('/') else { continue };
                    let new = format!("{}{}", ["", "a/", "b/c/"][random.below(3)], random.below(1_000));
                    all = all
                        .iter()
                        .map(|(path, text)| match path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
                            Some(rest) => (format!("{new}/{rest}"), text.clone()),
                            None => (path.clone(), text.clone()),
                        })
                        .collect();
                }
                _ => {
                    // A file comes into another folder under another name.
                    let old = path(&mut random);
                    let text = all.remove(&old).unwrap();
                    all.insert(
                        format!("{}moved {}.md", ["", "a/", "new/"][random.below(3)], random.below(100_000)),
                        text,
                    );
                }
            }
            let plan = board.import(&all);
            assert!(plan.nodes.iter().flatten().all(|node| node.work != Work::Rewrite), "seed {seed}");
            let ids = board.ids();
            for (path, text) in &all {
                assert_eq!(ids[path.as_str()], before[text], "seed {seed}: {text} at {path}");
            }
            let again = board.import(&all);
            let changes = again.vanished.len() + again.placed.len() + again.moved.len() + again.restored.len();
            assert_eq!(changes, 0, "seed {seed}: {again:?}");
            let quiet = |node: &super::plan::Planned| node.work == Work::Leave && node.old_path.is_none();
            assert!(again.nodes.iter().flatten().all(quiet), "seed {seed}");
        }
    }
}

#[test]
fn whatever_happens_the_board_becomes_what_the_files_are() {
    for seed in 100..120 {
        let mut random = Random(seed);
        let mut board = Board::default();
        let mut all = Files::new();
        for _ in 0..25 {
            for _ in 0..random.below(8) {
                let folders: String =
                    (0..random.below(4)).map(|_| format!("{}/", ["a", "b", "B", "c.md"][random.below(4)])).collect();
                let path = format!("{folders}{}", ["x.md", "y.md", "X.md", "z.txt", "c.md", "b"][random.below(6)]);
                // A path is either a file or a folder.
                all.retain(|other, _| {
                    !other.starts_with(&format!("{path}/")) && !path.starts_with(&format!("{other}/"))
                });
                match random.below(3) {
                    0 => drop(all.remove(&path)),
                    _ => drop(all.insert(path, ["", "one", "two", "three"][random.below(4)].to_owned())),
                }
            }
            board.import(&all);
            let again = board.import(&all);
            assert!(again.vanished.is_empty() && again.placed.is_empty() && again.moved.is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn a_removed_tree_comes_back_as_it_was() {
    let all = files(&[("a/b/one.md", "1"), ("a/two.md", "2"), ("a/b/empty.md", ""), ("three.md", "3")]);
    let mut board = Board::default();
    board.import(&all);
    let before = board.nodes.clone();
    board.import(&Files::new());
    assert_eq!(board.living().count(), 0);
    board.import(&all);
    assert_eq!(format!("{:?}", board.nodes), format!("{before:?}"));
}
