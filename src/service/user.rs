//! From a bearer token to a viewer: the token is checked, and so is the state of the account, on every use. What begins
//! like an API key is one, and looked up in `api_key.rs`.

use std::time::Duration;

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Services, api_key::is_key};
use crate::{
    access::{Bearer, Viewer},
    domain::{ClientAddress, Error, Result, UserId},
};

impl Services {
    /// The viewer behind a bearer token: an access token or an API key.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not valid, or its account does not exist or is deactivated; `RateLimited` for API
    /// keys from an address that has tried many unknown ones.
    pub async fn viewer_of_token(&self, token: &SecretString, address: ClientAddress) -> Result<Viewer> {
        if is_key(token) {
            return self.viewer_of_key(token, address).await;
        }
        let claims = self.tokens.verify(token.expose_secret()).await?;
        let gone = || Error::unauthenticated("The account of this token cannot be used");
        let id = claims.subject.parse::<UserId>().or_else(|_| Uuid::parse_str(&claims.subject).map(UserId));
        let id = id.map_err(|_| Error::unauthenticated("The token does not name an account"))?;
        // A session that is not named by one of our ids is that of another issuer, and of no account here.
        let session = claims.session.as_deref().and_then(|session| Uuid::parse_str(session).ok());
        let bearer = Bearer { session, expires_at: claims.expires_at };
        self.session_stands(bearer).await?;
        let user = self.ports.reads.users(&[id]).await?.into_iter().next().flatten().ok_or_else(gone)?;
        Ok(Viewer::account(user).ok_or_else(gone)?.by(bearer))
    }

    async fn session_stands(&self, bearer: Bearer) -> Result<()> {
        let Some(session) = bearer.session else { return Ok(()) };
        if self.ports.sessions.ended_sessions(&[session]).await?.is_empty() {
            return Ok(());
        }
        Err(Error::unauthenticated("This session has ended; sign in again"))
    }

    /// The same viewer at this moment: whatever was presented must still be good, the account and its API key are as they are
    /// now, and so are the folders that it has opened.
    ///
    /// # Errors
    /// `Unauthenticated` when the token, its session, the key, the account or the share link has ended.
    pub async fn viewer_again(&self, viewer: &Viewer) -> Result<Viewer> {
        if let Some(bearer) = viewer.bearer() {
            if bearer.expires_at <= Utc::now() {
                return Err(Error::unauthenticated("The token has expired"));
            }
            self.session_stands(bearer).await?;
        }
        let again = match (viewer.key(), viewer.user()) {
            (Some(key), _) => self.viewer_of_digest(&key.digest).await?,
            (None, Some(user)) => {
                let gone = || Error::unauthenticated("The account of this token cannot be used");
                let user = self.ports.reads.users(&[user.id]).await?.into_iter().next().flatten().ok_or_else(gone)?;
                Viewer::account(user).ok_or_else(gone)?
            }
            (None, None) => Viewer::anonymous(),
        };
        let again = viewer.bearer().map_or_else(|| again.clone(), |bearer| again.by(bearer));
        let again = match viewer.share() {
            Some(held) => {
                let share =
                    self.ports.reads.share_by_token(held.token()).await?.filter(|share| share.is_alive(Utc::now()));
                let ended = || Error::unauthenticated("This share link was revoked or has expired");
                again.holding(held.again(share.ok_or_else(ended)?))
            }
            None => again,
        };
        let tokens: Vec<_> = viewer.unlocks().iter().map(|unlock| unlock.token).collect();
        self.unlocking(again, &tokens).await
    }

    /// A token for an account, for development and for the demo.
    ///
    /// # Errors
    /// When the server has no secret to sign with.
    pub fn issue_token(&self, user: UserId, lifetime: Duration) -> Result<SecretString> {
        self.tokens.issue(&user.to_string(), lifetime)
    }

    /// Refuses what would end in a token, before anything is done, where this server signs none.
    pub(super) fn signs_tokens(&self) -> Result<()> {
        if self.tokens.can_issue() {
            return Ok(());
        }
        Err(Error::invalid("Nobody signs up or in here: this server takes the tokens of another issuer"))
    }
}
