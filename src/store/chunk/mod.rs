//! Chunks in PostgreSQL: reading them, and how far resources can be found. Writing them is in `write.rs`.

mod write;

pub(super) use self::write::{unembedded, unembedded_from};

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, batch::from_keys, error::unexpected, keyset, statement::Statement};
use crate::domain::{
    BoardId, Chunk, ChunkField, ChunkId, Chunks, EmbeddingState, MeantWords, NodeId, NodeKey, Page, PageRequest,
    Result, Span,
};

/// Columns of a chunk `c` of a resource `i`, in the order of [`ChunkRow`].
const CHUNK_COLUMNS: &str = "c.id, c.board_id, c.node_id, c.chunk_index, c.field, c.chunk_text, c.start_char, c.end_char, \
    c.start_utf16, c.end_utf16, c.token_count, i.config";

type ChunkSql = (SqlUuid, SqlUuid, SqlUuid, Integer, Text, Text, (Integer, Integer, Integer, Integer), Integer, Text);
type ChunkRow = (Uuid, Uuid, Uuid, i32, String, String, (i32, i32, i32, i32), i32, String);

fn chunk_from((id, board, node, index, field, text, span, token_count, config): ChunkRow) -> Result<Chunk> {
    let (start_char, end_char, start_utf16, end_utf16) = span;
    Ok(Chunk {
        id: ChunkId(id),
        board_id: BoardId(board),
        node_id: NodeId(node),
        index,
        field: ChunkField::from_word(&field).ok_or_else(|| unexpected("field of a chunk", &field))?,
        text: text.into(),
        span: Span { start_char, end_char, start_utf16, end_utf16 },
        token_count,
        config: config.into(),
    })
}

fn of_nodes<'a, ST>(statement: Statement<ST>, keys: impl Iterator<Item = &'a NodeKey>) -> Statement<ST> {
    from_keys(statement, keys.map(|key| (key.board_id, key.node_id.0)))
}

#[async_trait]
impl Chunks for Store {
    async fn chunks(&self, keys: &[(BoardId, ChunkId)]) -> Result<Vec<Option<Arc<Chunk>>>> {
        let rows: Vec<ChunkRow> = self
            .fetch(|| {
                let statement =
                    Statement::<ChunkSql>::new("chunks.by_id").sql("SELECT ").sql(CHUNK_COLUMNS).sql(" FROM ");
                from_keys(statement, keys.iter().map(|(board, chunk)| (*board, chunk.0))).sql(
                    " JOIN chunks c ON c.board_id = k.board_id AND c.id = k.id \
                     JOIN indexed_resources i ON i.node_id = c.node_id",
                )
            })
            .await?;
        let mut chunks: HashMap<ChunkId, Arc<Chunk>> = HashMap::with_capacity(rows.len());
        for row in rows {
            let chunk = chunk_from(row)?;
            chunks.insert(chunk.id, Arc::new(chunk));
        }
        Ok(keys.iter().map(|(_, id)| chunks.get(id).cloned()).collect())
    }

