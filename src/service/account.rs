//! Accounts and sessions: signing up, in and out. An access token lives for minutes; a refresh token is exchanged for the next
//! pair. One that comes back within seconds gets the same pair again; one that comes back later closes its whole family,
//! because somebody has a copy.
//!
//! A refresh token has two parts: one that is good once, and one that all tokens of a family share. By that the family
//! is known. So a copy is known for one, however old, although used tokens are not kept.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::{Builder, Uuid};

use super::{
    Services,
    change::{WriteOptions, origin, validate},
    sign_in::{Checked, SigningIn, settled_email, wrong},
};
use crate::{
    access::{
        Caller, Viewer,
        secret_hash::{derived_token, random_salt, random_token},
        token_digest,
    },
    domain::{
        AccountEdit, ClientAddress, Code, Error, Failure, IdempotencyKey, NewAccount, NewRefreshToken, Outcome,
        PresentedToken, Refreshed, Refusal, Result, Successor, User, UserId,
    },
};

/// How long an access token is good.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a session may rest before it ends.
const REFRESH_DAYS: i64 = 30;
/// What refresh tokens begin with.
const REFRESH_PREFIX: &str = "refresh";
/// What the part begins with that all tokens of a family share.
const FAMILY_PREFIX: &str = "family";
/// Stands between the parts, and within none.
const BETWEEN_PARTS: char = '.';
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

