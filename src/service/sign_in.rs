//! Checking a password at a sign-in: who may try how often, and from where a person is known.
//!
//! Guesses at an account are counted from all addresses together. That must not lock its holder out, so it does not hold for
//! places where the account has been signed in to before: addresses, and devices that present what they were told. What a
//! session is, and how it goes on, is `account.rs`.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Services,
    attempts::{Attempts, Delays},
};
use crate::{
    access::{Caller, secret_hash::random_token, token_digest},
    domain::{ClientAddress, Code, Credentials, Error, Refusal, Result, SignInPlace, TokenDigest, User, UserId},
};

/// Attempts at the password of an account from one place that may follow each other at will; then each waits.
const FREE_GUESSES: u32 = 5;
/// Wrong passwords for an account from all unknown places together, and from one address for all accounts together, within
/// [`GUESSING_WINDOW`].
const GUESSES_PER_ACCOUNT: u32 = 100;
const GUESSES_PER_ADDRESS: u32 = 200;
const GUESSING_WINDOW: Duration = Duration::from_secs(15 * 60);
/// What device tokens begin with.
const DEVICE_PREFIX: &str = "device";
/// Longer tokens are not ours.
const MAX_TOKEN_BYTES: usize = 200;

/// Who guesses how often. An attempt is counted before its password is looked at, so that those made at the same moment count
/// too, and by what the address is settled to, whether there is such an account or not.
pub(super) struct SignInGate {
    guesses: Delays<(TokenDigest, Place)>,
    per_account: Attempts<TokenDigest>,
    per_address: Attempts<ClientAddress>,
    sign_ups: Attempts<ClientAddress>,
}

/// Where an attempt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Address(ClientAddress),
    /// Only a device that is known for the account.
    Device(TokenDigest),
}

impl SignInGate {
    /// So many new accounts from one address within an hour.
    pub(super) fn new(sign_ups: u32) -> Self {
        SignInGate {
            guesses: Delays::new(FREE_GUESSES),
            per_account: Attempts::new(GUESSES_PER_ACCOUNT, GUESSING_WINDOW),
            per_address: Attempts::new(GUESSES_PER_ADDRESS, GUESSING_WINDOW),
            sign_ups: Attempts::new(sign_ups, Duration::from_secs(3600)),
        }
    }

    /// Counts one attempt to make an account.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(super) fn count_sign_up(&self, address: ClientAddress) -> Result<()> {
        self.sign_ups.count(address)
    }

    /// Takes back what was counted of an attempt that was right.
    fn succeeded(&self, attempt: &Attempt) {
        self.guesses.forgive(&(attempt.account, attempt.place));
        if !attempt.is_known {
            self.per_account.take_back(&attempt.account);
        }
        if let Place::Address(address) = attempt.place {
            self.per_address.take_back(&address);
        }
    }
}

/// An attempt that may be made.
struct Attempt {
    account: TokenDigest,
    place: Place,
    is_known: bool,
}

/// Somebody whose password was right at the moment when it was looked at.
pub(super) struct Checked<'a> {
    pub(super) user: Arc<User>,
    /// What the password was held against. Nobody has signed in while the account has another one.
    pub(super) password_hash: String,
    /// What the device is known by already.
    pub(super) device: Option<&'a SecretString>,
}

/// What somebody signs in with, and from where.
pub(super) struct SigningIn<'a> {
    /// The settled address of the account.
    pub(super) email: &'a str,
    pub(super) password: &'a SecretString,
    pub(super) address: ClientAddress,
    /// What an earlier sign-in on this device has told.
    pub(super) device: Option<&'a SecretString>,
}

/// The address as accounts are found by it.
pub(super) fn settled_email(email: &str) -> Result<String, Refusal> {
    let email = email.trim().to_lowercase();
    let is_address = email.len() <= 255
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
    if is_address { Ok(email) } else { Err(Refusal::invalid("email", "An e-mail address is expected")) }
}

/// What somebody is told whose address or password is wrong.
pub(super) fn wrong() -> Error {
    Error::unauthenticated("Wrong address or password")
}

/// Under what an address is remembered for an account. It hides the address from those who glance at the table, and not from
/// those who try them all.
fn address_digest(email: &str, address: ClientAddress) -> TokenDigest {
    token_digest(&format!("address of a sign-in\n{email}\n{address}"))
}

