//! Embedding generations in PostgreSQL: each has a partition of its own for its vectors.

use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{
    Store,
    chunk::{unembedded, unembedded_from},
    error::unexpected,
    statement::Statement,
    transaction::{begin, end},
};
use crate::domain::{
    ChunkId, Code, Coverage, Error, Generation, GenerationId, GenerationState, Generations, Provider, Result,
    Unembedded,
};

/// How often it is tried to add a partition while others are in the way, and after how long again.
const ATTEMPTS: usize = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// Columns of a generation `g`, in the order of [`GenerationRow`].
pub(super) const GENERATION_COLUMNS: &str = "g.id, g.provider, g.model, g.dimensions, g.state, g.source";

pub(super) type GenerationSql = (SqlUuid, Text, Text, Integer, Text, Nullable<Text>);
pub(super) type GenerationRow = (Uuid, String, String, i32, String, Option<String>);

pub(super) fn generation_from((id, provider, model, dimensions, state, source): GenerationRow) -> Result<Generation> {
    Ok(Generation {
        id: GenerationId(id),
        provider: Provider::from_word(&provider).ok_or_else(|| unexpected("provider", &provider))?,
        model,
        dimensions,
        state: GenerationState::from_word(&state).ok_or_else(|| unexpected("state of a generation", &state))?,
        source,
    })
}

pub(super) async fn in_states(store: &Store, states: &[GenerationState]) -> Result<Vec<Generation>> {
    let rows: Vec<GenerationRow> = store
        .fetch(|| {
            Statement::<GenerationSql>::new("generations.in_states")
                .sql("SELECT ")
                .sql(GENERATION_COLUMNS)
                .sql(" FROM embedding_generations g WHERE g.state = ANY(")
                .bind::<Array<Text>, _>(states.iter().map(|state| state.as_str()).collect::<Vec<_>>())
                .sql(") ORDER BY g.id")
        })
        .await?;
    rows.into_iter().map(generation_from).collect()
}

/// Generations for which new chunks get vectors, within a transaction.
pub(super) async fn in_use(store: &Store, connection: &mut AsyncPgConnection) -> Result<Vec<Uuid>> {
    let statement = Statement::<SqlUuid>::new("generations.in_use")
        .sql("SELECT g.id FROM embedding_generations g WHERE g.state IN ('active', 'building')");
    store.run(connection, statement).await
}

/// How long the statements that follow in the transaction wait for others.
async fn wait_for_locks(store: &Store, connection: &mut AsyncPgConnection, at_most: &'static str) -> Result<()> {
    let patience = Statement::<Text>::new("generations.patience")
        .sql("SELECT set_config('lock_timeout', ")
        .bind::<Text, _>(at_most)
        .sql(", true)");
    let _: Vec<String> = store.run(connection, patience).await?;
    Ok(())
}

/// Who makes generations or changes which is searched, does so alone.
async fn lock(store: &Store, connection: &mut AsyncPgConnection) -> Result<()> {
    let locked = Statement::<Bool>::new("generations.lock")
        .sql("SELECT pg_advisory_xact_lock(hashtextextended('embedding_generations', 0)) IS NOT NULL");
    let _: Vec<bool> = store.run(connection, locked).await?;
    Ok(())
}

/// The state of a generation, which stays as it is until the end of the transaction: whoever keeps vectors of one that becomes
/// the active one has kept them before or steps the versions of search.
pub(super) async fn hold(
    store: &Store,
    connection: &mut AsyncPgConnection,
    generation: &Generation,
) -> Result<Option<GenerationState>> {
    let statement = Statement::<Text>::new("generations.hold")
        .sql("SELECT g.state FROM embedding_generations g WHERE g.id = ")
        .bind::<SqlUuid, _>(generation.id.0)
        .sql(" FOR SHARE");
    let states: Vec<String> = store.run(connection, statement).await?;
    Ok(states.first().and_then(|state| GenerationState::from_word(state)))
}

/// Makes a generation and its partition, once however many ask: one that is active or being built for the same model is it. A
/// partition is added to a table that is always searched: whoever is in the way for long is let past, or all others would wait, too.
pub(super) async fn make(
    store: &Store,
    provider: Provider,
    model: &str,
    dimensions: i32,
    source: Option<&str>,
) -> Result<Generation> {
    let mut attempts_left = ATTEMPTS;
    loop {
        attempts_left -= 1;
        match try_make(store, provider, model, dimensions, source).await {
            Err(error) if attempts_left > 0 && error.code() == Code::Timeout => {
                tokio::time::sleep(BETWEEN_ATTEMPTS).await
            }
            made => return made,
        }
    }
}

