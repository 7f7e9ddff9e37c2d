//! What clients do, drawn by lot: each client has a stream of its own, which depends on the seed and on nothing else. So the
//! same seed makes the same requests; in which order those of different clients meet is up to the machine.
//!
//! Ids are counted out per board and client, so that a client can name what others have probably made without asking.

use ragboard::domain::{LinkId, LinkKind, NodeId};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use super::model::{Given, Kind, Place, Spot, Step};

pub(crate) const CLIENTS: usize = 8;
pub(crate) const BOARDS: usize = 4;
/// Of each client and board, so many of the last ones made are worked on,
const WINDOW: u64 = 8;
/// but not the very last ones: others may not be as far.
const MARGIN: u64 = 3;

/// How the steps travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The mutation that is there for this one step.
    One,
    /// `moveNodes`, `placeInFolder`, `deleteNodes`, `restoreNodes` or `unlinkNodes` with several.
    List,
    /// `applyBoardChanges`.
    Batch,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Idempotency key, and the client's name for its change.
    pub(crate) key: String,
    pub(crate) board: usize,
    /// Where it is sent first.
    pub(crate) gateway: usize,
    pub(crate) form: Form,
    pub(crate) steps: Vec<Step>,
    /// Whether nodes, or the board, must be at the versions that the client has seen last, where it has.
    pub(crate) insists: bool,
    pub(crate) insists_on_board: bool,
    /// Whether the client looks afterwards.
    pub(crate) looks: bool,
    /// What it looks at besides what it wrote.
    pub(crate) others: Vec<NodeId>,
}

pub(crate) struct Choices {
    client: usize,
    rng: StdRng,
    count: usize,
    made: [u64; BOARDS],
    linked: [u64; BOARDS],
    last_created: Option<(usize, Step)>,
}

/// The id of what a client makes as its so-and-so-manieth on a board.
fn id(board: usize, client: usize, number: u64) -> Uuid {
    // The time comes first in version 7: a moment of 2025 and the number.
    let time = u128::from(1_750_000_000_000 + number * CLIENTS as u64 + client as u64);
    let place = (board * CLIENTS + client) as u128;
    Uuid::from_u128(time << 80 | 7 << 76 | 2 << 62 | place << 32 | u128::from(number))
}

pub(crate) fn node_id(board: usize, client: usize, number: u64) -> NodeId {
    NodeId(id(board, client, number))
}

fn link_id(board: usize, client: usize, number: u64) -> LinkId {
    LinkId(id(board, client, number))
}

fn kind_of(number: u64) -> Kind {
    match number % 8 {
        0 | 4 => Kind::Folder,
        3 => Kind::Chat,
        _ => Kind::Resource,
    }
}

impl Choices {
    pub(crate) fn new(seed: u64, client: usize) -> Self {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(client as u64));
        Choices { client, rng, count: 0, made: [0; BOARDS], linked: [0; BOARDS], last_created: None }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> Operation {
        self.count += 1;
        let board = self.rng.random_range(0..BOARDS);
        // Two boards are written by one gateway only, whose memory is then carried from version to version by its own
        // commits; the others by both.
        let gateway = if board < 2 { board } else { self.rng.random_range(0..2) };
        let (form, steps) = match self.rng.random_range(0..100) {
            _ if self.made[board] == 0 => (Form::One, vec![self.create(board)]),
            0..22 => (Form::One, vec![self.create(board)]),
            22..34 => (Form::One, vec![self.edit(board)]),
            34..46 => (Form::List, self.several(4, |choices| choices.shift(board))),
            46..58 => (Form::List, self.place_several(board)),
            58..61 => (Form::List, self.several(2, |choices| choices.delete(board))),
            61..72 => (Form::List, self.several(2, |choices| choices.restore(board))),
            72..79 => (Form::One, vec![self.link(board)]),
            79..82 => (Form::One, vec![self.edit_link(board)]),
            82..85 => (Form::List, self.several(2, |choices| choices.unlink(board))),
            85..88 => (Form::One, vec![self.describe()]),
            88..90 => (Form::One, vec![self.create_again(board)]),
            _ => (Form::Batch, self.batch(board)),
        };
        let board = match (&self.last_created, steps.first()) {
            (Some((there, Step::Create { node: last, .. })), Some(Step::Create { node, .. })) if last == node => *there,
            _ => board,
        };
        Operation {
            key: format!("{}-{}", self.client, self.count),
            board,
            gateway: if board < 2 { board } else { gateway },
            form,
            insists: self.rng.random_bool(0.3),
            insists_on_board: matches!(steps[0], Step::Describe { .. }) && self.rng.random_bool(0.2),
            looks: self.rng.random_bool(0.4),
            others: (0..3).map(|_| self.node(board)).collect(),
            steps,
        }
    }

