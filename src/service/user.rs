//! From a bearer token to a viewer: the token is checked, and so is the state of the account, on every use. What begins
//! like an API key is one, and looked up in `api_key.rs`.

use std::time::Duration;

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Services, api_key::is_key};
use crate::{
    access::Viewer,
    domain::{Error, Result, UserId},
};

impl Services {
    /// The viewer behind a bearer token: an access token or an API key.
    ///
    /// # Errors
    /// `Unauthenticated` when the token is not valid, or its account does not exist or is deactivated.
    pub async fn viewer_of_token(&self, token: &SecretString) -> Result<Viewer> {
        if is_key(token) {
            return self.viewer_of_key(token).await;
        }
        let claims = self.tokens.verify(token.expose_secret()).await?;
        let gone = || Error::unauthenticated("The account of this token cannot be used");
        let id = claims.subject.parse::<UserId>().or_else(|_| Uuid::parse_str(&claims.subject).map(UserId));
        let id = id.map_err(|_| Error::unauthenticated("The token does not name an account"))?;
        let user = self.reads.users(&[id]).await?.into_iter().next().flatten().ok_or_else(gone)?;
        Viewer::account(user).ok_or_else(gone)
    }

    /// The same viewer at this moment: the account and its API key as they are now, and the share link only if it still
    /// lives.
    ///
    /// # Errors
    /// `Unauthenticated` when the account or its key cannot be used any more.
    pub async fn viewer_again(&self, viewer: &Viewer) -> Result<Viewer> {
        let again = match (viewer.key(), viewer.user()) {
            (Some(key), _) => self.viewer_of_digest(&key.digest).await?,
            (None, Some(user)) => {
                let gone = || Error::unauthenticated("The account of this token cannot be used");
                let user = self.reads.users(&[user.id]).await?.into_iter().next().flatten().ok_or_else(gone)?;
                Viewer::account(user).ok_or_else(gone)?
            }
            (None, None) => Viewer::anonymous(),
        };
        let share = match viewer.share() {
            Some(held) => {
                let share = self.reads.share_by_token(held.token()).await?.filter(|share| share.is_alive(Utc::now()));
                share.map(|share| held.again(share))
            }
            None => None,
        };
        let again = share.map_or_else(|| again.clone(), |share| again.holding(share));
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
}
