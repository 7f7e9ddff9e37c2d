//! The statement that ranks: by words, by meaning, or both. Where both are asked for they see the same rows at the same moment.
//!
//! What is walked and what is scanned was decided before; PostgreSQL's own choice is wrong where it matters. A scan adds zero
//! to the distance, so that no index can offer an order; a walk has its condition in a subquery that is not flattened, so that
//! the order of the index is the order of the rows. Approximate indexes are walked on until enough rows satisfy the condition
//! (`hnsw.iterative_scan`), which takes a transaction for its settings.

use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid};
use pgvector::{Vector, sql_types::Vector as SqlVector};
use uuid::Uuid;

use super::{
    super::{
        Store,
        statement::Statement,
        transaction::{begin, end},
    },
    area::{boards, members, with},
};
use crate::domain::{
    BoardId, CANDIDATES, Candidate, ChunkId, Found, Generation, Grouping, NodeId, Result, SearchArea, TextPlan,
    VectorPlan, WordWeights, vector_index::MOST_INDEXED_FLOATS,
};

/// Chunks that are taken from an index for each node that is wanted: several of them are of one node.
const CHUNKS_PER_NODE: usize = 4;
/// Rows of an index that are looked at for each place of the candidate list, at most: with 100 instead, of the ten nearest in an eighth of
/// 200,000 chunks, one in fourteen was missed, with this one in thirty.
const SCANNED_PER_CANDIDATE: i32 = 500;

type Place = (SqlUuid, BigInt, Double);
type FoundSql = (SqlUuid, SqlUuid, Nullable<Place>, Nullable<Place>, BigInt);
type FoundRow = (Uuid, Uuid, Option<(Uuid, i64, f64)>, Option<(Uuid, i64, f64)>, i64);

pub(super) async fn rank(
    store: &Store,
    area: &SearchArea,
    grouping: Grouping,
    by_text: &TextPlan,
    by_vector: &VectorPlan,
) -> Result<Found> {
    let rows: Vec<FoundRow> = match by_vector {
        VectorPlan::Index(generation, _, ef_search) => {
            let statement = statement(area, grouping, by_text, by_vector);
            match walk(store, statement, generation, *ef_search).await? {
                Some(rows) => rows,
                None => return Ok(Found { candidates: Vec::new(), vectors: 0, is_indexed: false }),
            }
        }
        VectorPlan::None | VectorPlan::Scan(..) => {
            store.fetch(|| statement(area, grouping, by_text, by_vector)).await?
        }
    };
    let vectors = rows.first().map_or(0, |row| row.4);
    let place = |(chunk, place, score)| (ChunkId(chunk), place, score);
    let candidate = |(board, node, by_vector, by_text, _): FoundRow| Candidate {
        board_id: BoardId(board),
        node_id: NodeId(node),
        by_vector: by_vector.map(place),
        by_text: by_text.map(place),
    };
    Ok(Found { candidates: rows.into_iter().map(candidate).collect(), vectors, is_indexed: true })
}

