//! Approximate indexes over the vectors of a generation, in PostgreSQL: which there are, what is being built. Building and
//! dropping, which takes a connection without statement timeout, is in `session.rs`, measuring in `measure.rs`.
//!
//! Names of tables and indexes are made of a generation's id and of numbers, and of nothing else: nothing that anybody wrote
//! gets into a statement.

mod measure;
mod session;

use std::collections::HashMap;

use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Uuid as SqlUuid};
use secrecy::SecretString;
use uuid::Uuid;

pub use self::session::IndexSession;
use super::{
    Store,
    error::unexpected,
    generation::{GENERATION_COLUMNS, generation_from},
    statement::Statement,
    tls::Connector,
};
use crate::domain::{Generation, GenerationId, IndexBuild, IndexMethod, IndexedGeneration, Result, VectorIndex};

/// The table with the vectors of a generation, as `add_embedding_partition` names it.
pub(super) fn table_of(generation: GenerationId) -> String {
    format!("embeddings_{}", generation.0.simple())
}

/// The name of an index of this program.
fn name_of(generation: GenerationId, method: IndexMethod, number: u32) -> String {
    format!("{}_{}_{number}", table_of(generation), method.as_str())
}

/// The number of an index, if this program gave it its name.
fn number_in(name: &str, generation: GenerationId, method: IndexMethod) -> Option<u32> {
    let number: u32 = name.rsplit('_').next()?.parse().ok()?;
    (name_of(generation, method, number) == name).then_some(number)
}

/// Makes, drops and measures indexes over vectors. They are looked at through the pool, and worked on over connections of
/// their own, which go past poolers where the settings name such a way.
#[derive(Clone)]
pub struct VectorIndexes {
    store: Store,
    connector: Connector,
}

impl VectorIndexes {
    /// In the database of `store`, which is also at `url`.
    ///
    /// # Errors
    /// `Internal`, with the cause for the operator, if the URL cannot be used.
    pub fn new(store: Store, url: &SecretString) -> Result<Self> {
        Ok(VectorIndexes { store, connector: Connector::new(url, "ragboard index", None)? })
    }

