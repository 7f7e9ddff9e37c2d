//! Memory in front of PostgreSQL: a decorator over the same ports.
//!
//! Four things are kept: whole boards ([`BoardState`], bounded by bytes), the rows that permission needs (boards with
//! their people, accounts, API keys, share links), long texts, and finished answers (`answers.rs`); `session.rs` remembers which
//! sessions stand. Nothing is served unless this process knows that it is current:
//! see `coherence.rs`. A board that is not in memory is answered by the page queries of what lies below, while one task
//! fetches it in the background; nobody waits for a snapshot. Errors are never kept. Each answer is a fact about rows and
//! not about a viewer: permission is applied to it afterwards, so that nothing kept here can reach the wrong person.

mod answers;
mod board;
mod board_lists;
mod board_state;
mod chunk;
mod coherence;
mod jobs;
mod search;
mod session;
mod watching;

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use moka::{ops::compute::Op, sync::Cache};
use tokio::sync::{Notify, Semaphore};

use self::{
    answers::Answers,
    board_state::BoardState,
    coherence::{Coherence, Woken},
};
pub use self::{search::KeptSearches, session::KeptSessions, watching::Watching};
use crate::{
    config::{CacheConfig, CacheMode},
    domain::{
        AnswerKey, ApiKey, Basis, BoardId, BoardRecord, Committed, Ground, Link, LinkId, LinkList, LinkPageKey, Node,
        NodeId, NodeKey, NodeList, NodePageKey, NodeText, Page, Presence, Redemption, Result, Sealed, Share, ShareId,
        TokenDigest, User, UserId,
        ports::{BoardView, CacheSource, Heard, Keys, Links, Nodes, Presences, Reads, Shares, Users, Views},
    },
};

