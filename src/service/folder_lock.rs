//! Opening folders by their password. Setting one is a change of the board, see `change/`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{Services, attempts::Attempts};
use crate::{
    access::{Caller, Granted, Viewer, secret_hash::random_token, token_digest},
    domain::{BoardId, ClientAddress, NodeId, Outcome, Permission, Refusal, Result, TokenDigest, UNLOCKED_FOR, Unlock},
};

/// Longer tokens are not ours.
const MAX_TOKEN_BYTES: usize = 200;
/// Tokens that one request may carry.
const MAX_TOKENS: usize = 20;
const MAX_PASSWORD_BYTES: usize = 1024;
/// Wrong passwords per folder and address.
const PASSWORD_ATTEMPTS: u32 = 10;
const PASSWORD_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Who guesses how often.
pub(super) struct FolderGate(Attempts<(NodeId, ClientAddress)>);

impl Default for FolderGate {
    fn default() -> Self {
        FolderGate(Attempts::new(PASSWORD_ATTEMPTS, PASSWORD_WINDOW))
    }
}

/// A folder that was opened.
pub struct Unlocked {
    /// For the header `X-Unlock-Token`.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// The viewer, who sees into the folder now.
    pub viewer: Viewer,
}

fn no_folder(id: NodeId) -> Refusal {
    Refusal::not_found("id", format!("There is no node {id}"))
}

impl Services {
    /// A password of a folder as it is stored.
    ///
    /// # Errors
    /// A refusal when it is empty or longer than 1 kB; those of the hasher.
    pub async fn folder_password_hash(&self, password: &SecretString) -> Outcome<String> {
        let length = password.expose_secret().len();
        if !(1..=MAX_PASSWORD_BYTES).contains(&length) {
            let message = format!("From 1 to {MAX_PASSWORD_BYTES} bytes");
            return Err(Refusal::invalid("password", message).into());
        }
        Ok(self.shares.hasher().hash(password).await?)
    }

    /// Opens a folder of a board for a while.
    ///
    /// # Errors
    /// A refusal when there is no such folder for the viewer, it has no password, or this is not it; `RateLimited` after ten
    /// wrong ones from one address.
    pub async fn unlock_folder(
        &self,
        viewer: &Viewer,
        place: (BoardId, NodeId),
        password: &SecretString,
        address: ClientAddress,
    ) -> Outcome<Unlocked> {
        let (board, folder) = place;
        let record =
            self.ports.reads.boards(&[board]).await?.into_iter().flatten().next().ok_or_else(|| no_folder(folder))?;
        let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(|| no_folder(folder))?;
        let hidden = self.ports.folder_locks.hidden(board, &[folder], granted.sealed()).await?;
        if !hidden.is_empty() {
            return Err(no_folder(folder).into());
        }
        let hash = self.ports.folder_locks.folder_password(board, folder).await?;
        let hash = hash.ok_or_else(|| Refusal::invalid("id", "This node has no password"))?;
        if password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return Err(Refusal::forbidden("password", "Wrong password").into());
        }
        self.lookups.count_password(address)?;
        let counted = self.folder_gate.0.count((folder, address));
        counted.inspect_err(|_| self.lookups.take_password_back(address))?;
        let caller = Caller::of(viewer, address);
        if !caller.scope(self.shares.hasher().verify(password, &hash)).await? {
            return Err(Refusal::forbidden("password", "Wrong password").into());
        }
        self.lookups.take_password_back(address);
        self.folder_gate.0.forgive(&(folder, address));
        let token = random_token("unlock")?;
        let unlock = Unlock {
            token: token_digest(token.expose_secret()),
            folder_id: folder,
            principal: viewer.principal(),
            expires_at: Utc::now() + UNLOCKED_FOR,
        };
        self.ports.folder_locks.keep_unlock(&unlock, &hash).await?;
        let viewer = viewer.unlocking(vec![unlock.clone()]);
        Ok(Unlocked { token, expires_at: unlock.expires_at, viewer })
    }

    /// The viewer with the folders that these tokens open, separated by commas. A token that has ended, or is somebody
    /// else's, opens nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn with_unlocks(&self, viewer: Viewer, tokens: &SecretString) -> Result<Viewer> {
        let tokens = tokens.expose_secret().split(',').map(str::trim);
        let tokens = tokens.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
        let digests: Vec<TokenDigest> = tokens.take(MAX_TOKENS).map(token_digest).collect();
        self.unlocking(viewer, &digests).await
    }

    pub(super) async fn unlocking(&self, viewer: Viewer, tokens: &[TokenDigest]) -> Result<Viewer> {
        if tokens.is_empty() {
            return Ok(viewer);
        }
        Ok(viewer.unlocking(self.ports.folder_locks.unlocks(tokens).await?))
    }
}