    /// All generations whose vectors are there, the oldest first. Counts vectors: a second for some millions.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overview(&self) -> Result<Vec<IndexedGeneration>> {
        type Sql = (SqlUuid, Text, Text, Integer, Text, Nullable<Text>, BigInt, BigInt);
        type Row = (Uuid, String, String, i32, String, Option<String>, i64, i64);
        let rows: Vec<Row> = self
            .store
            .fetch(|| {
                Statement::<Sql>::new("vector_index.generations").sql("SELECT ").sql(GENERATION_COLUMNS).sql(
                    ", (SELECT count(*) FROM embeddings e WHERE e.generation_id = g.id), \
                     coalesce(pg_table_size(to_regclass('embeddings_' || replace(g.id::text, '-', ''))), 0) \
                     FROM embedding_generations g WHERE g.state <> 'dropped' ORDER BY g.id",
                )
            })
            .await?;
        let (mut indexes, mut builds) = (self.indexes().await?, self.builds().await?);
        let with_indexes = |(id, provider, model, dimensions, state, source, rows, table_bytes): Row| {
            Ok(IndexedGeneration {
                generation: generation_from((id, provider, model, dimensions, state, source))?,
                rows,
                table_bytes,
                indexes: indexes.remove(&id).unwrap_or_default(),
                builds: builds.remove(&id).unwrap_or_default(),
            })
        };
        rows.into_iter().map(with_indexes).collect()
    }

    /// Whether a generation has more vectors than so many, without counting all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_more_than(&self, generation: &Generation, rows: i64) -> Result<bool> {
        let counts: Vec<i64> = self
            .store
            .fetch(|| {
                Statement::<BigInt>::new("vector_index.has_more")
                    .sql("SELECT count(*) FROM (SELECT 1 FROM embeddings e WHERE e.generation_id = ")
                    .bind::<SqlUuid, _>(generation.id.0)
                    .sql(" LIMIT ")
                    .bind::<BigInt, _>(rows.saturating_add(1))
                    .sql(") e")
            })
            .await?;
        Ok(counts.into_iter().any(|count| count > rows))
    }

    /// The indexes of one generation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(&self, generation: &Generation) -> Result<Vec<VectorIndex>> {
        Ok(self.indexes().await?.remove(&generation.id.0).unwrap_or_default())
    }

    async fn indexes(&self) -> Result<HashMap<Uuid, Vec<VectorIndex>>> {
        type Sql = (SqlUuid, Text, Text, Text, BigInt, BigInt, Bool);
        type Row = (Uuid, String, String, String, i64, i64, bool);
        let rows: Vec<Row> = self
            .store
            .fetch(|| {
                Statement::<Sql>::new("vector_index.indexes").sql(
                    "SELECT g.id, c.relname::text, m.amname::text, coalesce(array_to_string(c.reloptions, ', '), ''), \
                     pg_relation_size(c.oid), coalesce(s.idx_scan, 0), i.indisvalid AND i.indisready \
                     FROM embedding_generations g \
                     JOIN pg_index i ON i.indrelid = to_regclass('embeddings_' || replace(g.id::text, '-', '')) \
                     JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat') \
                     LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = c.oid ORDER BY g.id, c.relname",
                )
            })
            .await?;
        let mut found: HashMap<Uuid, Vec<VectorIndex>> = HashMap::new();
        for (id, name, method, parameters, bytes, scans, is_valid) in rows {
            let method = IndexMethod::from_word(&method).ok_or_else(|| unexpected("method of an index", &method))?;
            let number = number_in(&name, GenerationId(id), method);
            let index = VectorIndex { name, method, parameters, number, bytes, scans, is_valid };
            found.entry(id).or_default().push(index);
        }
        Ok(found)
    }

    /// What is being built at this moment, by generation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn builds(&self) -> Result<HashMap<Uuid, Vec<IndexBuild>>> {
        type Sql = (SqlUuid, Text, Text, Nullable<Double>);
        let rows: Vec<(Uuid, String, String, Option<f64>)> = self
            .store
            .fetch(|| {
                Statement::<Sql>::new("vector_index.builds").sql(
                    "SELECT g.id, coalesce(c.relname::text, ''), p.phase, CASE \
                     WHEN p.tuples_total > 0 THEN least(p.tuples_done::float8 / p.tuples_total, 1) \
                     WHEN p.blocks_total > 0 THEN least(p.blocks_done::float8 / p.blocks_total, 1) END \
                     FROM pg_stat_progress_create_index p JOIN embedding_generations g \
                     ON p.relid = to_regclass('embeddings_' || replace(g.id::text, '-', '')) \
                     LEFT JOIN pg_class c ON c.oid = p.index_relid WHERE p.datname = current_database()",
                )
            })
            .await?;
        let mut found: HashMap<Uuid, Vec<IndexBuild>> = HashMap::new();
        for (id, index, phase, done) in rows {
            found.entry(id).or_default().push(IndexBuild { index, phase, done });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_program_gives_are_its_own() {
        let generation = GenerationId(Uuid::from_u128(7));
        let name = name_of(generation, IndexMethod::IvfFlat, u32::MAX);
        assert!(name.len() <= 63, "PostgreSQL cuts longer names: {name}");
        assert_eq!(number_in(&name, generation, IndexMethod::IvfFlat), Some(u32::MAX));
        for other in ["by_hand", "embeddings_hnsw_1", &format!("{name} "), &name.replace('7', "8")] {
            assert_eq!(number_in(other, generation, IndexMethod::IvfFlat), None, "{other}");
        }
        assert_eq!(number_in(&name, generation, IndexMethod::Hnsw), None);
    }
}
