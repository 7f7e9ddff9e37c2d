//! A board in memory: what the documentation says that changes mean, in the plainest way, for one change after the other.
//!
//! It knows nothing of SQL, locks, versions of rows in caches, or the gateway's own code. It takes steps either all or not at
//! all, and says what an entry of the change log must name.

use std::collections::{BTreeMap, BTreeSet};

use ragboard::domain::{LinkId, LinkKind, NodeId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Resource,
    Chat,
    Folder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    First,
    Last,
    Before(NodeId),
    After(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: NodeId,
    pub(crate) spot: Spot,
}

/// What is given of a node; what is not given stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) name: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) at: Option<(f64, f64)>,
    /// For folders; the inner `None` takes the limit away.
    pub(crate) max_items: Option<Option<i32>>,
}

/// One change. `expected` is the version of the node that the client insists on.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create { node: NodeId, kind: Kind, given: Given, place: Option<Place> },
    Edit { node: NodeId, kind: Kind, given: Given, expected: Option<i64> },
    Move { node: NodeId, at: (f64, f64), expected: Option<i64> },
    Place { node: NodeId, place: Option<Place> },
    Delete { node: NodeId, expected: Option<i64> },
    Restore { node: NodeId },
    Link { link: LinkId, from: NodeId, to: NodeId, kind: LinkKind, label: String },
    EditLink { link: LinkId, kind: Option<LinkKind>, label: Option<String> },
    Unlink { link: LinkId },
    Describe { description: String },
}

/// Why steps are not done; nothing of them is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Invalid,
    NotFound,
    Conflict,
    Full,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) content: Option<String>,
    pub(crate) at: (f64, f64),
    pub(crate) max_items: Option<i32>,
    /// The folder, and the position among what it holds.
    pub(crate) place: Option<(NodeId, f64)>,
    /// Version of the board at the last change of the node.
    pub(crate) version: i64,
    /// The version that deleted it: what went together has the same.
    pub(crate) deleted: Option<i64>,
}

impl Node {
    pub(crate) fn is_living(&self) -> bool {
        self.deleted.is_none()
    }

    fn take(&mut self, given: &Given) {
        if let Some(name) = &given.name {
            self.name.clone_from(name);
        }
        if let Some(content) = &given.content {
            self.content = Some(content.clone());
        }
        self.at = given.at.unwrap_or(self.at);
        self.max_items = given.max_items.unwrap_or(self.max_items);
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) kind: LinkKind,
    pub(crate) label: String,
}

/// What an entry of the change log names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) board: bool,
    pub(crate) saved: BTreeSet<NodeId>,
    pub(crate) deleted: BTreeSet<NodeId>,
    pub(crate) links_saved: BTreeSet<LinkId>,
    pub(crate) links_deleted: BTreeSet<LinkId>,
}

/// A board at one version.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) version: i64,
    pub(crate) description: Option<String>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) links: BTreeMap<LinkId, Link>,
}

