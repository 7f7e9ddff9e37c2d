//! A transaction for a write that is no change of a board. Under the key of its request it is done once within a day, however
//! often and by how many at the same moment it is asked for. Dropping it undoes everything.

use diesel::{deserialize::FromSqlRow, expression::QueryMetadata, pg::Pg, query_dsl::CompatibleType};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Store,
    change::{claim, remember},
    lent::Lent,
    statement::Statement,
    transaction::{begin, commit, roll_back},
};
use crate::domain::{Claim, Error, IdempotencyKey, Outcome, Refusal, Result};

/// A transaction that has begun.
pub(super) struct Work<'a> {
    store: &'a Store,
    connection: Lent,
    key: Option<&'a IdempotencyKey>,
}

/// Whether there is something to do.
#[allow(clippy::large_enum_variant, reason = "made one at a time and never stored")]
pub(super) enum Once<'a> {
    /// Nobody has done it yet.
    Now(Work<'a>),
    /// A request under the same key has done it, on the object with this id.
    Before(Uuid),
}

impl Store {
    /// Begins a transaction, unless it was done before under the same key.
    pub(super) async fn once<'a>(&'a self, key: Option<&'a IdempotencyKey>) -> Outcome<Once<'a>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let claim = match key {
            Some(key) => claim(self, &mut connection, key).await?,
            None => Claim::Free,
        };
        if matches!(claim, Claim::Free) {
            return Ok(Once::Now(Work { store: self, connection, key }));
        }
        roll_back(&mut connection).await;
        match claim {
            Claim::Done(result) => {
                let id = result.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
                Ok(Once::Before(id.ok_or_else(|| Error::internal("once: a result without an id"))?))
            }
            Claim::Reused | Claim::Free => Err(Refusal::key_reused().into()),
        }
    }
}

impl Work<'_> {
    /// Runs a statement in the transaction.
    pub(super) async fn run<ST, Row>(&mut self, statement: Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        self.store.run(&mut self.connection, statement).await
    }

    /// Keeps for the key of the request which object it was about, and makes everything last.
    pub(super) async fn finish(mut self, id: Uuid) -> Result<()> {
        if let Some(key) = self.key {
            remember(self.store, &mut self.connection, key, json!({ "id": id })).await?;
        }
        commit(&mut self.connection).await
    }

    /// Undoes everything; nothing was found to do.
    pub(super) async fn give_up(mut self) {
        roll_back(&mut self.connection).await;
    }
}
