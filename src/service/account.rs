//! Accounts and sessions: signing up, in and out. An access token lives for minutes; a refresh token is exchanged for the next
//! pair. One that comes back within seconds gets the same pair again; one that comes back later closes its whole family,
//! because somebody has a copy.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    Services,
    change::{WriteOptions, origin, validate},
    sign_in::{SigningIn, settled_email, wrong},
};
use crate::{
    access::{
        Caller, Viewer,
        secret_hash::{derived_token, random_salt, random_token},
        token_digest,
    },
    domain::{
        AccountEdit, ClientAddress, Code, Error, Failure, IdempotencyKey, NewAccount, NewRefreshToken, Outcome,
        Refreshed, Refusal, Result, Successor, User, UserId,
    },
};

/// How long an access token is good.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a session may rest before it ends.
const REFRESH_DAYS: i64 = 30;
/// What refresh tokens begin with.
const REFRESH_PREFIX: &str = "refresh";
/// Longer tokens are not ours.
const MAX_TOKEN_BYTES: usize = 200;
const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
/// What somebody who has signed in holds.
#[derive(Clone)]
pub struct SignedIn {
    /// The account.
    pub user: Arc<User>,
    /// The session, which is named in the access token.
    pub session: Uuid,
    /// For the header `Authorization: Bearer …`.
    pub access_token: SecretString,
    /// For the next pair.
    pub refresh_token: SecretString,
    /// When the access token ends.
    pub expires_at: DateTime<Utc>,
    /// What the device is known by at the next sign-in; told at sign-ins only.
    pub device_token: Option<SecretString>,
}