/// Which generation it is, is told to the planner: with several of them it would rather sort the vectors of all. Of lists, as
/// many as make the square root of their number times a hundredth of the candidates are looked at. `None` without a valid index, which
/// is how it is while the first one is built: to walk nothing would be to compare everything, and to call it a walk.
async fn walk(
    store: &Store,
    statement: Statement<FoundSql>,
    generation: &Generation,
    ef_search: i32,
) -> Result<Option<Vec<FoundRow>>> {
    let mut connection = store.connection().await?;
    begin(&mut connection).await?;
    let settings = Statement::<(Text, Bool)>::new("search.settings")
        .sql("SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true) || set_config('ivfflat.iterative_scan', \
              'relaxed_order', true) || set_config('enable_seqscan', 'off', true) || set_config('enable_sort', 'off', true) \
              || set_config('plan_cache_mode', 'force_custom_plan', true) || set_config('hnsw.ef_search', ")
        .bind::<Text, _>(ef_search.to_string())
        // How far it is walked for rows that satisfy the condition, before it gives up and every vector is compared.
        .sql(", true) || set_config('hnsw.scan_mem_multiplier', '4', true) || set_config('hnsw.max_scan_tuples', ")
        .bind::<Text, _>((ef_search * SCANNED_PER_CANDIDATE).to_string())
        .sql(
            ", true) || set_config('ivfflat.probes', (SELECT coalesce(max(least(ceil(sqrt(o.option_value::float8) * ",
        )
        .bind::<Double, _>(f64::from(ef_search) / 100.0)
        .sql(
            "), o.option_value::float8)), 1)::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o \
             WHERE o.option_name = 'lists' AND i.indisvalid AND i.indrelid = to_regclass('embeddings_' || ",
        )
        .bind::<Text, _>(generation.id.0.simple().to_string())
        .sql(
            ")), true), EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
             WHERE m.amname IN ('hnsw', 'ivfflat') AND i.indisvalid AND i.indisready AND i.indrelid = to_regclass('embeddings_' || ",
        )
        .bind::<Text, _>(generation.id.0.simple().to_string())
        .sql("))");
    let walk = async {
        let settings: Vec<(String, bool)> = store.run(&mut connection, settings).await?;
        match settings.first() {
            Some((_, true)) => store.run(&mut connection, statement).await.map(Some),
            _ => Ok(None),
        }
    };
    let rows = walk.await;
    end(&mut connection, rows).await
}

fn statement(area: &SearchArea, grouping: Grouping, by_text: &TextPlan, by_vector: &VectorPlan) -> Statement<FoundSql> {
    let scans = matches!(by_vector, VectorPlan::Scan(..)) || matches!(by_text, TextPlan::Scan(..));
    let mut statement = with(Statement::new("search.rank"), area);
    if scans {
        statement = statement.sql(", area AS MATERIALIZED (SELECT i.board_id, i.node_id, i.config");
        statement = members(statement, area).sql(")");
    }
    let best = match grouping {
        Grouping::Node => "DISTINCT ON (hit) node_id AS hit",
        Grouping::Chunk => "DISTINCT ON (hit) chunk_id AS hit",
    };
    let statement = vectors(statement, area, best, by_vector);
    let statement = texts(statement, area, best, by_text);
    statement.sql(
        " SELECT coalesce(v.board_id, t.board_id), coalesce(v.node_id, t.node_id), \
         v.chunk_id, v.place, 1 - v.distance, t.chunk_id, t.place, t.score, (SELECT count(*) FROM near) FROM v FULL JOIN t ON t.hit = v.hit",
    )
}

/// Adds `v`: the nearest, with their places.
fn vectors<ST>(statement: Statement<ST>, area: &SearchArea, best: &'static str, plan: &VectorPlan) -> Statement<ST> {
    let near = statement.sql(", near AS MATERIALIZED (SELECT e.board_id, e.node_id, e.chunk_id, ");
    let near = match plan {
        VectorPlan::None => near.sql("0::float8 AS distance FROM embeddings e WHERE false"),
        VectorPlan::Scan(generation, vector) => near
            .sql("(e.embedding <=> ")
            .bind::<SqlVector, _>(Vector::from(vector.to_vec()))
            .sql(
                ") + 0 AS distance FROM area a JOIN embeddings e ON e.board_id = a.board_id AND e.node_id = a.node_id \
                  WHERE e.generation_id = ",
            )
            .bind::<SqlUuid, _>(generation.id.0),
        VectorPlan::Index(generation, vector, _) => {
            // Halves are for the index alone: what it finds is told by the whole numbers.
            let near = near
                .sql("e.embedding <=> ")
                .bind::<SqlVector, _>(Vector::from(vector.to_vec()))
                .sql(" AS distance FROM embeddings e WHERE e.generation_id = ")
                .bind::<SqlUuid, _>(generation.id.0)
                .sql(" AND EXISTS (SELECT 1");
            let near = members(near, area).sql(" AND i.node_id = e.node_id OFFSET 0) ORDER BY ");
            distance(near, generation, vector).sql(" LIMIT ").bind::<BigInt, _>((CANDIDATES * CHUNKS_PER_NODE) as i64)
        }
    };
    near.sql("), v AS (SELECT *, row_number() OVER (ORDER BY distance, hit) AS place FROM (SELECT ")
        .sql(best)
        .sql(", board_id, chunk_id, distance, node_id FROM near ORDER BY 1, distance, chunk_id) best ORDER BY distance, hit LIMIT ")
        .bind::<BigInt, _>(CANDIDATES as i64)
        .sql(")")
}

/// The distance as the index of the generation has it.
fn distance<ST>(statement: Statement<ST>, generation: &Generation, vector: &[f32]) -> Statement<ST> {
    let is_half = generation.dimensions > MOST_INDEXED_FLOATS;
    let cast = if is_half { "::halfvec" } else { "::vector" };
    let statement = statement
        .sql("(e.embedding")
        .sql(cast)
        .dimensions(generation.dimensions)
        .sql(" <=> ")
        .bind::<SqlVector, _>(Vector::from(vector.to_vec()));
    if is_half { statement.sql("::halfvec").dimensions(generation.dimensions).sql(")") } else { statement.sql(")") }
}

/// Adds `t`: those with the most weight of words, with their places.
fn texts<ST>(statement: Statement<ST>, area: &SearchArea, best: &'static str, plan: &TextPlan) -> Statement<ST> {
    let weighed = match plan {
        TextPlan::None => statement.sql(
            ", weighed AS (SELECT c.board_id, c.node_id, c.id AS chunk_id, 0::float8 AS score FROM chunks c WHERE false",
        ),
        TextPlan::Scan(words) => weights(statement, words)
            .sql(
                ", weighed AS (SELECT * FROM (SELECT c.board_id, c.node_id, c.id AS chunk_id, -(c.weights <#> q.weights) AS score \
                 FROM area a JOIN q ON q.config = a.config \
                 JOIN chunks c ON c.board_id = a.board_id AND c.node_id = a.node_id OFFSET 0) x WHERE score > 0",
            ),
        TextPlan::Index(words) => {
            let found = weights(statement, words)
                .sql(
                    ", weighed AS (SELECT * FROM (SELECT c.board_id, c.node_id, c.chunk_id, -(c.weights <#> q.weights) AS score \
                     FROM q CROSS JOIN LATERAL (SELECT f.board_id, f.node_id, f.id AS chunk_id, f.weights FROM chunks f \
                     WHERE f.words @@ q.anchors AND f.board_id = ANY(",
                )
                .bind::<Array<SqlUuid>, _>(boards(area))
                .sql(") OFFSET 0) c WHERE EXISTS (SELECT 1");
            members(found, area)
                .sql(" AND i.node_id = c.node_id AND i.config = q.config OFFSET 0) OFFSET 0) x WHERE score > 0")
        }
    };
    weighed
        .sql("), t AS (SELECT *, row_number() OVER (ORDER BY score DESC, hit) AS place FROM (SELECT ")
        .sql(best)
        .sql(", board_id, chunk_id, score, node_id FROM weighed ORDER BY 1, score DESC, chunk_id) best ORDER BY score DESC, hit LIMIT ")
        .bind::<BigInt, _>(CANDIDATES as i64)
        .sql(")")
}

/// Adds `q`: the weights of the query in each configuration.
fn weights<ST>(statement: Statement<ST>, words: &[WordWeights]) -> Statement<ST> {
    statement
        .sql(", q AS MATERIALIZED (SELECT u.config, u.weights::sparsevec AS weights, u.anchors::tsquery AS anchors FROM unnest(")
        .bind::<Array<Text>, _>(words.iter().map(|words| words.config.clone()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(words.iter().map(sparse).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(words.iter().map(any_of).collect::<Vec<_>>())
        .sql(") AS u (config, weights, anchors))")
}

/// A sparse vector as pgvector reads it.
fn sparse(words: &WordWeights) -> String {
    let weights: Vec<String> = words.weights.iter().map(|(place, weight)| format!("{place}:{weight}")).collect();
    format!("{{{}}}/268435456", weights.join(","))
}

/// A query for at least one of the words, as PostgreSQL reads it.
fn any_of(words: &WordWeights) -> String {
    let quoted = |word: &String| format!("'{}'", word.replace('\\', "\\\\").replace('\'', "''"));
    words.anchors.iter().map(quoted).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_words_are_written_as_the_database_reads_them() {
        let anchors = vec!["it's".to_owned(), "a\\b".to_owned()];
        let words = WordWeights { config: "english".to_owned(), weights: vec![(7, 1.5), (9, 0.25)], anchors };
        assert_eq!(sparse(&words), "{7:1.5,9:0.25}/268435456");
        assert_eq!(any_of(&words), "'it''s' | 'a\\\\b'");
    }
}
