//! What the program needs from its adapters, set-based throughout: many keys in, as many answers out, in the same order.
//!
//! `store` answers from PostgreSQL and `cache` from memory, falling back to what it wraps; loaders and services name only
//! these traits. Permission is not decided here: who calls has decided it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::Value;
use uuid::Uuid;

use super::{
    AccountEdit, AccountUsage, Activity, ActivityOf, AnswerKey, ApiKey, ApiKeyId, Backlog, Basis, Below, Board,
    BoardEvent, BoardId, BoardList, BoardRecord, BoardStats, BoardWrites, Child, Chunks, Claim, Collaborator,
    Committed, CopyOf, Credentials, Ending, EventsAfter, Ground, IdempotencyKey, Invitation, Job, JobClaim, JobId,
    JobList, JobStatus, Limits, Link, LinkId, LinkKind, LinkList, LinkPageKey, ListedBoard, NewAccount, NewApiKey,
    NewJob, NewRefreshToken, NewShare, Node, NodeId, NodeKey, NodeList, NodePageKey, NodeText, Origin, Outcome, Page,
    PageRequest, Permission, Person, Presence, PresentedToken, Redemption, Refreshed, Result, Sealed, SentInvitation,
    Share, ShareId, SignInPlace, Snapshot, Stamp, Stamps, StoredNode, Successor, TokenDigest, Unlock, UsageMetric,
    UsagePoint, User, UserId,
};

/// Reading boards.
#[async_trait]
pub trait Boards: Send + Sync {
    /// Living boards by id, `None` where there is none.
    async fn boards(&self, ids: &[BoardId]) -> Result<Vec<Option<Arc<BoardRecord>>>>;
    /// A living board as it is now, whatever is in memory, which knows it then.
    async fn board_now(&self, id: BoardId) -> Result<Option<Arc<BoardRecord>>>;
    /// One page of a list of boards.
    async fn board_page(&self, list: &BoardList, page: &PageRequest) -> Result<Page<ListedBoard>>;
    /// How many boards each list has.
    async fn board_count(&self, list: &BoardList) -> Result<i64>;
    /// Counts of boards.
    async fn board_stats(&self, ids: &[BoardId]) -> Result<Vec<BoardStats>>;
}

/// Reading what lies on boards.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// On which board nodes lie; a node never changes its board.
    async fn locate_nodes(&self, ids: &[NodeId]) -> Result<Vec<Option<BoardId>>>;
    /// Living nodes.
    async fn nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<Arc<Node>>>>;
    /// Pages of lists of nodes.
    async fn node_pages(&self, keys: &[NodePageKey]) -> Result<Vec<Page<Arc<Node>>>>;
    /// How many nodes lists have.
    async fn node_counts(&self, lists: &[NodeList]) -> Result<Vec<i64>>;
    /// Folders around nodes, outermost first.
    async fn ancestors(&self, keys: &[NodeKey]) -> Result<Vec<Vec<Arc<Node>>>>;
    /// Long texts of resources; with each key the version of the node that the text is wanted of, for those who keep it.
    async fn node_texts(&self, keys: &[(NodeKey, i64)]) -> Result<Vec<Arc<NodeText>>>;
}

/// Reading links.
#[async_trait]
pub trait Links: Send + Sync {
    /// On which board links lie.
    async fn locate_links(&self, ids: &[LinkId]) -> Result<Vec<Option<BoardId>>>;
    /// Links between living nodes.
    async fn links(&self, keys: &[(BoardId, LinkId)]) -> Result<Vec<Option<Arc<Link>>>>;
    /// Pages of lists of links.
    async fn link_pages(&self, keys: &[LinkPageKey]) -> Result<Vec<Page<Arc<Link>>>>;
    /// How many links lists have.
    async fn link_counts(&self, lists: &[LinkList]) -> Result<Vec<i64>>;
}

/// Reading accounts.
#[async_trait]
pub trait Users: Send + Sync {
    /// Accounts, deactivated ones included.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<Option<Arc<User>>>>;
}

/// Share links.
#[async_trait]
pub trait Shares: Send + Sync {
    /// The link with this token.
    async fn share_by_token(&self, token: &TokenDigest) -> Result<Option<Arc<Share>>>;
    /// Counts the first redemption by a principal, exactly once however many try at the same moment.
    async fn redeem_share(&self, share: ShareId, principal: &TokenDigest) -> Result<Redemption>;
}

