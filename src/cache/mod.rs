//! Memory in front of PostgreSQL: a decorator over the same ports.
//!
//! Four things are kept: whole boards ([`BoardState`], bounded by bytes), the rows that permission needs (boards with
//! their people, accounts, API keys, share links), long texts, and finished answers (`answers.rs`); `session.rs`
//! remembers which sessions stand. Nothing is served unless this process knows that it is current (`coherence.rs`), and
//! nothing is kept that was read before something newer was known (`known.rs`, `forgotten.rs`). A board that is not in
//! memory is answered by the page queries of what lies below, while one task fetches it in the background; nobody waits
//! for a snapshot. Errors are never kept. Each answer is a fact about rows and not about a viewer: permission is
//! applied to it afterwards, so that nothing kept here can reach the wrong person.

mod accounts;
mod answers;
mod board;
mod board_lists;
mod board_state;
mod chunk;
mod coherence;
mod forgotten;
mod jobs;
mod known;
mod search;
mod session;
mod watching;

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use moka::sync::Cache;
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

use self::{
    answers::Answers,
    board_state::BoardState,
    coherence::{Coherence, Woken},
    forgotten::{ForgottenRows, Mark},
    known::Known,
};
pub use self::{search::KeptSearches, session::KeptSessions, watching::Watching};
use crate::{
    config::{CacheConfig, CacheMode},
    domain::{
        AnswerKey, ApiKey, Basis, BoardId, BoardRecord, Code, Committed, Error, Ground, Link, LinkId, LinkList,
        LinkPageKey, Node, NodeId, NodeKey, NodeList, NodePageKey, NodeText, Page, Presence, Result, Sealed, Share,
        ShareId, TokenDigest, User, UserId,
        ports::{BoardView, CacheSource, Links, Nodes, Presences, Reads, Views},
    },
};

/// Upper bound on how long anything stays in memory unused; freshness does not rest on it.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Snapshots that are read at the same time.
const FILLS_IN_PARALLEL: usize = 2;
/// How long one may take; what cannot be fetched by then is read by pages. A connection may also never answer.
const FILL_WITHIN: Duration = Duration::from_secs(30);
/// How long a board counts as too big for a snapshot before it is looked at again.
const TOO_BIG_FOR: Duration = Duration::from_secs(60);
/// A transaction that began before a change ends within this time, or not at all.
const LATE: Duration = Duration::from_secs(60);
/// Rows of each kind; a look at their stamps takes them all.
const MAX_ROWS: u64 = 10_000;
/// Boards of which the version is known.
const MAX_KNOWN: u64 = 100_000;
/// Long texts have this part of the byte budget, finished answers as much, a quarter of that what is seen of boards with locked
/// folders; the rest is for boards.
const QUARTER: u64 = 4;

fn rows<K, V>() -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(MAX_ROWS).time_to_idle(IDLE).build()
}

/// What lies below a cache: the reads that it answers, and what it needs to answer them.
pub trait Source: Reads + CacheSource {}

impl<T: Reads + CacheSource> Source for T {}

/// Memory in front of `S`. Cheap to clone.
pub struct Cached<S>(Arc<Inner<S>>);

impl<S> Clone for Cached<S> {
    fn clone(&self) -> Self {
        Cached(Arc::clone(&self.0))
    }
}

struct Inner<S> {
    source: S,
    /// The same, on a connection that looks have for themselves.
    looks: S,
    mode: CacheMode,
    snapshot_max_nodes: usize,
    coherence: Coherence,
    /// Boards that others have changed and that were not looked at yet.
    woken: Arc<Woken>,
    watching: Watching,
    states: Cache<BoardId, Arc<BoardState>>,
    /// Boards as they are seen by those who are shut out of some of their folders, each with what it was made of.
    partial: Cache<(BoardId, Sealed), (Weak<BoardState>, Arc<BoardState>)>,
    records: Cache<BoardId, Arc<BoardRecord>>,
    /// The highest version of each board that this process knows of; older rows that are read late are not kept.
    newest: Cache<BoardId, Known>,
    /// What was let go of because it changed here; rows that were read before are not kept.
    forgotten: ForgottenRows,
    users: Cache<UserId, Arc<User>>,
    shares: Cache<TokenDigest, Arc<Share>>,
    keys: Cache<TokenDigest, Arc<ApiKey>>,
    /// Who holds which link: that stays so for the life of the link.
    redeemed: Cache<(ShareId, TokenDigest), ()>,
    /// Keyed by the node's board version too: a text is that of one version. With each when it was read.
    texts: Cache<(NodeKey, i64), (Mark, Arc<NodeText>)>,
    answers: Answers,
    /// A node never changes its board, so this is true for ever.
    places: Cache<NodeId, BoardId>,
    too_big: Cache<BoardId, ()>,
    filling: Mutex<HashSet<BoardId>>,
    applying: Mutex<()>,
    filled: Notify,
    /// Boards that are being read because they are not in memory.
    reading: Cache<BoardId, Arc<tokio::sync::Mutex<()>>>,
    answers_served: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    fill_slots: Semaphore,
}

