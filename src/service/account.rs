//! Accounts and sessions: signing up, in and out. An access token lives for minutes; a refresh token is exchanged for the next pair and
//! then used up, and one that comes back a second time closes its whole family, because somebody has a copy.

use std::{net::IpAddr, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Services, attempts::Attempts, change::validate};
use crate::{
    access::{Viewer, secret_hash::random_token, token_digest},
    domain::{
        AccountEdit, Error, NewAccount, NewRefreshToken, Outcome, Refreshed, Refusal, Result, TokenDigest, User, UserId,
    },
};

/// How long an access token is good.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a session may rest before it ends.
const REFRESH_DAYS: i64 = 30;
const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
/// Wrong passwords for an account from one address, and from all addresses together, within a quarter of an hour.
const GUESSES_PER_ADDRESS: u32 = 10;
const GUESSES_PER_ACCOUNT: u32 = 100;
/// New accounts from one address within an hour.
const SIGN_UPS_PER_ADDRESS: u32 = 20;

/// Who guesses how often.
pub(super) struct SignInGate {
    per_address: Attempts<(TokenDigest, IpAddr)>,
    per_account: Attempts<TokenDigest>,
    sign_ups: Attempts<IpAddr>,
}

impl Default for SignInGate {
    fn default() -> Self {
        let window = Duration::from_secs(15 * 60);
        SignInGate {
            per_address: Attempts::new(GUESSES_PER_ADDRESS, window),
            per_account: Attempts::new(GUESSES_PER_ACCOUNT, window),
            sign_ups: Attempts::new(SIGN_UPS_PER_ADDRESS, Duration::from_secs(3600)),
        }
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

fn check_password(password: &SecretString) -> Result<(), Refusal> {
    let password = password.expose_secret();
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        let message = format!("At least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes");
        return Err(Refusal::invalid("password", message));
    }
    Ok(())
}

impl Services {
    /// Makes an account and signs it in.
    ///
    /// # Errors
    /// A refusal for an address or password that is not acceptable, or an address that is taken; `RateLimited`.
    pub async fn sign_up(
        &self,
        email: &str,
        password: &SecretString,
        name: Option<String>,
        address: IpAddr,
    ) -> Outcome<SignedIn> {
        let email = settled_email(email)?;
        check_password(password)?;
        if let Some(name) = &name {
            validate::account_name(name)?;
        }
        self.sign_ins.sign_ups.count(address)?;
        let password_hash = self.shares.hasher().hash(password).await?;
        let account = NewAccount { id: UserId::generate(), email, name, password_hash };
        let taken = || Refusal::conflict("email", None, vec!["email"], "There is an account with this address");
        let user = self.accounts.create_account(account).await?.ok_or_else(taken)?;
        Ok(self.begin_session(user, Uuid::now_v7()).await?)
    }

    /// Signs in. An unknown address and a wrong password look the same and take the same time.
    ///
    /// # Errors
    /// `Unauthenticated`; `RateLimited` after too many wrong passwords.
    pub async fn sign_in(&self, email: &str, password: &SecretString, address: IpAddr) -> Result<SignedIn> {
        let wrong = || Error::unauthenticated("Wrong address or password");
        let email = settled_email(email).map_err(|_| wrong())?;
        let digest = token_digest(&email);
        self.sign_ins.per_address.count((digest, address))?;
        self.sign_ins.per_account.count(digest)?;
        let hasher = self.shares.hasher();
        let Some(credentials) = self.accounts.credentials(&email).await? else {
            hasher.verify_dummy(password).await?;
            return Err(wrong());
        };
        let is_right = hasher.verify(password, &credentials.password_hash).await?;
        if !is_right || !credentials.user.is_active {
            return Err(wrong());
        }
        self.sign_ins.per_address.forgive(&(digest, address));
        self.accounts.signed_in(credentials.user.id).await?;
        self.begin_session(credentials.user, Uuid::now_v7()).await
    }

    /// Exchanges a refresh token for the next pair of tokens.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not good (any more). One that was used before ends the session for everybody.
    pub async fn refresh_session(&self, token: &SecretString) -> Result<SignedIn> {
        let ended = || Error::unauthenticated("This session has ended; sign in again");
        let (id, family) = match self.accounts.use_refresh_token(&token_digest(token.expose_secret())).await? {
            Refreshed::Taken { user, family } => (user, family),
            Refreshed::Reused => {
                tracing::warn!("A refresh token came back after its use; its session is closed");
                return Err(ended());
            }
            Refreshed::Unknown => return Err(ended()),
        };
        let user = self.reads.users(&[id]).await?.into_iter().next().flatten();
        self.begin_session(user.filter(|user| user.is_active).ok_or_else(ended)?, family).await
    }

    /// Ends the session that a refresh token belongs to. An unknown token ends nothing, and that is no error.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sign_out(&self, token: &SecretString) -> Result<()> {
        if let Some(session) = self.accounts.end_session(&token_digest(token.expose_secret())).await? {
            self.sessions.forget_session(session);
        }
        Ok(())
    }

    /// Changes the viewer's own account.
    ///
    /// # Errors
    /// A refusal, or `Unauthenticated` without an account.
    pub async fn update_account(&self, viewer: &Viewer, edit: &dyn AccountEdit) -> Outcome<Arc<User>> {
        let gone = || Error::unauthenticated("Sign in to change an account");
        let mut account = User::clone(viewer.user().ok_or_else(gone)?);
        edit.apply(&mut account);
        validate::account(&account)?;
        let user = self.accounts.update_account(account).await?.ok_or_else(gone)?;
        self.reads.forget_user(user.id);
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
        self.accounts.add_refresh_token(token).await?;
        let expires_at = Utc::now() + ACCESS_LIFETIME;
        Ok(SignedIn { user, access_token, refresh_token, expires_at })
    }
}