impl Board {
    /// A board on which nothing lies yet.
    pub(crate) fn new() -> Board {
        Board { version: 1, description: None, nodes: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Does all steps, or nothing. `expected` is the version of the board that the client insists on. What changes nothing
    /// is no new version.
    pub(crate) fn apply(&mut self, steps: &[Step], expected: Option<i64>) -> Result<Changes, Refused> {
        let mut draft = Draft::new(self);
        let changes = draft.steps(steps, expected).map(|()| draft.changes());
        if changes.is_err() {
            draft.undo();
        }
        changes
    }

    /// What the steps would come to.
    pub(crate) fn outcome(&mut self, steps: &[Step], expected: Option<i64>) -> Result<Changes, Refused> {
        let version = self.version;
        let mut draft = Draft::new(self);
        let changes = draft.steps(steps, expected).map(|()| draft.changes());
        draft.undo();
        self.version = version;
        changes
    }

    /// What a folder holds, deleted or not, in its order.
    fn children(&self, folder: NodeId) -> Vec<(f64, NodeId)> {
        let mut children: Vec<(f64, NodeId)> = self
            .nodes
            .iter()
            .filter_map(|(id, node)| node.place.filter(|place| place.0 == folder).map(|place| (place.1, *id)))
            .collect();
        children.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        children
    }

    fn is_below(&self, node: NodeId, folder: NodeId) -> bool {
        let mut at = node;
        while let Some((parent, _)) = self.nodes.get(&at).and_then(|node| node.place) {
            if parent == folder {
                return true;
            }
            at = parent;
        }
        false
    }

    fn living(&self, node: NodeId) -> Result<&Node, Refused> {
        self.nodes.get(&node).filter(|node| node.is_living()).ok_or(Refused::NotFound)
    }

    /// A link is there for its readers while both ends live.
    pub(crate) fn is_visible(&self, link: &Link) -> bool {
        self.living(link.from).is_ok() && self.living(link.to).is_ok()
    }

    fn visible(&self, link: LinkId) -> Result<&Link, Refused> {
        self.links.get(&link).filter(|link| self.is_visible(link)).ok_or(Refused::NotFound)
    }
}

/// A board while steps are done, and how it was before, where it was touched.
struct Draft<'a> {
    board: &'a mut Board,
    nodes_before: BTreeMap<NodeId, Option<Node>>,
    links_before: BTreeMap<LinkId, Option<Link>>,
    description_before: Option<String>,
    /// A text that is given counts as changed, also by the same one.
    rewritten: BTreeSet<NodeId>,
    unlinked: BTreeSet<LinkId>,
    /// What had to move for others, deleted nodes too.
    renumbered: BTreeSet<NodeId>,
}

impl<'a> Draft<'a> {
    fn new(board: &'a mut Board) -> Self {
        Draft {
            nodes_before: BTreeMap::new(),
            links_before: BTreeMap::new(),
            description_before: board.description.clone(),
            rewritten: BTreeSet::new(),
            unlinked: BTreeSet::new(),
            renumbered: BTreeSet::new(),
            board,
        }
    }

    fn next_version(&self) -> i64 {
        self.board.version + 1
    }

    fn touch(&mut self, node: NodeId) {
        self.nodes_before.entry(node).or_insert_with(|| self.board.nodes.get(&node).cloned());
    }

    fn touch_link(&mut self, link: LinkId) {
        self.links_before.entry(link).or_insert_with(|| self.board.links.get(&link).cloned());
    }

    fn node(&mut self, node: NodeId) -> &mut Node {
        self.touch(node);
        self.board.nodes.get_mut(&node).unwrap()
    }

    fn steps(&mut self, steps: &[Step], expected: Option<i64>) -> Result<(), Refused> {
        if expected.is_some_and(|expected| expected != self.board.version) {
            return Err(Refused::Conflict);
        }
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), Refused> {
        match step {
            Step::Create { node, kind, given, place } => self.create(*node, *kind, given, *place),
            Step::Edit { node, kind, given, expected } => {
                self.check_version(*node, *expected)?;
                if self.board.living(*node)?.kind != *kind {
                    return Err(Refused::NotFound);
                }
                if given.content.is_some() {
                    self.rewritten.insert(*node);
                }
                self.node(*node).take(given);
                Ok(())
            }
            Step::Move { node, at, expected } => {
                self.check_version(*node, *expected)?;
                self.node(*node).at = *at;
                Ok(())
            }
            Step::Place { node, place } => self.place(*node, *place),
            Step::Delete { node, expected } => {
                self.check_version(*node, *expected)?;
                let below: Vec<NodeId> =
                    self.board.nodes.keys().copied().filter(|below| self.board.is_below(*below, *node)).collect();
                let version = self.next_version();
                for id in below.into_iter().chain([*node]) {
                    if self.board.living(id).is_ok() {
                        self.node(id).deleted = Some(version);
                    }
                }
                Ok(())
            }
            Step::Restore { node } => self.restore(*node),
            Step::Link { link, from, to, kind, label } => self.link(*link, *from, *to, *kind, label),
            Step::EditLink { link, kind, label } => {
                let mut changed = self.board.visible(*link)?.clone();
                if let Some(kind) = kind.filter(|kind| *kind != changed.kind) {
                    self.check_pair(changed.from, changed.to, kind)?;
                    changed.kind = kind;
                }
                if let Some(label) = label {
                    changed.label.clone_from(label);
                }
                self.touch_link(*link);
                self.board.links.insert(*link, changed);
                Ok(())
            }
            Step::Unlink { link } => {
                self.board.visible(*link)?;
                self.touch_link(*link);
                self.board.links.remove(link);
                self.unlinked.insert(*link);
                Ok(())
            }
            Step::Describe { description } => {
                self.board.description = Some(description.clone());
                Ok(())
            }
        }
    }