/// Folders with a password.
#[async_trait]
pub trait FolderLocks: Send + Sync {
    /// The hash of the password of a folder, if it has one.
    async fn folder_password(&self, board: BoardId, folder: NodeId) -> Result<Option<String>>;
    /// Which of these nodes of a board lie in sealed folders.
    async fn hidden(&self, board: BoardId, nodes: &[NodeId], sealed: &Sealed) -> Result<Vec<NodeId>>;
    /// Keeps that somebody opened a folder whose password has this hash.
    async fn keep_unlock(&self, unlock: &Unlock, password_hash: &str) -> Result<()>;
    /// What these tokens open: those that live, and whose folder still has the password that opened it.
    async fn unlocks(&self, tokens: &[TokenDigest]) -> Result<Vec<Unlock>>;
}

/// API keys, by what is presented.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The key with this digest, dead ones included.
    async fn key_by_digest(&self, digest: &TokenDigest) -> Result<Option<Arc<ApiKey>>>;
}

/// What a cache needs besides the reads that it answers.
#[async_trait]
pub trait CacheSource: Send + Sync {
    /// The whole graph of a board in one transaction; `None` when there is no such board or it has more than
    /// `max_nodes` nodes.
    async fn snapshot(&self, board: BoardId, max_nodes: usize) -> Result<Option<Snapshot>>;
    /// The current stamps of rows.
    async fn stamps(
        &self,
        boards: &[BoardId],
        users: &[UserId],
        shares: &[ShareId],
        keys: &[ApiKeyId],
    ) -> Result<Stamps>;
    /// Which of these rows have another stamp than the one given: their places in the list, with the stamp that they have now,
    /// or none if they are gone. Sessions are not looked at.
    async fn moved(&self, known: &[(Ground, Stamp)]) -> Result<Vec<(usize, Option<Stamp>)>>;
}

/// One board's whole graph in memory, at the version of the record it was asked for. It answers at once and never fails,
/// and everything that one operation reads through it is of one version.
pub trait BoardView: Send + Sync {
    /// A living node.
    fn node(&self, id: NodeId) -> Option<Arc<Node>>;
    /// A page of a list of nodes.
    fn node_page(&self, key: &NodePageKey) -> Page<Arc<Node>>;
    /// How many nodes a list has.
    fn node_count(&self, list: &NodeList) -> i64;
    /// Folders around a node, outermost first.
    fn ancestors(&self, id: NodeId) -> Vec<Arc<Node>>;
    /// A visible link.
    fn link(&self, id: LinkId) -> Option<Arc<Link>>;
    /// A page of a list of links.
    fn link_page(&self, key: &LinkPageKey) -> Page<Arc<Link>>;
    /// How many links a list has.
    fn link_count(&self, list: &LinkList) -> i64;
    /// Counts of the board.
    fn stats(&self) -> BoardStats;
}

/// What is in memory: boards, and finished answers.
pub trait Views: Send + Sync {
    /// The board in memory without what lies in the sealed folders, if it is there at exactly the version of the record.
    fn view(&self, record: &BoardRecord, sealed: &Sealed) -> Option<Arc<dyn BoardView>>;
    /// The answer in memory, if everything that it rests on is known to be as it was.
    fn kept_answer(&self, key: &AnswerKey) -> Option<Bytes>;
    /// Keeps an answer for as long as that is so.
    fn keep_answer(&self, key: AnswerKey, basis: Basis, body: Bytes);
    /// Takes over a board as this process has just read it under its lock.
    fn read(&self, record: &Arc<BoardRecord>);
    /// Hears that a board has come to a version: what is older is not served any more.
    fn heard(&self, board: BoardId, version: i64);
    /// Takes over what this process has just committed, before anybody is told.
    fn committed(&self, committed: &Committed);
    /// Lets go of the share links of a board, one of which this process has just changed.
    fn forget_shares(&self, board: BoardId);
    /// Lets go of an account that this process has just changed.
    fn forget_user(&self, user: UserId);
    /// Lets go of an API key that this process has just changed.
    fn forget_key(&self, digest: &TokenDigest);
    /// Lets go of a board whose row, people or existence this process has just changed.
    fn forget(&self, board: BoardId);
}

