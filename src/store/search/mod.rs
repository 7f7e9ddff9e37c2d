//! Searching in PostgreSQL: what boards hold, and how common words are in an area. What an area is stands in `area.rs`, the
//! ranking in `rank.rs`; chunks are read and written in `store/chunk.rs`.

mod area;
mod rank;

use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use pgvector::{Vector, sql_types::Vector as SqlVector};
use uuid::Uuid;

use self::area::{below, boards, members, with};
use super::{
    Store,
    board::boards_of,
    generation::{GENERATION_COLUMNS, GenerationRow, GenerationSql, generation_from},
    statement::Statement,
};
use crate::domain::{
    BoardId, BoardsOf, Error, Found, Generation, Grouping, NodeId, NodeKey, Result, Search, SearchArea, SearchGround,
    Term, Terms, TextPlan, VectorPlan,
};

/// Chunks at which how common words are is found out. 500 gave the same quality as all of them on four collections.
const SAMPLE: i64 = 1_000;
/// Different words of a question that are weighed, the first ones: each is looked for in every chunk of the sample.
const MOST_WORDS: i64 = 256;
/// Up to so many chunks in an area they are sampled by way of its resources.
const MOST_FROM_RESOURCES: i64 = 20_000;

/// Up to which id the chunks of a scope are looked at, so that about [`SAMPLE`] of `rows` are: ids are random.
fn last_sampled(rows: i64) -> Uuid {
    if rows <= SAMPLE {
        return Uuid::max();
    }
    let share = SAMPLE as f64 / rows as f64;
    Uuid::from_u128(((share * 2f64.powi(64)) as u128) << 64)
}

/// The same sample of an area in two ways: from its resources where it is small, from the ids of chunks where it is large and these
/// lead to few rows outside.
fn sample<ST>(statement: Statement<ST>, area: &SearchArea, rows: i64) -> Statement<ST> {
    if rows <= MOST_FROM_RESOURCES {
        let resources = statement.sql("SELECT c.weights, r.config FROM (SELECT i.board_id, i.node_id, i.config");
        return members(resources, area)
            .sql(" OFFSET 0) r JOIN chunks c ON c.board_id = r.board_id AND c.node_id = r.node_id WHERE c.id <= ")
            .bind::<SqlUuid, _>(last_sampled(rows));
    }
    let chunks = statement
        .sql("SELECT s.weights, i.config FROM (SELECT c.node_id, c.weights FROM chunks c WHERE c.board_id = ANY(")
        .bind::<Array<SqlUuid>, _>(boards(area))
        .sql(") AND c.id <= ")
        .bind::<SqlUuid, _>(last_sampled(rows))
        .sql(" OFFSET 0) s CROSS JOIN LATERAL (SELECT i.config");
    members(chunks, area).sql(" AND i.node_id = s.node_id OFFSET 0) i")
}

#[async_trait]
impl Search for Store {
    async fn board_ids(&self, of: &BoardsOf, most: usize) -> Result<Vec<BoardId>> {
        let rows: Vec<Uuid> = self
            .fetch(|| {
                boards_of(Statement::<SqlUuid>::new("search.boards").sql("SELECT b.id"), of)
                    .sql(" ORDER BY b.updated_at DESC, b.id LIMIT ")
                    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
            })
            .await?;
        Ok(rows.into_iter().map(BoardId).collect())
    }

    async fn ground(&self, area: &SearchArea, example: Option<NodeKey>) -> Result<SearchGround> {
        type Sql = (BigInt, Array<Text>, Bool, Nullable<GenerationSql>);
        let looked_at = boards(area);
        let mut stamped = looked_at.clone();
        stamped.extend(example.map(|example| example.board_id.0));
        let sealed: Vec<Uuid> = area.sealed.iter().map(|id| id.0).collect();
        let rows: Vec<(i64, Vec<String>, bool, Option<GenerationRow>)> = self
            .fetch(|| {
                let mut statement = Statement::<Sql>::new("search.ground").sql("WITH ");
                if !sealed.is_empty() {
                    statement = below(statement.sql("shut AS MATERIALIZED ("), sealed.clone()).sql("), ");
                }
                // What failed is a text that is not searchable, unless it was cut again since.
                let statement = statement
                    .sql(
                        "unsettled AS MATERIALIZED (SELECT EXISTS (SELECT FROM processing_jobs j \
                         JOIN nodes n ON n.board_id = j.board_id AND n.id = j.resource_id AND n.deleted_at IS NULL \
                         WHERE j.job_type = 'extract_text' AND j.status IN ('pending', 'running', 'failed', 'cancelled') \
                         AND j.board_id = ANY(",
                    )
                    .bind::<Array<SqlUuid>, _>(stamped.clone())
                    .sql(") AND (j.board_id = ANY(")
                    .bind::<Array<SqlUuid>, _>(looked_at.clone())
                    .sql(") OR j.resource_id = ")
                    .bind::<Nullable<SqlUuid>, _>(example.map(|example| example.node_id.0))
                    .sql(
                        ") AND (j.completed_at IS NULL OR NOT EXISTS (SELECT FROM indexed_resources x \
                         WHERE x.node_id = j.resource_id AND x.indexed_at >= j.completed_at))",
                    )
                    .sql_if(!sealed.is_empty(), " AND j.resource_id NOT IN (SELECT child_id FROM shut)")
                    .sql(
                        ") AS is_so) SELECT hashtextextended(concat_ws(' ', s.stamp, g.id, u.is_so), 0), s.configs, u.is_so, ",
                    );
                statement
                    .sql(GENERATION_COLUMNS)
                    .sql(
                        " FROM (SELECT coalesce(hashtextextended(string_agg(concat_ws(' ', b.id, b.version, v.version), ',' \
                         ORDER BY b.id), 0), 0) AS stamp, \
                         coalesce((SELECT array_agg(DISTINCT c.config ORDER BY c.config) FROM search_versions w, \
                         unnest(w.configs) AS c (config) WHERE w.board_id = ANY(",
                    )
                    .bind::<Array<SqlUuid>, _>(looked_at.clone())
                    .sql(
                        ")), '{}') AS configs FROM boards b LEFT JOIN search_versions v ON v.board_id = b.id WHERE b.id = ANY(",
                    )
                    .bind::<Array<SqlUuid>, _>(stamped.clone())
                    .sql(")) s CROSS JOIN unsettled u LEFT JOIN embedding_generations g ON g.state = 'active'")
            })
            .await?;
        let Some((stamp, configs, is_unsettled, generation)) = rows.into_iter().next() else {
            return Err(Error::internal("search.ground: no row"));
        };
        let generation = generation.map(generation_from).transpose()?.map(Arc::new);
        Ok(SearchGround { stamp, generation, configs, is_unsettled })
    }