    fn create(&mut self, id: NodeId, kind: Kind, given: &Given, place: Option<Place>) -> Result<(), Refused> {
        if let Some(there) = self.board.nodes.get(&id) {
            // The same creation again is the same object.
            let mut again = there.clone();
            again.take(given);
            let is_there = place.is_none_or(|place| there.place.is_some_and(|(folder, _)| folder == place.folder));
            let is_same = there.is_living() && there.kind == kind && again == *there && is_there;
            return if is_same { Ok(()) } else { Err(Refused::Conflict) };
        }
        self.touch(id);
        let mut node = Node {
            kind,
            name: String::new(),
            content: None,
            at: (0.0, 0.0),
            max_items: None,
            place: None,
            version: 0,
            deleted: None,
        };
        node.take(given);
        self.board.nodes.insert(id, node);
        match place {
            Some(place) => self.place(id, Some(place)),
            None => Ok(()),
        }
    }

    /// Versions are those before these steps.
    fn check_version(&self, node: NodeId, expected: Option<i64>) -> Result<(), Refused> {
        let now = self.board.living(node)?;
        let before = self.nodes_before.get(&node).map_or(Some(now), Option::as_ref);
        match (expected, before) {
            (Some(expected), Some(before)) if before.version != expected => Err(Refused::Conflict),
            _ => Ok(()),
        }
    }

    fn place(&mut self, id: NodeId, place: Option<Place>) -> Result<(), Refused> {
        self.board.living(id)?;
        let Some(Place { folder, spot }) = place else {
            self.node(id).place = None;
            return Ok(());
        };
        if self.board.living(folder)?.kind != Kind::Folder {
            return Err(Refused::Invalid);
        }
        if folder == id || self.board.is_below(folder, id) {
            return Err(Refused::Conflict);
        }
        self.check_room(folder, id)?;
        let position = match self.position(folder, id, spot)? {
            Some(position) => position,
            None => {
                // No room between two: everything gets whole numbers.
                let others = self.board.children(folder).into_iter().filter(|(_, child)| *child != id);
                for (number, (_, child)) in others.enumerate().collect::<Vec<_>>() {
                    self.node(child).place = Some((folder, (number + 1) as f64));
                    self.renumbered.insert(child);
                }
                self.position(folder, id, spot)?.ok_or(Refused::Invalid)?
            }
        };
        self.node(id).place = Some((folder, position));
        Ok(())
    }

    fn check_room(&self, folder: NodeId, newcomer: NodeId) -> Result<(), Refused> {
        let Some(most) = self.board.nodes.get(&folder).and_then(|folder| folder.max_items) else { return Ok(()) };
        let held = self.board.children(folder);
        let held = held.iter().filter(|(_, child)| *child != newcomer && self.board.living(*child).is_ok()).count();
        if (held as i64) < i64::from(most) { Ok(()) } else { Err(Refused::Full) }
    }

    fn position(&self, folder: NodeId, newcomer: NodeId, spot: Spot) -> Result<Option<f64>, Refused> {
        let mut children = self.board.children(folder);
        children.retain(|(_, child)| *child != newcomer);
        let index = |anchor: NodeId| {
            let at = children.iter().position(|(_, child)| *child == anchor);
            at.filter(|_| self.board.living(anchor).is_ok()).ok_or(Refused::NotFound)
        };
        let at = match spot {
            Spot::First => 0,
            Spot::Last => children.len(),
            Spot::Before(anchor) => index(anchor)?,
            Spot::After(anchor) => index(anchor)? + 1,
        };
        let before = (at > 0).then(|| children[at - 1].0);
        let behind = children.get(at).map(|(position, _)| *position);
        let position = match (before, behind) {
            (None, None) => 1.0,
            (Some(before), None) => before + 1.0,
            (None, Some(behind)) => behind - 1.0,
            (Some(before), Some(behind)) => before + (behind - before) / 2.0,
        };
        let is_free = before.is_none_or(|before| before < position) && behind.is_none_or(|behind| position < behind);
        Ok(is_free.then_some(position))
    }

