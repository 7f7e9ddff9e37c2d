//! Showing others where one is on a board, and seeing where they are. Everybody who may see the board may do both, but nobody
//! shows up without an account or a link of this board: who is there is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chrono::Utc;
use futures_util::stream::BoxStream;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{task::AbortHandle, time::sleep};
use uuid::Uuid;

use super::{
    Services,
    change::{WriteOptions, origin, validate},
};
use crate::{
    access::{Granted, Viewer, token_digest},
    domain::{
        BoardId, ClientAddress, Error, GONE_AFTER, NodeId, Outcome, Permission, Person, Presence, PresenceId, Refusal,
        Stamp, TokenDigest,
    },
};

/// Windows of one account on one board.
const WINDOWS_OF_ACCOUNT: usize = 10;
/// Windows of those who hold one link, at one address.
const WINDOWS_OF_LINK: usize = 100;
const MAX_CLIENT_BYTES: usize = 64;
const MAX_SELECTED: usize = 100;

/// What somebody shows.
pub struct Shown {
    /// What the client calls its window.
    pub client: String,
    /// Where the cursor is, in pixels of the canvas.
    pub cursor: Option<(f64, f64)>,
    /// The nodes that are selected.
    pub selection: Vec<NodeId>,
    /// What else the frontend says.
    pub state: Option<Value>,
    /// False says goodbye.
    pub is_here: bool,
}

impl Services {
    /// Shows where the viewer is; others see it within a tenth of a second, and of several within a twentieth the last.
    ///
    /// # Errors
    /// A refusal; `Unauthenticated` without an account and without a link of this board; `Overloaded`.
    pub async fn show_presence(
        self: &Arc<Self>,
        viewer: &Viewer,
        options: WriteOptions,
        address: ClientAddress,
        board: BoardId,
        shown: Shown,
    ) -> Outcome<Arc<Presence>> {
        origin(viewer, options)?;
        let record = self.ports.reads.boards(&[board]).await?.into_iter().flatten().next();
        let granted = record.and_then(|record| Granted::check(viewer, &record, Permission::View));
        let granted = granted.ok_or_else(|| Refusal::not_found("boardId", format!("There is no board {board}")))?;
        let stamp = granted.subject().stamp;
        let nobody = || Error::unauthenticated("Sign in, or come with a link of this board, to be seen");
        let person = person(viewer, board, address).ok_or_else(nobody)?;
        check(&shown)?;
        let Shown { client, cursor, selection, state, is_here } = shown;
        let presence = Presence {
            id: window(board, &person, &client),
            board_id: board,
            user: viewer.user().map(|user| user.id),
            mark: Uuid::now_v7().as_u64_pair().1.cast_signed(),
            cursor,
            selection,
            state,
            is_here,
            seen_at: Utc::now(),
        };
        self.ports.presence.show(presence.clone(), person)?;
        if is_here {
            self.guard(viewer, board, stamp, person);
        }
        Ok(Arc::new(presence))
    }

    /// Sees to it that somebody who shows up leaves with the right to see the board, and not only after 30 s of silence.
    fn guard(self: &Arc<Self>, viewer: &Viewer, board: BoardId, stamp: Stamp, person: Person) {
        let key = (board, person.digest);
        let (credential, shown) = (viewer.credential(), Instant::now());
        let mut guards = self.guards.lock();
        if let Some(guard) = guards.get_mut(&key).filter(|guard| guard.credential == credential) {
            guard.shown = shown;
            return;
        }
        let (services, viewer) = (Arc::downgrade(self), viewer.clone());
        let watching = tokio::spawn(async move {
            let Some(services) = services.upgrade() else { return };
            let lost = services.until_unseen(&viewer, board, stamp);
            if services.guards.while_shown(key, lost).await {
                services.ports.presence.leave(board, &person, viewer.user().map(|user| user.id));
            }
        });
        // Another credential of the same person: the right of that one counts from now on.
        let guard = Guard { credential, shown, watching: watching.abort_handle() };
        if let Some(before) = guards.insert(key, guard) {
            before.watching.abort();
        }
    }

    /// Who is on a board, and then how that changes. Who may know it is for the caller to check, again and again.
    #[must_use]
    pub fn follow_presence(&self, board: BoardId) -> BoxStream<'static, Arc<Presence>> {
        self.ports.presence.follow_presence(board)
    }
}

/// By whom it is watched, for everybody who shows up here, that they still may.
#[derive(Default)]
pub(super) struct PresenceGuards(Mutex<HashMap<(BoardId, TokenDigest), Guard>>);

struct Guard {
    /// What they came with last.
    credential: TokenDigest,
    /// When they showed up last.
    shown: Instant,
    watching: AbortHandle,
}

impl PresenceGuards {
    fn lock(&self) -> MutexGuard<'_, HashMap<(BoardId, TokenDigest), Guard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody has lost the right, or is silent for so long that nobody sees them any more; whether it was the
    /// right. The guard is gone then.
    async fn while_shown(&self, key: (BoardId, TokenDigest), lost: impl Future<Output = Error>) -> bool {
        let silent = async {
            loop {
                let shown = self.lock().get(&key).map(|guard| guard.shown);
                let Some(left) = shown.and_then(|shown| GONE_AFTER.checked_sub(shown.elapsed())) else { return };
                sleep(left).await;
            }
        };
        let has_lost = tokio::select! {
            _ = lost => true,
            () = silent => false,
        };
        self.lock().remove(&key);
        has_lost
    }
}

fn person(viewer: &Viewer, board: BoardId, address: ClientAddress) -> Option<Person> {
    if viewer.user().is_some() {
        return Some(Person { digest: viewer.principal(), most_windows: WINDOWS_OF_ACCOUNT });
    }
    let share = viewer.share().map(|held| held.share()).filter(|share| share.board_id == board)?;
    Some(Person { digest: token_digest(&format!("{} {address}", share.id)), most_windows: WINDOWS_OF_LINK })
}

/// Nobody can speak for another's window: its id cannot be made without being that person.
fn window(board: BoardId, person: &Person, client: &str) -> PresenceId {
    let mut digest = Sha256::new();
    digest.update(board.0);
    digest.update(person.digest);
    digest.update(client);
    let digest: [u8; 32] = digest.finalize().into();
    let (half, _) = digest.split_at(16);
    PresenceId(uuid::Builder::from_custom_bytes(half.try_into().unwrap_or_default()).into_uuid())
}

fn check(shown: &Shown) -> Result<(), Refusal> {
    if shown.client.len() > MAX_CLIENT_BYTES {
        return Err(Refusal::invalid("clientId", format!("At most {MAX_CLIENT_BYTES} bytes")));
    }
    if shown.selection.len() > MAX_SELECTED {
        return Err(Refusal::invalid("selection", format!("At most {MAX_SELECTED} nodes")));
    }
    validate::presence(shown.cursor, shown.state.as_ref())
}
