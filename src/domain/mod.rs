//! What RAGBOARD is about: entities, ids, errors, pages and the ports that adapters implement.
//!
//! No I/O happens here, and no library of the layers above or of the adapters is named.

pub mod account;
pub mod activity;
pub mod address;
pub mod answer;
pub mod api_key;
pub mod board;
pub mod change;
pub mod chunk;
pub mod embedding;
pub mod error;
pub mod event;
pub mod fetch;
pub mod folder_lock;
pub mod generation;
pub mod hit;
pub mod id;
pub mod import;
pub mod job;
pub mod language;
pub mod link;
pub mod mail;
pub mod node;
pub mod page;
pub mod password;
pub mod ports;
pub mod presence;
pub mod quota;
pub mod refusal;
pub mod rights;
pub mod search;
pub mod session;
pub mod share;
pub mod sharing;
pub mod snapshot;
pub mod usage;
pub mod user;
pub mod vector_index;
pub mod verification;
mod words;

pub use account::{
    AccountEdit, Credentials, MOST_REFRESHES, NewAccount, NewRefreshToken, PresentedToken, REFRESH_PACE_WINDOW,
    REFRESH_REPEAT_WINDOW, Refreshed, SignInPlace, Successor,
};
pub use activity::{ACTIVITY_ORDER, Activity, ActivityKind, ActivityOf};
pub use address::ClientAddress;
pub use answer::{AnswerKey, Basis};
pub use api_key::{API_KEY_ORDER, ApiKey, ApiKeyScope, NewApiKey};
pub use board::{
    Board, BoardList, BoardOrder, BoardOrderKey, BoardRecord, BoardStats, BoardsOf, ListedBoard, Permission,
};
pub use change::{
    Action, Below, BoardEdit, BoardWrites, Change, ChangeSet, Child, Claim, Committed, IdempotencyKey, LinkEdit,
    Logged, MAX_CHANGES, NodeEdit, NodeWrite, Origin, Place, Spot, StoredNode,
};
pub use chunk::{CHUNK_ORDER, Chunk, ChunkField, CutText, Piece, SourceText, Span, Unembedded};
pub use embedding::{Cutter, Embedder, Purpose, Tokenizer};
pub use error::{Code, Error, Result};
pub use event::{BoardEvent, EVENT_ORDER, EventsAfter, event_place, version_at};
pub use fetch::{Fetch, Fetched, Post, Posted};
pub use folder_lock::{CopyOf, FolderLock, Sealed, UNLOCKED_FOR, Unlock};
pub use generation::{Coverage, Generations};
pub use hit::{FrozenHits, Hit, Plan, SEARCH_ORDER, SearchKey, SearchMemory, Strategy, state_of};
pub use id::{
    AnyId, ApiKeyId, BoardId, ChunkId, GenerationId, JobId, LinkId, MediaId, NodeId, PresenceId, SessionId, ShareId,
    UserId,
};
pub use job::{Backlog, Ending, JOB_ORDER, Job, JobClaim, JobList, JobStatus, JobType, NewJob, Turns};
pub use link::{LINK_ORDER, Link, LinkDirection, LinkKind, LinkList, LinkPageKey};
pub use mail::{ALMOST_OVER, Asked, Mail, MailOrder, MailPurpose, Mailer, Mails};
pub use node::{
    CHAT_MODELS, Chat, ChatResponseFormat, Folder, FolderSortOrder, MAX_FOLDER_DEPTH, Node, NodeFilter, NodeKey,
    NodeKind, NodeList, NodeOrder, NodeOrderKey, NodePageKey, NodeScope, NodeText, NodeType, Placement,
    ProcessingStatus, Rect, Resource, ResourceType,
};
pub use page::{Cursor, MAX_PAGE, Page, PageRequest, SortKey};
pub use password::{PasswordChange, PasswordReset, Passwords};
pub use presence::{GONE_AFTER, Person, Presence};
pub use quota::{AccountUsage, Limits, STORED_FACTOR};
pub use refusal::{Failure, Outcome, Refusal, RefusalKind};
pub use rights::{Ground, Rights};
pub use search::{
    CANDIDATES, Candidate, Chunks, Embedders, EmbeddingState, Found, Generation, GenerationState, Grouping, MeantWords,
    Provider, Recall, Search, SearchArea, SearchFilter, SearchGround, SearchIndex, SearchMode, Term, Terms, TextPlan,
    VectorPlan, WordWeights,
};
pub use session::{AccountSession, AccountSessions, SESSION_ORDER, WhichSessions};
pub use share::{Redemption, Share, TokenDigest};
pub use sharing::{Collaborator, Invitation, NewShare, SentInvitation};
pub use snapshot::{Snapshot, Stamp, Stamps};
pub use usage::{UsageMetric, UsagePoint};
pub use user::User;
pub use vector_index::{IndexBuild, IndexMethod, IndexSpec, IndexedGeneration, Measured, VectorIndex};
pub use verification::Verifications;
