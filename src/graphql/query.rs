//! The root fields for reading.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object, Result};
use secrecy::SecretString;

use super::{
    board::{self, Board, BoardConnection, BoardFilter, BoardOrder},
    job::ProcessingJob,
    link::Link,
    node::BoardNode,
    scalar::parse_id,
    scope::Session,
    search::{self, SearchHitConnection, SearchInput},
    service::Service,
    user::User,
};
use crate::domain::{self, AnyId, BoardId, Error, MAX_PAGE, PageRequest};

/// An object with a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Global id; its prefix says what it names."))]
#[allow(clippy::large_enum_variant, reason = "made one at a time and never stored")]
pub(super) enum Node {
    /// An account.
    User(User),
    /// A board.
    Board(Board),
    /// A resource.
    Resource(super::resource::ResourceNode),
    /// An AI chat.
    Chat(super::chat::ChatNode),
    /// A folder.
    Folder(super::folder::FolderNode),
    /// A link.
    Link(Link),
    /// A span of the text of a resource.
    Chunk(super::chunk::Chunk),
    /// A background job.
    Job(ProcessingJob),
}

impl From<BoardNode> for Node {
    fn from(node: BoardNode) -> Self {
        match node {
            BoardNode::Resource(node) => Node::Resource(node),
            BoardNode::Chat(node) => Node::Chat(node),
            BoardNode::Folder(node) => Node::Folder(node),
        }
    }
}

/// Finds an object by its id; `None` where there is none or the viewer may not see it.
pub(super) async fn find(session: &Arc<Session>, id: AnyId) -> domain::Result<Option<Node>> {
    Ok(match id {
        AnyId::User(id) => {
            // Accounts are met on boards; by id only one's own is found, or anybody could enumerate them.
            if session.viewer.is(id) {
                session.viewer.user().map(|user| Node::User(User::new(session, user)))
            } else {
                None
            }
        }
        AnyId::Board(id) => session.board(id).await?.map(|scope| Node::Board(Board(scope))),
        AnyId::Node(id) => {
            let Some(board) = session.loaders.locate_node(id).await? else { return Ok(None) };
            let Some(scope) = session.board(board).await? else { return Ok(None) };
            scope.loaders().node(&scope.board, id).await?.map(|node| BoardNode::new(&scope, &node).into())
        }
        AnyId::Link(id) => {
            let Some(board) = session.loaders.locate_link(id).await? else { return Ok(None) };
            let Some(scope) = session.board(board).await? else { return Ok(None) };
            scope.loaders().link(&scope.board, id).await?.map(|link| Node::Link(Link::new(&scope, &link)))
        }
        AnyId::Chunk(id) => search::chunk(session, id).await?.map(Node::Chunk),
        AnyId::Job(id) => ProcessingJob::find(session, id).await?.map(Node::Job),
    })
}

/// Everything that can be read. What does not exist and what the viewer may not see are both null.
pub struct Query;

/// Everything that can be read. What does not exist and what the viewer may not see are both null.
#[Object]
impl Query {
    /// Any object by its global id.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "`user_…`, `board_…`, `node_…`, `link_…`, `chunk_…` or `job_…`.")] id: ID,
    ) -> Result<Option<Node>> {
        Ok(find(&Session::of(ctx)?, parse_id(&id)?).await?)
    }

    /// Many objects by their global ids, in the same order; null where there is none or the viewer may not see it.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most 100 ids of any kind.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MAX_PAGE {
            return Err(Error::invalid(format!("Give at most {MAX_PAGE} ids")).into());
        }
        let session = Session::of(ctx)?;
        let ids = ids.iter().map(parse_id).collect::<domain::Result<Vec<AnyId>>>()?;
        Ok(futures_util::future::try_join_all(ids.into_iter().map(|id| find(&session, id))).await?)
    }

    /// The account that asks; null for anonymous callers and holders of a share link.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let session = Session::of(ctx)?;
        Ok(session.viewer.user().map(|user| User::new(&session, user)))
    }

    /// A board by its id.
    async fn board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "`board_…`.")] id: ID,
        #[graphql(
            desc = "Not an older version than this, which a write through another server has answered: waits for it up to \
                           two seconds, and fails with TIMEOUT then."
        )]
        min_version: Option<i64>,
    ) -> Result<Option<Board>> {
        let id: BoardId = parse_id(&id)?;
        Ok(Session::of(ctx)?.board_at_least(id, min_version).await?.map(Board))
    }

    /// The board that a share link opens. Null when the link does not exist, was revoked, has expired or is used up.
    async fn shared_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token of the link.")] token: String,
        #[graphql(desc = "The password of the link, if it has one.")] password: Option<String>,
    ) -> Result<Option<Board>> {
        let session = Session::of(ctx)?;
        let (token, password) = (SecretString::from(token), password.map(SecretString::from));
        let held = session.services.hold_share(&session.viewer, &token, password.as_ref(), session.address).await?;
        let Some(held) = held else { return Ok(None) };
        let board = held.share().board_id;
        let session = Arc::new(Session { viewer: session.viewer.holding(held), ..Session::clone(&session) });
        Ok(session.board(board).await?.map(Board))
    }

    /// Boards that the viewer may see: by default those owned or collaborated on. Empty for anonymous callers, unless
    /// they ask for public ones.
    async fn boards(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only boards that satisfy all of these.")] filter: Option<BoardFilter>,
        #[graphql(desc = "In which order; the last changed first if not given.")] order_by: Option<BoardOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<BoardConnection> {
        let page = |order| PageRequest::new(first, after.as_deref(), last, before.as_deref(), order);
        Ok(board::boards(&Session::of(ctx)?, filter, order_by, page).await?)
    }

    /// Templates that anyone may read and copy, the last changed first.
    async fn templates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
    ) -> Result<BoardConnection> {
        let page = PageRequest::new(first, after.as_deref(), None, None, board::TEMPLATE_ORDER.name())?;
        Ok(board::templates(&Session::of(ctx)?, page).await?)
    }

    /// Searches resources by words and by meaning. Permission is part of the scope: what the viewer may not see is not searched,
    /// and nothing about it can be told from an answer.
    async fn search(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to look for, where and how.")] input: SearchInput,
        #[graphql(default = 10, desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Only what comes after this cursor of the same search.")] after: Option<String>,
    ) -> Result<SearchHitConnection> {
        Ok(Box::pin(search::search(&Session::of(ctx)?, input, first, after.as_deref())).await?)
    }

    /// The server that answers, and what it allows.
    async fn service(&self, ctx: &Context<'_>) -> Result<Service> {
        Ok(Service::of(&Session::of(ctx)?.services))
    }
}
