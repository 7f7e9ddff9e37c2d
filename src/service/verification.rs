//! Verifying the e-mail address of one's account, with a token that was sent to it.
//!
//! The token alone is not enough: whoever comes with it must be signed in to its account. Otherwise the holder of a mailbox who
//! opens the link would verify an account that a stranger has made with the address, and whose password the stranger knows.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Services,
    attempts::Attempts,
    change::{WriteOptions, origin},
    mailing::no_mail,
};
use crate::{
    access::{Viewer, token_digest},
    domain::{Asked, ClientAddress, Error, MailPurpose, Outcome, Refusal, Result, TokenDigest, User},
};

/// Longer tokens are not ours.
const MAX_TOKEN_BYTES: usize = 200;
/// Tokens that are not good, from one address within [`TOKEN_WINDOW`].
const TOKENS_PER_ADDRESS: u32 = 30;
const TOKEN_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Mails that are asked for from one address within an hour.
const REQUESTS_PER_ADDRESS: u32 = 30;
/// Mails of one purpose to one address within an hour. More are sent when none of those has a link that lives on. Or
/// whoever asks for five would keep the holder without one until the hour is over.
pub(super) const MAILS_PER_HOUR: i64 = 5;

/// Who asks for mails and comes with tokens how often.
pub(super) struct MailGate {
    tokens: Attempts<ClientAddress>,
    requests: Attempts<ClientAddress>,
}

impl Default for MailGate {
    fn default() -> Self {
        MailGate {
            tokens: Attempts::new(TOKENS_PER_ADDRESS, TOKEN_WINDOW),
            requests: Attempts::new(REQUESTS_PER_ADDRESS, Duration::from_secs(3600)),
        }
    }
}

impl MailGate {
    /// Counts a token before it is looked at; the digest by which it is looked up.
    pub(super) fn token(&self, token: &SecretString, address: ClientAddress) -> Outcome<TokenDigest> {
        self.tokens.count(address)?;
        if token.expose_secret().len() > MAX_TOKEN_BYTES {
            return Err(not_good().into());
        }
        Ok(token_digest(token.expose_secret()))
    }

    /// The token was good.
    pub(super) fn was_good(&self, address: ClientAddress) {
        self.tokens.take_back(&address);
    }

    /// Counts a request for a mail.
    pub(super) fn request(&self, address: ClientAddress) -> Result<()> {
        self.requests.count(address)
    }
}

/// All that is told about a token that is not good.
pub(super) fn not_good() -> Refusal {
    Refusal::invalid("token", "This link is not good: it was used or replaced, has expired, or is not for this account")
}

impl Services {
    /// Verifies the address of the viewer's account.
    ///
    /// # Errors
    /// A refusal for a token that is not good for this account; `Unauthenticated` without one; `RateLimited`.
    pub async fn verify_email(
        &self,
        viewer: &Viewer,
        token: &SecretString,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<Arc<User>> {
        origin(viewer, options)?;
        let user = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to the account that was made"))?.id;
        let digest = self.mail_gate.token(token, address)?;
        let verified = self.ports.verifications.verify_email(user, &digest).await?.ok_or_else(not_good)?;
        self.mail_gate.was_good(address);
        self.ports.reads.forget_user(user);
        Ok(verified)
    }

    /// Sends the viewer another mail by which to verify the address; the link of the mail before is not good any more then.
    ///
    /// # Errors
    /// A refusal when the address is verified, when there were enough mails, or where no mail can be sent; `Unauthenticated`
    /// without an account; `RateLimited`; `Overloaded` while too many mails wait.
    pub async fn request_email_verification(
        &self,
        viewer: &Viewer,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<()> {
        origin(viewer, options)?;
        let user = viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to verify an address"))?;
        if user.email_verified {
            let message = "The address of this account is verified";
            return Err(Refusal { path: Vec::new(), ..Refusal::invalid("", message) }.into());
        }
        if !self.info.sends_mail {
            return Err(no_mail().into());
        }
        self.mail_gate.request(address)?;
        match self.ports.mails.ask_for_mail(MailPurpose::VerifyEmail, &user.email, MAILS_PER_HOUR).await? {
            Asked::Ordered => {
                self.mail_bell.notify_one();
                Ok(())
            }
            Asked::Enough => {
                let message = format!("At most {MAILS_PER_HOUR} such mails are sent in an hour");
                Err(Refusal { path: Vec::new(), ..Refusal::limit("", MAILS_PER_HOUR, message) }.into())
            }
        }
    }
}
