//! Batching: many resolvers ask for one thing each, the ports are asked once for all of them.
//!
//! One set of loaders serves one operation and is dropped with it, so nothing read here outlives its viewer. What is in
//! memory (a [`BoardView`]) answers at once; only what is not goes through the `dataloader` crate. Every key is answered.
//! Permission is not decided here: boards are handed out as they are, and what lies on a board is asked for by those who
//! hold a right on it.

mod basis;
mod batch;
mod board_lists;
mod chunk;

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use basis::BasisOfOperation;
use batch::Batch;
use board_lists::MOST_SHARES;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use dataloader::cached::Loader;
use futures_util::try_join;

use crate::{
    access::Granted,
    domain::{
        Activity, ActivityOf, AnswerKey, BoardEvent, BoardId, BoardList, BoardRecord, BoardStats, Chunk, ChunkId, Code,
        Collaborator, EmbeddingState, Error, EventsAfter, GONE_AFTER, Job, JobId, JobList, Link, LinkId, LinkList,
        LinkPageKey, ListedBoard, MeantWords, Node, NodeFilter, NodeId, NodeKey, NodeList, NodeOrder, NodeOrderKey,
        NodePageKey, NodeScope, NodeText, NodeType, Page, PageRequest, Presence, Result, Sealed, Share, User, UserId,
        ports::{BoardView, Reads},
    },
};

/// Resolvers of one level have all asked after so many rounds of the scheduler; measured with nested lists of 20 × 20.
const YIELDS: usize = 10;
/// Keys per batch; above the largest page times the largest page, so that a level is never cut in two.
const MAX_BATCH: usize = 20_000;
/// People of one board.
const MOST_PEOPLE: i64 = 1_000;

/// How long a board is waited for that others have changed, and how often it is looked at meanwhile.
const MIN_VERSION_WAIT: Duration = Duration::from_secs(2);
const MIN_VERSION_LOOK: Duration = Duration::from_millis(50);

/// Who is on a board.
type People = Arc<Vec<Arc<Presence>>>;
type Loading<K, V> = Loader<K, Result<V>, Batch<K, V>>;

fn loader<K, V>(reads: &Arc<dyn Reads>, read: batch::Read<K, V>) -> Loading<K, V>
where
    K: Eq + Hash + Clone + Debug + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    Loader::new(Batch::new(Arc::clone(reads), read)).with_yield_count(YIELDS).with_max_batch_size(MAX_BATCH)
}

async fn read_presences(reads: &dyn Reads, boards: &[BoardId]) -> Result<Vec<People>> {
    let mut people: HashMap<BoardId, Vec<Arc<Presence>>> = HashMap::new();
    let here = reads.presences(boards, GONE_AFTER, MOST_PEOPLE).await?.into_iter().filter(|(person, _)| person.is_here);
    here.for_each(|(person, _)| people.entry(person.board_id).or_default().push(Arc::new(person)));
    Ok(boards.iter().map(|board| Arc::new(people.remove(board).unwrap_or_default())).collect())
}

async fn load<K, V>(loader: &Loading<K, V>, key: K) -> Result<V>
where
    K: Eq + Hash + Clone + Debug + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    loader.try_load(key).await.map_err(Error::internal)?
}

/// A board that may be seen, with its graph if that is in memory. All that one operation shows of the board comes
/// through one of these, so it is of one version when it comes from memory.
#[derive(Clone)]
pub struct OpenBoard {
    granted: Granted<Arc<BoardRecord>>,
    view: Option<Arc<dyn BoardView>>,
}

impl OpenBoard {
    /// The right.
    #[must_use]
    pub fn granted(&self) -> &Granted<Arc<BoardRecord>> {
        &self.granted
    }

    /// The board.
    #[must_use]
    pub fn record(&self) -> &Arc<BoardRecord> {
        self.granted.subject()
    }

