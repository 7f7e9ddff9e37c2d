//! Answers many keys with one statement per shape of key.
//!
//! Keys of one shape differ only in the rows they start from, so one statement takes them all as arrays and tags every row
//! with the ordinal of its key. Which keys share a shape, and what the statement says, is up to the noun.

use diesel::{
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    pg::Pg,
    query_dsl::CompatibleType,
    sql_types::{Array, BigInt, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{Store, statement::Statement};
use crate::domain::{BoardId, Error, Result};

impl Store {
    /// `statement` gets the keys of one shape; its rows begin with the ordinal, from 1, of the key they belong to.
    /// `answer` makes the answer of a key out of its rows, which keep their order.
    pub(super) async fn by_shape<K, ST, Row, A>(
        &self,
        keys: &[K],
        same_shape: impl Fn(&K, &K) -> bool + Send,
        statement: impl Fn(&K, &[&K]) -> Statement<(BigInt, ST)> + Send + Sync,
        answer: impl Fn(&K, Vec<Row>) -> Result<A> + Send,
    ) -> Result<Vec<A>>
    where
        K: Sync,
        A: Send,
        Pg: QueryMetadata<(BigInt, ST)>,
        (BigInt, ST): CompatibleType<(i64, Row), Pg, SqlType = (BigInt, ST)> + 'static,
        (i64, Row): FromSqlRow<(BigInt, ST), Pg> + Send + 'static,
        Row: Send,
    {
        let mut shapes: Vec<Vec<usize>> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let shape = shapes.iter_mut().find(|shape| {
                shape.first().and_then(|first| keys.get(*first)).is_some_and(|first| same_shape(first, key))
            });
            match shape {
                Some(shape) => shape.push(place),
                None => shapes.push(vec![place]),
            }
        }
        let mut answers: Vec<Option<A>> = keys.iter().map(|_| None).collect();
        for places in shapes {
            let members: Vec<&K> = places.iter().filter_map(|place| keys.get(*place)).collect();
            let Some(first) = members.first() else { continue };
            let rows: Vec<(i64, Row)> = self.fetch(|| statement(first, &members)).await?;
            let mut rows_of: Vec<Vec<Row>> = members.iter().map(|_| Vec::new()).collect();
            for (ordinal, row) in rows {
                if let Some(rows) = rows_of.get_mut(ordinal as usize - 1) {
                    rows.push(row);
                }
            }
            for ((place, key), rows) in places.into_iter().zip(members).zip(rows_of) {
                if let Some(slot) = answers.get_mut(place) {
                    *slot = Some(answer(key, rows)?);
                }
            }
        }
        answers.into_iter().map(|answer| answer.ok_or_else(|| Error::internal("a key was not answered"))).collect()
    }
}

/// Adds `unnest($boards, $ids) WITH ORDINALITY AS k (board_id, id, ord)`.
pub(super) fn from_keys<ST>(statement: Statement<ST>, keys: impl Iterator<Item = (BoardId, Uuid)>) -> Statement<ST> {
    let (boards, ids): (Vec<Uuid>, Vec<Uuid>) = keys.map(|(board, id)| (board.0, id)).unzip();
    statement
        .sql("unnest(")
        .bind::<Array<SqlUuid>, _>(boards)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(ids)
        .sql(") WITH ORDINALITY AS k (board_id, id, ord)")
}