    async fn count(&self, area: &SearchArea) -> Result<i64> {
        let rows: Vec<i64> = self
            .fetch(|| {
                let statement = with(Statement::<BigInt>::new("search.count"), area)
                    .sql(" SELECT coalesce(sum(i.chunk_count), 0)::bigint");
                members(statement, area)
            })
            .await?;
        Ok(rows.into_iter().sum())
    }

    async fn terms(&self, area: &SearchArea, text: &str, configs: &[String], rows: i64) -> Result<Terms> {
        type Sql = (BigInt, Nullable<(Text, Text, Integer, Integer, Integer, BigInt, BigInt)>);
        type Row = (i64, Option<(String, String, i32, i32, i32, i64, i64)>);
        let rows: Vec<Row> = self
            .fetch(|| {
                let statement = with(Statement::<Sql>::new("search.terms"), area)
                    .sql(
                        ", words AS MATERIALIZED (SELECT k.config, w.lexeme, lexeme_place(w.lexeme) AS place, \
                         w.positions[1]::integer AS ordinal, cardinality(w.positions) AS times, \
                         ('{' || lexeme_place(w.lexeme) || ':1}/268435456')::sparsevec AS one FROM unnest(",
                    )
                    .bind::<Array<Text>, _>(configs.to_vec())
                    .sql(") AS k (config) CROSS JOIN LATERAL (SELECT a.lexeme, a.positions FROM unnest(search_words(k.config, ")
                    .bind::<Text, _>(text.to_owned())
                    .sql(")) a ORDER BY a.positions[1], a.lexeme LIMIT ")
                    .bind::<BigInt, _>(MOST_WORDS)
                    .sql(") w), sample AS MATERIALIZED (");
                sample(statement, area, rows).sql(
                    ") SELECT (SELECT count(*) FROM sample), w.config, w.lexeme, w.place, w.ordinal, w.times, \
                     (SELECT count(*) FROM sample s WHERE s.config = w.config), \
                     (SELECT count(*) FROM sample s WHERE s.config = w.config AND (s.weights <#> w.one) < 0) \
                     FROM asked LEFT JOIN words w ON true",
                )
            })
            .await?;
        let looked_at = rows.first().map_or(0, |(looked_at, _)| *looked_at);
        let term = |(config, lexeme, place, ordinal, times, looked_at, found)| Term {
            config,
            lexeme,
            place,
            ordinal,
            times,
            looked_at,
            found,
        };
        Ok(Terms { terms: rows.into_iter().filter_map(|(_, row)| row).map(term).collect(), looked_at })
    }

    async fn rank(
        &self,
        area: &SearchArea,
        grouping: Grouping,
        by_text: TextPlan,
        by_vector: VectorPlan,
    ) -> Result<Found> {
        rank::rank(self, area, grouping, &by_text, &by_vector).await
    }

    async fn vectors_of(&self, node: NodeId, generation: &Generation, most: usize) -> Result<Vec<Option<Vec<f32>>>> {
        let rows: Vec<Option<Vector>> = self
            .fetch(|| {
                Statement::<Nullable<SqlVector>>::new("search.vectors_of")
                    .sql(
                        "SELECT e.embedding FROM indexed_resources i JOIN chunks c ON c.board_id = i.board_id \
                         AND c.node_id = i.node_id LEFT JOIN embeddings e ON e.board_id = c.board_id AND e.chunk_id = c.id \
                         AND e.generation_id = ",
                    )
                    .bind::<SqlUuid, _>(generation.id.0)
                    .sql(" WHERE i.node_id = ")
                    .bind::<SqlUuid, _>(node.0)
                    .sql(" ORDER BY c.chunk_index LIMIT ")
                    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
            })
            .await?;
        Ok(rows.into_iter().map(|vector| vector.map(|vector| vector.to_vec())).collect())
    }
}
