//! How much accounts may have, and how much they have.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Services;
use crate::domain::{AccountUsage, BoardWrites, Limits, Result, User, UserId};

/// How long an account that was found to be far from its limits is not counted again.
const FAR_FOR: Duration = Duration::from_secs(1);
/// Accounts of which this is remembered.
const MOST: usize = 10_000;

/// Accounts that are far from their limits, and since when that is known. So adding up the boards of an account is part of one write a
/// second, unless it is near its limits.
#[derive(Default)]
pub(super) struct FarFromLimits(Mutex<HashMap<UserId, Instant>>);

impl FarFromLimits {
    fn has(&self, account: UserId) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&account).is_some_and(|since| since.elapsed() < FAR_FOR)
    }

    fn add(&self, account: UserId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, since| since.elapsed() < FAR_FOR);
        }
        if known.len() < MOST {
            known.insert(account, Instant::now());
        }
    }
}

impl Services {
    /// What an account may have; `None` where nothing is limited.
    #[must_use]
    pub fn limits_of(&self, account: &User) -> Option<Limits> {
        Some(self.info.quotas.of(&account.subscription_tier)).filter(|limits| !limits.is_none())
    }

    /// What a change of a board of this account has to be held against.
    ///
    /// Who is far from the limits is not counted at each change. But what is brought back may be any number of nodes.
    pub(super) fn limits_to_check(&self, owner: &User, writes: &BoardWrites) -> Option<Limits> {
        let is_counted = !writes.restored.is_empty() || !self.far_from_limits.has(owner.id);
        self.limits_of(owner).filter(|_| is_counted)
    }

    /// Takes over what an account has.
    pub(super) fn note_usage(&self, owner: &User, usage: &AccountUsage) {
        if self.limits_of(owner).is_some_and(|limits| limits.are_far(usage)) {
            self.far_from_limits.add(owner.id);
        }
    }

    /// What an account has at the moment; who may know it is for the caller to decide.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn account_usage(&self, account: UserId) -> Result<AccountUsage> {
        self.ports.usages.account_usage(account).await
    }
}
