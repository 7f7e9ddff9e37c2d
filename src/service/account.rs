//! Accounts and sessions: signing up, in and out. An access token lives for minutes; a refresh token is exchanged for the next pair and
//! then used up, and one that comes back a second time closes its whole family, because somebody has a copy.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    Services,
    attempts::{Attempts, Delays},
    change::{WriteOptions, origin, validate},
};
use crate::{
    access::{Viewer, secret_hash::random_token, token_digest},
    domain::{
        AccountEdit, ClientAddress, Code, Error, Failure, IdempotencyKey, NewAccount, NewRefreshToken, Outcome,
        Refreshed, Refusal, Result, TokenDigest, User, UserId,
    },
};

/// How long an access token is good.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a session may rest before it ends.
const REFRESH_DAYS: i64 = 30;
const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
/// Attempts at the password of an account from one address that may follow each other at will; then each waits.
const FREE_GUESSES: u32 = 5;
/// Wrong passwords for an account from all addresses together, and from one address for all accounts together, within
/// [`GUESSING_WINDOW`].
const GUESSES_PER_ACCOUNT: u32 = 100;
const GUESSES_PER_ADDRESS: u32 = 200;
const GUESSING_WINDOW: Duration = Duration::from_secs(15 * 60);
/// New accounts from one address within an hour.
const SIGN_UPS_PER_ADDRESS: u32 = 20;

/// Who guesses how often. An attempt is counted before it is looked at, so that those made at the same moment count too, and
/// by what the address is settled to, whether there is such an account or not.
pub(super) struct SignInGate {
    guesses: Delays<(TokenDigest, ClientAddress)>,
    per_account: Attempts<TokenDigest>,
    per_address: Attempts<ClientAddress>,
    sign_ups: Attempts<ClientAddress>,
}

impl Default for SignInGate {
    fn default() -> Self {
        SignInGate {
            guesses: Delays::new(FREE_GUESSES),
            per_account: Attempts::new(GUESSES_PER_ACCOUNT, GUESSING_WINDOW),
            per_address: Attempts::new(GUESSES_PER_ADDRESS, GUESSING_WINDOW),
            sign_ups: Attempts::new(SIGN_UPS_PER_ADDRESS, Duration::from_secs(3600)),
        }
    }
}

impl SignInGate {
    fn attempt(&self, account: TokenDigest, address: ClientAddress) -> Result<()> {
        // First, so that nobody fills the other counts with accounts that do not exist.
        self.per_address.count(address)?;
        let counted = self.guesses.count((account, address)).and_then(|()| self.per_account.count(account));
        if counted.is_err() {
            self.per_address.take_back(&address);
        }
        counted
    }

    fn succeeded(&self, account: TokenDigest, address: ClientAddress) {
        self.guesses.forgive(&(account, address));
        self.per_account.take_back(&account);
        self.per_address.take_back(&address);
    }
}

/// What somebody who has signed in holds.
#[derive(Clone)]
pub struct SignedIn {
    /// The account.
    pub user: Arc<User>,
    /// For the header `Authorization: Bearer …`.
    pub access_token: SecretString,
    /// Good once, for the next pair.
    pub refresh_token: SecretString,
    /// When the access token ends.
    pub expires_at: DateTime<Utc>,
}

/// The address as accounts are found by it.
fn settled_email(email: &str) -> Result<String, Refusal> {
    let email = email.trim().to_lowercase();
    let is_address = email.len() <= 255
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
    if is_address { Ok(email) } else { Err(Refusal::invalid("email", "An e-mail address is expected")) }
}

fn wrong() -> Error {
    Error::unauthenticated("Wrong address or password")
}

fn check_password(password: &SecretString) -> Result<(), Refusal> {
    let password = password.expose_secret();
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        let message = format!("At least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes");
        return Err(Refusal::invalid("password", message));
    }
    Ok(())
}

