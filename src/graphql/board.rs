//! Boards, and lists of boards.

use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    activity::{ActivityConnection, ActivityRows},
    event::{BoardEventConnection, EventRows},
    job::{JobRows, JobStatus, ProcessingJobConnection},
    link::{LinkConnection, LinkKind, LinkRows},
    node::{BoardNodeConnection, NodeFilter, NodeOrder, NodeRows, NodeType, Rect},
    page::connection,
    presence::Presence,
    rows::{Rows, row},
    scalar::{Url, id},
    scope::{Scope, Session},
    search::{self, BoardSearchInput, SearchHitConnection},
    sharing::{BoardShare, Collaborator, SentInvitation},
    user::User,
};
use crate::{
    domain::{
        self, ACTIVITY_ORDER, BoardList, BoardRecord, EVENT_ORDER, JOB_ORDER, LINK_ORDER, LinkList, LinkPageKey,
        ListedBoard, NodeList, NodePageKey, NodeScope, Page, PageRequest, event_place,
    },
    service,
};

/// A board: what lies on it, who may see it, and how it is set up.
pub(super) struct Board(pub(super) Scope);

row!(Board);

impl Board {
    fn record(&self) -> &BoardRecord {
        self.0.board.record()
    }
}

/// A board: what lies on it, who may see it, and how it is set up.
#[Object]
impl Board {
    /// Global id, `board_…`.
    pub(super) async fn id(&self) -> ID {
        id(self.0.board.id())
    }

    /// Name, unique among the boards of its owner.
    async fn name(&self) -> &str {
        &self.record().board.name
    }

    /// What the board is about.
    async fn description(&self) -> Option<&str> {
        self.record().board.description.as_deref()
    }

    /// Address of a picture of the board, when one was set.
    async fn thumbnail_url(&self) -> Option<Url> {
        self.record().board.thumbnail_url.clone().map(Url)
    }

    /// How the board is shown.
    async fn settings(&self) -> BoardSettings {
        BoardSettings::from(&self.record().board.settings)
    }

    /// Whether anyone may read it.
    async fn is_public(&self) -> bool {
        self.record().board.is_public
    }

    /// Whether it is a template: anyone may read and copy it.
    async fn is_template(&self) -> bool {
        self.record().board.is_template
    }

    /// How often it was opened.
    async fn view_count(&self) -> i32 {
        self.record().board.view_count
    }

    /// Grows by one with every committed change of the board or of anything on it.
    async fn version(&self) -> i64 {
        self.record().board.version
    }

    /// The place of this version in the log of changes: `boardEvents` and `events` go on after it, so that nothing is missed
    /// between reading a board and following it.
    async fn event_cursor(&self) -> String {
        event_place(self.record().board.id, self.record().board.version).encode(EVENT_ORDER)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.record().board.created_at
    }

    /// When it, or anything on it, last changed. For those who are shut out of a folder: when a node that they see last changed,
    /// or the time of creation.
    async fn updated_at(&self) -> Result<DateTime<Utc>> {
        let board = &self.record().board;
        if self.0.board.sealed().is_empty() {
            return Ok(board.updated_at);
        }
        let seen = Box::pin(self.0.loaders().last_modified(&self.0.board)).await?;
        Ok(seen.unwrap_or(board.created_at).max(board.created_at))
    }

    /// The account it belongs to.
    async fn owner(&self) -> User {
        User::new(&self.0.session, &self.record().owner)
    }

    /// The most that the viewer may do here.
    async fn viewer_permission(&self) -> Permission {
        self.0.board.granted().permission().into()
    }