impl<S> Inner<S> {
    fn new(source: S, looks: S, config: &CacheConfig) -> Self {
        Inner {
            source,
            looks,
            mode: config.mode,
            snapshot_max_nodes: config.snapshot_max_nodes as usize,
            coherence: Coherence::default(),
            woken: Arc::default(),
            watching: Watching::default(),
            states: Cache::builder()
                .max_capacity(config.bytes - 2 * (config.bytes / QUARTER) - config.bytes / QUARTER / QUARTER)
                .weigher(|_, state: &Arc<BoardState>| state.weight_bytes())
                .time_to_idle(IDLE)
                .build(),
            partial: Cache::builder()
                .max_capacity(config.bytes / QUARTER / QUARTER)
                .weigher(|_, (_, state): &(Weak<BoardState>, Arc<BoardState>)| state.weight_bytes())
                .time_to_idle(IDLE)
                .build(),
            records: rows(),
            newest: Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(IDLE).build(),
            forgotten: ForgottenRows::default(),
            users: rows(),
            shares: rows(),
            keys: rows(),
            redeemed: rows(),
            texts: Cache::builder()
                .max_capacity(config.bytes / QUARTER)
                .weigher(|_, (_, text): &(Mark, Arc<NodeText>)| text_bytes(text))
                .time_to_idle(IDLE)
                .build(),
            answers: Answers::new(config.bytes / QUARTER),
            places: Cache::builder().max_capacity(100_000).build(),
            too_big: Cache::builder().max_capacity(10_000).time_to_live(TOO_BIG_FOR).build(),
            filling: Mutex::default(),
            applying: Mutex::default(),
            filled: Notify::new(),
            reading: Cache::builder().max_capacity(MAX_ROWS).time_to_idle(LATE).build(),
            answers_served: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            fill_slots: Semaphore::new(FILLS_IN_PARALLEL),
        }
    }

    /// A text in memory, if nothing has happened to its board since that puts it in doubt.
    fn text(&self, key: &(NodeKey, i64)) -> Option<Arc<NodeText>> {
        let (read, text) = self.texts.get(key)?;
        self.forgotten.boards.stands(&key.0.board_id, read).then_some(text)
    }
}

/// How well the cache does.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheUse {
    /// Boards in memory.
    pub boards: u64,
    /// About what they take.
    pub board_bytes: u64,
    /// Long texts in memory.
    pub texts: u64,
    /// Answers that were served again.
    pub answers_served: u64,
    /// Boards that were asked for and there.
    pub hits: u64,
    /// Boards that were asked for and not there.
    pub misses: u64,
}