impl Services {
    /// Makes an account and signs it in. The same request under the same idempotency key signs in to the account that the
    /// first one made.
    ///
    /// # Errors
    /// A refusal for an address or password that is not acceptable, or an address that is taken; `RateLimited`.
    pub async fn sign_up(
        &self,
        viewer: &Viewer,
        email: &str,
        password: &SecretString,
        name: Option<String>,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<SignedIn> {
        let origin = origin(viewer, options)?;
        let email = settled_email(email)?;
        check_password(password)?;
        if let Some(name) = &name {
            validate::account_name(name)?;
        }
        self.sign_ins.sign_ups.count(address)?;
        // Whoever signs up is nobody yet: keys belong to the address.
        let principal = token_digest(&format!("sign-up {email}"));
        let key = origin.idempotency.map(|key| IdempotencyKey { principal, ..key });
        let request = self.with_password(key, Some(password)).await?;
        let password_hash = self.shares.hasher().hash(password).await?;
        let account = NewAccount { id: UserId::generate(), email: email.clone(), name, password_hash };
        let id = account.id;
        let taken = || Refusal::conflict("email", None, vec!["email"], "There is an account with this address");
        let user = self.ports.accounts.create_account(account, request.as_ref()).await?.ok_or_else(taken)?;
        if user.id != id {
            // The account may have another password by now, or be deactivated.
            let user = self.check_sign_in(&email, password, address).await.map_err(|error| match error.code() {
                Code::Unauthenticated => Failure::Refused(Refusal::key_reused()),
                _ => Failure::Failed(error),
            })?;
            return Ok(self.begin_session(user, Uuid::now_v7()).await?);
        }
        Ok(self.begin_session(user, Uuid::now_v7()).await?)
    }

    /// Signs in. An unknown address and a wrong password look the same and take the same time.
    ///
    /// # Errors
    /// `Unauthenticated`; `RateLimited` after too many wrong passwords; a refusal when it comes with an API key.
    pub async fn sign_in(
        &self,
        viewer: &Viewer,
        email: &str,
        password: &SecretString,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<SignedIn> {
        origin(viewer, options)?;
        let email = settled_email(email).map_err(|_| wrong())?;
        let user = self.check_sign_in(&email, password, address).await?;
        self.ports.accounts.signed_in(user.id).await?;
        Ok(self.begin_session(user, Uuid::now_v7()).await?)
    }

    /// The account with this settled address and password.
    async fn check_sign_in(&self, email: &str, password: &SecretString, address: ClientAddress) -> Result<Arc<User>> {
        let digest = token_digest(email);
        self.sign_ins.attempt(digest, address)?;
        let hasher = self.shares.hasher();
        let Some(credentials) = self.ports.accounts.credentials(email).await? else {
            hasher.verify_dummy(password).await?;
            return Err(wrong());
        };
        let is_right = match hasher.verify(password, &credentials.password_hash).await {
            // Nobody can sign in to an account whose hash is none; from outside that is a wrong password like any other.
            Err(error) if error.code() == Code::Internal => {
                tracing::warn!(cause = ?error.cause(), user.id = %credentials.user.id, "A stored password hash cannot be used");
                hasher.verify_dummy(password).await?;
                false
            }
            verified => verified?,
        };
        if !is_right || !credentials.user.is_active {
            return Err(wrong());
        }
        self.sign_ins.succeeded(digest, address);
        Ok(credentials.user)
    }

    /// Exchanges a refresh token for the next pair of tokens.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not good (any more). One that was used before ends the session for everybody. A
    /// refusal when it comes with an API key.
    pub async fn refresh_session(
        &self,
        viewer: &Viewer,
        token: &SecretString,
        options: WriteOptions,
    ) -> Outcome<SignedIn> {
        origin(viewer, options)?;
        let ended = || Error::unauthenticated("This session has ended; sign in again");
        let (id, family) = match self.ports.accounts.use_refresh_token(&token_digest(token.expose_secret())).await? {
            Refreshed::Taken { user, family } => (user, family),
            Refreshed::Reused => {
                tracing::warn!("A refresh token came back after its use; its session is closed");
                return Err(ended().into());
            }
            Refreshed::Unknown => return Err(ended().into()),
        };
        let user = self.ports.reads.users(&[id]).await?.into_iter().next().flatten();
        Ok(self.begin_session(user.filter(|user| user.is_active).ok_or_else(ended)?, family).await?)
    }

    /// Ends the session that a refresh token belongs to. An unknown token ends nothing, and that is no error.
    ///
    /// # Errors
    /// Those of the database; a refusal when it comes with an API key.
    pub async fn sign_out(&self, viewer: &Viewer, token: &SecretString, options: WriteOptions) -> Outcome<()> {
        origin(viewer, options)?;
        if let Some(session) = self.ports.accounts.end_session(&token_digest(token.expose_secret())).await? {
            self.ports.sessions.forget_session(session);
        }
        Ok(())
    }

    /// Changes the viewer's own account.
    ///
    /// # Errors
    /// A refusal, or `Unauthenticated` without an account.
    pub async fn update_account(
        &self,
        viewer: &Viewer,
        edit: &dyn AccountEdit,
        options: WriteOptions,
    ) -> Outcome<Arc<User>> {
        let gone = || Error::unauthenticated("Sign in to change an account");
        let mut account = User::clone(viewer.user().ok_or_else(gone)?);
        let origin = origin(viewer, options)?;
        edit.apply(&mut account);
        validate::account(&account)?;
        let user = self.ports.accounts.update_account(account, origin.idempotency.as_ref()).await?.ok_or_else(gone)?;
        self.ports.reads.forget_user(user.id);
        Ok(user)
    }

    async fn begin_session(&self, user: Arc<User>, family: Uuid) -> Result<SignedIn> {
        let access_token = self.tokens.issue_in(Some(family), &user.id.to_string(), ACCESS_LIFETIME)?;
        let refresh_token = random_token("refresh")?;
        let token = NewRefreshToken {
            user: user.id,
            family,
            digest: token_digest(refresh_token.expose_secret()),
            expires_at: Utc::now() + TimeDelta::days(REFRESH_DAYS),
        };
        self.ports.accounts.add_refresh_token(token).await?;
        let expires_at = Utc::now() + ACCESS_LIFETIME;
        Ok(SignedIn { user, access_token, refresh_token, expires_at })
    }
}