fn device_digest(device: &SecretString) -> Option<TokenDigest> {
    let device = device.expose_secret();
    (device.len() <= MAX_TOKEN_BYTES).then(|| token_digest(device))
}

impl Services {
    /// The account with this settled address and password.
    pub(super) async fn check_sign_in<'a>(&self, signing: SigningIn<'a>) -> Result<Checked<'a>> {
        let attempt = self.admit(&signing).await?;
        let hasher = self.shares.hasher();
        let hasher = if attempt.is_known { hasher.favouring() } else { hasher.clone() };
        let caller = Caller::Address(signing.address);
        let dummy = || caller.scope(hasher.verify_dummy(signing.password));
        let Some(credentials) = self.ports.accounts.credentials(signing.email).await? else {
            dummy().await?;
            return Err(wrong());
        };
        let is_right = match caller.scope(hasher.verify(signing.password, &credentials.password_hash)).await {
            // Nobody can sign in to an account whose hash is none; from outside that is a wrong password like any other.
            Err(error) if error.code() == Code::Internal => {
                tracing::warn!(cause = ?error.cause(), user.id = %credentials.user.id, "A stored password hash cannot be used");
                dummy().await?;
                false
            }
            verified => verified?,
        };
        if !is_right || !credentials.user.is_active {
            return Err(wrong());
        }
        self.sign_ins.succeeded(&attempt);
        let device = signing.device.filter(|_| matches!(attempt.place, Place::Device(_)));
        let Credentials { user, password_hash } = credentials;
        Ok(Checked { user, password_hash, device })
    }

    /// Counts an attempt. Which places are known is asked before, with one short statement, for accounts that do not exist as
    /// well; a stranger's address is counted even before that.
    async fn admit(&self, signing: &SigningIn<'_>) -> Result<Attempt> {
        let SigningIn { email, address, .. } = *signing;
        let gate = &self.sign_ins;
        let device = signing.device.and_then(device_digest);
        if device.is_none() {
            gate.per_address.count(address)?;
        }
        let address_digest = address_digest(email, address);
        let digests: Vec<TokenDigest> = [Some(address_digest), device].into_iter().flatten().collect();
        let known = self.ports.accounts.known_places(email, &digests).await?;
        let device_is_known = device.filter(|device| known.contains(device));
        if device.is_some() && device_is_known.is_none() {
            gate.per_address.count(address)?;
        }
        let account = token_digest(email);
        let place = device_is_known.map_or(Place::Address(address), Place::Device);
        let is_known = device_is_known.is_some() || known.contains(&address_digest);
        let counted = gate.guesses.count((account, place)).and_then(|()| match is_known {
            true => Ok(()),
            false => gate.per_account.count(account),
        });
        if counted.is_err() && device_is_known.is_none() {
            gate.per_address.take_back(&address);
        }
        counted.map(|()| Attempt { account, place, is_known })
    }

    /// Remembers from where an account was signed in to, and returns what its device is known by from now on.
    pub(super) async fn note_place(&self, checked: &Checked<'_>, address: ClientAddress) -> Result<SecretString> {
        let device = match checked.device {
            Some(device) => device.clone(),
            None => random_token(DEVICE_PREFIX)?,
        };
        let Checked { user, password_hash, .. } = checked;
        let places = [
            SignInPlace { digest: address_digest(&user.email, address), is_device: false },
            SignInPlace { digest: token_digest(device.expose_secret()), is_device: true },
        ];
        self.remember(user.id, password_hash, &places).await;
        Ok(device)
    }

    /// Remembers from where somebody has set a password, who had shown that the address is theirs. All places of before
    /// are forgotten by then: without this one, guesses from elsewhere could keep the holder out.
    pub(super) async fn note_address(&self, email: &str, user: UserId, password_hash: &str, address: ClientAddress) {
        let place = SignInPlace { digest: address_digest(email, address), is_device: false };
        self.remember(user, password_hash, &[place]).await;
    }

    async fn remember(&self, user: UserId, password_hash: &str, places: &[SignInPlace]) {
        if let Err(error) = self.ports.accounts.remember_places(user, password_hash, places).await {
            // The person is who he says; that he is not known next time is no reason to turn him away.
            tracing::warn!(cause = ?error.cause(), "The place of a sign-in could not be remembered: {error}");
        }
    }
}
