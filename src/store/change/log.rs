//! The change log of boards, and the results of requests that carried a key.

use diesel::sql_types::{BigInt, Binary, Bool, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{BoardId, Claim, Error, IdempotencyKey, LinkId, Logged, NodeId, Origin, Result},
    store::{Store, statement::Statement},
};

/// How the log spells what happened.
fn to_json(logged: &Logged) -> Value {
    match logged {
        Logged::BoardUpdated => json!({ "type": "board_updated" }),
        Logged::BoardDeleted => json!({ "type": "board_deleted" }),
        Logged::NodeSaved(id) => json!({ "type": "node_saved", "id": id.0 }),
        Logged::NodeDeleted(id) => json!({ "type": "node_deleted", "id": id.0 }),
        Logged::LinkSaved(id) => json!({ "type": "link_saved", "id": id.0 }),
        Logged::LinkDeleted(id) => json!({ "type": "link_deleted", "id": id.0 }),
        Logged::Unknown => json!({ "type": "unknown" }),
    }
}

/// Reads what [`to_json`] wrote; what a newer program wrote is unknown to this one.
pub(in crate::store) fn from_json(entry: &Value) -> Logged {
    let id = || entry.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok());
    match (entry.get("type").and_then(Value::as_str), id()) {
        (Some("board_updated"), _) => Logged::BoardUpdated,
        (Some("board_deleted"), _) => Logged::BoardDeleted,
        (Some("node_saved"), Some(id)) => Logged::NodeSaved(NodeId(id)),
        (Some("node_deleted"), Some(id)) => Logged::NodeDeleted(NodeId(id)),
        (Some("link_saved"), Some(id)) => Logged::LinkSaved(LinkId(id)),
        (Some("link_deleted"), Some(id)) => Logged::LinkDeleted(LinkId(id)),
        _ => Logged::Unknown,
    }
}

/// Adds the entry of a version, in the transaction that makes it.
pub(in crate::store) async fn append(
    store: &Store,
    connection: &mut AsyncPgConnection,
    board: BoardId,
    version: i64,
    origin: &Origin,
    logged: &[Logged],
) -> Result<()> {
    let statement = Statement::<BigInt>::new("change.log")
        .sql("INSERT INTO board_events (board_id, version, actor_id, client_mutation_id, changes) VALUES (")
        .bind::<SqlUuid, _>(board.0)
        .sql(", ")
        .bind::<BigInt, _>(version)
        .sql(", ")
        .bind::<Nullable<SqlUuid>, _>(origin.actor.map(|actor| actor.0))
        .sql(", ")
        .bind::<Nullable<Text>, _>(origin.client_mutation_id.clone())
        .sql(", ")
        .bind::<Jsonb, _>(Value::from(logged.iter().map(to_json).collect::<Vec<_>>()))
        .sql(") RETURNING version");
    let _: Vec<i64> = store.run(connection, statement).await?;
    Ok(())
}

/// Asks for a key; whoever else comes with it waits until this transaction is over.
pub(in crate::store) async fn claim(
    store: &Store,
    connection: &mut AsyncPgConnection,
    key: &IdempotencyKey,
) -> Result<Claim> {
    // A lock of its own, because the row is there only once there is a result. Two keys that share one merely wait.
    let lock = Statement::<Bool>::new("change.lock_key")
        .sql("SELECT pg_advisory_xact_lock(hashtextextended(")
        .bind::<Text, _>(key.key.clone())
        .sql(", ('x' || left(encode(")
        .bind::<Binary, _>(key.principal.to_vec())
        .sql(", 'hex'), 16))::bit(64)::bigint)) IS NULL");
    let _: Vec<bool> = store.run(connection, lock).await?;
    known(store, connection, key).await
}

/// What is known of a key at this moment.
pub(in crate::store) async fn known(
    store: &Store,
    connection: &mut AsyncPgConnection,
    key: &IdempotencyKey,
) -> Result<Claim> {
    let known = Statement::<(Bool, Nullable<Jsonb>)>::new("change.key")
        // How a program of before made its digests cannot be repeated, and doing a thing twice is worse than not noticing that a
        // key comes with another request. Where a secret would have to be the same, it must not be done for whoever knows the
        // key alone. Such rows are gone a day after the last such program.
        .sql("SELECT (k.digest_version < 2 AND NOT ")
        .bind::<Bool, _>(key.has_secret)
        .sql(") OR k.request_digest = ")
        .bind::<Binary, _>(key.request.to_vec())
        .sql(", k.result FROM idempotency_keys k WHERE k.created_at > now() - interval '24 hours' AND k.principal_digest = ")
        .bind::<Binary, _>(key.principal.to_vec())
        .sql(" AND k.key = ")
        .bind::<Text, _>(key.key.clone());
    let rows: Vec<(bool, Option<Value>)> = store.run(connection, known).await?;
    Ok(match rows.into_iter().next() {
        None => Claim::Free,
        Some((false, _)) => Claim::Reused,
        Some((true, result)) => {
            Claim::Done(result.ok_or_else(|| Error::internal("change.key: a key without a result"))?)
        }
    })
}

/// Keeps the result of a request under its key.
pub(in crate::store) async fn remember(
    store: &Store,
    connection: &mut AsyncPgConnection,
    key: &IdempotencyKey,
    result: Value,
) -> Result<()> {
    let statement = Statement::<Text>::new("change.remember")
        .sql("INSERT INTO idempotency_keys AS k (principal_digest, key, request_digest, digest_version, result) VALUES (")
        .bind::<Binary, _>(key.principal.to_vec())
        .sql(", ")
        .bind::<Text, _>(key.key.clone())
        .sql(", ")
        .bind::<Binary, _>(key.request.to_vec())
        .sql(", 2, ")
        .bind::<Jsonb, _>(result)
        // One that is older than a day and was not removed yet gives way.
        .sql(
            ") ON CONFLICT (principal_digest, key) DO UPDATE SET request_digest = excluded.request_digest, digest_version = excluded.digest_version, \
             result = excluded.result, created_at = now() RETURNING k.key",
        );
    let _: Vec<String> = store.run(connection, statement).await?;
    Ok(())
}
