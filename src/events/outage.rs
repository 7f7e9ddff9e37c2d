//! One line in the log when something begins to fail, and one when it works again, whatever happens in between and however many
//! are concerned.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::Error;

/// Whether something fails at the moment, and what it is.
pub(super) struct Outage {
    what: &'static str,
    is_on: AtomicBool,
}

impl Outage {
    /// What works; `what` completes "… does not work" and "… works again".
    pub(super) fn of(what: &'static str) -> Self {
        Outage { what, is_on: AtomicBool::new(false) }
    }

    /// It has failed.
    pub(super) fn failed(&self, error: &Error) {
        if !self.is_on.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause = ?error.cause(), "{} does not work: {error}", self.what);
        }
    }

    /// It works.
    pub(super) fn works(&self) {
        if self.is_on.load(Ordering::Relaxed) && self.is_on.swap(false, Ordering::Relaxed) {
            tracing::info!("{} works again", self.what);
        }
    }
}
