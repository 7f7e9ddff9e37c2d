//! Changing a board: all of a set of changes or nothing of it, under the lock of the board, in one step of its version.
//!
//! What the changes need is read in a few statements whatever their number, they are applied in memory (`draft.rs` and the
//! rules beside it), and what they come to is written in a few statements again. Permission is decided on the board as it
//! is under the lock, not as somebody remembers it.

mod board;
mod draft;
mod folders;
mod links;
mod nodes;
mod origin;
pub(in crate::service) mod validate;
mod web_address;

use std::{collections::HashSet, sync::Arc};

pub(in crate::service) use self::origin::origin;
use self::{
    draft::{Draft, Loaded},
    origin::{reaches, reaches_for_board},
};
use super::{Services, journal};
use crate::{
    access::{Authority, Granted, Viewer},
    domain::{
        Action, AnyId, BoardId, BoardRecord, BoardWrites, Change, ChangeSet, Claim, IdempotencyKey, LinkId, LinkKind,
        MAX_CHANGES, NodeId, Origin, Outcome, Permission, Place, Refusal, Sealed, Spot, ports::BoardTransaction,
    },
};

/// What a set of changes has done.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The board afterwards.
    pub record: Arc<BoardRecord>,
    /// The nodes that the changes are about, in their order.
    pub nodes: Vec<NodeId>,
    /// The links that the changes are about, in their order.
    pub links: Vec<LinkId>,
}

/// What a caller says about a write besides what is to be written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// What the client calls its change; comes back in the payload and in the event.
    pub client_mutation_id: Option<String>,
    /// Under which the client may ask again without doing it twice.
    pub idempotency_key: Option<String>,
    /// Digest of the input, to tell requests under one key apart.
    pub request: [u8; 32],
    /// Whether a secret is part of that digest.
    pub has_secret: bool,
    /// How far the caller's credential has to reach; everything if nothing is said.
    pub authority: Authority,
    /// Why the input cannot be taken, if that is known already.
    pub refusal: Option<Refusal>,
}

