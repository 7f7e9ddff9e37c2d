//! How well indexes find: the neighbours of stored vectors by a walk, beside those by comparing all. The vectors are a fair
//! sample, because ids of chunks are random.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    session::{IndexSession, failed, stored, told_by},
    table_of,
};
use crate::domain::{Generation, Measured, Result, VectorIndex, vector_index::WALKED_CANDIDATES};

/// Neighbours that are asked for.
const NEIGHBOURS: i64 = 10;
/// By how much distances of the same pair differ when they are computed twice.
const SAME: f64 = 1e-6;
const FAILED: &str = "Measuring failed";

/// A stored vector and what is nearest to it.
struct Example {
    chunk: String,
    /// As PostgreSQL writes it.
    vector: String,
    nearest: Vec<(String, f64)>,
}

/// Stored vectors with what is nearest to each.
pub struct Sample(Vec<Example>);

impl IndexSession {
    /// Takes about so many vectors and finds what is nearest to each by comparing all: some tenths of a second for each, of a
    /// million.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sample(&self, count: u32) -> Result<Sample> {
        let chunks = self.some(count).await?;
        self.nearest(&self.generation, &chunks).await
    }

    /// The same for another generation, with the same chunks where both have them, and how many of the neighbours are the same.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overlap(&self, other: &Generation, count: u32) -> Result<Option<Measured>> {
        let chunks = self.some(count).await?;
        let (here, there) = (self.nearest(&self.generation, &chunks).await?, self.nearest(other, &chunks).await?);
        let share = |here: &Example| {
            let there = there.0.iter().find(|example| example.chunk == here.chunk)?;
            let both = here.nearest.iter().filter(|(chunk, _)| there.nearest.iter().any(|(other, _)| other == chunk));
            (!here.nearest.is_empty()).then(|| both.count() as f64 / here.nearest.len() as f64)
        };
        Ok(Measured::of(&here.0.iter().filter_map(share).collect::<Vec<_>>()))
    }

    async fn some(&self, count: u32) -> Result<Vec<String>> {
        let table = table_of(self.generation.id);
        let from = Uuid::from_u128(rand::random()).to_string();
        let statement = format!(
            "SELECT chunk_id::text FROM ((SELECT chunk_id FROM {table} WHERE chunk_id >= $1::text::uuid ORDER BY chunk_id LIMIT $2) \
             UNION ALL (SELECT chunk_id FROM {table} WHERE chunk_id < $1::text::uuid ORDER BY chunk_id LIMIT $2)) c LIMIT $2"
        );
        let rows = self.client.query(&statement, &[&from, &i64::from(count)]).await;
        let rows = rows.map_err(|error| failed(FAILED, &error))?;
        rows.iter().map(|row| row.try_get(0).map_err(|error| failed(FAILED, &error))).collect()
    }

    async fn nearest(&self, generation: &Generation, chunks: &[String]) -> Result<Sample> {
        let table = table_of(generation.id);
        let failed = |error: tokio_postgres::Error| failed(FAILED, &error);
        let vectors =
            format!("SELECT chunk_id::text, embedding::text FROM {table} WHERE chunk_id = ANY($1::text[]::uuid[])");
        let rows = self.client.query(&vectors, &[&chunks]).await.map_err(failed)?;
        // Adding zero keeps indexes out of it.
        let statement = format!(
            "SELECT chunk_id::text, (embedding <=> $1::text::vector) + 0 AS distance FROM {table} \
             WHERE chunk_id <> $2::text::uuid ORDER BY 2, chunk_id LIMIT $3"
        );
        let statement = self.client.prepare(&statement).await.map_err(failed)?;
        let mut examples = Vec::with_capacity(rows.len());
        for row in rows {
            let (chunk, vector): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let found = self.client.query(&statement, &[&vector, &chunk, &NEIGHBOURS]).await.map_err(failed)?;
            let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
            let nearest = found.iter().map(pair).collect::<Result<_, _>>().map_err(failed)?;
            examples.push(Example { chunk, vector, nearest });
        }
        Ok(Sample(examples))
    }

    /// Which share of what is nearest an index finds, walked as searches walk it. `None` when there is nothing to find or the
    /// index cannot be walked by itself: it cannot be used, or somebody else has made it beside another.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recall(&self, sample: &Sample, index: &VectorIndex) -> Result<Option<Measured>> {
        if !index.is_valid {
            return Ok(None);
        }
        self.run(FAILED, "BEGIN READ ONLY").await?;
        let measured = self.walk(sample, index).await;
        // The settings end with it.
        let ended = self.run(FAILED, "ROLLBACK").await;
        let shares = measured?;
        ended?;
        Ok(Measured::of(&shares))
    }

    async fn walk(&self, sample: &Sample, index: &VectorIndex) -> Result<Vec<f64>> {
        let probes = probes(&index.parameters);
        self.run(
            FAILED,
            &format!(
                "SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL ivfflat.iterative_scan = relaxed_order; \
                 SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; \
                 SET LOCAL plan_cache_mode = force_custom_plan; \
                 SET LOCAL hnsw.ef_search = {WALKED_CANDIDATES}; SET LOCAL ivfflat.probes = {probes}"
            ),
        )
        .await?;
        let (table, (stored, _)) = (table_of(self.generation.id), stored(&self.generation));
        let (length, told) = (self.generation.dimensions, index.number.map_or("generation_id", told_by));
        let walk = |vector: &str| {
            format!(
                "SELECT chunk_id::text, embedding <=> {vector}::text::vector AS distance FROM (SELECT chunk_id, embedding \
                 FROM {table} WHERE {told} <> '00000000-0000-0000-0000-000000000000' \
                 ORDER BY (embedding::{stored}({length})) <=> {vector}::text::{stored}({length}) LIMIT 11) near"
            )
        };
        let Some(first) = sample.0.first() else { return Ok(Vec::new()) };
        // Numbers in brackets, as PostgreSQL wrote them.
        let plan = self.plan(&walk(&format!("'{}'", first.vector))).await?;
        if !plan.contains(&format!("using {} ", index.name)) {
            tracing::debug!(plan, index = index.name, "An index is not walked");
            return Ok(Vec::new());
        }
        let failed = |error: tokio_postgres::Error| failed(FAILED, &error);
        let statement = self.client.prepare(&walk("$1")).await.map_err(failed)?;
        let mut shares = Vec::with_capacity(sample.0.len());
        for example in &sample.0 {
            let Some((_, farthest)) = example.nearest.last() else { continue };
            let parameters: [&(dyn ToSql + Sync); 1] = [&example.vector];
            let rows = self.client.query(&statement, &parameters).await.map_err(failed)?;
            let mut found = 0;
            for row in rows {
                let (chunk, distance): (String, f64) =
                    (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
                // By distance and not by id: texts may be the same.
                found += usize::from(chunk != example.chunk && distance <= farthest + SAME);
            }
            shares.push(found.min(example.nearest.len()) as f64 / example.nearest.len() as f64);
        }
        Ok(shares)
    }
}

/// How many lists are looked at, as searches do; see `store/search/rank.rs`.
fn probes(parameters: &str) -> i64 {
    let lists: i64 = parameters.strip_prefix("lists=").and_then(|lists| lists.parse().ok()).unwrap_or(1);
    let probes = (lists as f64).sqrt() * f64::from(WALKED_CANDIDATES) / 100.0;
    (probes.ceil() as i64).clamp(1, lists)
}
