//! How much an account may have and has, for itself.

use async_graphql::SimpleObject;

use crate::domain::{AccountUsage, Limits};

/// How much of one thing an account has and may have. Whole numbers, as Float because bytes can be more than an Int holds.
#[derive(SimpleObject)]
pub(super) struct QuotaPart {
    /// How much it has.
    used: f64,
    /// How much it may have; null for any number. Writes beyond it are refused with a LimitError.
    limit: Option<f64>,
}

/// How much an account has and may have. Deleted things do not count here, but an account may store at most three times as much,
/// deleted things included.
#[derive(SimpleObject)]
pub(super) struct AccountQuota {
    /// Living boards.
    boards: QuotaPart,
    /// Living nodes on its living boards, whoever made them.
    nodes: QuotaPart,
    /// Bytes (UTF-8) of texts, prompts, descriptions and metadata on its living boards.
    bytes: QuotaPart,
    /// Boards that it has copied since midnight by the clock of the database.
    copies_today: QuotaPart,
}

impl AccountQuota {
    pub(super) fn new(usage: &AccountUsage, limits: &Limits) -> Self {
        let part =
            |used: i64, limit: Option<i64>| QuotaPart { used: used as f64, limit: limit.map(|limit| limit as f64) };
        AccountQuota {
            boards: part(usage.boards, limits.boards),
            nodes: part(usage.nodes, limits.nodes),
            bytes: part(usage.bytes, limits.bytes),
            copies_today: part(usage.copies, limits.copies_per_day),
        }
    }
}
