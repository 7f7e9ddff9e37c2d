//! The change log in PostgreSQL, as it is read. Writing it is part of the transaction that makes a change (`change/log.rs`).
//!
//! Whoever asks for what comes after a version that a board has not reached knows it from before the database was set
//! back. For that board there is one entry at the version that it has, which tells that nobody knows what changed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, change::logged_from, statement::Statement};
use crate::domain::{BoardEvent, BoardId, Result, UserId, ports::Events};

/// Columns of an entry `e`, in the order of [`EventRow`].
pub(super) const EVENT_COLUMNS: &str = "e.board_id, e.version, e.at, e.actor_id, e.client_mutation_id, e.changes";

pub(super) type EventSql = (SqlUuid, BigInt, Timestamptz, Nullable<SqlUuid>, Nullable<Text>, Jsonb);
pub(super) type EventRow = (Uuid, i64, DateTime<Utc>, Option<Uuid>, Option<String>, Value);

pub(super) fn event_from((board, version, at, actor, client_mutation_id, changes): EventRow) -> BoardEvent {
    let changes = changes.as_array().map(|changes| changes.iter().map(logged_from).collect()).unwrap_or_default();
    BoardEvent { board_id: BoardId(board), version, at, actor: actor.map(UserId), client_mutation_id, changes }
}

#[async_trait]
impl Events for Store {
    async fn events(&self, after: &[(BoardId, i64)], most: i64) -> Result<Vec<BoardEvent>> {
        let boards: Vec<Uuid> = after.iter().map(|(board, _)| board.0).collect();
        let versions: Vec<i64> = after.iter().map(|(_, version)| *version).collect();
        let rows: Vec<EventRow> = self
            .fetch(|| {
                Statement::<EventSql>::new("events.after")
                    .sql("SELECT ")
                    .sql(EVENT_COLUMNS)
                    .sql(" FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(boards.clone())
                    .sql(", ")
                    .bind::<Array<BigInt>, _>(versions.clone())
                    .sql(
                        ") AS k (board_id, version) CROSS JOIN LATERAL ((\
                            SELECT e.board_id, e.version, e.at, e.actor_id, e.client_mutation_id, e.changes \
                            FROM board_events e WHERE e.board_id = k.board_id AND e.version > k.version \
                            ORDER BY e.version LIMIT ",
                    )
                    .bind::<BigInt, _>(most)
                    .sql(
                        ") UNION ALL SELECT b.id, b.version, now(), NULL, NULL, '[{\"type\": \"unknown\"}]'::jsonb \
                            FROM boards b WHERE b.id = k.board_id AND b.version < k.version\
                         ) AS e ORDER BY e.board_id, e.version",
                    )
            })
            .await?;
        Ok(rows.into_iter().map(event_from).collect())
    }
}