    fn several(&mut self, most: usize, mut step: impl FnMut(&mut Self) -> Step) -> Vec<Step> {
        // All of them are refused for one that is: more often few.
        let count = self.rng.random_range(1..=most).min(self.rng.random_range(1..=most));
        (0..count).map(|_| step(self)).collect()
    }

    /// A number of one of the last things that some client has made, as far as can be known.
    fn number(&mut self, made: u64) -> (usize, u64) {
        let back = self.rng.random_range(0..WINDOW.min(made.max(1)));
        (self.rng.random_range(0..CLIENTS), made.saturating_sub(1 + MARGIN + back))
    }

    fn node(&mut self, board: usize) -> NodeId {
        self.node_and_kind(board).0
    }

    fn node_and_kind(&mut self, board: usize) -> (NodeId, Kind) {
        let (client, number) = self.number(self.made[board]);
        (node_id(board, client, number), kind_of(number))
    }

    fn folder(&mut self, board: usize) -> NodeId {
        let (client, number) = self.number(self.made[board]);
        // Now and then it is none.
        let number = if self.rng.random_bool(0.97) { number - number % 4 } else { number };
        node_id(board, client, number)
    }

    fn some_link(&mut self, board: usize) -> LinkId {
        let (client, number) = self.number(self.linked[board]);
        link_id(board, client, number)
    }

    fn at(&mut self) -> (f64, f64) {
        (f64::from(self.rng.random_range(-500..500)) * 2.0, f64::from(self.rng.random_range(0..40)) * 25.5)
    }

    fn text(&mut self, what: &str) -> String {
        format!("{what} {}-{}-{}", self.client, self.count, self.rng.random_range(0..3))
    }

    fn spot(&mut self, board: usize) -> Spot {
        // A neighbour drawn by lot seldom lies in the folder.
        match self.rng.random_range(0..20) {
            0..12 => Spot::Last,
            12..18 => Spot::First,
            18 => Spot::Before(self.node(board)),
            _ => Spot::After(self.node(board)),
        }
    }

    fn place(&mut self, board: usize) -> Place {
        Place { folder: self.folder(board), spot: self.spot(board) }
    }

    fn create(&mut self, board: usize) -> Step {
        let number = self.made[board];
        self.made[board] += 1;
        let kind = kind_of(number);
        let given = Given {
            name: Some(self.text("Name")),
            content: (kind == Kind::Resource && self.rng.random_bool(0.5)).then(|| self.text("Content")),
            at: Some(self.at()),
            max_items: (kind == Kind::Folder && self.rng.random_bool(0.3)).then(|| Some(self.rng.random_range(1..6))),
        };
        let place = (number > 0 && self.rng.random_bool(0.35)).then(|| self.place(board));
        let step = Step::Create { node: node_id(board, self.client, number), kind, given, place };
        self.last_created = Some((board, step.clone()));
        step
    }

    /// The last creation once more, under another key.
    fn create_again(&mut self, board: usize) -> Step {
        match &self.last_created {
            Some((_, step)) => step.clone(),
            None => self.create(board),
        }
    }

    fn edit(&mut self, board: usize) -> Step {
        let (node, kind) = self.node_and_kind(board);
        let given = Given {
            name: self.rng.random_bool(0.7).then(|| self.text("Name")),
            content: (kind == Kind::Resource && self.rng.random_bool(0.6)).then(|| self.text("Content")),
            at: self.rng.random_bool(0.3).then(|| self.at()),
            max_items: (kind == Kind::Folder && self.rng.random_bool(0.5))
                .then(|| self.rng.random_bool(0.5).then(|| self.rng.random_range(1..8))),
        };
        Step::Edit { node, kind, given, expected: None }
    }