    fn restore(&mut self, id: NodeId) -> Result<(), Refused> {
        let Some(deletion) = self.board.nodes.get(&id).ok_or(Refused::NotFound)?.deleted else { return Ok(()) };
        // What lies in it and was deleted together with it.
        let with_it: Vec<NodeId> = self
            .board
            .nodes
            .iter()
            .filter(|(below, node)| node.deleted == Some(deletion) && self.board.is_below(**below, id))
            .map(|(below, _)| *below)
            .collect();
        for id in with_it.into_iter().chain([id]) {
            self.node(id).deleted = None;
        }
        match self.board.nodes[&id].place {
            Some((folder, _)) if self.board.living(folder).is_ok() => self.check_room(folder, id),
            Some(_) => self.place(id, None),
            None => Ok(()),
        }
    }

    fn link(&mut self, id: LinkId, from: NodeId, to: NodeId, kind: LinkKind, label: &str) -> Result<(), Refused> {
        self.board.living(from)?;
        self.board.living(to)?;
        if from == to {
            return Err(Refused::Invalid);
        }
        let link = Link { from, to, kind, label: label.to_owned() };
        if let Some(there) = self.board.links.get(&id) {
            return if *there == link { Ok(()) } else { Err(Refused::Conflict) };
        }
        self.check_pair(from, to, kind)?;
        self.touch_link(id);
        self.board.links.insert(id, link);
        Ok(())
    }

    /// There is one link of a kind between the same two.
    fn check_pair(&self, from: NodeId, to: NodeId, kind: LinkKind) -> Result<(), Refused> {
        let is_taken = self.board.links.values().any(|link| (link.from, link.to, link.kind) == (from, to, kind));
        if is_taken { Err(Refused::Conflict) } else { Ok(()) }
    }

    /// What all this comes to; steps the version if that is anything.
    fn changes(&mut self) -> Changes {
        let version = self.next_version();
        let mut changes = Changes { board: self.board.description != self.description_before, ..Changes::default() };
        for (id, before) in &self.nodes_before {
            let Some(now) = self.board.nodes.get_mut(id) else { continue };
            match (before.as_ref().is_some_and(Node::is_living), now.is_living()) {
                // Nobody has seen it in between.
                (false, false) => match before {
                    Some(before) => {
                        let place = now.place.filter(|_| self.renumbered.contains(id)).or(before.place);
                        *now = Node { place, ..before.clone() };
                    }
                    None => drop(self.board.nodes.remove(id)),
                },
                (true, false) => {
                    now.version = version;
                    changes.deleted.insert(*id);
                }
                (was_living, true) => {
                    if !was_living || before.as_ref() != Some(now) || self.rewritten.contains(id) {
                        now.version = version;
                        changes.saved.insert(*id);
                    }
                }
            }
        }
        for (id, before) in &self.links_before {
            // Nor has it seen the links of what was not there.
            let is_there = |link: &Link| [link.from, link.to].iter().all(|end| self.board.nodes.contains_key(end));
            if self.board.links.get(id).is_some_and(|link| !is_there(link)) {
                self.board.links.remove(id);
            }
            let now = self.board.links.get(id);
            if before.is_some() && self.unlinked.contains(id) {
                changes.links_deleted.insert(*id);
            }
            if now.is_some() && (now != before.as_ref() || changes.links_deleted.contains(id)) {
                changes.links_saved.insert(*id);
            }
        }
        // Links that are seen again with a node that lives again.
        let lives_again = |id: &NodeId| {
            let was_there =
                self.nodes_before.get(id).is_some_and(|before| before.as_ref().is_some_and(|node| !node.is_living()));
            was_there && self.board.living(*id).is_ok()
        };
        for (id, link) in &self.board.links {
            if self.board.is_visible(link) && [link.from, link.to].iter().any(lives_again) {
                changes.links_saved.insert(*id);
            }
        }
        if changes != Changes::default() {
            self.board.version = version;
        }
        changes
    }

    fn undo(&mut self) {
        for (id, before) in std::mem::take(&mut self.nodes_before) {
            match before {
                Some(before) => drop(self.board.nodes.insert(id, before)),
                None => drop(self.board.nodes.remove(&id)),
            }
        }
        for (id, before) in std::mem::take(&mut self.links_before) {
            match before {
                Some(before) => drop(self.board.links.insert(id, before)),
                None => drop(self.board.links.remove(&id)),
            }
        }
        self.board.description = self.description_before.take();
    }
}