/// Reading the change log.
#[async_trait]
pub trait Events: Send + Sync {
    /// For each board the entries after a version, at most so many of each, in the order of versions.
    async fn events(&self, after: &[(BoardId, i64)], most: i64) -> Result<Vec<BoardEvent>>;
}

/// Lists of boards besides what lies on them, of many boards at once. Answers come in the order of the keys.
#[async_trait]
pub trait BoardLists: Send + Sync {
    /// Entries of the change log, in the order of versions.
    async fn event_lists(&self, keys: &[EventsAfter]) -> Result<Vec<Arc<Vec<Arc<BoardEvent>>>>>;
    /// How many entries the logs of boards have kept.
    async fn event_counts(&self, boards: &[BoardId]) -> Result<Vec<i64>>;
    /// Share links of boards, newest first, at most so many of each.
    async fn share_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Arc<Share>>>>>;
    /// Collaborators of boards, invited ones among them, in the order of their invitations, at most so many of each.
    async fn collaborator_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Collaborator>>>>;
    /// Pages of the background jobs of boards, newest first.
    async fn job_pages(&self, keys: &[(JobList, PageRequest)]) -> Result<Vec<Page<Arc<Job>>>>;
    /// How many jobs lists have.
    async fn job_counts(&self, lists: &[JobList]) -> Result<Vec<i64>>;
    /// Pages of what happened on boards, the last first.
    async fn activity_pages(&self, keys: &[(ActivityOf, PageRequest)]) -> Result<Vec<Page<Activity>>>;
    /// How much happened on boards.
    async fn activity_counts(&self, keys: &[ActivityOf]) -> Result<Vec<i64>>;
}

/// Accounts and sessions, for their holders.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The account with this lower-case address, and what it signs in with.
    async fn credentials(&self, email: &str) -> Result<Option<Credentials>>;
    /// Makes an account, or finds the one that this very request made before: that has another id. `None` when its address
    /// is taken.
    async fn create_account(&self, account: NewAccount, request: Option<&IdempotencyKey>)
    -> Outcome<Option<Arc<User>>>;
    /// Writes what an edit gives into an active account, once under the key of its request. What it does not give stays
    /// as it is at that moment, whoever else writes.
    async fn update_account(
        &self,
        user: UserId,
        edit: &dyn AccountEdit,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<User>>>;
    /// Those of these places from which the account with this lower-case address was signed in to within 90 days.
    async fn known_places(&self, email: &str, places: &[TokenDigest]) -> Result<Vec<TokenDigest>>;
    /// Remembers from where an account was signed in to now, if its password still has the hash that was checked. Of
    /// each kind of places the last twenty are kept.
    async fn remember_places(&self, user: UserId, checked_hash: &str, places: &[SignInPlace]) -> Result<()>;
    /// Keeps the first refresh token of a session, and notes that its account has signed in. Only if that is active,
    /// and its password still has the hash that was checked; whether it is so. A change of the password at the same
    /// moment either comes first, or sees the session and ends it.
    async fn begin_session(&self, token: NewRefreshToken, checked_hash: &str) -> Result<bool>;
    /// Exchanges a refresh token for `successor`, exactly once however many come with it, in one transaction. One that was
    /// used within `REFRESH_REPEAT_WINDOW` gets the successor of its first use; one that was used before closes its family.
    /// One that is not known, but names a family, was used before. `MOST_REFRESHES` bounds the pace.
    async fn use_refresh_token(&self, token: &PresentedToken, successor: &Successor) -> Result<Refreshed>;
    /// Closes the family of a refresh token; which one, if it was open.
    async fn end_session(&self, token: &PresentedToken) -> Result<Option<Uuid>>;
}

/// Whether sessions still stand: asked on every use of a token that belongs to one.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Those of these sessions that have ended. A session that is not known has not.
    async fn ended_sessions(&self, sessions: &[Uuid]) -> Result<Vec<Uuid>>;
    /// Lets go of what is remembered of a session that this process has just ended.
    fn forget_session(&self, session: Uuid);
    /// Waits until what is remembered is known to be true.
    async fn current(&self) {}
}

