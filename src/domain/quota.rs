//! How much an account may have, and how much it has. What is counted where is `store/quota.rs`; which plan allows how much is a
//! setting.

use super::{Refusal, RefusalKind};

/// Stored things, deleted ones included, may be so many times what may live: what was deleted can be restored, but an account that
/// deletes and makes anew without end is stopped.
pub const STORED_FACTOR: i64 = 3;

/// How much an account may have; `None` is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Living boards.
    pub boards: Option<i64>,
    /// Living nodes on its living boards.
    pub nodes: Option<i64>,
    /// Bytes of texts, prompts, descriptions and metadata on its living boards.
    pub bytes: Option<i64>,
    /// Boards copied in a day of the database.
    pub copies_per_day: Option<i64>,
}

/// How much an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUsage {
    /// Living boards.
    pub boards: i64,
    /// Living nodes.
    pub nodes: i64,
    /// Bytes of what lives.
    pub bytes: i64,
    /// Boards, deleted ones included.
    pub stored_boards: i64,
    /// Nodes, deleted ones included.
    pub stored_nodes: i64,
    /// Bytes, those of deleted things included.
    pub stored_bytes: i64,
    /// Boards copied today.
    pub copies: i64,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }

    /// Whether so much is left that nothing that is written within a second, by however many requests, can exceed it: 100,000 nodes and
    /// 256 MiB. Boards and their copies are always counted.
    #[must_use]
    pub fn are_far(&self, usage: &AccountUsage) -> bool {
        let is_far = |limit: Option<i64>, used: i64, stored: i64, margin: i64| {
            limit.is_none_or(|limit| limit - used >= margin && limit.saturating_mul(STORED_FACTOR) - stored >= margin)
        };
        is_far(self.nodes, usage.nodes, usage.stored_nodes, 100_000)
            && is_far(self.bytes, usage.bytes, usage.stored_bytes, 256 << 20)
    }

    /// What a write is refused for after which an account would have `after`. Only what the write makes larger than `before` counts, so
    /// that an account over its limits can still become smaller.
    #[must_use]
    pub fn exceeded(&self, before: &AccountUsage, after: &AccountUsage) -> Option<Refusal> {
        let checks = [
            (self.boards, before.boards, after.boards, 1, "boards"),
            (self.boards, before.stored_boards, after.stored_boards, STORED_FACTOR, "boards, deleted ones included"),
            (self.nodes, before.nodes, after.nodes, 1, "nodes"),
            (self.nodes, before.stored_nodes, after.stored_nodes, STORED_FACTOR, "nodes, deleted ones included"),
            (self.bytes, before.bytes, after.bytes, 1, "bytes of text"),
            (
                self.bytes,
                before.stored_bytes,
                after.stored_bytes,
                STORED_FACTOR,
                "bytes of text, deleted ones included",
            ),
            (self.copies_per_day, before.copies, after.copies, 1, "copies of boards in a day"),
        ];
        checks.into_iter().find_map(|(limit, before, after, factor, what)| {
            let limit = limit?.saturating_mul(factor);
            (after > limit && after > before).then(|| {
                let message = format!("The account that owns the board has at most {limit} {what}");
                Refusal {
                    path: Vec::new(),
                    ..Refusal::new(RefusalKind::Limit { limit: limit.min(i32::MAX.into()) }, "", message)
                }
            })
        })
    }
}

impl AccountUsage {
    /// The same with more living things.
    #[must_use]
    pub fn with(self, boards: i64, nodes: i64, bytes: i64, copies: i64) -> Self {
        AccountUsage {
            boards: self.boards + boards,
            nodes: self.nodes + nodes,
            bytes: self.bytes + bytes,
            stored_boards: self.stored_boards + boards,
            stored_nodes: self.stored_nodes + nodes,
            stored_bytes: self.stored_bytes + bytes,
            copies: self.copies + copies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_far_while_much_is_left() {
        let limits = Limits { boards: Some(1), nodes: Some(250_000), bytes: Some(1 << 30), copies_per_day: Some(1) };
        let usage = |nodes, bytes| AccountUsage::default().with(5, nodes, bytes, 5);
        assert!(
            limits.are_far(&usage(150_000, 700 << 20)) && Limits::default().are_far(&usage(i64::MAX / 8, i64::MAX / 8))
        );
        assert!(!limits.are_far(&usage(150_001, 0)) && !limits.are_far(&usage(0, 800 << 20)));
        let deleted = AccountUsage { stored_nodes: 700_000, ..usage(0, 0) };
        assert!(!limits.are_far(&deleted));
    }

    #[test]
    fn only_what_grows_is_refused() {
        let limits = Limits { boards: Some(2), nodes: Some(10), bytes: None, copies_per_day: Some(1) };
        let none = AccountUsage::default();
        assert_eq!(limits.exceeded(&none, &none.with(2, 10, i64::MAX, 1)), None, "up to the limit");
        let refused = |before: &AccountUsage, after: &AccountUsage| {
            limits.exceeded(before, after).map(|refusal| match refusal.kind {
                RefusalKind::Limit { limit } => limit,
                _ => 0,
            })
        };
        assert_eq!(refused(&none, &none.with(3, 0, 0, 0)), Some(2));
        assert_eq!(refused(&none, &none.with(0, 0, 0, 2)), Some(1));
        let over = none.with(1, 20, 0, 0);
        assert_eq!(refused(&over, &none.with(1, 15, 0, 0)), None, "it becomes smaller");
        assert_eq!(refused(&over, &none.with(2, 20, 0, 0)), None, "nothing that is over its limit grows");
        assert_eq!(refused(&over, &none.with(1, 21, 0, 0)), Some(10));
        let deleted = AccountUsage { stored_nodes: 31, ..none };
        assert_eq!(refused(&none, &deleted), Some(30), "deleted ones count thrice as late");
    }
}
