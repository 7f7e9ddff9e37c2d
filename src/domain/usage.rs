//! How much an account uses, by the hour, for quotas and bills.

use chrono::{DateTime, Utc};

use super::words::words;

words!(
    /// What is counted.
    UsageMetric {
        /// Operations that were asked of the API: queries, mutations, subscriptions; each of a batch counts.
        ApiCalls = "api_calls",
        /// Changes of boards: nodes and links made, changed or deleted.
        BoardChanges = "board_changes",
    }
);

/// The use of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsagePoint {
    /// When the hour began.
    pub from: DateTime<Utc>,
    /// How much.
    pub value: i64,
}