pub(super) fn check_password(password: &SecretString) -> Result<(), Refusal> {
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
        self.signs_tokens()?;
        let origin = origin(viewer, options)?;
        let email = settled_email(email)?;
        check_password(password)?;
        if let Some(name) = &name {
            validate::account_name(name)?;
        }
        self.sign_ins.count_sign_up(address)?;
        // Whoever signs up is nobody yet: keys belong to the address.
        let principal = token_digest(&format!("sign-up {email}"));
        let key = origin.idempotency.map(|key| IdempotencyKey { principal, ..key });
        let request = self.with_password(key, Some(password)).await?;
        let password_hash = Caller::Address(address).scope(self.shares.hasher().hash(password)).await?;
        let account = NewAccount { id: UserId::generate(), email: email.clone(), name, password_hash };
        let id = account.id;
        // Whether there is one already is not said; what a success tells cannot be hidden without mail.
        let taken = || Refusal::invalid("email", "No account can be made with this address; if it is yours, sign in");
        let user = self.ports.accounts.create_account(account, request.as_ref()).await?.ok_or_else(taken)?;
        if user.id != id {
            // The account may have another password by now, or be deactivated.
            let signing = SigningIn { email: &email, password, address, device: None };
            let (user, device) = self.check_sign_in(signing).await.map_err(|error| match error.code() {
                Code::Unauthenticated => Failure::Refused(Refusal::key_reused()),
                _ => Failure::Failed(error),
            })?;
            return Ok(self.begin_session(user, device).await?);
        }
        let device = self.note_place(&email, user.id, address, None).await?;
        Ok(self.begin_session(user, device).await?)
    }

    /// Signs in. An unknown address and a wrong password look the same and take the same time. `device` is what an earlier
    /// sign-in on this device has told.
    ///
    /// # Errors
    /// `Unauthenticated`; `RateLimited` after too many wrong passwords; a refusal when it comes with an API key.
    pub async fn sign_in(
        &self,
        viewer: &Viewer,
        email: &str,
        password: &SecretString,
        from: (ClientAddress, Option<&SecretString>),
        options: WriteOptions,
    ) -> Outcome<SignedIn> {
        self.signs_tokens()?;
        origin(viewer, options)?;
        let email = settled_email(email).map_err(|_| wrong())?;
        let (address, device) = from;
        let (user, device) = self.check_sign_in(SigningIn { email: &email, password, address, device }).await?;
        self.ports.accounts.signed_in(user.id).await?;
        Ok(self.begin_session(user, device).await?)
    }

    /// Exchanges a refresh token for the next pair of tokens. For [`REFRESH_REPEAT_WINDOW`] the same token may come again, and
    /// gets the same refresh token.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not good (any more). One that was used before the window ends the session for
    /// everybody. A refusal when it comes with an API key.
    ///
    /// [`REFRESH_REPEAT_WINDOW`]: crate::domain::REFRESH_REPEAT_WINDOW
    pub async fn refresh_session(
        &self,
        viewer: &Viewer,
        token: &SecretString,
        options: WriteOptions,
    ) -> Outcome<SignedIn> {
        self.signs_tokens()?;
        origin(viewer, options)?;
        let ended = || Error::unauthenticated("This session has ended; sign in again");
        if token.expose_secret().len() > MAX_TOKEN_BYTES {
            return Err(ended().into());
        }
        let salt = random_salt()?;
        let offered = derived_token(REFRESH_PREFIX, token, salt)?;
        let digest = token_digest(offered.expose_secret());
        let successor = Successor { salt, digest, expires_at: Utc::now() + TimeDelta::days(REFRESH_DAYS) };
        let presented = token_digest(token.expose_secret());
        let (id, family, salt) = match self.ports.accounts.use_refresh_token(&presented, &successor).await? {
            Refreshed::Good { user, family, salt } => (user, family, salt),
            Refreshed::Reused { family } => {
                tracing::warn!("A refresh token came back after its use; its session is closed");
                self.ports.sessions.forget_session(family);
                return Err(ended().into());
            }
            Refreshed::Unknown => return Err(ended().into()),
        };
        let user = self.ports.reads.users(&[id]).await?.into_iter().next().flatten();
        let user = user.filter(|user| user.is_active).ok_or_else(ended)?;
        Ok(self.session_of(user, family, derived_token(REFRESH_PREFIX, token, salt)?)?)
    }

    /// Ends the session that a refresh token belongs to. An unknown token ends nothing, and that is no error.
    ///
    /// # Errors
    /// Those of the database; a refusal when it comes with an API key.
    pub async fn sign_out(&self, viewer: &Viewer, token: &SecretString, options: WriteOptions) -> Outcome<()> {
        origin(viewer, options)?;
        if token.expose_secret().len() > MAX_TOKEN_BYTES {
            return Ok(());
        }
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
        validate::account(&account, &edit.fields())?;
        let user = self.ports.accounts.update_account(account, origin.idempotency.as_ref()).await?.ok_or_else(gone)?;
        self.ports.reads.forget_user(user.id);
        Ok(user)
    }

    async fn begin_session(&self, user: Arc<User>, device: SecretString) -> Result<SignedIn> {
        let family = Uuid::now_v7();
        let refresh_token = random_token(REFRESH_PREFIX)?;
        let token = NewRefreshToken {
            user: user.id,
            family,
            digest: token_digest(refresh_token.expose_secret()),
            expires_at: Utc::now() + TimeDelta::days(REFRESH_DAYS),
        };
        self.ports.accounts.add_refresh_token(token).await?;
        Ok(SignedIn { device_token: Some(device), ..self.session_of(user, family, refresh_token)? })
    }

    /// What the holder of a session gets, with an access token of this moment.
    fn session_of(&self, user: Arc<User>, family: Uuid, refresh_token: SecretString) -> Result<SignedIn> {
        let access_token = self.tokens.issue_in(Some(family), &user.id.to_string(), ACCESS_LIFETIME)?;
        let expires_at = Utc::now() + ACCESS_LIFETIME;
        Ok(SignedIn { user, session: family, access_token, refresh_token, expires_at, device_token: None })
    }
}
