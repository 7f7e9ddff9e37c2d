//! What operations mean: who is asking, what a viewer may list, how a share link is redeemed.
//!
//! Services name ports and `access`; how answers are batched is the business of the loaders, and how they look that of
//! `graphql`. Writing comes with its own files beside these.

pub mod account;
pub mod api_key;
pub mod attempts;
pub mod board;
pub mod change;
mod counters;
pub mod folder_lock;
pub mod indexing;
pub mod job;
pub mod journal;
mod lookup;
pub mod mailing;
pub mod password;
pub mod presence;
pub mod quota;
pub mod read_only;
pub mod reindexing;
pub mod search;
pub mod session;
pub mod share;
pub mod sharing;
mod sign_in;
pub mod user;
pub mod verification;
pub mod watch;

use std::sync::{Arc, atomic::AtomicBool};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::Notify;

use crate::{
    access::{SecretHasher, Tokens, TurnLimits, Turns},
    config::Environment,
    domain::{
        AccountSessions, BoardEvent, BoardId, Embedders, Mails, Passwords, Rights, Search, SearchMemory, Verifications,
        ports::{
            Accounts, Activities, ApiKeys, Feed, FolderLocks, JobFeed, Jobs, PresenceFeed, ReadOnlyMode, Reads,
            Sessions, Sharing, Usages, Writes,
        },
    },
};

use self::{
    api_key::KeyUses,
    folder_lock::FolderGate,
    journal::Journal,
    lookup::LookupGate,
    password::PasswordGate,
    presence::PresenceGuards,
    quota::FarFromLimits,
    search::{SearchCounts, SearchLimits},
    share::ShareGate,
    sharing::InvitationGate,
    sign_in::SignInGate,
    verification::MailGate,
};

/// What the API tells about the server it runs on.
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    /// Version of the program.
    pub version: &'static str,
    /// Where it runs.
    pub environment: Environment,
    /// Whether writes are refused by configuration.
    pub is_read_only: bool,
    /// Whether mails can be sent.
    pub sends_mail: bool,
    /// Limits that clients should know.
    pub limits: crate::config::LimitsConfig,
    /// What accounts of each plan may have.
    pub quotas: crate::config::QuotaConfig,
    /// Up to which size scopes of searches are compared whole.
    pub search_limits: SearchLimits,
}

/// What the services stand on.
pub struct Ports {
    /// Reading, from memory where it is known to be true.
    pub reads: Arc<dyn Reads>,
    /// Changing boards.
    pub writes: Arc<dyn Writes>,
    /// Hearing that rights may have changed.
    pub rights: Arc<dyn Rights>,
    /// Following the change log.
    pub feed: Arc<dyn Feed>,
    /// Who is where.
    pub presence: Arc<dyn PresenceFeed>,
    /// Accounts, and their refresh tokens.
    pub accounts: Arc<dyn Accounts>,
    /// Whether sessions go on.
    pub sessions: Arc<dyn Sessions>,
    /// Mails that were asked for.
    pub mails: Arc<dyn Mails>,
    /// Verified addresses of accounts.
    pub verifications: Arc<dyn Verifications>,
    /// Passwords of accounts.
    pub passwords: Arc<dyn Passwords>,
    /// Sessions of accounts, for their holders.
    pub account_sessions: Arc<dyn AccountSessions>,
    /// Share links and collaborators.
    pub sharing: Arc<dyn Sharing>,
    /// Folders with a password.
    pub folder_locks: Arc<dyn FolderLocks>,
    /// Whether the database takes writes.
    pub read_only_mode: Arc<dyn ReadOnlyMode>,
    /// API keys.
    pub keys: Arc<dyn ApiKeys>,
    /// What happened on boards.
    pub activities: Arc<dyn Activities>,
    /// How much accounts use.
    pub usages: Arc<dyn Usages>,
    /// Searching what is stored.
    pub search: Arc<dyn Search>,
    /// What searches remember.
    pub search_memory: Arc<dyn SearchMemory>,
    /// The models that can be asked.
    pub embedders: Arc<dyn Embedders>,
    /// The queue of background jobs.
    pub jobs: Arc<dyn Jobs>,
    /// Following background jobs.
    pub job_feed: Arc<dyn JobFeed>,
}

/// Everything that the layers above ask for.
pub struct Services {
    ports: Ports,
    folder_gate: FolderGate,
    refuses_writes: AtomicBool,
    key_uses: KeyUses,
    journal: Journal,
    guards: PresenceGuards,
    mail_bell: Arc<Notify>,
    mail_gate: MailGate,
    password_gate: PasswordGate,
    sign_ins: SignInGate,
    invitations: InvitationGate,
    lookups: LookupGate,
    far_from_limits: FarFromLimits,
    tokens: Tokens,
    shares: ShareGate,
    search_limits: SearchLimits,
    search_turns: Turns,
    searches: SearchCounts,
    info: ServiceInfo,
}

/// Searches that one caller may have waiting for a turn.
const WAITING_SEARCHES: usize = 1000;

/// Half of the turns are enough for one caller: others find one.
fn search_turns(limits: &SearchLimits) -> TurnLimits {
    let at_once = limits.at_once.max(1);
    TurnLimits::new(at_once, at_once.div_ceil(2), WAITING_SEARCHES)
}

impl Services {
    /// Puts the services over the ports.
    #[must_use]
    pub fn new(ports: Ports, tokens: Tokens, hasher: SecretHasher, info: ServiceInfo) -> Self {
        Services {
            folder_gate: FolderGate::default(),
            refuses_writes: AtomicBool::new(false),
            key_uses: KeyUses::new(Arc::clone(&ports.keys)),
            journal: Journal::new(Arc::clone(&ports.activities), Arc::clone(&ports.usages)),
            mail_bell: Arc::default(),
            mail_gate: MailGate::default(),
            password_gate: PasswordGate::default(),
            guards: PresenceGuards::default(),
            sign_ins: SignInGate::new(info.limits.sign_ups_per_hour),
            invitations: InvitationGate::new(info.limits.invitations_per_hour),
            lookups: LookupGate::default(),
            far_from_limits: FarFromLimits::default(),
            tokens,
            shares: ShareGate::new(hasher),
            search_limits: info.search_limits,
            search_turns: Turns::new(search_turns(&info.search_limits)),
            searches: SearchCounts::default(),
            info,
            ports,
        }
    }

    /// The changes of a board after a version, then those to come. Who may hear them is for the caller to check, each time.
    #[must_use]
    pub fn follow(&self, board: BoardId, after: i64) -> BoxStream<'static, Arc<BoardEvent>> {
        let reads = Arc::clone(&self.ports.reads);
        // What is told of a change must not show what was before it.
        self.ports.feed.follow(board, after).inspect(move |event| reads.heard(board, event.version)).boxed()
    }

    /// Lets go of a board that this process has just changed, and wakes the others.
    fn has_changed(&self, board: BoardId) {
        self.ports.reads.forget(board);
        self.ports.feed.committed(board);
    }

    /// What the API tells about the server.
    #[must_use]
    pub fn info(&self) -> &ServiceInfo {
        &self.info
    }
}