impl<S: Source + Clone + 'static> Cached<S> {
    /// Puts memory in front of `source` and starts to follow it. The task ends with the last clone.
    pub fn new(source: S, config: &CacheConfig) -> Self {
        let looks = source.clone();
        Self::with_looks(source, looks, config)
    }

    /// The same, where `looks` is the source by a way on which looks do not wait for others.
    pub fn with_looks(source: S, looks: S, config: &CacheConfig) -> Self {
        let cached = Cached(Arc::new(Inner::new(source, looks, config)));
        coherence::follow(&cached);
        cached
    }

    /// The rows that rights of subscribers rest on, for those who look at others of them.
    #[must_use]
    pub fn watching(&self) -> Watching {
        self.0.watching.clone()
    }

    /// Waits until no board is being fetched in the background.
    pub async fn settled(&self) {
        loop {
            let filled = self.0.filled.notified();
            if self.0.filling.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            filled.await;
        }
    }

    /// How well it does.
    #[must_use]
    pub fn usage(&self) -> CacheUse {
        self.0.states.run_pending_tasks();
        CacheUse {
            boards: self.0.states.entry_count(),
            board_bytes: self.0.states.weighted_size(),
            texts: self.0.texts.entry_count(),
            answers_served: self.0.answers_served.load(Ordering::Relaxed),
            hits: self.0.hits.load(Ordering::Relaxed),
            misses: self.0.misses.load(Ordering::Relaxed),
        }
    }

    /// Whether rows in memory may be served without looking.
    fn is_current(&self) -> bool {
        match self.0.mode {
            CacheMode::Cached => self.0.coherence.is_current(),
            CacheMode::Strict | CacheMode::Off => false,
        }
    }

    /// The records that are in memory and known to be true.
    async fn known_records(&self, ids: &[BoardId]) -> Result<Vec<Option<Arc<BoardRecord>>>> {
        let kept: Vec<_> = ids.iter().map(|id| self.0.records.get(id)).collect();
        match self.0.mode {
            CacheMode::Off => Ok(vec![None; ids.len()]),
            CacheMode::Cached => Ok(if self.is_current() { kept } else { vec![None; ids.len()] }),
            CacheMode::Strict => {
                let looked_at: Vec<BoardId> = kept.iter().flatten().map(|record| record.board.id).collect();
                if looked_at.is_empty() {
                    return Ok(kept);
                }
                let stamps = self.0.source.stamps(&looked_at, &[], &[], &[]).await?;
                let is_true = |record: &Arc<BoardRecord>| stamps.boards.get(&record.board.id) == Some(&record.stamp);
                Ok(kept.into_iter().map(|record| record.filter(is_true)).collect())
            }
        }
    }

    /// Fetches a board in the background, once however many ask.
    fn fill(&self, board: BoardId) {
        if self.0.too_big.contains_key(&board) {
            return;
        }
        if !self.0.filling.lock().unwrap_or_else(PoisonError::into_inner).insert(board) {
            return;
        }
        let cached = self.clone();
        tokio::spawn(async move {
            let _filling = Filling { cached: &cached, board };
            let Ok(_slot) = cached.0.fill_slots.acquire().await else { return };
            let began = cached.0.forgotten.boards.mark();
            let snapshot = timeout(FILL_WITHIN, cached.0.source.snapshot(board, cached.0.snapshot_max_nodes)).await;
            let late = |_| Error::new(Code::Timeout, "The database takes too long");
            match snapshot.map_err(late).and_then(|snapshot| snapshot) {
                Ok(Some(snapshot)) => {
                    cached.0.compare(&snapshot.record, began);
                    // The state is served only beside a record of the same version; one that was overtaken is not kept.
                    let state = Arc::new(BoardState::new(snapshot));
                    let keep = || {
                        cached.0.raise(board, state.version());
                        cached.0.states.entry(board).and_upsert_with(|kept| match kept {
                            Some(kept) if kept.value().version() > state.version() => kept.into_value(),
                            _ => Arc::clone(&state),
                        });
                    };
                    cached.0.forgotten.boards.unless_forgotten(&board, began, keep);
                }
                Ok(None) => cached.0.too_big.insert(board, ()),
                Err(error) => {
                    tracing::warn!(board.id = %board, cause = ?error.cause(), "Could not fetch board {board}: {error}");
                }
            }
        });
    }
}

/// Gives the place in the set of fills back, also when the task panics or is dropped.
struct Filling<'a, S> {
    cached: &'a Cached<S>,
    board: BoardId,
}

impl<S> Drop for Filling<'_, S> {
    fn drop(&mut self) {
        self.cached.0.filling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.board);
        self.cached.0.filled.notify_waiters();
    }
}

fn text_bytes(text: &NodeText) -> u32 {
    let bytes =
        [&text.content, &text.extracted_text, &text.summary].into_iter().flatten().map(String::len).sum::<usize>();
    u32::try_from(bytes + 128).unwrap_or(u32::MAX)
}

