//! Presence in PostgreSQL: how gateways tell each other who is where. The rows live for a minute, in a table that is not logged.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, Timestamptz, Uuid as SqlUuid};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Store, statement::Statement};
use crate::domain::{
    BoardId, NodeId, Presence, PresenceId, Result, UserId,
    ports::{PresenceTable, Presences},
};

type PresenceSql = (
    SqlUuid,
    SqlUuid,
    Nullable<SqlUuid>,
    BigInt,
    Nullable<Double>,
    Nullable<Double>,
    Array<SqlUuid>,
    Nullable<Jsonb>,
    Bool,
    Timestamptz,
    Double,
);
type PresenceRow =
    (Uuid, Uuid, Option<Uuid>, i64, Option<f64>, Option<f64>, Vec<Uuid>, Option<Value>, bool, DateTime<Utc>, f64);

fn presence_from(row: PresenceRow) -> (Presence, Duration) {
    let (board, id, user, mark, x, y, selection, state, is_here, seen_at, seconds_ago) = row;
    let presence = Presence {
        id: PresenceId(id),
        board_id: BoardId(board),
        user: user.map(UserId),
        mark,
        cursor: x.zip(y),
        selection: selection.into_iter().map(NodeId).collect(),
        state,
        is_here,
        seen_at,
    };
    (presence, Duration::try_from_secs_f64(seconds_ago).unwrap_or_default())
}

fn row_of(presence: &Presence) -> Value {
    json!({
        "board_id": presence.board_id.0,
        "id": presence.id.0,
        "user_id": presence.user.map(|user| user.0),
        "mark": presence.mark,
        "cursor_x": presence.cursor.map(|(x, _)| x),
        "cursor_y": presence.cursor.map(|(_, y)| y),
        "selection": presence.selection.iter().map(|node| node.0).collect::<Vec<_>>(),
        "state": presence.state,
        "is_here": presence.is_here,
        "age": (Utc::now() - presence.seen_at).num_milliseconds().max(0) as f64 / 1000.0,
    })
}

#[async_trait]
impl Presences for Store {
    async fn presences(&self, boards: &[BoardId], within: Duration, most: i64) -> Result<Vec<(Presence, Duration)>> {
        let boards: Vec<Uuid> = boards.iter().map(|board| board.0).collect();
        let rows: Vec<PresenceRow> = self
            .fetch(|| {
                Statement::<PresenceSql>::new("presence.read")
                    .sql(
                        "SELECT p.board_id, p.id, p.user_id, p.mark, p.cursor_x, p.cursor_y, p.selection, p.state, p.is_here, \
                         p.seen_at, extract(epoch FROM clock_timestamp() - p.seen_at)::double precision FROM unnest(",
                    )
                    .bind::<Array<SqlUuid>, _>(boards.clone())
                    .sql(
                        ") AS k (board_id) CROSS JOIN LATERAL (\
                            SELECT p.* FROM board_presence p WHERE p.board_id = k.board_id \
                            AND p.seen_at > now() - make_interval(secs => ",
                    )
                    .bind::<Double, _>(within.as_secs_f64())
                    .sql(") ORDER BY p.seen_at DESC LIMIT ")
                    .bind::<BigInt, _>(most)
                    .sql(") AS p ORDER BY p.seen_at")
            })
            .await?;
        Ok(rows.into_iter().map(presence_from).collect())
    }
}

#[async_trait]
impl PresenceTable for Store {
    async fn keep_presences(&self, presences: &[Arc<Presence>]) -> Result<DateTime<Utc>> {
        let mut rows: Vec<&Presence> = presences.iter().map(AsRef::as_ref).collect();
        // In one order everywhere: two gateways that write the same rows do not wait for each other in a circle.
        rows.sort_by_key(|presence| (presence.board_id, presence.id));
        let rows: Value = rows.into_iter().map(row_of).collect();
        // What was said is kept in the place of what was said before, so that it may be tried again. What could not be
        // written for a while gives way to what somebody else has heard since.
        let statement = || {
            Statement::<Timestamptz>::new("presence.keep")
            .sql(
                "WITH clock AS (SELECT clock_timestamp() AS now), kept AS (\
                    INSERT INTO board_presence AS p (board_id, id, user_id, mark, cursor_x, cursor_y, selection, state, is_here, seen_at) \
                    SELECT r.board_id, r.id, r.user_id, r.mark, r.cursor_x, r.cursor_y, r.selection, r.state, r.is_here, clock.now \
                    FROM clock CROSS JOIN jsonb_to_recordset(",
            )
            .bind::<Jsonb, _>(rows.clone())
            .sql(
                ") AS r (board_id uuid, id uuid, user_id uuid, mark bigint, cursor_x double precision, \
                    cursor_y double precision, selection uuid[], state jsonb, is_here boolean, age double precision) \
                    WHERE r.age < 2 OR NOT EXISTS (SELECT FROM board_presence o WHERE o.board_id = r.board_id \
                        AND o.id = r.id AND o.seen_at > clock.now - make_interval(secs => r.age - 2)) \
                    ON CONFLICT (board_id, id) DO UPDATE SET mark = excluded.mark, cursor_x = excluded.cursor_x, \
                    cursor_y = excluded.cursor_y, selection = excluded.selection, state = excluded.state, \
                    is_here = excluded.is_here, seen_at = excluded.seen_at WHERE p.seen_at <= excluded.seen_at RETURNING 1) \
                 SELECT clock.now FROM clock",
            )
        };
        let rows: Vec<DateTime<Utc>> = self.fetch(statement).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    async fn remove_presences(&self) -> Result<()> {
        let statement = || {
            Statement::<BigInt>::new("presence.remove").sql(
                "WITH gone AS (DELETE FROM board_presence WHERE seen_at < now() - interval '1 minute' RETURNING 1) \
                 SELECT count(*) FROM gone",
            )
        };
        let _: Vec<i64> = self.fetch(statement).await?;
        Ok(())
    }
}