    /// What lies on the board, at whatever depth of folders.
    async fn nodes(
        &self,
        #[graphql(desc = "Only what touches this part of the canvas.")] within: Option<Rect>,
        #[graphql(desc = "Only these types; none or empty for all.")] types: Option<Vec<NodeType>>,
        #[graphql(desc = "Only what satisfies all of these.")] filter: Option<NodeFilter>,
        #[graphql(desc = "In which order; the oldest first if not given.")] order_by: Option<NodeOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<BoardNodeConnection> {
        let filter = NodeFilter::conditions(filter, types, within)?;
        let order = order_by.map_or(domain::NodeOrder::OLDEST, NodeOrder::settled);
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), order.name())?;
        let list = NodeList {
            board_id: self.0.board.id(),
            scope: NodeScope::Board,
            link_kinds: Vec::new(),
            filter,
            order,
            sealed: domain::Sealed::default(),
        };
        Ok(Box::pin(NodeRows::read(&self.0, NodePageKey { list, page })).await?)
    }

    /// What lies on the board in no folder, the oldest first.
    async fn roots(
        &self,
        #[graphql(desc = "Only these types; none or empty for all.")] types: Option<Vec<NodeType>>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<BoardNodeConnection> {
        let filter = NodeFilter::conditions(None, types, None)?;
        let order = domain::NodeOrder::OLDEST;
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), order.name())?;
        let list = NodeList {
            board_id: self.0.board.id(),
            scope: NodeScope::Roots,
            link_kinds: Vec::new(),
            filter,
            order,
            sealed: domain::Sealed::default(),
        };
        Ok(Box::pin(NodeRows::read(&self.0, NodePageKey { list, page })).await?)
    }

    /// Links between nodes of the board, the oldest first.
    async fn links(
        &self,
        #[graphql(desc = "Only these kinds; none or empty for all.")] kinds: Option<Vec<LinkKind>>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<LinkConnection> {
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), LINK_ORDER)?;
        let list = LinkList {
            board_id: self.0.board.id(),
            node: None,
            kinds: LinkKind::settled(kinds),
            sealed: domain::Sealed::default(),
        };
        Ok(Box::pin(LinkRows::read(&self.0, LinkPageKey { list, page })).await?)
    }

    /// What happened on the board, the last first, for people to read: it is told half a second later, and what a server that was
    /// killed noted last is lost. What programs must not miss is in `events`. Who may see the board is told to its owner and
    /// collaborators only. Those who are shut out of a folder are told of changes of single nodes and links that lie outside.
    async fn activity(
        &self,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<ActivityConnection> {
        let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), ACTIVITY_ORDER)?;
        Ok(Box::pin(ActivityRows::read(&self.0, &page)).await?)
    }

    /// Background jobs on nodes of the board that the viewer sees, newest first; of ended ones those of the last month.
    async fn jobs(
        &self,
        #[graphql(desc = "Only jobs in these states; in any if not given or empty.")] statuses: Option<Vec<JobStatus>>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
    ) -> Result<ProcessingJobConnection> {
        let page = PageRequest::new(first, after.as_deref(), None, None, JOB_ORDER)?;
        let statuses = statuses.unwrap_or_default().into_iter().map(Into::into).collect();
        Ok(Box::pin(JobRows::read(&self.0, statuses, &page)).await?)
    }

    /// What changed on the board, oldest first: the log that subscriptions follow.
    async fn events(
        &self,
        #[graphql(desc = "How many, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor; from the first entry that is kept if not given.")]
        after: Option<String>,
    ) -> Result<BoardEventConnection> {
        let page = PageRequest::new(first, after.as_deref(), None, None, EVENT_ORDER)?;
        Ok(Box::pin(EventRows::read(&self.0, &page)).await?)
    }

    /// Share links of the board, newest first, at most 1,000; empty for all but its owner.
    async fn shares(&self) -> Result<Rows<BoardShare>> {
        self.0.loaders().rests_on_more();
        if !service::sharing::sees_shares(self.0.board.granted()) {
            return Ok(Rows(Vec::new()));
        }
        let shares = Box::pin(self.0.loaders().shares(self.0.board.id())).await?;
        Ok(shares.iter().cloned().map(BoardShare).collect())
    }

    /// Invitations to the board that nobody has answered, in their order, at most 1,000; empty for all but its owner.
    async fn invitations(&self) -> Result<Rows<SentInvitation>> {
        self.0.loaders().rests_on_more();
        let invitations = Box::pin(self.0.session.services.invitations_to(self.0.board.granted())).await?;
        Ok(invitations.into_iter().map(SentInvitation).collect())
    }

    /// Who works on the board, in the order of the invitations, at most 1,000; empty for all but its owner and collaborators.
    async fn collaborators(&self) -> Result<Rows<Collaborator>> {
        self.0.loaders().rests_on_more();
        let session = &self.0.session;
        if !self.0.board.granted().sees_people() {
            return Ok(Rows(Vec::new()));
        }
        let all = Box::pin(self.0.loaders().collaborators(self.0.board.id())).await?;
        let shown = |collaborator| Collaborator { session: Arc::clone(session), collaborator };
        Ok(all.iter().cloned().map(shown).collect())
    }

    /// Who is on the board at this moment, the last heard of last, at most 1,000.
    async fn presence(&self) -> Result<Rows<Presence>> {
        let people = Box::pin(self.0.loaders().presence(self.0.board.id())).await?;
        let shown = |presence: &Arc<domain::Presence>| Presence::new(&self.0, Arc::clone(presence));
        Ok(people.iter().map(shown).collect())
    }

    /// Searches the resources of the board by words and by meaning.
    async fn search(
        &self,
        #[graphql(desc = "What to look for and how.")] input: BoardSearchInput,
        #[graphql(default = 10, desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Only what comes after this cursor of the same search.")] after: Option<String>,
    ) -> Result<SearchHitConnection> {
        let input = input.on(self.0.board.id());
        Ok(Box::pin(search::search(&self.0.session, input, first, after.as_deref())).await?)
    }

    /// Counts of what lives on the board.
    async fn stats(&self) -> Result<BoardStats> {
        Ok(self.0.loaders().stats(&self.0.board).await?.into())
    }
}

