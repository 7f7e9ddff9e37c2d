//! The change log of a board: what changed, in the order of commits.

use std::sync::Arc;

use async_graphql::{ID, Object, Result, SimpleObject, Union};
use chrono::{DateTime, Utc};

use super::{
    board::Board,
    link::Link,
    node::BoardNode,
    page::connection,
    rows::{Row, Rows, Selected},
    scalar::id,
    scope::Scope,
    user::User,
};
use crate::domain::{self, EVENT_ORDER, LinkId, Logged, NodeId, Page, PageRequest, event_place, version_at};

/// One entry of the change log.
#[derive(Union)]
#[allow(clippy::large_enum_variant, reason = "made one at a time and never stored")]
pub(super) enum BoardEvent {
    /// The board was changed.
    Changed(BoardChanged),
    /// The log does not reach back to where the reader was.
    Resync(ResyncRequired),
}

impl BoardEvent {
    /// An entry as it is told to somebody who was told everything up to the version `after`.
    pub(super) async fn after(scope: &Scope, after: i64, event: Arc<domain::BoardEvent>) -> domain::Result<Self> {
        Ok(if can_be_told(Some(after), &event) && names_nothing_hidden(scope, &event).await? {
            BoardEvent::Changed(BoardChanged { scope: scope.clone(), event })
        } else {
            BoardEvent::Resync(ResyncRequired { version: event.version })
        })
    }
}

/// Whether an entry names only what the viewer sees. Whoever is shut out of a folder cannot be told what was deleted, nor what
/// came or went with a folder, because it may have been in there: they read the board again.
async fn names_nothing_hidden(scope: &Scope, event: &domain::BoardEvent) -> domain::Result<bool> {
    if scope.board.sealed().is_empty() {
        return Ok(true);
    }
    let is_seen = async |logged: &Logged| {
        let (loaders, board) = (scope.loaders(), &scope.board);
        Ok::<_, domain::Error>(match logged {
            Logged::BoardUpdated | Logged::BoardDeleted | Logged::Unknown => true,
            Logged::NodeDeleted(_) | Logged::LinkDeleted(_) => false,
            Logged::NodeSaved(id) => {
                loaders.node(board, *id).await?.is_some_and(|node| node.node_type() != domain::NodeType::Folder)
            }
            Logged::LinkSaved(id) => loaders.link(board, *id).await?.is_some(),
        })
    };
    let seen = futures_util::future::try_join_all(event.changes.iter().map(is_seen)).await?;
    Ok(seen.into_iter().all(|is_seen| is_seen))
}

/// Where somebody begins to follow, and what is told before anything happens.
pub(super) struct Start {
    pub(super) version: i64,
    pub(super) first: Option<BoardEvent>,
}

impl BoardEvent {
    /// Where somebody begins who was told everything up to the version `after`, or nothing yet.
    pub(super) async fn start(scope: &Scope, after: Option<i64>) -> domain::Result<Start> {
        let version = scope.board.record().board.version;
        let Some(after) = after.filter(|after| *after != version) else { return Ok(Start { version, first: None }) };
        // What the log still has says by itself where there is a gap. If it has neither the place of the reader nor anything
        // behind it, nothing would ever say so. (The version alone does not tell: memory may be a moment behind the reader.)
        if scope.loaders().events(scope.board.id(), after.saturating_sub(1), 1).await?.is_empty() {
            return Ok(Start { version, first: Some(BoardEvent::Resync(ResyncRequired { version })) });
        }
        Ok(Start { version: after, first: None })
    }
}

/// Whether an entry says all that happened since the version `after`.
fn can_be_told(after: Option<i64>, event: &domain::BoardEvent) -> bool {
    !event.changes.contains(&Logged::Unknown) && after.is_none_or(|after| after + 1 == event.version)
}

impl Row for BoardEvent {
    fn select<'a>(
        &'a self,
        object: &mut Selected<'a>,
        place: &'a async_graphql::ContextSelectionSet<'a>,
    ) -> async_graphql::ServerResult<()> {
        match self {
            BoardEvent::Changed(changed) => object.add(place, changed),
            BoardEvent::Resync(resync) => object.add(place, resync),
        }
    }
}

/// The log does not reach back to where the reader was, or something changed that it cannot tell: read the board again.
#[derive(SimpleObject, Clone)]
pub(super) struct ResyncRequired {
    /// The version from which the log goes on.
    version: i64,
}

/// One committed change of a board.
pub(super) struct BoardChanged {
    scope: Scope,
    event: Arc<domain::BoardEvent>,
}

/// One committed change of a board.
#[Object]
impl BoardChanged {
    /// Its place in the log: what comes after it is asked for with this.
    async fn cursor(&self) -> String {
        event_place(self.event.board_id, self.event.version).encode(EVENT_ORDER)
    }

