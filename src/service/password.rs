//! Changing the password of one's account, and setting one without knowing it, with a token that was sent by mail.
//!
//! A request for a reset does the same work whether there is an account or not: an order is kept, and who sends mails finds
//! out. So neither the answer nor its time tells who has an account.

use secrecy::SecretString;

use super::{
    Services,
    account::check_password,
    attempts::Delays,
    change::{WriteOptions, origin},
    mailing::no_mail,
    sign_in::settled_email,
    verification::{MAILS_PER_HOUR, not_good},
};
use crate::{
    access::Viewer,
    domain::{ClientAddress, Code, Error, Failure, MailPurpose, Outcome, PasswordChange, Refusal, UserId},
};

/// Attempts at the current password of an account that may follow each other at will; then each waits.
const FREE_GUESSES: u32 = 5;

/// Who guesses the current password of the account they are signed in to.
pub(super) struct PasswordGate(Delays<UserId>);

impl Default for PasswordGate {
    fn default() -> Self {
        PasswordGate(Delays::new(FREE_GUESSES))
    }
}

fn acceptable(password: &SecretString) -> Result<(), Refusal> {
    check_password(password).map_err(|refusal| Refusal { path: vec!["newPassword".to_owned()], ..refusal })
}

fn wrong() -> Failure {
    Refusal::invalid("currentPassword", "This is not the password of the account").into()
}

impl Services {
    /// Changes the password of the viewer's account, and ends its other sessions.
    ///
    /// # Errors
    /// A refusal for a wrong or unacceptable password; `Unauthenticated` without an account; `RateLimited` after some wrong ones.
    pub async fn change_password(
        &self,
        viewer: &Viewer,
        current: &SecretString,
        new: &SecretString,
        options: WriteOptions,
    ) -> Outcome<()> {
        origin(viewer, options)?;
        let gone = || Error::unauthenticated("Sign in to change a password");
        let user = viewer.user().ok_or_else(gone)?;
        acceptable(new)?;
        self.password_gate.0.count(user.id)?;
        let hasher = self.shares.hasher();
        let credentials = self.ports.accounts.credentials(&user.email).await?.filter(|found| found.user.id == user.id);
        let from = credentials.ok_or_else(gone)?.password_hash;
        let is_right = match hasher.verify(current, &from).await {
            // Nobody knows the password of an account whose hash is none.
            Err(error) if matches!(error.code(), Code::Internal | Code::InvalidArgument) => false,
            verified => verified?,
        };
        if !is_right {
            return Err(wrong());
        }
        self.password_gate.0.forgive(&user.id);
        let to = hasher.hash(new).await?;
        let keep = viewer.bearer().and_then(|bearer| bearer.session);
        let change = PasswordChange { user: user.id, from, to, keep };
        // Somebody who knew it was faster.
        let ended = self.ports.passwords.change_password(change).await?.ok_or_else(wrong)?;
        self.forget_sessions(&ended);
        self.ports.reads.forget_user(user.id);
        Ok(())
    }

    /// Sends a mail by which to set a new password, if there is an account with this address. Nothing tells whether there is.
    ///
    /// # Errors
    /// A refusal for what is no address, or where no mail can be sent; `RateLimited`; `Overloaded` while too many mails wait.
    pub async fn request_password_reset(
        &self,
        viewer: &Viewer,
        email: &str,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<()> {
        origin(viewer, options)?;
        let email = settled_email(email)?;
        if !self.info.sends_mail {
            return Err(no_mail().into());
        }
        self.mail_gate.request(address)?;
        // Whoever has had enough mails is not told either: the last one is good, or another one is sent.
        self.ports.mails.ask_for_mail(MailPurpose::ResetPassword, &email, MAILS_PER_HOUR).await?;
        self.mail_bell.notify_one();
        Ok(())
    }

    /// Sets the password of the account that a token was sent to, verifies its address, and ends all its sessions.
    /// Nobody but who did so comes from a known place any more. Where the address was not verified before, its API keys
    /// end as well.
    ///
    /// # Errors
    /// A refusal for a token that is not good or a password that is not acceptable; `RateLimited`.
    pub async fn reset_password(
        &self,
        viewer: &Viewer,
        token: &SecretString,
        new: &SecretString,
        address: ClientAddress,
        options: WriteOptions,
    ) -> Outcome<()> {
        origin(viewer, options)?;
        acceptable(new)?;
        let digest = self.mail_gate.token(token, address)?;
        // Hashing is dear: not for tokens that somebody made up.
        if !self.ports.passwords.is_good_for_reset(&digest).await? {
            return Err(not_good().into());
        }
        let hash = self.shares.hasher().hash(new).await?;
        let reset = self.ports.passwords.reset_password(&digest, &hash).await?.ok_or_else(not_good)?;
        self.mail_gate.was_good(address);
        self.forget_sessions(&reset.sessions);
        self.ports.reads.forget_user(reset.user);
        self.note_address(&reset.email, reset.user, &hash, address).await;
        reset.keys.iter().for_each(|key| self.ports.reads.forget_key(key));
        Ok(())
    }
}
