//! Mails that the program sends to holders of accounts: what they are for, and the ports by which they are kept and sent.
//!
//! How a mail leaves is `mail/`; what it says and how often it is tried is `service/mailing.rs`.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use uuid::Uuid;

use super::{Result, TokenDigest, words::words};

words!(
    /// What a mail, and the token in it, is for.
    MailPurpose {
        /// To show that the account and the mailbox have the same holder.
        VerifyEmail = "verify_email",
        /// To set a password without knowing the one before.
        ResetPassword = "reset_password",
    }
);

impl MailPurpose {
    /// How long its token is good, from when it is sent.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        match self {
            MailPurpose::VerifyEmail => Duration::from_secs(24 * 3600),
            MailPurpose::ResetPassword => Duration::from_secs(30 * 60),
        }
    }
}

/// So long before its end a token counts as none: whoever asks then gets another mail.
pub const ALMOST_OVER: Duration = Duration::from_secs(5 * 60);

/// A mail as it is sent. It holds a token, so its text is a secret.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The one address that it goes to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text, lines of at most 900 bytes.
    pub text: SecretString,
}

/// The way out for mails.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a mail, within a time of its own. `Ok` says that the next server has taken it over.
    async fn send(&self, mail: &Mail) -> Result<()>;
    /// The longest that [`Mailer::send`] may take.
    fn longest(&self) -> Duration;
}

/// A mail that was asked for and is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailOrder {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub purpose: MailPurpose,
    /// Lower-case address. There need not be an account with it.
    pub email: String,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// What became of a request for a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is on its way.
    Ordered,
    /// There were as many within the hour as there may be.
    Enough,
}

/// Mails that were asked for.
#[async_trait]
pub trait Mails: Send + Sync {
    /// Asks for a mail, if fewer than `most` of this purpose were asked for to this address within the last hour. That
    /// holds also when many ask at the same moment. More are asked for if none of those waits and none of their tokens
    /// lives for [`ALMOST_OVER`] more. Whether there is an account with the address is not looked at. `Overloaded` when
    /// too many mails wait.
    async fn ask_for_mail(&self, purpose: MailPurpose, email: &str, most: i64) -> Result<Asked>;
    /// Takes mails that are due, at most so many, and lets nobody else have them for `lease`.
    async fn claim_mails(&self, most: i64, lease: Duration) -> Result<Vec<MailOrder>>;
    /// Keeps a token for the account with the address, beside those that are good. Whether there is an account that
    /// needs it: active, and for a verification not verified.
    async fn keep_account_token(&self, purpose: MailPurpose, email: &str, token: &TokenDigest) -> Result<bool>;
    /// Ends a mail that was taken over. Its token takes the place of those of its purpose that were made before it.
    async fn mail_was_sent(&self, id: Uuid, token: &TokenDigest) -> Result<()>;
    /// Ends a mail that was not sent, or has it tried again after a while.
    async fn settle_mail(&self, id: Uuid, again_in: Option<Duration>) -> Result<()>;
}
