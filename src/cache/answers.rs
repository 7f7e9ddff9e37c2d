//! Finished answers in memory, each with the stamps of the rows that it rests on.
//!
//! An answer is served again only while this process is current (`coherence.rs`) and holds every one of those rows with the
//! very same stamp; it is never served by age. What tells viewers and requests apart is in the key, made by `graphql`.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use super::{IDLE, Inner};
use crate::domain::{AnswerKey, Basis};

/// Larger answers are not kept, so that a few of them cannot push out all others.
const MAX_BYTES: usize = 1 << 20;
/// Key, basis and bookkeeping of one answer.
const OVERHEAD_BYTES: usize = 512;

pub(super) struct Answers(Cache<AnswerKey, Arc<(Basis, Bytes)>>);

impl Answers {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |_: &AnswerKey, answer: &Arc<(Basis, Bytes)>| {
            u32::try_from(answer.1.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        Answers(Cache::builder().max_capacity(max_bytes).weigher(weigh).time_to_idle(IDLE).build())
    }

    pub(super) fn keep(&self, key: AnswerKey, basis: Basis, body: Bytes) {
        if body.len() <= MAX_BYTES {
            self.0.insert(key, Arc::new((basis, body)));
        }
    }

    /// Takes the answer if `holds` says that what it rests on is unchanged; one that is out of date is let go.
    pub(super) fn take(&self, key: &AnswerKey, holds: impl FnOnce(&Basis) -> bool) -> Option<Bytes> {
        let answer = self.0.get(key)?;
        if holds(&answer.0) {
            return Some(answer.1.clone());
        }
        self.0.invalidate(key);
        None
    }
}

impl<S> Inner<S> {
    /// Whether the rows in memory are those that an answer rests on. Says nothing about whether memory is current.
    pub(super) fn still_holds(&self, basis: &Basis) -> bool {
        basis.boards.iter().all(|(id, stamp)| self.records.get(id).is_some_and(|record| record.stamp == *stamp))
            && basis.users.iter().all(|(id, stamp)| self.users.get(id).is_some_and(|user| user.stamp == *stamp))
    }
}