/// The family that is known by this part of its tokens. The part has 256 random bits, and the id is a digest of it: who
/// has seen only the id cannot tell the part.
fn family_of_part(part: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(token_digest(part)).for_each(|(byte, of_digest)| *byte = of_digest);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// What all tokens of a family share with this one. Tokens of sessions that began with an older version share nothing.
fn part_of_family(token: &SecretString) -> Option<&str> {
    token.expose_secret().split_once(BETWEEN_PARTS).map(|(_, part)| part)
}

fn with_part(token: &SecretString, part: &str) -> SecretString {
    format!("{}{BETWEEN_PARTS}{part}", token.expose_secret()).into()
}

/// The token of the same family that takes the place of `token`.
fn successor_of(token: &SecretString, salt: [u8; 32]) -> Result<SecretString> {
    let next = derived_token(REFRESH_PREFIX, token, salt)?;
    Ok(match part_of_family(token) {
        Some(part) => with_part(&next, part),
        None => next,
    })
}

fn presented(token: &SecretString) -> PresentedToken {
    let family = part_of_family(token).map(family_of_part);
    PresentedToken { digest: token_digest(token.expose_secret()), family }
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
        let id = UserId::generate();
        let account = NewAccount { id, email: email.clone(), name, password_hash: password_hash.clone() };
        // Whether there is one already is not said; what a success tells cannot be hidden without mail.
        let taken = || Refusal::invalid("email", "No account can be made with this address; if it is yours, sign in");
        let user = self.ports.accounts.create_account(account, request.as_ref()).await?.ok_or_else(taken)?;
        if user.id != id {
            // The account may have another password by now, or be deactivated.
            let signing = SigningIn { email: &email, password, address, device: None };
            let checked = self.check_sign_in(signing).await.map_err(|error| match error.code() {
                Code::Unauthenticated => Failure::Refused(Refusal::key_reused()),
                _ => Failure::Failed(error),
            })?;
            return Ok(self.begin_session(checked, address).await?);
        }
        Ok(self.begin_session(Checked { user, password_hash, device: None }, address).await?)
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
        let checked = self.check_sign_in(SigningIn { email: &email, password, address, device }).await?;
        Ok(self.begin_session(checked, address).await?)
    }

    /// Exchanges a refresh token for the next pair of tokens. For [`REFRESH_REPEAT_WINDOW`] the same token may come again, and
    /// gets the same refresh token.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not good (any more). One that was used before the window ends the session for
    /// everybody. `RateLimited` when the session went on too often just now. A refusal when it comes with an API key.
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
        let offered = successor_of(token, salt)?;
        let digest = token_digest(offered.expose_secret());
        let successor = Successor { salt, digest, expires_at: Utc::now() + TimeDelta::days(REFRESH_DAYS) };
        let (id, family, salt) = match self.ports.accounts.use_refresh_token(&presented(token), &successor).await? {
            Refreshed::Good { user, family, salt } => (user, family, salt),
            Refreshed::Reused { family } => {
                tracing::warn!("A refresh token came back after its use; its session is closed");
                self.ports.sessions.forget_session(family);
                return Err(ended().into());
            }
            Refreshed::TooOften { seconds } => {
                let message = format!("This session was refreshed too often; try again in {seconds} seconds");
                return Err(Error::new(Code::RateLimited, message).into());
            }
            Refreshed::Unknown => return Err(ended().into()),
        };
        let user = self.ports.reads.users(&[id]).await?.into_iter().next().flatten();
        let user = user.filter(|user| user.is_active).ok_or_else(ended)?;
        Ok(self.session_of(user, family, successor_of(token, salt)?)?)
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
        if let Some(session) = self.ports.accounts.end_session(&presented(token)).await? {
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
        let user = viewer.user().ok_or_else(gone)?;
        let origin = origin(viewer, options)?;
        // Whether what is given is acceptable does not depend on the rest, which may be old by now.
        let mut account = User::clone(user);
        edit.apply(&mut account);
        validate::account(&account, &edit.fields())?;
        let key = origin.idempotency.as_ref();
        let user = self.ports.accounts.update_account(user.id, edit, key).await?.ok_or_else(gone)?;
        self.ports.reads.forget_user(user.id);
        Ok(user)
    }

    /// Begins a session for somebody whose password was right, if it still is. To look at it takes time, in which it
    /// may have been changed.
    async fn begin_session(&self, checked: Checked<'_>, address: ClientAddress) -> Result<SignedIn> {
        let part = random_token(FAMILY_PREFIX)?;
        let family = family_of_part(part.expose_secret());
        let refresh_token = with_part(&random_token(REFRESH_PREFIX)?, part.expose_secret());
        let token = NewRefreshToken {
            user: checked.user.id,
            family,
            digest: token_digest(refresh_token.expose_secret()),
            expires_at: Utc::now() + TimeDelta::days(REFRESH_DAYS),
        };
        if !self.ports.accounts.begin_session(token, &checked.password_hash).await? {
            return Err(wrong());
        }
        let device = self.note_place(&checked, address).await?;
        Ok(SignedIn { device_token: Some(device), ..self.session_of(checked.user, family, refresh_token)? })
    }

    /// What the holder of a session gets, with an access token of this moment.
    fn session_of(&self, user: Arc<User>, family: Uuid, refresh_token: SecretString) -> Result<SignedIn> {
        let access_token = self.tokens.issue_in(Some(family), &user.id.to_string(), ACCESS_LIFETIME)?;
        let expires_at = Utc::now() + ACCESS_LIFETIME;
        Ok(SignedIn { user, session: family, access_token, refresh_token, expires_at, device_token: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_family_name_it_and_no_other() {
        let token = |part: &str| with_part(&random_token(REFRESH_PREFIX).unwrap(), part);
        let (one, other) = (random_token(FAMILY_PREFIX).unwrap(), random_token(FAMILY_PREFIX).unwrap());
        let first = token(one.expose_secret());
        let family = presented(&first).family;
        assert_eq!(family, Some(family_of_part(one.expose_secret())));
        let mut next = successor_of(&first, [1; 32]).unwrap();
        for salt in 2..10 {
            assert_eq!(presented(&next).family, family);
            assert!(next.expose_secret().len() <= MAX_TOKEN_BYTES);
            next = successor_of(&next, [salt; 32]).unwrap();
        }
        assert_ne!(presented(&token(other.expose_secret())).family, family);
        // Of an older version, and made up.
        let old = random_token(REFRESH_PREFIX).unwrap();
        assert_eq!(presented(&old).family, None);
        assert_eq!(presented(&successor_of(&old, [1; 32]).unwrap()).family, None);
        assert_ne!(presented(&SecretString::from(".")).family, family);
    }
}
