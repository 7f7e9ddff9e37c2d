//! Sending mails that were asked for: what they say, and one task that sends them, tries again, and gives up.
//!
//! A token is made at the moment when its mail is sent, and only its digest is kept, so whoever reads the database has
//! no token. A mail that is tried again has another token. Until one was taken over, those of before stay good. A mail
//! server that fails, or somebody who asks for one mail more, spoils no link that has arrived.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;

use super::Services;
use crate::{
    access::{secret_hash::random_token, token_digest},
    domain::{Mail, MailOrder, MailPurpose, Mailer, Refusal, Result, job::wait_before_retry},
};

/// How often it is looked whether there is a mail to send, when nobody says that there is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Mails that are sent at the same moment by one process.
const AT_ONCE: i64 = 4;
/// How often a mail is tried, over about two hours.
const MOST_ATTEMPTS: u32 = 8;
/// How much longer than sending a mail is left to whoever took it.
const SPARE: Duration = Duration::from_secs(60);

/// What a token begins with, so that scanners of secrets recognise one.
const fn prefix(purpose: MailPurpose) -> &'static str {
    match purpose {
        MailPurpose::VerifyEmail => "verify",
        MailPurpose::ResetPassword => "reset",
    }
}

/// A mail with a link of the frontend. The token stands behind `#`, which browsers send to no server.
fn compose(order: &MailOrder, token: &SecretString, public_url: &str) -> Mail {
    let token = token.expose_secret();
    let (subject, text) = match order.purpose {
        MailPurpose::VerifyEmail => (
            "Verify your e-mail address",
            format!(
                "Somebody has made a RAGBOARD account with this e-mail address.\n\n\
                 If it was you, sign in and open this link within 24 hours:\n\n{public_url}/verify-email#token={token}\n\n\
                 If it was not you, do nothing: the account gets no access to what is meant for you.\n"
            ),
        ),
        MailPurpose::ResetPassword => (
            "Set a new password",
            format!(
                "Somebody has asked for a new password of the RAGBOARD account with this e-mail address.\n\n\
                 If it was you, open this link within 30 minutes:\n\n{public_url}/reset-password#token={token}\n\n\
                 If it was not you, do nothing: the password stays as it is.\n"
            ),
        ),
    };
    Mail { to: order.email.clone(), subject: subject.to_owned(), text: text.into() }
}

/// What a mutation says that needs a mail where none can be sent.
pub(super) fn no_mail() -> Refusal {
    let message = "This server sends no mail; ask whoever runs it";
    Refusal { path: Vec::new(), ..Refusal::forbidden("", message) }
}

impl Services {
    /// Begins to send mails, for as long as the services are there. `public_url` is the address of the frontend.
    pub fn send_mails(self: &Arc<Self>, mailer: Arc<dyn Mailer>, public_url: &str) {
        let bell = Arc::clone(&self.mail_bell);
        tokio::spawn(follow(Arc::downgrade(self), mailer, public_url.to_owned(), bell));
    }

    /// Sends what is due; whether there may be more.
    async fn send_due(&self, mailer: &dyn Mailer, public_url: &str) -> Result<bool> {
        let orders = self.ports.mails.claim_mails(AT_ONCE, mailer.longest() + SPARE).await?;
        let is_full = orders.len() as i64 == AT_ONCE;
        let mut sending = Vec::with_capacity(orders.len());
        for order in &orders {
            sending.push(self.send(mailer, order, public_url));
        }
        let sent = futures_util::future::join_all(sending).await;
        sent.into_iter().collect::<Result<()>>()?;
        Ok(is_full)
    }

    async fn send(&self, mailer: &dyn Mailer, order: &MailOrder, public_url: &str) -> Result<()> {
        let token = random_token(prefix(order.purpose))?;
        let digest = token_digest(token.expose_secret());
        if !self.ports.mails.keep_account_token(order.purpose, &order.email, &digest).await? {
            // No account needs it: nobody has the address, or it was verified meanwhile.
            return self.ports.mails.settle_mail(order.id, None).await;
        }
        let Err(error) = mailer.send(&compose(order, &token, public_url)).await else {
            return self.ports.mails.mail_was_sent(order.id, &digest).await;
        };
        let wait = wait_before_retry(order.attempts, 0.5);
        let again_in = (order.attempts < MOST_ATTEMPTS).then_some(wait);
        let (mail, attempt) = (order.id, order.attempts);
        let (is_given_up, cause) = (again_in.is_none(), error.cause());
        tracing::warn!(%mail, attempt, is_given_up, ?cause, "A mail was not sent: {error}");
        self.ports.mails.settle_mail(order.id, again_in).await
    }
}

async fn follow(services: Weak<Services>, mailer: Arc<dyn Mailer>, public_url: String, bell: Arc<Notify>) {
    let mut is_failing = false;
    loop {
        // Whoever was told meanwhile is not missed: a bell that nobody waits for rings at the next wait.
        let _ = tokio::time::timeout(LOOK_EVERY, bell.notified()).await;
        let Some(services) = services.upgrade() else { return };
        let sent = async {
            while !services.is_read_only() && services.send_due(mailer.as_ref(), &public_url).await? {}
            Ok::<(), crate::domain::Error>(())
        };
        match sent.await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(cause = ?error.cause(), "Mails wait: {error}");
                }
            }
        }
    }
}