/// API keys, for their holders. What changes something takes the key of its request, and does it once under that.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Makes a key, or finds the one that this very request made before: that has another id. `None` when the account has
    /// `most` living ones. `Unauthenticated` when the account, or what it is asked for with, has ended by now.
    async fn add_key(
        &self,
        key: NewApiKey,
        most: i64,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<ApiKey>>>;
    /// Ends a key of the account, for good; `None` where there is none.
    async fn revoke_key(
        &self,
        user: UserId,
        key: ApiKeyId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<ApiKey>>>;
    /// One page of the keys of an account, dead ones included, the last made first.
    async fn key_page(&self, user: UserId, page: &PageRequest) -> Result<Page<Arc<ApiKey>>>;
    /// How many keys an account has.
    async fn key_count(&self, user: UserId) -> Result<i64>;
    /// Notes when keys were used, never an earlier time than is known.
    async fn keys_used(&self, uses: &[(ApiKeyId, DateTime<Utc>)]) -> Result<()>;
}

/// Share links and collaborators, for owners of boards. What changes something takes the key of its request, and does it
/// once under that; a request that did it before hears the same again.
#[async_trait]
pub trait Sharing: Send + Sync {
    /// Makes a share link; its id, or that of the link which this very request made before. `None` when the board has `most` living
    /// ones. Of dead ones only the newest 900 stay.
    async fn add_share(&self, share: NewShare, most: i64, request: Option<&IdempotencyKey>)
    -> Outcome<Option<ShareId>>;
    /// Ends a share link of the board; whether there is one.
    async fn revoke_share(&self, board: BoardId, share: ShareId, request: Option<&IdempotencyKey>) -> Outcome<bool>;
    /// A share link, dead ones included.
    async fn share(&self, share: ShareId) -> Result<Option<Arc<Share>>>;
    /// Collaborators of a board, invited ones among them, in the order of their invitations.
    async fn collaborators(&self, board: BoardId, most: i64) -> Result<Vec<Collaborator>>;
    /// Unanswered invitations of an account, newest first; those to its address are among them.
    async fn invitations(&self, user: UserId, most: i64) -> Result<Vec<Invitation>>;
    /// Unanswered invitations to a board, in their order. Those that an older version has made are collaborators.
    async fn sent_invitations(&self, board: BoardId, most: i64) -> Result<Vec<SentInvitation>>;
    /// Invites an address, whether there is such an account or not; whether it was not invited before, and no collaborator.
    async fn invite(
        &self,
        board: BoardId,
        invitation: SentInvitation,
        by: UserId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool>;
    /// Takes an invitation back; whether there was one.
    async fn cancel_invitation(&self, board: BoardId, email: &str, request: Option<&IdempotencyKey>) -> Outcome<bool>;
    /// Accepts an invitation; whether there is one.
    async fn accept(&self, board: BoardId, user: UserId, request: Option<&IdempotencyKey>) -> Outcome<bool>;
    /// Declines an invitation; whether there was one.
    async fn decline(&self, board: BoardId, user: UserId, request: Option<&IdempotencyKey>) -> Outcome<bool>;
    /// Gives a collaborator another role; whether there is one.
    async fn change_role(
        &self,
        board: BoardId,
        user: UserId,
        to: Permission,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool>;
    /// Removes a collaborator; whether there was one.
    async fn remove_collaborator(
        &self,
        board: BoardId,
        user: UserId,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<bool>;
}

/// Following the change log.
pub trait Feed: Send + Sync {
    /// Says that this process has just committed a change of a board.
    fn committed(&self, board: BoardId);
    /// The entries of a board after a version, then those to come, each once and in order. A version that is missing in the
    /// log is left out: whoever follows sees the gap.
    fn follow(&self, board: BoardId, after: i64) -> BoxStream<'static, Arc<BoardEvent>>;
}

/// Reading who is on boards.
#[async_trait]
pub trait Presences: Send + Sync {
    /// What was said on boards within a time, at most so many of each, the newest last; with each how long ago it was, by the
    /// clock of the database.
    async fn presences(&self, boards: &[BoardId], within: Duration, most: i64) -> Result<Vec<(Presence, Duration)>>;
}

/// How processes tell each other who is where.
#[async_trait]
pub trait PresenceTable: Presences {
    /// Keeps what was said, each in the place of what was said before; when that was, by the clock of the database.
    async fn keep_presences(&self, presences: &[Arc<Presence>]) -> Result<DateTime<Utc>>;
    /// Lets go of those of whom nothing was heard for a minute.
    async fn remove_presences(&self) -> Result<()>;
}

/// Who is where, live.
pub trait PresenceFeed: Send + Sync {
    /// Shows others where somebody is. A refusal when the person has too many windows, `Overloaded` when everybody has.
    fn show(&self, presence: Presence, person: Person) -> Outcome<()>;
    /// Says goodbye for all windows of somebody on a board who spoke here.
    fn leave(&self, board: BoardId, person: &Person, user: Option<UserId>);
    /// Everybody on a board, then how that changes. Of each window only the newest is told.
    fn follow_presence(&self, board: BoardId) -> BoxStream<'static, Arc<Presence>>;
}

/// What was heard of other processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These boards changed.
    Boards(Vec<BoardId>),
    /// Any board may have changed: messages were lost, or too many to be named.
    Any,
}

/// Who is woken when other processes have changed something. Waking is a hint: what changed is in the tables.
pub trait Wake: Send + Sync {
    /// Does not wait, and is called for every message.
    fn woken(&self, heard: &Heard);
}

/// Makes connections by which processes wake each other.
#[async_trait]
pub trait Wires: Send + Sync {
    /// A connection to tell by, and what is heard on it from others; that ends when the connection is lost.
    async fn connect(&self) -> Result<(Box<dyn Wire>, BoxStream<'static, Heard>)>;
}

/// A connection by which other processes are told.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Tells that boards changed.
    async fn tell(&self, boards: &[BoardId]) -> Result<()>;
    /// Asks whether the other side still answers.
    async fn check(&self) -> Result<()>;
}

/// What happened on boards.
#[async_trait]
pub trait Activities: Send + Sync {
    /// Keeps what happened; what is known already, or on boards that are gone, is left out.
    async fn write_activities(&self, activities: &[Activity]) -> Result<()>;
}

/// How much accounts use.
#[async_trait]
pub trait Usages: Send + Sync {
    /// Adds to the use of hours.
    async fn add_usage(&self, counts: &[(UserId, UsageMetric, UsagePoint)]) -> Result<()>;
    /// What an account has at the moment.
    async fn account_usage(&self, user: UserId) -> Result<AccountUsage>;
    /// The use of an account in the hours of a time, the first first.
    async fn usage(
        &self,
        user: UserId,
        metric: UsageMetric,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<UsagePoint>>;
}

/// Reading background jobs by id.
#[async_trait]
pub trait JobReads: Send + Sync {
    /// Jobs, ended ones included; who may see them is for the caller to decide.
    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Arc<Job>>>>;
}

/// The queue of background jobs.
#[async_trait]
pub trait Jobs: JobReads {
    /// Asks for work on nodes that are there; the jobs that do it, in no particular order. What is pending already is the same
    /// job, with the higher priority of both.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<JobId>>;
    /// The same once under the key of a request, for one node.
    async fn enqueue_once(&self, job: NewJob, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>>;
    /// Takes due jobs for a batch, which has to be heard of or somebody else takes them. Never a job of a node on which a job
    /// of the same type runs.
    async fn claim(&self, claim: &JobClaim) -> Result<Vec<Job>>;
    /// Says that a batch is alive, and how far its jobs are, 0 to 1; those of its jobs that are still to be done.
    async fn beat(&self, worker: &str, progress: &[(JobId, f32)]) -> Result<Vec<JobId>>;
    /// Ends tries of jobs of a batch, given as they were claimed; the jobs as they are then. Jobs that the batch has no more are
    /// left as they are.
    async fn settle(&self, worker: &str, endings: &[(Job, Ending)]) -> Result<Vec<Job>>;
    /// Takes the jobs back from batches that were not heard of for so long: to be tried again, or failed; these jobs.
    async fn recover(&self, silent_for: Duration) -> Result<Vec<Job>>;
    /// Cancels a job that is pending or running; `None` where it is neither. One that runs is let go of at the next beat.
    async fn cancel(&self, board: BoardId, job: JobId, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>>;
    /// Has a failed or cancelled job tried again from the start; `None` where it is neither, where nobody has let go of it yet,
    /// or where another job for its node is pending.
    async fn retry(&self, board: BoardId, job: JobId, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>>;
    /// A page of the jobs of living nodes of a board, newest first, of these states or of all if none is named, without those
    /// of nodes in sealed folders.
    async fn job_page(
        &self,
        board: BoardId,
        statuses: &[JobStatus],
        sealed: &Sealed,
        page: &PageRequest,
    ) -> Result<Page<Arc<Job>>>;
    /// For each board the jobs whose state or progress changed after a time, or in the last seconds if none is given, at most
    /// so many of each, in the order of their changes.
    async fn job_changes(&self, after: &[(BoardId, Option<DateTime<Utc>>)], most: i64) -> Result<Vec<Job>>;
    /// How much waits and runs.
    async fn backlog(&self) -> Result<Vec<Backlog>>;
}

/// Following the jobs of boards.
pub trait JobFeed: Send + Sync {
    /// Says that this process has just changed jobs.
    fn jobs_changed(&self);
    /// The jobs of a board that are pending or running, at most 100, then every job whose state or progress has changed, in its
    /// newest state.
    fn follow_jobs(&self, board: BoardId) -> BoxStream<'static, Arc<Job>>;
}

/// Whether writes are possible.
#[async_trait]
pub trait ReadOnlyMode: Send + Sync {
    /// Whether the database takes none, or an operator wants none.
    async fn refuses_writes(&self) -> Result<bool>;
}

/// Changing boards.
#[async_trait]
pub trait Writes: Send + Sync {
    /// Begins to change a living board: waits for its lock and holds it until the end. `None` where there is no such board.
    async fn begin(&self, board: BoardId) -> Result<Option<Box<dyn BoardTransaction>>>;
    /// What is known of the key of a request, for requests that find nothing to lock.
    async fn known(&self, key: &IdempotencyKey) -> Result<Claim>;
    /// Makes a board, with a copy of what lives on another one if one is named; as far as its owner's limits allow it.
    async fn create_board(
        &self,
        board: Board,
        from: Option<CopyOf>,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Arc<BoardRecord>>;
    /// Brings a deleted board of this owner back, as far as the owner's limits allow it; the board if it lives afterwards, whoever owns
    /// it.
    async fn restore_board(
        &self,
        board: BoardId,
        owner: UserId,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Option<Arc<BoardRecord>>>;
}

/// A transaction on one board, under its lock. Dropping it undoes everything, at the price of a connection.
#[async_trait]
pub trait BoardTransaction: Send {
    /// The board as it is under the lock.
    fn record(&self) -> &Arc<BoardRecord>;
    /// Asks for the key of a request; whoever else comes with it waits for the end of this transaction.
    async fn claim(&mut self, key: &IdempotencyKey) -> Result<Claim>;
    /// Nodes wherever they are, deleted or not.
    async fn nodes(&mut self, ids: &[NodeId]) -> Result<Vec<StoredNode>>;
    /// Texts of resources of the board.
    async fn contents(&mut self, ids: &[NodeId]) -> Result<HashMap<NodeId, Option<String>>>;
    /// Links by id, wherever they are, and those of the board between two ends, of a kind.
    async fn links(&mut self, ids: &[LinkId], pairs: &[(NodeId, NodeId, LinkKind)]) -> Result<Vec<Link>>;
    /// Every folder of the board that lies in another, with that other.
    async fn folders(&mut self) -> Result<Vec<(NodeId, NodeId)>>;
    /// What lies directly in folders, deleted or not.
    async fn children(&mut self, folders: &[NodeId]) -> Result<Vec<Child>>;
    /// What lies in folders at any depth, deleted or not.
    async fn below(&mut self, folders: &[NodeId]) -> Result<Vec<Below>>;
    /// Which of these nodes lie in sealed folders.
    async fn hidden(&mut self, nodes: &[NodeId], sealed: &Sealed) -> Result<Vec<NodeId>>;
    /// Ends it with nothing done. Dropping it does so too, but costs the connection.
    async fn roll_back(self: Box<Self>);
    /// Deletes the board, softly.
    async fn delete_board(self: Box<Self>, origin: Origin) -> Result<()>;
    /// Writes everything, steps the version of the board if there is anything, logs it, keeps `result` for the key of the
    /// request, and makes it last.
    async fn commit(self: Box<Self>, writes: BoardWrites, origin: Origin, result: Value) -> Outcome<Committed>;
}

/// Everything that reading needs, as one value to hand around.
pub trait Reads:
    Boards + BoardLists + Nodes + Links + Users + Shares + Keys + Events + Presences + Chunks + JobReads + Views
{
}

impl<T: Boards + BoardLists + Nodes + Links + Users + Shares + Keys + Events + Presences + Chunks + JobReads + Views>
    Reads for T
{
}