/// What may be done on a board. Each level includes the ones before it.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Permission")]
pub(super) enum Permission {
    /// See everything.
    View,
    /// Also comment.
    Comment,
    /// Also change what lies on the board.
    Edit,
    /// Also share and delete the board.
    Owner,
}

/// How a board is shown. What was never set has its default.
#[derive(SimpleObject)]
pub(super) struct BoardSettings {
    /// Colours: `light`, `dark`, or another word of the frontend.
    theme: String,
    /// Whether nodes snap to a grid.
    grid_snap: bool,
    /// Width of the grid, in pixels of the canvas.
    grid_size: i32,
    /// Whether the map of the board is shown.
    show_minimap: bool,
    /// Whether changes are saved as they are made.
    auto_save: bool,
}

impl From<&Value> for BoardSettings {
    fn from(settings: &Value) -> Self {
        let flag = |name: &str| settings.get(name).and_then(Value::as_bool).unwrap_or(true);
        BoardSettings {
            theme: settings.get("theme").and_then(Value::as_str).unwrap_or("light").to_owned(),
            grid_snap: flag("gridSnap"),
            grid_size: settings.get("gridSize").and_then(Value::as_i64).and_then(|n| n.try_into().ok()).unwrap_or(20),
            show_minimap: flag("showMinimap"),
            auto_save: flag("autoSave"),
        }
    }
}

/// Counts of what lives on a board.
#[derive(SimpleObject)]
pub(super) struct BoardStats {
    /// Nodes of every kind.
    node_count: i32,
    /// Links between them.
    link_count: i32,
    /// Resources.
    resource_count: i32,
    /// AI chats.
    chat_count: i32,
    /// Folders.
    folder_count: i32,
    /// When something on the board last changed; null for a board that was always empty. For those who are shut out of a folder:
    /// when a node that they see last changed.
    last_modified: Option<DateTime<Utc>>,
}

impl From<domain::BoardStats> for BoardStats {
    fn from(stats: domain::BoardStats) -> Self {
        let domain::BoardStats { node_count, link_count, resource_count, chat_count, folder_count, last_modified } =
            stats;
        BoardStats { node_count, link_count, resource_count, chat_count, folder_count, last_modified }
    }
}

/// Which boards a list shows.
#[derive(InputObject, Default)]
pub(super) struct BoardFilter {
    /// How the viewer stands to them.
    #[graphql(default_with = "BoardRelation::Any")]
    relation: BoardRelation,
    /// Only boards whose name contains this, without regard to case and accents; at most 200 characters.
    name_contains: Option<String>,
    /// Only templates, or only others.
    is_template: Option<bool>,
    /// Only public boards, or only others.
    is_public: Option<bool>,
}

/// How the viewer stands to a board.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Default)]
#[graphql(remote = "service::board::Relation")]
pub(super) enum BoardRelation {
    /// Owned or collaborated on.
    #[default]
    Any,
    /// Owned.
    Owned,
    /// Collaborated on, owned by somebody else.
    Shared,
    /// Public, whoever owns it.
    Public,
}

/// By what boards are sorted; among equals the id decides.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::BoardOrderKey")]
pub(super) enum BoardOrderField {
    /// Time of creation.
    Created,
    /// Time of the last change of the board or of anything on it.
    Updated,
    /// Name, without regard to case.
    Name,
}

/// Smallest or largest first.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortDirection {
    /// Smallest, oldest or A first.
    Asc,
    /// Largest, newest or Z first.
    Desc,
}