    /// The version that the change made. A board's versions follow each other without a gap.
    async fn version(&self) -> i64 {
        self.event.version
    }

    /// When it was committed.
    async fn at(&self) -> DateTime<Utc> {
        self.event.at
    }

    /// Whose change it was; null for holders of a share link and for the server itself. Who is neither owner nor collaborator
    /// of the board is told of the owner and of themselves only, and reads null for others.
    async fn actor(&self) -> Result<Option<User>> {
        let Some(actor) = self.event.actor else { return Ok(None) };
        Ok(Box::pin(self.scope.actor(actor)).await?)
    }

    /// What the client called it: how a client knows its own changes.
    async fn client_mutation_id(&self) -> Option<&str> {
        self.event.client_mutation_id.as_deref()
    }

    /// What changed.
    async fn changes(&self) -> Rows<BoardChange> {
        self.event.changes.iter().map(|logged| BoardChange::new(&self.scope, *logged)).collect()
    }
}

/// One thing that changed. Objects are shown as they are now, not as they were then.
#[derive(Union)]
#[allow(clippy::large_enum_variant, reason = "made one at a time and never stored")]
pub(super) enum BoardChange {
    /// The board itself has other values.
    BoardUpdated(BoardUpdated),
    /// The board was deleted.
    BoardDeleted(BoardDeleted),
    /// A node was made, changed, moved, or lives again.
    NodeSaved(NodeSaved),
    /// A node was deleted.
    NodeDeleted(NodeDeleted),
    /// A link was made or changed.
    LinkSaved(LinkSaved),
    /// A link was removed.
    LinkDeleted(LinkDeleted),
}

impl Row for BoardChange {
    fn select<'a>(
        &'a self,
        object: &mut Selected<'a>,
        place: &'a async_graphql::ContextSelectionSet<'a>,
    ) -> async_graphql::ServerResult<()> {
        match self {
            BoardChange::BoardUpdated(change) => object.add(place, change),
            BoardChange::BoardDeleted(change) => object.add(place, change),
            BoardChange::NodeSaved(change) => object.add(place, change),
            BoardChange::NodeDeleted(change) => object.add(place, change),
            BoardChange::LinkSaved(change) => object.add(place, change),
            BoardChange::LinkDeleted(change) => object.add(place, change),
        }
    }
}

impl BoardChange {
    fn new(scope: &Scope, logged: Logged) -> Self {
        match logged {
            // What the log cannot tell comes as an entry of its own and not as a part of one.
            Logged::BoardUpdated | Logged::Unknown => BoardChange::BoardUpdated(BoardUpdated(scope.clone())),
            Logged::BoardDeleted => BoardChange::BoardDeleted(BoardDeleted { board_id: id(scope.board.id()) }),
            Logged::NodeSaved(node) => BoardChange::NodeSaved(NodeSaved { scope: scope.clone(), node }),
            Logged::NodeDeleted(node) => BoardChange::NodeDeleted(NodeDeleted { node_id: id(node) }),
            Logged::LinkSaved(link) => BoardChange::LinkSaved(LinkSaved { scope: scope.clone(), link }),
            Logged::LinkDeleted(link) => BoardChange::LinkDeleted(LinkDeleted { link_id: id(link) }),
        }
    }
}

/// The board itself has other values.
pub(super) struct BoardUpdated(Scope);

/// The board itself has other values.
#[Object]
impl BoardUpdated {
    /// The board as it is now.
    async fn board(&self) -> Board {
        Board(self.0.clone())
    }
}

/// The board was deleted.
#[derive(SimpleObject)]
pub(super) struct BoardDeleted {
    /// The board.
    board_id: ID,
}

/// A node was made, changed, moved, or lives again.
pub(super) struct NodeSaved {
    scope: Scope,
    node: NodeId,
}

/// A node was made, changed, moved, or lives again.
#[Object]
impl NodeSaved {
    /// The node.
    async fn node_id(&self) -> ID {
        id(self.node)
    }

    /// The node as it is now; null if it was deleted since.
    async fn node(&self) -> Result<Option<BoardNode>> {
        let node = Box::pin(self.scope.loaders().node(&self.scope.board, self.node)).await?;
        Ok(node.map(|node| BoardNode::new(&self.scope, &node)))
    }
}

/// A node was deleted.
#[derive(SimpleObject)]
pub(super) struct NodeDeleted {
    /// The node.
    node_id: ID,
}

/// A link was made or changed.
pub(super) struct LinkSaved {
    scope: Scope,
    link: LinkId,
}