impl Services {
    /// Applies a set of changes.
    ///
    /// # Errors
    /// A refusal that names the change, with nothing done; or those of the database, with nothing done.
    pub async fn apply(&self, viewer: &Viewer, set: ChangeSet, options: WriteOptions) -> Outcome<Applied> {
        if set.changes.len() > MAX_CHANGES {
            let message = format!("At most {MAX_CHANGES} changes in one request");
            return Err(Refusal::limit("changes", MAX_CHANGES as i64, message).into());
        }
        let origin = origin(viewer, options)?;
        let transaction = self.ports.writes.begin(set.board_id).await?;
        let mut transaction = transaction.ok_or_else(|| set.absent.clone())?;
        // Whatever becomes of the request: nobody who hears of it may then find the board older than it was here.
        self.ports.reads.read(transaction.record());
        let (writes, nodes, links) = match drafted(transaction.as_mut(), viewer, &set, &origin).await {
            Ok(Drafted::Anew(writes, nodes, links)) => {
                let mut writes = *writes;
                writes.limits = self.limits_to_check(&transaction.record().owner, &writes);
                (writes, nodes, links)
            }
            Ok(Drafted::Before(applied)) => {
                transaction.roll_back().await;
                return Ok(applied);
            }
            Err(failure) => {
                transaction.roll_back().await;
                return Err(failure);
            }
        };
        let result = serde_json::json!({
            "board": set.board_id.to_string(),
            "nodes": nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "links": links.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        let (is_new, noted) = (!writes.is_empty(), journal::noted(&writes));
        let committed = transaction.commit(writes, origin, result).await?;
        if let Some(usage) = &committed.usage {
            self.note_usage(&committed.record.owner, usage);
        }
        if is_new {
            self.ports.reads.committed(&committed);
            self.ports.feed.committed(committed.record.board.id);
            self.note_changes(viewer, set.board_id, noted);
        } else {
            // The version is that of somebody else's change, which may not be in memory yet.
            self.ports.reads.read(&committed.record);
        }
        Ok(Applied { record: committed.record, nodes, links })
    }

    /// The board that this very request has changed before, if it has a key and comes again. For one that names something
    /// without its board and does not find it any more.
    ///
    /// # Errors
    /// A refusal when the key belongs to another request; or those of the database.
    pub async fn board_of_key(&self, viewer: &Viewer, options: WriteOptions) -> Outcome<Option<BoardId>> {
        let Some(key) = origin(viewer, options)?.idempotency else { return Ok(None) };
        match self.ports.writes.known(&key).await? {
            Claim::Done(result) => {
                Ok(result.get("board").and_then(serde_json::Value::as_str).and_then(|id| id.parse().ok()))
            }
            Claim::Reused => Err(Refusal::key_reused().into()),
            Claim::Free => Ok(None),
        }
    }
}

/// What a set of changes comes to, before it is written.
enum Drafted {
    /// The rows, and the nodes and links that the changes are about.
    Anew(Box<BoardWrites>, Vec<NodeId>, Vec<LinkId>),
    /// It was done before under the same key.
    Before(Applied),
}

async fn drafted(
    transaction: &mut dyn BoardTransaction,
    viewer: &Viewer,
    set: &ChangeSet,
    origin: &Origin,
) -> Outcome<Drafted> {
    let record = Arc::clone(transaction.record());
    let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(|| set.absent.clone())?;
    if granted.permission() < Permission::Edit {
        let forbidden = Refusal::forbidden("", "You may see this board, but not change it");
        return Err(Refusal { path: set.absent.path.clone(), ..forbidden }.into());
    }
    if let Some(key) = &origin.idempotency
        && let Some(applied) = replayed(transaction, key, &record).await?
    {
        return Ok(Drafted::Before(applied));
    }
    if let Some(expected) = set.expected_version.filter(|expected| *expected != record.board.version) {
        let message = format!("The board is at version {}, not {expected}", record.board.version);
        return Err(Refusal::conflict("expectedVersion", Some(AnyId::Board(set.board_id)), Vec::new(), message).into());
    }
    let loaded = load(transaction, &set.changes, granted.sealed()).await?;
    let mut draft = Draft::new(record.board.clone(), loaded);
    let restored = set.changes.iter().filter_map(|change| match &change.action {
        Action::RestoreNode { id } => Some(*id),
        _ => None,
    });
    draft.restored = restored.collect();
    for change in &set.changes {
        apply_one(&mut draft, change, viewer, &granted).map_err(|refusal| refusal.within(&change.path))?;
    }
    let (nodes, links) = draft.touched();
    Ok(Drafted::Anew(Box::new(draft.into_writes()), nodes, links))
}

async fn replayed(
    transaction: &mut dyn BoardTransaction,
    key: &IdempotencyKey,
    record: &Arc<BoardRecord>,
) -> Outcome<Option<Applied>> {
    let result = match transaction.claim(key).await? {
        Claim::Free => return Ok(None),
        Claim::Reused => return Err(Refusal::key_reused().into()),
        Claim::Done(result) => result,
    };
    let texts = |name: &str| {
        let list = result.get(name).and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        list.into_iter().filter_map(|id| id.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    Ok(Some(Applied {
        record: Arc::clone(record),
        nodes: texts("nodes").iter().filter_map(|id| id.parse().ok()).collect(),
        links: texts("links").iter().filter_map(|id| id.parse().ok()).collect(),
    }))
}

fn apply_one(
    draft: &mut Draft,
    change: &Change,
    viewer: &Viewer,
    granted: &Granted<Arc<BoardRecord>>,
) -> Result<(), Refusal> {
    match &change.action {
        Action::CreateNode { id, node_type, edit, place } => draft.create_node(*id, *node_type, edit.as_ref(), *place),
        Action::EditNode { id, expected_version, edit } => draft.edit_node(*id, *expected_version, edit.as_ref()),
        Action::LockFolder { id, password_hash } => {
            // It says who sees what lies in the folder.
            reaches(viewer, Authority::Admin)?;
            draft.lock_folder(*id, password_hash.clone())
        }
        Action::PlaceNode { id, place } => draft.place_node(*id, *place),
        Action::DeleteNode { id, expected_version } => draft.delete_node(*id, *expected_version),
        Action::RestoreNode { id } => draft.restore_node(*id),
        Action::CreateLink { id, from, to, kind, edit } => draft.create_link(*id, *from, *to, *kind, edit.as_ref()),
        Action::EditLink { id, edit } => draft.edit_link(*id, edit.as_ref()),
        Action::DeleteLink { id } => draft.delete_link(*id),
        Action::EditBoard { edit } => {
            if edit.is_for_owner() && granted.permission() < Permission::Owner {
                return Err(Refusal::forbidden("id", "Only its owner may say who sees a board"));
            }
            reaches_for_board(viewer, edit.as_ref())?;
            edit.apply(&mut draft.board);
            validate::board(&draft.board, &edit.fields())
        }
    }
}

/// What changes name, to be read before they are applied.
#[derive(Default)]
struct Named {
    nodes: HashSet<NodeId>,
    links: HashSet<LinkId>,
    created: HashSet<NodeId>,
    pairs: HashSet<(NodeId, NodeId, LinkKind)>,
    folders: HashSet<NodeId>,
    with_subtree: HashSet<NodeId>,
    restored: HashSet<NodeId>,
}

impl Named {
    fn place(&mut self, place: Option<Place>) {
        let Some(Place { folder_id, spot }) = place else { return };
        self.nodes.insert(folder_id);
        self.folders.insert(folder_id);
        if let Spot::Before(anchor) | Spot::After(anchor) = spot {
            self.nodes.insert(anchor);
        }
    }

    fn change(&mut self, action: &Action) {
        match action {
            Action::CreateNode { id, place, .. } => {
                self.nodes.insert(*id);
                self.created.insert(*id);
                self.place(*place);
            }
            Action::EditNode { id, .. } | Action::LockFolder { id, .. } => drop(self.nodes.insert(*id)),
            Action::PlaceNode { id, place } => {
                self.nodes.insert(*id);
                self.place(*place);
            }
            Action::DeleteNode { id, .. } => {
                self.nodes.insert(*id);
                self.with_subtree.insert(*id);
            }
            Action::RestoreNode { id } => {
                self.nodes.insert(*id);
                self.with_subtree.insert(*id);
                self.restored.insert(*id);
            }
            Action::CreateLink { id, from, to, kind, .. } => {
                self.links.insert(*id);
                self.nodes.extend([*from, *to]);
                self.pairs.insert((*from, *to, *kind));
            }
            Action::EditLink { id, .. } | Action::DeleteLink { id } => drop(self.links.insert(*id)),
            Action::EditBoard { .. } => {}
        }
    }
}

async fn load(transaction: &mut dyn BoardTransaction, changes: &[Change], sealed: &Sealed) -> Outcome<Loaded> {
    let mut named = Named::default();
    changes.iter().for_each(|change| named.change(&change.action));
    let mut loaded = Loaded { sealed: sealed.clone(), ..Loaded::default() };
    if !named.links.is_empty() || !named.pairs.is_empty() {
        let pairs: Vec<_> = named.pairs.into_iter().collect();
        for link in transaction.links(&list(&named.links), &pairs).await? {
            named.nodes.extend([link.from, link.to]);
            loaded.pairs.insert((link.from, link.to, link.kind), link.id);
            if named.links.contains(&link.id) {
                loaded.links.insert(link.id, link);
            }
        }
    }
    read_nodes(transaction, &mut loaded, &named.nodes).await?;
    // The folders that restored nodes come back to.
    let homes: HashSet<NodeId> =
        named.restored.iter().filter_map(|id| Some(loaded.nodes.get(id)?.node.placement?.folder_id)).collect();
    let unknown: HashSet<NodeId> = homes.iter().copied().filter(|id| !loaded.nodes.contains_key(id)).collect();
    read_nodes(transaction, &mut loaded, &unknown).await?;
    let again: HashSet<NodeId> = named.created.iter().copied().filter(|id| loaded.nodes.contains_key(id)).collect();
    if !again.is_empty() {
        loaded.contents = transaction.contents(&list(&again)).await?;
    }
    if !named.folders.is_empty() {
        loaded.parents.extend(transaction.folders().await?);
    }
    named.folders.extend(homes);
    if !named.folders.is_empty() {
        for child in transaction.children(&list(&named.folders)).await? {
            loaded.children.entry(child.folder_id).or_default().push(child);
        }
    }
    if !named.with_subtree.is_empty() {
        // A folder that the same changes put into one that they delete goes with it, and so does what lies in it.
        let around: HashSet<NodeId> = named.with_subtree.union(&named.nodes).copied().collect();
        for below in transaction.below(&list(&around)).await? {
            loaded.parents.insert(below.id, below.parent_id);
            loaded.below.entry(below.folder_id).or_default().push((below.id, below.deleted_at_us));
        }
    }
    if !sealed.is_empty() {
        let read: Vec<NodeId> = loaded.nodes.keys().copied().collect();
        loaded.hidden = transaction.hidden(&read, sealed).await?.into_iter().collect();
    }
    Ok(loaded)
}

async fn read_nodes(transaction: &mut dyn BoardTransaction, loaded: &mut Loaded, ids: &HashSet<NodeId>) -> Outcome<()> {
    if !ids.is_empty() {
        let nodes = transaction.nodes(&list(ids)).await?;
        loaded.nodes.extend(nodes.into_iter().map(|stored| (stored.node.id, stored)));
    }
    Ok(())
}

/// In order, so that the same request makes the same statements.
fn list<T: Copy + Ord>(ids: &HashSet<T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.iter().copied().collect();
    ids.sort_unstable();
    ids
}