/// An order of boards.
#[derive(InputObject)]
pub(super) struct BoardOrder {
    /// By what.
    field: BoardOrderField,
    /// In which direction.
    #[graphql(default_with = "SortDirection::Asc")]
    direction: SortDirection,
}

impl BoardOrder {
    fn settled(order: Option<Self>) -> domain::BoardOrder {
        match order {
            Some(order) => {
                domain::BoardOrder { key: order.field.into(), descending: order.direction == SortDirection::Desc }
            }
            None => domain::BoardOrder { key: domain::BoardOrderKey::Updated, descending: true },
        }
    }
}

/// A list of boards: what its connection needs besides the rows.
pub(super) struct BoardRows {
    session: Arc<Session>,
    list: BoardList,
}

impl BoardRows {
    pub(super) async fn read(
        session: &Arc<Session>,
        list: BoardList,
        page: PageRequest,
    ) -> domain::Result<BoardConnection> {
        let rows = session.loaders.board_page(&list, &page).await?;
        // The list was narrowed to what the viewer may see; the check hands out the right, row by row.
        let granted = Page {
            rows: rows.rows.into_iter().filter_map(|row| Some((session.enter(&row.record)?, row))).collect(),
            has_previous: rows.has_previous,
            has_next: rows.has_next,
        };
        Ok(BoardConnection::new(granted, Arc::new(BoardRows { session: Arc::clone(session), list })))
    }

    fn node(&self, (scope, _): &(Scope, ListedBoard)) -> Board {
        Board(scope.clone())
    }

    fn cursor(&self, (_, row): &(Scope, ListedBoard)) -> String {
        row.place.encode(self.list.order.name())
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.session.loaders.board_count(&self.list).await
    }
}

connection!(BoardConnection, BoardEdge, Board, (Scope, ListedBoard), BoardRows, "boards");

impl BoardEdge {
    /// A board that was just made, at its place among those of the viewer, the last changed first.
    pub(super) fn of_new(session: &Arc<Session>, scope: Scope) -> Self {
        let order = domain::BoardOrder { key: domain::BoardOrderKey::Updated, descending: true };
        let record = Arc::clone(scope.board.record());
        let place = record.board.time_place(order.key);
        let of = domain::BoardsOf::ReachableBy(record.board.owner_id);
        let list = BoardList { of, name_contains: None, is_template: None, is_public: None, order };
        let rows = BoardRows { session: Arc::clone(session), list };
        BoardEdge::new((scope, ListedBoard { record, place }), Arc::new(rows))
    }
}

impl BoardConnection {
    /// The boards of the page.
    pub(super) fn into_boards(self) -> Rows<Board> {
        self.page.rows.into_iter().map(|(scope, _)| Board(scope)).collect()
    }
}

/// `boards(…)` of the root.
pub(super) async fn boards(
    session: &Arc<Session>,
    filter: Option<BoardFilter>,
    order_by: Option<BoardOrder>,
    page: impl FnOnce(&'static str) -> domain::Result<PageRequest>,
) -> domain::Result<BoardConnection> {
    let filter = filter.unwrap_or_default();
    let order = BoardOrder::settled(order_by);
    let page = page(order.name())?;
    if let Some(part) = &filter.name_contains
        && (part.chars().count() > 200 || part.contains('\0'))
    {
        return Err(domain::Error::invalid("nameContains must be at most 200 characters, without NUL"));
    }
    let Some(of) = service::board::listed(&session.viewer, filter.relation.into()) else {
        let list =
            BoardList { of: domain::BoardsOf::Public, name_contains: None, is_template: None, is_public: None, order };
        return Ok(BoardConnection::new(Page::empty(), Arc::new(BoardRows { session: Arc::clone(session), list })));
    };
    let list = BoardList {
        of,
        name_contains: filter.name_contains,
        is_template: filter.is_template,
        is_public: filter.is_public,
        order,
    };
    BoardRows::read(session, list, page).await
}

/// The order of templates: the last changed first.
pub(super) const TEMPLATE_ORDER: domain::BoardOrder =
    domain::BoardOrder { key: domain::BoardOrderKey::Updated, descending: true };

/// `templates(…)` of the root.
pub(super) async fn templates(session: &Arc<Session>, page: PageRequest) -> domain::Result<BoardConnection> {
    let order = TEMPLATE_ORDER;
    let list =
        BoardList { of: domain::BoardsOf::Templates, name_contains: None, is_template: None, is_public: None, order };
    BoardRows::read(session, list, page).await
}