async fn try_make(
    store: &Store,
    provider: Provider,
    model: &str,
    dimensions: i32,
    source: Option<&str>,
) -> Result<Generation> {
    let mut connection = store.connection().await?;
    begin(&mut connection).await?;
    let make = async {
        lock(store, &mut connection).await?;
        let known = Statement::<GenerationSql>::new("generations.known")
            .sql("SELECT ")
            .sql(GENERATION_COLUMNS)
            .sql(" FROM embedding_generations g WHERE g.state IN ('active', 'building') AND g.provider = ")
            .bind::<Text, _>(provider.as_str())
            .sql(" AND g.model = ")
            .bind::<Text, _>(model.to_owned())
            .sql(" AND g.dimensions = ")
            .bind::<Integer, _>(dimensions)
            .sql(" ORDER BY g.id DESC LIMIT 1");
        let rows: Vec<GenerationRow> = store.run(&mut connection, known).await?;
        if let Some(row) = rows.into_iter().next() {
            return generation_from(row);
        }
        // In the order in which those who cut a text lock these tables. Those who write chunks wait meanwhile, for long enough that a
        // vacuum lets go (`deadlock_timeout`); searches wait only for the partition.
        wait_for_locks(store, &mut connection, "3s").await?;
        let alone = Statement::<Text>::new("generations.alone").sql("LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE");
        let _: Vec<String> = store.run(&mut connection, alone).await?;
        wait_for_locks(store, &mut connection, "250ms").await?;
        let made = Statement::<GenerationSql>::new("generations.make")
            .sql("INSERT INTO embedding_generations AS g (provider, model, dimensions, source, state, activated_at) SELECT ")
            .bind::<Text, _>(provider.as_str())
            .sql(", ")
            .bind::<Text, _>(model.to_owned())
            .sql(", ")
            .bind::<Integer, _>(dimensions)
            .sql(", ")
            .bind::<Nullable<Text>, _>(source.map(ToOwned::to_owned))
            .sql(
                ", CASE WHEN a.is_first THEN 'active' ELSE 'building' END, CASE WHEN a.is_first THEN CURRENT_TIMESTAMP END \
                 FROM (SELECT NOT EXISTS (SELECT FROM embedding_generations WHERE state = 'active') AS is_first) a RETURNING ",
            )
            .sql(GENERATION_COLUMNS);
        let rows: Vec<GenerationRow> = store.run(&mut connection, made).await?;
        let row = rows.into_iter().next().ok_or_else(|| Error::internal("generations.make: no row"))?;
        let generation = generation_from(row)?;
        let partition = Statement::<Text>::new("generations.partition")
            .sql("SELECT add_embedding_partition(")
            .bind::<SqlUuid, _>(generation.id.0)
            .sql(")");
        let _: Vec<String> = store.run(&mut connection, partition).await?;
        Ok(generation)
    };
    let made = make.await;
    end(&mut connection, made).await
}

/// Makes a generation active if its vectors are there, and keeps the one that was.
async fn activate(store: &Store, connection: &mut AsyncPgConnection, to: GenerationId) -> Result<Option<GenerationId>> {
    lock(store, connection).await?;
    let keep = Statement::<SqlUuid>::new("generations.keep")
        .sql("UPDATE embedding_generations g SET state = 'kept' WHERE g.state = 'active' AND g.id <> ")
        .bind::<SqlUuid, _>(to.0)
        .sql(" RETURNING g.id");
    let before: Vec<Uuid> = store.run(connection, keep).await?;
    let activate = Statement::<SqlUuid>::new("generations.activate")
        .sql(
            "UPDATE embedding_generations g SET state = 'active', activated_at = CURRENT_TIMESTAMP \
             WHERE g.state <> 'dropped' AND g.id = ",
        )
        .bind::<SqlUuid, _>(to.0)
        .sql(" RETURNING g.id");
    let activated: Vec<Uuid> = store.run(connection, activate).await?;
    if activated.is_empty() {
        return Err(Error::invalid("The vectors of this generation are gone"));
    }
    Ok(before.into_iter().next().map(GenerationId))
}

#[async_trait]
impl Generations for Store {
    async fn coverage(&self, generation: &Generation) -> Result<Coverage> {
        let rows: Vec<(i64, i64, i64)> = self
            .fetch(|| {
                Statement::<(BigInt, BigInt, BigInt)>::new("generations.coverage")
                    .sql(
                        "SELECT count(*), count(e.chunk_id), \
                         count(*) FILTER (WHERE e.chunk_id IS NULL AND c.created_at < now() - interval '10 s') \
                         FROM chunks c JOIN nodes n ON n.id = c.node_id AND n.deleted_at IS NULL \
                         LEFT JOIN embeddings e ON e.chunk_id = c.id AND e.generation_id = ",
                    )
                    .bind::<SqlUuid, _>(generation.id.0)
            })
            .await?;
        let (chunks, embedded, overdue) = rows.into_iter().next().unwrap_or_default();
        Ok(Coverage { chunks, embedded, overdue })
    }

    async fn missing(&self, generation: &Generation, after: Option<ChunkId>, limit: usize) -> Result<Vec<Unembedded>> {
        let rows = self
            .fetch(|| {
                unembedded("generations.missing")
                    .sql(" FROM chunks c JOIN indexed_resources i ON i.node_id = c.node_id WHERE c.id > ")
                    .bind::<SqlUuid, _>(after.map_or(Uuid::nil(), |after| after.0))
                    .sql(" AND NOT EXISTS (SELECT FROM embeddings e WHERE e.chunk_id = c.id AND e.generation_id = ")
                    .bind::<SqlUuid, _>(generation.id.0)
                    .sql(") ORDER BY c.id LIMIT ")
                    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
            })
            .await?;
        Ok(rows.into_iter().map(unembedded_from).collect())
    }

    async fn switch(&self, to: &Generation) -> Result<Option<GenerationId>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let switched = activate(self, &mut connection, to.id).await;
        end(&mut connection, switched).await
    }

    async fn give_up(&self, generation: &Generation) -> Result<()> {
        let rows: Vec<Uuid> = self
            .fetch(|| {
                Statement::<SqlUuid>::new("generations.give_up")
                    .sql("UPDATE embedding_generations g SET state = 'dropped' WHERE g.state <> 'active' AND g.id = ")
                    .bind::<SqlUuid, _>(generation.id.0)
                    .sql(" RETURNING g.id")
            })
            .await?;
        if rows.is_empty() {
            return Err(Error::invalid("This generation is the one that is searched: switch to another first"));
        }
        Ok(())
    }
}