/// Upper bound on how long anything stays in memory unused; freshness does not rest on it.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Snapshots that are read at the same time.
const FILLS_IN_PARALLEL: usize = 2;
/// How long a board counts as too big for a snapshot before it is looked at again.
const TOO_BIG_FOR: Duration = Duration::from_secs(60);
/// A read that began before a write ends within this time, or not at all.
const LATE: Duration = Duration::from_secs(60);
/// Rows of each kind; a look at their stamps takes them all.
const MAX_ROWS: u64 = 10_000;
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
    /// Boards as they are seen by those who are shut out of some of their folders.
    partial: Cache<(BoardId, Sealed), Arc<BoardState>>,
    records: Cache<BoardId, Arc<BoardRecord>>,
    /// The highest version of each board that this process knows of; older rows that are read late are not kept.
    newest: Cache<BoardId, i64>,
    users: Cache<UserId, Arc<User>>,
    shares: Cache<TokenDigest, Arc<Share>>,
    keys: Cache<TokenDigest, Arc<ApiKey>>,
    /// Who holds which link: that stays so for the life of the link.
    redeemed: Cache<(ShareId, TokenDigest), ()>,
    /// Keyed by the node's board version too: a text is that of one version.
    texts: Cache<(NodeKey, i64), Arc<NodeText>>,
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
    /// Takes over what this process has just committed.
    fn take_over(&self, committed: &Committed) {
        if self.mode == CacheMode::Off {
            return;
        }
        let (id, version) = (committed.record.board.id, committed.record.board.version);
        // One after the other: two commits of this process may come here in either order.
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.keep(&committed.record);
        let Some(state) = self.states.get(&id).filter(|state| state.version() < version) else { return };
        if state.version() + 1 == version && committed.restored.is_empty() {
            self.states.insert(id, Arc::new(state.after(committed)));
        } else {
            self.states.invalidate(&id);
        }
    }

    /// Keeps a record, unless a newer one is known: a read that began before a write may end after it.
    fn keep(&self, record: &Arc<BoardRecord>) {
        if self.mode == CacheMode::Off {
            return;
        }
        let (id, version) = (record.board.id, record.board.version);
        self.raise(id, version);
        self.records.entry(id).and_compute_with(|_| match self.newest.get(&id) {
            Some(newest) if newest > version => Op::Nop,
            _ => Op::Put(Arc::clone(record)),
        });
    }

    /// Notes that a board has come to a version.
    fn raise(&self, board: BoardId, version: i64) {
        self.newest.entry(board).and_compute_with(|newest| match newest {
            Some(newest) if *newest.value() > version => Op::Nop,
            _ => Op::Put(version),
        });
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
        let cached = Cached(Arc::new(Inner {
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
                .weigher(|_, state: &Arc<BoardState>| state.weight_bytes())
                .time_to_idle(IDLE)
                .build(),
            records: rows(),
            newest: Cache::builder().max_capacity(MAX_ROWS).time_to_live(LATE).build(),
            users: rows(),
            shares: rows(),
            keys: rows(),
            redeemed: rows(),
            texts: Cache::builder()
                .max_capacity(config.bytes / QUARTER)
                .weigher(|_, text: &Arc<NodeText>| text_bytes(text))
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
        }));
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

    fn keep(&self, record: &Arc<BoardRecord>) {
        self.0.keep(record);
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
            match cached.0.source.snapshot(board, cached.0.snapshot_max_nodes).await {
                Ok(Some(snapshot)) => {
                    // The state is served only beside a record of the same version; one that was overtaken is not kept.
                    let state = Arc::new(BoardState::new(snapshot));
                    cached.0.states.entry(board).and_upsert_with(|kept| match kept {
                        Some(kept) if kept.value().version() > state.version() => kept.into_value(),
                        _ => Arc::clone(&state),
                    });
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
                let key = (record.board.id, sealed.clone());
                if let Some(partial) = self.0.partial.get(&key).filter(|partial| partial.version() == state.version()) {
                    return Some(partial);
                }
                let partial = Arc::new(state.without(sealed));
                self.0.partial.insert(key, Arc::clone(&partial));
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
        self.keep(record);
    }

    fn heard(&self, board: BoardId, version: i64) {
        if self.0.mode == CacheMode::Off {
            return;
        }
        self.0.raise(board, version);
        self.0.records.entry(board).and_compute_with(|kept| match kept {
            Some(kept) if kept.value().board.version < version => Op::Remove,
            _ => Op::Nop,
        });
    }

    fn committed(&self, committed: &Committed) {
        self.0.take_over(committed);
        let ground = Ground::Board(committed.record.board.id);
        self.0.watching.moved(ground, Some(committed.record.stamp));
    }

    fn forget_shares(&self, board: BoardId) {
        let of_board = self.0.shares.iter().filter(|(_, share)| share.board_id == board);
        of_board.for_each(|(token, _)| self.0.shares.invalidate(token.as_ref()));
        self.0.woken.all();
    }

    fn forget_user(&self, user: UserId) {
        self.0.users.invalidate(&user);
        self.0.woken.all();
    }

    fn forget_key(&self, digest: &TokenDigest) {
        self.0.keys.invalidate(digest);
        self.0.woken.all();
    }

    fn forget(&self, board: BoardId) {
        let _applying = self.0.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.records.invalidate(&board);
        self.0.states.invalidate(&board);
        self.0.woken.add(&Heard::Boards(vec![board]));
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
        let kept: Vec<Option<Arc<NodeText>>> = keys.iter().map(|key| self.0.texts.get(key)).collect();
        let missing: Vec<(NodeKey, i64)> =
            keys.iter().zip(&kept).filter(|(_, text)| text.is_none()).map(|(key, _)| *key).collect();
        if missing.is_empty() {
            return Ok(kept.into_iter().flatten().collect());
        }
        let mut read = self.0.source.node_texts(&missing).await?.into_iter();
        let answers = keys.iter().zip(kept).map(|(key, text)| {
            text.unwrap_or_else(|| {
                let text = read.next().unwrap_or_default();
                self.0.texts.insert(*key, Arc::clone(&text));
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

#[async_trait]
impl<S: Source + Clone + 'static> Users for Cached<S> {
    async fn users(&self, ids: &[UserId]) -> Result<Vec<Option<Arc<User>>>> {
        let kept: Vec<Option<Arc<User>>> = ids.iter().map(|id| self.0.users.get(id)).collect();
        if self.is_current() && kept.iter().all(Option::is_some) {
            return Ok(kept);
        }
        let users = self.0.source.users(ids).await?;
        if self.0.mode == CacheMode::Cached {
            users.iter().flatten().for_each(|user| self.0.users.insert(user.id, Arc::clone(user)));
        }
        Ok(users)
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Keys for Cached<S> {
    async fn key_by_digest(&self, digest: &TokenDigest) -> Result<Option<Arc<ApiKey>>> {
        if let Some(key) = self.0.keys.get(digest).filter(|_| self.is_current()) {
            return Ok(Some(key));
        }
        let key = self.0.source.key_by_digest(digest).await?;
        if let (CacheMode::Cached, Some(key)) = (self.0.mode, &key) {
            self.0.keys.insert(*digest, Arc::clone(key));
        }
        Ok(key)
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Shares for Cached<S> {
    async fn share_by_token(&self, token: &TokenDigest) -> Result<Option<Arc<Share>>> {
        if let Some(share) = self.0.shares.get(token).filter(|_| self.is_current()) {
            return Ok(Some(share));
        }
        let share = self.0.source.share_by_token(token).await?;
        if let (CacheMode::Cached, Some(share)) = (self.0.mode, &share) {
            self.0.shares.insert(*token, Arc::clone(share));
        }
        Ok(share)
    }

    async fn redeem_share(&self, share: ShareId, principal: &TokenDigest) -> Result<Redemption> {
        let key = (share, *principal);
        if self.0.redeemed.contains_key(&key) {
            return Ok(Redemption::Granted);
        }
        let redemption = self.0.source.redeem_share(share, principal).await?;
        if self.0.mode == CacheMode::Cached && redemption == Redemption::Granted {
            self.0.redeemed.insert(key, ());
        }
        Ok(redemption)
    }
}