    fn shift(&mut self, board: usize) -> Step {
        Step::Move { node: self.node(board), at: self.at(), expected: None }
    }

    /// Several that come to lie one behind the other, or out of all folders.
    fn place_several(&mut self, board: usize) -> Vec<Step> {
        let mut place = self.rng.random_bool(0.8).then(|| self.place(board));
        let mut steps = Vec::new();
        let count = self.rng.random_range(1..=3).min(self.rng.random_range(1..=3));
        for _ in 0..count {
            let node = self.node(board);
            steps.push(Step::Place { node, place });
            place = place.map(|place| Place { spot: Spot::After(node), ..place });
        }
        steps
    }

    fn delete(&mut self, board: usize) -> Step {
        Step::Delete { node: self.node(board), expected: None }
    }

    fn restore(&mut self, board: usize) -> Step {
        Step::Restore { node: self.node(board) }
    }

    fn link_kind(&mut self) -> LinkKind {
        *[LinkKind::DataFlow, LinkKind::Reference, LinkKind::Hierarchy].choose(&mut self.rng).unwrap()
    }

    fn link(&mut self, board: usize) -> Step {
        let number = self.linked[board];
        self.linked[board] += 1;
        let link = link_id(board, self.client, number);
        Step::Link {
            link,
            from: self.node(board),
            to: self.node(board),
            kind: self.link_kind(),
            label: self.text("Label"),
        }
    }

    fn edit_link(&mut self, board: usize) -> Step {
        let kind = self.rng.random_bool(0.4).then(|| self.link_kind());
        let label = (kind.is_none() || self.rng.random_bool(0.5)).then(|| self.text("Label"));
        Step::EditLink { link: self.some_link(board), kind, label }
    }

    fn unlink(&mut self, board: usize) -> Step {
        Step::Unlink { link: self.some_link(board) }
    }

    fn describe(&mut self) -> Step {
        Step::Describe { description: self.text("Description") }
    }

    /// Steps that have to do with each other: most are about a few nodes and links.
    fn batch(&mut self, board: usize) -> Vec<Step> {
        let mut nodes: Vec<(NodeId, Kind)> = (0..2).map(|_| self.node_and_kind(board)).collect();
        nodes.push((self.folder(board), Kind::Folder));
        let mut links = vec![self.some_link(board)];
        let mut steps = Vec::new();
        for _ in 0..self.rng.random_range(2..=6) {
            let (node, kind) = *nodes.choose(&mut self.rng).unwrap();
            let (other, _) = *nodes.choose(&mut self.rng).unwrap();
            let folders: Vec<NodeId> =
                nodes.iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(id, _)| *id).collect();
            let folder = *folders.choose(&mut self.rng).unwrap();
            let link = *links.choose(&mut self.rng).unwrap();
            let spot = if self.rng.random_bool(0.9) { Spot::Last } else { Spot::After(other) };
            let place = self.rng.random_bool(0.8).then_some(Place { folder, spot });
            steps.push(match self.rng.random_range(0..20) {
                0..4 => {
                    let mut step = self.create(board);
                    if let Step::Create { node, kind, place: around, .. } = &mut step {
                        *around = place;
                        nodes.push((*node, *kind));
                    }
                    self.last_created = Some((board, step.clone()));
                    step
                }
                4..6 => Step::Edit {
                    node,
                    kind,
                    given: Given { name: Some(self.text("Name")), ..Given::default() },
                    expected: None,
                },
                6..9 => Step::Move { node, at: self.at(), expected: None },
                9..12 if node != folder => Step::Place { node, place },
                12 => Step::Delete { node, expected: None },
                13..16 => Step::Restore { node },
                16 if node != other => {
                    let step = self.link(board);
                    let Step::Link { link, kind, label, .. } = step else { unreachable!() };
                    links.push(link);
                    Step::Link { link, from: node, to: other, kind, label }
                }
                17 => Step::EditLink { link, kind: Some(self.link_kind()), label: None },
                18 => Step::Unlink { link },
                // The same id again, which is free if the link was removed above.
                19 if node != other => {
                    let (kind, label) = (self.link_kind(), self.text("Label"));
                    Step::Link { link, from: node, to: other, kind, label }
                }
                _ => self.describe(),
            });
        }
        steps
    }
}
