//! What RAGBOARD is about: entities, ids, errors, pages and the ports that adapters implement.
//!
//! No I/O happens here, and no library of the layers above or of the adapters is named.

pub mod account;
pub mod activity;
pub mod answer;
pub mod api_key;
pub mod board;
pub mod change;
pub mod error;
pub mod event;
pub mod fetch;
pub mod folder_lock;
pub mod id;
pub mod import;
pub mod link;
pub mod node;
pub mod page;
pub mod ports;
pub mod presence;
pub mod refusal;
pub mod share;
pub mod sharing;
pub mod snapshot;
pub mod usage;
pub mod user;
mod words;

pub use account::{AccountEdit, Credentials, NewAccount, NewRefreshToken, Refreshed};
pub use activity::{ACTIVITY_ORDER, Activity, ActivityKind};
pub use answer::{AnswerKey, Basis};
pub use api_key::{API_KEY_ORDER, ApiKey, ApiKeyScope, NewApiKey};
pub use board::{
    Board, BoardList, BoardOrder, BoardOrderKey, BoardRecord, BoardStats, BoardsOf, ListedBoard, Permission,
};
pub use change::{
    Action, Below, BoardEdit, BoardWrites, Change, ChangeSet, Child, Claim, Committed, IdempotencyKey, LinkEdit,
    Logged, MAX_CHANGES, NodeEdit, NodeWrite, Origin, Place, Spot, StoredNode,
};
pub use error::{Code, Error, Result};
pub use event::{BoardEvent, EVENT_ORDER, event_place, version_at};
pub use fetch::{Fetch, Fetched};
pub use folder_lock::{FolderLock, Sealed, UNLOCKED_FOR, Unlock};
pub use id::{AnyId, ApiKeyId, BoardId, LinkId, MediaId, NodeId, PresenceId, ShareId, UserId};
pub use link::{LINK_ORDER, Link, LinkDirection, LinkKind, LinkList, LinkPageKey};
pub use node::{
    CHAT_MODELS, Chat, ChatResponseFormat, Folder, FolderSortOrder, MAX_FOLDER_DEPTH, Node, NodeFilter, NodeKey,
    NodeKind, NodeList, NodeOrder, NodeOrderKey, NodePageKey, NodeScope, NodeText, NodeType, Placement,
    ProcessingStatus, Rect, Resource, ResourceType,
};
pub use page::{Cursor, MAX_PAGE, Page, PageRequest, SortKey};
pub use presence::{GONE_AFTER, Person, Presence};
pub use refusal::{Failure, Outcome, Refusal, RefusalKind};
pub use share::{Redemption, Share, TokenDigest};
pub use sharing::{Collaborator, Invitation, NewShare};
pub use snapshot::{Snapshot, Stamp, Stamps};
pub use usage::{UsageMetric, UsagePoint};
pub use user::User;