impl<S: Source + Clone + 'static> Views for Cached<S> {
    fn view(&self, record: &BoardRecord, sealed: &Sealed) -> Option<Arc<dyn BoardView>> {
        if self.0.mode == CacheMode::Off {
            return None;
        }
        match self.0.states.get(&record.board.id) {
            Some(state) if state.version() == record.board.version => {
                self.0.hits.fetch_add(1, Ordering::Relaxed);
                if sealed.is_empty() {
                    return Some(state);
                }
                let (key, whole) = ((record.board.id, sealed.clone()), Arc::downgrade(&state));
                if let Some((_, partial)) = self.0.partial.get(&key).filter(|(of, _)| of.ptr_eq(&whole)) {
                    return Some(partial);
                }
                let partial = Arc::new(state.without(sealed));
                self.0.partial.insert(key, (whole, Arc::clone(&partial)));
                Some(partial)
            }
            _ => {
                self.0.misses.fetch_add(1, Ordering::Relaxed);
                self.fill(record.board.id);
                None
            }
        }
    }

    fn kept_answer(&self, key: &AnswerKey) -> Option<Bytes> {
        if !self.is_current() {
            return None;
        }
        let answer = self.0.answers.take(key, |basis| self.0.still_holds(basis))?;
        self.0.answers_served.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    fn read(&self, record: &Arc<BoardRecord>) {
        self.0.take_note(record);
    }

    fn heard(&self, board: BoardId, version: i64) {
        if self.0.mode != CacheMode::Off {
            self.0.outdate(board, version);
        }
    }

    fn committed(&self, committed: &Committed) {
        self.0.take_over(committed);
        let ground = Ground::Board(committed.record.board.id);
        self.0.watching.moved(ground, Some(committed.record.stamp));
    }

    fn forget_shares(&self, board: BoardId) {
        self.0.forget_shares(board);
    }

    fn forget_user(&self, user: UserId) {
        self.0.forget_user(user);
    }

    fn forget_key(&self, digest: &TokenDigest) {
        self.0.forget_key(digest);
    }

    fn forget(&self, board: BoardId) {
        self.0.forget(board);
    }

    fn keep_answer(&self, key: AnswerKey, basis: Basis, body: Bytes) {
        // What cannot be served yet is not worth its place.
        if self.0.mode == CacheMode::Cached && self.0.still_holds(&basis) {
            self.0.answers.keep(key, basis, body);
        }
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Nodes for Cached<S> {
    async fn locate_nodes(&self, ids: &[NodeId]) -> Result<Vec<Option<BoardId>>> {
        let kept: Vec<Option<BoardId>> = ids.iter().map(|id| self.0.places.get(id)).collect();
        if kept.iter().all(Option::is_some) {
            return Ok(kept);
        }
        let places = self.0.source.locate_nodes(ids).await?;
        for (id, place) in ids.iter().zip(&places) {
            if let Some(board) = place {
                self.0.places.insert(*id, *board);
            }
        }
        Ok(places)
    }

    async fn nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<Arc<Node>>>> {
        self.0.source.nodes(keys).await
    }

    async fn node_pages(&self, keys: &[NodePageKey]) -> Result<Vec<Page<Arc<Node>>>> {
        self.0.source.node_pages(keys).await
    }

    async fn node_counts(&self, lists: &[NodeList]) -> Result<Vec<i64>> {
        self.0.source.node_counts(lists).await
    }

    async fn ancestors(&self, keys: &[NodeKey]) -> Result<Vec<Vec<Arc<Node>>>> {
        self.0.source.ancestors(keys).await
    }

    async fn node_texts(&self, keys: &[(NodeKey, i64)]) -> Result<Vec<Arc<NodeText>>> {
        if self.0.mode == CacheMode::Off {
            return self.0.source.node_texts(keys).await;
        }
        let began = self.0.forgotten.boards.mark();
        let kept: Vec<Option<Arc<NodeText>>> = keys.iter().map(|key| self.0.text(key)).collect();
        let missing: Vec<(NodeKey, i64)> =
            keys.iter().zip(&kept).filter(|(_, text)| text.is_none()).map(|(key, _)| *key).collect();
        if missing.is_empty() {
            return Ok(kept.into_iter().flatten().collect());
        }
        let mut read = self.0.source.node_texts(&missing).await?.into_iter();
        let answers = keys.iter().zip(kept).map(|(key, text)| {
            text.unwrap_or_else(|| {
                let text = read.next().unwrap_or_default();
                self.0.texts.insert(*key, (began, Arc::clone(&text)));
                text
            })
        });
        Ok(answers.collect())
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Links for Cached<S> {
    async fn locate_links(&self, ids: &[LinkId]) -> Result<Vec<Option<BoardId>>> {
        self.0.source.locate_links(ids).await
    }

    async fn links(&self, keys: &[(BoardId, LinkId)]) -> Result<Vec<Option<Arc<Link>>>> {
        self.0.source.links(keys).await
    }

    async fn link_pages(&self, keys: &[LinkPageKey]) -> Result<Vec<Page<Arc<Link>>>> {
        self.0.source.link_pages(keys).await
    }

    async fn link_counts(&self, lists: &[LinkList]) -> Result<Vec<i64>> {
        self.0.source.link_counts(lists).await
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Presences for Cached<S> {
    async fn presences(&self, boards: &[BoardId], within: Duration, most: i64) -> Result<Vec<(Presence, Duration)>> {
        self.0.source.presences(boards, within, most).await
    }
}