/// A link was made or changed.
#[Object]
impl LinkSaved {
    /// The link.
    async fn link_id(&self) -> ID {
        id(self.link)
    }

    /// The link as it is now; null if it was removed since, or one of its ends deleted.
    async fn link(&self) -> Result<Option<Link>> {
        let link = Box::pin(self.scope.loaders().link(&self.scope.board, self.link)).await?;
        Ok(link.map(|link| Link::new(&self.scope, &link)))
    }
}

/// A link was removed.
#[derive(SimpleObject)]
pub(super) struct LinkDeleted {
    /// The link.
    link_id: ID,
}

/// An entry of the log as a list has it: the change, or from which version the log goes on.
#[derive(Clone)]
pub(super) enum Entry {
    Changed(Arc<domain::BoardEvent>),
    Resync(i64),
}

/// The log of a board: what its connection needs besides the entries.
pub(super) struct EventRows(Scope);

impl EventRows {
    /// Entries after a place, oldest first.
    pub(super) async fn read(scope: &Scope, page: &PageRequest) -> domain::Result<BoardEventConnection> {
        let board = scope.board.id();
        let invalid = || domain::Error::invalid("after is no place in the log of this board");
        let after = page.after.as_ref().map(|place| version_at(board, place).ok_or_else(invalid)).transpose()?;
        let events = scope.loaders().events(board, after.unwrap_or(0), page.limit as i64 + 1).await?;
        let has_next = events.len() > page.limit;
        let mut rows: Vec<Entry> =
            entries(after, scope.board.record().board.version, &events).into_iter().take(page.limit).collect();
        for row in &mut rows {
            if let Entry::Changed(event) = row
                && !names_nothing_hidden(scope, event).await?
            {
                *row = Entry::Resync(event.version);
            }
        }
        let page = Page { rows, has_previous: after.is_some(), has_next };
        Ok(BoardEventConnection::new(page, Arc::new(EventRows(scope.clone()))))
    }

    fn node(&self, entry: &Entry) -> BoardEvent {
        match entry {
            Entry::Changed(event) => {
                BoardEvent::Changed(BoardChanged { scope: self.0.clone(), event: Arc::clone(event) })
            }
            Entry::Resync(version) => BoardEvent::Resync(ResyncRequired { version: *version }),
        }
    }

    fn cursor(&self, entry: &Entry) -> String {
        let version = match entry {
            Entry::Changed(event) => event.version,
            Entry::Resync(version) => *version,
        };
        event_place(self.0.board.id(), version).encode(EVENT_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.0.loaders().event_count(self.0.board.id()).await
    }
}

/// Puts in where the reader has to read the board again: where versions are missing, or a change cannot be told.
fn entries(after: Option<i64>, version: i64, events: &[Arc<domain::BoardEvent>]) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(events.len());
    let mut last = after;
    for event in events {
        let version = event.version;
        entries.push(if can_be_told(last, event) { Entry::Changed(Arc::clone(event)) } else { Entry::Resync(version) });
        last = Some(version);
    }
    // A reader from the future (of another database), or of a log that was cut off behind it.
    if entries.is_empty() && after.is_some_and(|after| after != version) {
        entries.push(Entry::Resync(version));
    }
    entries
}

connection!(BoardEventConnection, BoardEventEdge, BoardEvent, Entry, EventRows, "entries of the change log");

#[cfg(test)]
mod tests {
    use super::*;

    fn event(version: i64, logged: Logged) -> domain::BoardEvent {
        domain::BoardEvent {
            board_id: domain::BoardId::generate(),
            version,
            at: Utc::now(),
            actor: None,
            client_mutation_id: None,
            changes: vec![logged],
        }
    }

    fn shown(after: Option<i64>, version: i64, events: Vec<domain::BoardEvent>) -> Vec<i64> {
        let shown = |entry: Entry| match entry {
            Entry::Changed(event) => event.version,
            Entry::Resync(version) => -version,
        };
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        entries(after, version, &events).into_iter().map(shown).collect()
    }

    #[test]
    fn gaps_and_what_cannot_be_told_ask_to_read_again() {
        let plain = |version| event(version, Logged::BoardUpdated);
        assert_eq!(shown(Some(2), 4, vec![plain(3), plain(4)]), [3, 4]);
        assert_eq!(shown(None, 8, vec![plain(7), plain(8)]), [7, 8]);
        assert_eq!(shown(Some(2), 8, vec![plain(7), plain(8)]), [-7, 8]);
        assert_eq!(shown(Some(2), 4, vec![event(3, Logged::Unknown), plain(4)]), [-3, 4]);
        assert_eq!(shown(Some(2), 8, vec![]), [-8]);
        assert_eq!(shown(Some(8), 8, vec![]), Vec::<i64>::new());
    }
}