    /// The folders that the viewer is shut out of: nothing that lies in them comes out of the loaders.
    #[must_use]
    pub fn sealed(&self) -> &Sealed {
        self.granted.sealed()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> BoardId {
        self.granted.board_id()
    }
}

/// The loaders of one operation.
pub struct Loaders {
    reads: Arc<dyn Reads>,
    basis: BasisOfOperation,
    boards: Loading<BoardId, Option<Arc<BoardRecord>>>,
    stats: Loading<BoardId, BoardStats>,
    users: Loading<UserId, Option<Arc<User>>>,
    node_places: Loading<NodeId, Option<BoardId>>,
    nodes: Loading<NodeKey, Option<Arc<Node>>>,
    node_pages: Loading<NodePageKey, Page<Arc<Node>>>,
    node_counts: Loading<NodeList, i64>,
    ancestors: Loading<NodeKey, Vec<Arc<Node>>>,
    texts: Loading<(NodeKey, i64), Arc<NodeText>>,
    link_places: Loading<LinkId, Option<BoardId>>,
    links: Loading<(BoardId, LinkId), Option<Arc<Link>>>,
    link_pages: Loading<LinkPageKey, Page<Arc<Link>>>,
    link_counts: Loading<LinkList, i64>,
    presences: Loading<BoardId, People>,
    chunks: Loading<(BoardId, ChunkId), Option<Arc<Chunk>>>,
    chunk_places: Loading<ChunkId, Option<BoardId>>,
    chunk_pages: Loading<(NodeKey, PageRequest), Page<Arc<Chunk>>>,
    chunk_counts: Loading<NodeKey, i64>,
    embedding_states: Loading<NodeKey, EmbeddingState>,
    meant_words: Loading<MeantWords, Arc<[bool]>>,
    jobs: Loading<JobId, Option<Arc<Job>>>,
    event_lists: Loading<EventsAfter, Arc<Vec<Arc<BoardEvent>>>>,
    event_counts: Loading<BoardId, i64>,
    share_lists: Loading<BoardId, Arc<Vec<Arc<Share>>>>,
    collaborator_lists: Loading<BoardId, Arc<Vec<Collaborator>>>,
    job_pages: Loading<(JobList, PageRequest), Page<Arc<Job>>>,
    job_counts: Loading<JobList, i64>,
    activity_pages: Loading<(ActivityOf, PageRequest), Page<Activity>>,
    activity_counts: Loading<ActivityOf, i64>,
}

impl Loaders {
    /// A fresh set over `reads`.
    #[must_use]
    pub fn new(reads: Arc<dyn Reads>) -> Self {
        Loaders {
            boards: loader(&reads, |reads, keys| Box::pin(async move { reads.boards(&keys).await })),
            stats: loader(&reads, |reads, keys| Box::pin(async move { reads.board_stats(&keys).await })),
            users: loader(&reads, |reads, keys| Box::pin(async move { reads.users(&keys).await })),
            node_places: loader(&reads, |reads, keys| Box::pin(async move { reads.locate_nodes(&keys).await })),
            nodes: loader(&reads, |reads, keys| Box::pin(async move { reads.nodes(&keys).await })),
            node_pages: loader(&reads, |reads, keys| Box::pin(async move { reads.node_pages(&keys).await })),
            node_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.node_counts(&keys).await })),
            ancestors: loader(&reads, |reads, keys| Box::pin(async move { reads.ancestors(&keys).await })),
            texts: loader(&reads, |reads, keys| Box::pin(async move { reads.node_texts(&keys).await })),
            link_places: loader(&reads, |reads, keys| Box::pin(async move { reads.locate_links(&keys).await })),
            links: loader(&reads, |reads, keys| Box::pin(async move { reads.links(&keys).await })),
            link_pages: loader(&reads, |reads, keys| Box::pin(async move { reads.link_pages(&keys).await })),
            link_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.link_counts(&keys).await })),
            jobs: loader(&reads, |reads, keys| Box::pin(async move { reads.jobs(&keys).await })),
            event_lists: loader(&reads, |reads, keys| Box::pin(async move { reads.event_lists(&keys).await })),
            event_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.event_counts(&keys).await })),
            share_lists: loader(&reads, |reads, keys| {
                Box::pin(async move { reads.share_lists(&keys, MOST_SHARES).await })
            }),
            collaborator_lists: loader(&reads, |reads, keys| {
                Box::pin(async move { reads.collaborator_lists(&keys, MOST_SHARES).await })
            }),
            job_pages: loader(&reads, |reads, keys| Box::pin(async move { reads.job_pages(&keys).await })),
            job_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.job_counts(&keys).await })),
            presences: loader(&reads, |reads, keys| Box::pin(async move { read_presences(&*reads, &keys).await })),
            chunks: loader(&reads, |reads, keys| Box::pin(async move { reads.chunks(&keys).await })),
            chunk_places: loader(&reads, |reads, keys| Box::pin(async move { reads.locate_chunks(&keys).await })),
            chunk_pages: loader(&reads, |reads, keys| Box::pin(async move { reads.chunk_pages(&keys).await })),
            chunk_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.chunk_counts(&keys).await })),
            embedding_states: loader(&reads, |reads, keys| {
                Box::pin(async move { reads.embedding_states(&keys).await })
            }),
            meant_words: loader(&reads, |reads, keys| Box::pin(async move { reads.meant_words(&keys).await })),
            activity_pages: loader(&reads, |reads, keys| Box::pin(async move { reads.activity_pages(&keys).await })),
            activity_counts: loader(&reads, |reads, keys| Box::pin(async move { reads.activity_counts(&keys).await })),
            basis: BasisOfOperation::default(),
            reads,
        }
    }

    /// A fresh set over the same reads, for what comes after a write.
    #[must_use]
    pub fn anew(&self) -> Self {
        Loaders::new(Arc::clone(&self.reads))
    }

    /// An answer in memory that is still true.
    #[must_use]
    pub fn kept_answer(&self, key: &AnswerKey) -> Option<Bytes> {
        self.reads.kept_answer(key)
    }

    /// Keeps the answer of this operation, if stamps cover everything that it read.
    pub fn keep_answer(&self, key: AnswerKey, body: &Bytes) {
        if let Some(basis) = self.basis.complete() {
            self.reads.keep_answer(key, basis, body.clone());
        }
    }

    /// Says that the operation rests on something besides boards and accounts, so that its answer is not used again.
    pub fn rests_on_more(&self) {
        self.basis.has_more();
    }

    /// A living board, not yet granted to anybody.
    ///
    /// # Errors
    /// Those of the port, as for every function here.
    pub async fn board(&self, id: BoardId) -> Result<Option<Arc<BoardRecord>>> {
        let record = load(&self.boards, id).await?;
        self.basis.board(record.as_deref());
        Ok(record)
    }

    /// A living board at this version or a later one, not yet granted to anybody. Where it is older it is read past memory and
    /// waited for.
    ///
    /// # Errors
    /// `Timeout` when it is not there after two seconds; those of the port.
    pub async fn board_at_least(&self, id: BoardId, version: i64) -> Result<Option<Arc<BoardRecord>>> {
        let is_enough =
            |record: &Option<Arc<BoardRecord>>| record.as_ref().is_none_or(|record| record.board.version >= version);
        let mut record = self.board(id).await?;
        let deadline = Instant::now() + MIN_VERSION_WAIT;
        while !is_enough(&record) {
            // What this operation has read of the board before is of another version.
            self.basis.has_more();
            record = self.reads.board_now(id).await?;
            if is_enough(&record) {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::new(Code::Timeout, format!("{id} has not reached version {version} here yet")));
            }
            tokio::time::sleep(MIN_VERSION_LOOK).await;
        }
        Ok(record)
    }

    /// A page of a list of boards. Lists of boards start from accounts and are few; they are not batched.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn board_page(&self, list: &BoardList, page: &PageRequest) -> Result<Page<ListedBoard>> {
        self.basis.has_more();
        self.reads.board_page(list, page).await
    }

    /// How many boards a list has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn board_count(&self, list: &BoardList) -> Result<i64> {
        self.basis.has_more();
        self.reads.board_count(list).await
    }

    /// Opens a board that was granted.
    #[must_use]
    pub fn open(&self, granted: Granted<Arc<BoardRecord>>) -> OpenBoard {
        let view = self.reads.view(granted.subject(), granted.sealed());
        if view.is_none() {
            // What is read from the database may be newer than the record.
            self.basis.has_more();
        }
        OpenBoard { granted, view }
    }

    /// An account.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn user(&self, id: UserId) -> Result<Option<Arc<User>>> {
        let user = load(&self.users, id).await?;
        self.basis.user(user.as_deref());
        Ok(user)
    }

    /// Counts of a board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn stats(&self, board: &OpenBoard) -> Result<BoardStats> {
        match &board.view {
            Some(view) => Ok(view.stats()),
            None if board.sealed().is_empty() => load(&self.stats, board.id()).await,
            None => self.stats_outside(board).await,
        }
    }

    /// Counts of what a viewer sees who is shut out of folders.
    async fn stats_outside(&self, board: &OpenBoard) -> Result<BoardStats> {
        let nodes = |types: Vec<NodeType>| {
            let filter = NodeFilter { types, ..NodeFilter::default() };
            let (scope, order, sealed) = (NodeScope::Board, NodeOrder::OLDEST, board.sealed().clone());
            load(
                &self.node_counts,
                NodeList { board_id: board.id(), scope, link_kinds: Vec::new(), filter, order, sealed },
            )
        };
        let links = LinkList { board_id: board.id(), node: None, kinds: Vec::new(), sealed: board.sealed().clone() };
        let (all, resources, chats, folders, links, last_modified) = try_join!(
            nodes(Vec::new()),
            nodes(vec![NodeType::Resource]),
            nodes(vec![NodeType::Chat]),
            nodes(vec![NodeType::Folder]),
            load(&self.link_counts, links),
            self.last_modified(board),
        )?;
        let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(BoardStats {
            node_count: count(all),
            link_count: count(links),
            resource_count: count(resources),
            chat_count: count(chats),
            folder_count: count(folders),
            last_modified,
        })
    }

    /// When a node that the viewer sees last changed.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn last_modified(&self, board: &OpenBoard) -> Result<Option<DateTime<Utc>>> {
        if let Some(view) = &board.view {
            return Ok(view.stats().last_modified);
        }
        let (scope, sealed) = (NodeScope::Board, board.sealed().clone());
        let order = NodeOrder { key: NodeOrderKey::Updated, descending: true };
        let filter = NodeFilter::default();
        let list = NodeList { board_id: board.id(), scope, link_kinds: Vec::new(), filter, order, sealed };
        let page = PageRequest { limit: 1, from_end: false, after: None, before: None };
        let page = load(&self.node_pages, NodePageKey { list, page }).await?;
        Ok(page.rows.first().map(|node| node.updated_at))
    }

    /// Whether a node lies in a folder that the viewer is shut out of.
    async fn is_hidden(&self, board: &OpenBoard, node_id: NodeId) -> Result<bool> {
        if board.sealed().is_empty() {
            return Ok(false);
        }
        let around = load(&self.ancestors, NodeKey { board_id: board.id(), node_id }).await?;
        Ok(around.iter().any(|folder| board.sealed().contains(folder.id)))
    }

    /// On which board a node lies.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn locate_node(&self, id: NodeId) -> Result<Option<BoardId>> {
        let place = load(&self.node_places, id).await?;
        self.basis.place(place.is_some());
        Ok(place)
    }

    /// On which board a link lies.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn locate_link(&self, id: LinkId) -> Result<Option<BoardId>> {
        let place = load(&self.link_places, id).await?;
        self.basis.place(place.is_some());
        Ok(place)
    }

    /// A background job; who may see it depends on its board and its node.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn job(&self, id: JobId) -> Result<Option<Arc<Job>>> {
        self.basis.has_more();
        load(&self.jobs, id).await
    }

    /// A living node of the board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn node(&self, board: &OpenBoard, node_id: NodeId) -> Result<Option<Arc<Node>>> {
        match &board.view {
            Some(view) => Ok(view.node(node_id)),
            None => {
                let node = load(&self.nodes, NodeKey { board_id: board.id(), node_id }).await?;
                let is_hidden = node.is_some() && self.is_hidden(board, node_id).await?;
                Ok(node.filter(|_| !is_hidden))
            }
        }
    }

    /// A page of a list of nodes of the board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn node_page(&self, board: &OpenBoard, mut key: NodePageKey) -> Result<Page<Arc<Node>>> {
        match &board.view {
            Some(view) => Ok(view.node_page(&key)),
            None => {
                key.list.sealed = board.sealed().clone();
                load(&self.node_pages, key).await
            }
        }
    }

    /// How many nodes a list of the board has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn node_count(&self, board: &OpenBoard, mut list: NodeList) -> Result<i64> {
        match &board.view {
            Some(view) => Ok(view.node_count(&list)),
            None => {
                list.sealed = board.sealed().clone();
                load(&self.node_counts, list).await
            }
        }
    }

    /// Folders around a node, outermost first.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn ancestors(&self, board: &OpenBoard, node_id: NodeId) -> Result<Vec<Arc<Node>>> {
        match &board.view {
            Some(view) => Ok(view.ancestors(node_id)),
            None => load(&self.ancestors, NodeKey { board_id: board.id(), node_id }).await,
        }
    }

    /// Long texts of a node; boards in memory do not hold them.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn node_text(&self, node: &Node) -> Result<Arc<NodeText>> {
        load(&self.texts, (NodeKey { board_id: node.board_id, node_id: node.id }, node.version)).await
    }

    /// A visible link of the board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn link(&self, board: &OpenBoard, id: LinkId) -> Result<Option<Arc<Link>>> {
        match &board.view {
            Some(view) => Ok(view.link(id)),
            None => {
                let Some(link) = load(&self.links, (board.id(), id)).await? else { return Ok(None) };
                let is_hidden = self.is_hidden(board, link.from).await? || self.is_hidden(board, link.to).await?;
                Ok((!is_hidden).then_some(link))
            }
        }
    }

    /// A page of a list of links of the board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn link_page(&self, board: &OpenBoard, mut key: LinkPageKey) -> Result<Page<Arc<Link>>> {
        match &board.view {
            Some(view) => Ok(view.link_page(&key)),
            None => {
                key.list.sealed = board.sealed().clone();
                load(&self.link_pages, key).await
            }
        }
    }

    /// Who is on a board at this moment.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn presence(&self, board: BoardId) -> Result<Arc<Vec<Arc<Presence>>>> {
        self.basis.has_more();
        load(&self.presences, board).await
    }

    /// How many links a list of the board has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn link_count(&self, board: &OpenBoard, mut list: LinkList) -> Result<i64> {
        match &board.view {
            Some(view) => Ok(view.link_count(&list)),
            None => {
                list.sealed = board.sealed().clone();
                load(&self.link_counts, list).await
            }
        }
    }
}