    async fn locate_chunks(&self, ids: &[ChunkId]) -> Result<Vec<Option<BoardId>>> {
        let rows: Vec<(Uuid, Uuid)> = self
            .fetch(|| {
                Statement::<(SqlUuid, SqlUuid)>::new("chunks.locate")
                    .sql("SELECT c.id, c.board_id FROM chunks c WHERE c.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
                    .sql(")")
            })
            .await?;
        let places: HashMap<Uuid, Uuid> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| places.get(&id.0).copied().map(BoardId)).collect())
    }

    async fn chunk_pages(&self, keys: &[(NodeKey, PageRequest)]) -> Result<Vec<Page<Arc<Chunk>>>> {
        self.by_shape(
            keys,
            |(_, a), (_, b)| a == b,
            |(_, page), keys| {
                let statement = Statement::<(BigInt, ChunkSql)>::new("chunks.page")
                    .sql("SELECT k.ord, ")
                    .sql(CHUNK_COLUMNS)
                    .sql(" FROM ");
                let statement = of_nodes(statement, keys.iter().map(|(key, _)| key)).sql(
                    " JOIN indexed_resources i ON i.board_id = k.board_id AND i.node_id = k.id \
                     CROSS JOIN LATERAL (SELECT c.* FROM chunks c WHERE c.board_id = k.board_id AND c.node_id = k.id",
                );
                let statement = keyset::bounds(statement, page, false, "c.chunk_index", "c.id");
                keyset::order_limit(statement, "c.chunk_index", "c.id", page.from_end, page.limit)
                    .sql(") c ORDER BY k.ord, c.chunk_index")
                    .sql_if(page.from_end, " DESC")
            },
            |(_, page), rows: Vec<ChunkRow>| {
                let chunks = rows.into_iter().map(|row| chunk_from(row).map(Arc::new)).collect::<Result<Vec<_>>>()?;
                Ok(page.cut(chunks))
            },
        )
        .await
    }

    async fn chunk_counts(&self, keys: &[NodeKey]) -> Result<Vec<i64>> {
        let rows: Vec<(i64, i32)> = self
            .fetch(|| {
                let statement =
                    Statement::<(BigInt, Integer)>::new("chunks.count").sql("SELECT k.ord, i.chunk_count FROM ");
                of_nodes(statement, keys.iter())
                    .sql(" JOIN indexed_resources i ON i.board_id = k.board_id AND i.node_id = k.id")
            })
            .await?;
        let counts: HashMap<i64, i32> = rows.into_iter().collect();
        Ok((1..).zip(keys).map(|(ord, _)| i64::from(counts.get(&ord).copied().unwrap_or_default())).collect())
    }

    async fn embedding_states(&self, keys: &[NodeKey]) -> Result<Vec<EmbeddingState>> {
        type Sql = (BigInt, Bool, Bool, Nullable<Integer>, BigInt);
        let rows: Vec<(i64, bool, bool, Option<i32>, i64)> = self
            .fetch(|| {
                let statement = Statement::<Sql>::new("embeddings.states").sql(
                    "SELECT k.ord, concat(left(r.title, 1), left(r.content, 1), left(r.extracted_text, 1)) <> '', g.id IS NOT NULL, i.chunk_count, \
                     (SELECT count(*) FROM embeddings e WHERE e.generation_id = g.id AND e.board_id = k.board_id \
                     AND e.node_id = k.id) FROM ",
                );
                of_nodes(statement, keys.iter()).sql(
                    " JOIN resource_nodes r ON r.board_id = k.board_id AND r.node_id = k.id \
                     LEFT JOIN embedding_generations g ON g.state = 'active' \
                     LEFT JOIN indexed_resources i ON i.node_id = k.id AND NOT EXISTS (SELECT FROM processing_jobs j \
                     WHERE j.board_id = k.board_id AND j.resource_id = k.id AND j.job_type = 'extract_text' \
                     AND j.status IN ('pending', 'running'))",
                )
            })
            .await?;
        let state = |(_, has_text, has_model, chunks, vectors): &(i64, bool, bool, Option<i32>, i64)| match chunks {
            _ if !has_text => EmbeddingState::NoText,
            None => EmbeddingState::Pending,
            // Blanks are no text either.
            Some(0) => EmbeddingState::NoText,
            Some(_) if !has_model => EmbeddingState::WordsOnly,
            Some(chunks) if i64::from(*chunks) > *vectors => EmbeddingState::Pending,
            Some(_) => EmbeddingState::Ready,
        };
        let states: HashMap<i64, EmbeddingState> = rows.iter().map(|row| (row.0, state(row))).collect();
        Ok((1..).zip(keys).map(|(ord, _)| states.get(&ord).copied().unwrap_or(EmbeddingState::NoText)).collect())
    }

    async fn meant_words(&self, keys: &[MeantWords]) -> Result<Vec<Arc<[bool]>>> {
        let mut flat: (Vec<String>, Vec<String>, Vec<String>) = Default::default();
        for (config, query, words) in keys {
            for word in words.iter() {
                flat.0.push(config.to_string());
                flat.1.push(query.to_string());
                flat.2.push(word.clone());
            }
        }
        let mut meant = self
            .fetch(|| {
                Statement::<(BigInt, Bool)>::new("search.meant_words")
                    .sql(
                        "WITH w AS (SELECT * FROM unnest(",
                    )
                    .bind::<Array<Text>, _>(flat.0.clone())
                    .sql(", ")
                    .bind::<Array<Text>, _>(flat.1.clone())
                    .sql(", ")
                    .bind::<Array<Text>, _>(flat.2.clone())
                    .sql(
                        ") WITH ORDINALITY AS w (config, query, word, ord)), q AS MATERIALIZED (SELECT d.config, d.query, \
                         tsvector_to_array(search_words(d.config, d.query)) AS lexemes FROM (SELECT DISTINCT config, query FROM w) d) \
                         SELECT w.ord, tsvector_to_array(search_words(w.config, w.word)) && q.lexemes FROM w \
                         JOIN q ON q.config = w.config AND q.query = w.query ORDER BY w.ord",
                    )
            })
            .await?
            .into_iter()
            .map(|(_, is_meant): (i64, bool)| is_meant);
        Ok(keys.iter().map(|(_, _, words)| meant.by_ref().take(words.len()).collect()).collect())
    }
}
