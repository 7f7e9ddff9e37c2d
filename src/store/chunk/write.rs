//! Chunks and vectors in PostgreSQL: how a resource becomes searchable. Searching itself is in `store/search/`.
//!
//! Chunks keep their ids and vectors for as long as their text stays. Two that cut the same resource at once wait for each other
//! at its row of `indexed_resources`, and the text of an older version never takes the place of a newer one.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Float, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use pgvector::{Vector, sql_types::Vector as SqlVector};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::{
    Store,
    change::copied_chunks,
    generation, job,
    statement::Statement,
    transaction::{begin, end},
};
use crate::domain::{
    BoardId, ChunkField, ChunkId, CutText, Generation, GenerationState, JobType, NewJob, NodeId, Piece, Provider,
    Result, SearchIndex, SourceText, Unembedded, job::IMPORT_PRIORITY,
};

/// Digest of what is embedded of a chunk.
fn digest(text: &CutText, piece: &Piece) -> Vec<u8> {
    let title = if text.field == ChunkField::Title { "" } else { text.title.as_str() };
    Sha256::digest(embedded_text(title, &piece.text)).to_vec()
}

/// The title of a resource `r` as it goes with each of its chunks: what is longer says more than what it is about.
const TITLE: &str = "left(btrim(coalesce(r.title, ''), E' \\t\\r\\n'), 200)";

pub(crate) type UnembeddedSql = (SqlUuid, SqlUuid, SqlUuid, Text, Text);
pub(crate) type UnembeddedRow = (Uuid, Uuid, Uuid, String, String);

/// Begins to read chunks `c` of resources `i` to embed them: a text goes below the title that it was cut with, because a span in the
/// middle of it rarely says what it is about.
pub(crate) fn unembedded(name: &'static str) -> Statement<UnembeddedSql> {
    Statement::new(name)
        .sql("SELECT c.id, c.board_id, c.node_id, CASE WHEN c.field <> 'title' THEN i.title ELSE '' END, c.chunk_text")
}

pub(crate) fn unembedded_from((chunk, board, node, title, text): UnembeddedRow) -> Unembedded {
    Unembedded {
        chunk_id: ChunkId(chunk),
        board_id: BoardId(board),
        node_id: NodeId(node),
        text: embedded_text(&title, &text),
    }
}

fn embedded_text(title: &str, text: &str) -> String {
    if title.is_empty() { text.to_owned() } else { format!("{title}\n\n{text}") }
}

/// What becomes of the chunks of a resource.
#[derive(Default)]
struct Replacement<'a> {
    kept: Vec<(Uuid, usize, &'a Piece)>,
    made: Vec<(usize, &'a Piece, Vec<u8>)>,
    gone: Vec<Uuid>,
}

impl<'a> Replacement<'a> {
    fn of(text: &'a CutText, there: Vec<(Uuid, Vec<u8>)>) -> Self {
        let mut by_digest: HashMap<Vec<u8>, Vec<Uuid>> = HashMap::new();
        // The first of equal chunks is taken first.
        for (id, digest) in there.into_iter().rev() {
            by_digest.entry(digest).or_default().push(id);
        }
        let mut replacement = Replacement::default();
        for (index, piece) in text.pieces.iter().enumerate() {
            let digest = digest(text, piece);
            match by_digest.get_mut(&digest).and_then(Vec::pop) {
                Some(id) => replacement.kept.push((id, index, piece)),
                None => replacement.made.push((index, piece, digest)),
            }
        }
        replacement.gone = by_digest.into_values().flatten().collect();
        replacement
    }
}

fn numbers<'a>(pieces: impl Iterator<Item = &'a Piece>, of: fn(&Piece) -> i32) -> Vec<i32> {
    pieces.map(of).collect()
}

fn indexes(places: impl Iterator<Item = usize>) -> Vec<i32> {
    places.map(|place| i32::try_from(place).unwrap_or(i32::MAX)).collect()
}

/// Adds four arrays: where pieces begin and end.
fn spans<'a, ST>(statement: Statement<ST>, pieces: impl Iterator<Item = &'a Piece> + Clone) -> Statement<ST> {
    statement
        .bind::<Array<Integer>, _>(numbers(pieces.clone(), |piece| piece.span.start_char))
        .sql(", ")
        .bind::<Array<Integer>, _>(numbers(pieces.clone(), |piece| piece.span.end_char))
        .sql(", ")
        .bind::<Array<Integer>, _>(numbers(pieces.clone(), |piece| piece.span.start_utf16))
        .sql(", ")
        .bind::<Array<Integer>, _>(numbers(pieces, |piece| piece.span.end_utf16))
}

impl Store {
    async fn replace_in(&self, connection: &mut AsyncPgConnection, text: &CutText, priority: i32) -> Result<bool> {
        let mark = Statement::<SqlUuid>::new("chunks.mark")
            .sql("INSERT INTO indexed_resources AS i (node_id, board_id, node_version, title, config, language, chunk_count, indexed_at) \
                  SELECT n.id, n.board_id, ")
            .bind::<BigInt, _>(text.version)
            .sql(", ")
            .bind::<Text, _>(text.title.clone())
            .sql(", ")
            .bind::<Text, _>(text.config)
            .sql(", ")
            .bind::<Nullable<Text>, _>(text.language.clone())
            .sql(", ")
            .bind::<Integer, _>(i32::try_from(text.pieces.len()).unwrap_or(i32::MAX))
            .sql(", ")
            .bind::<Timestamptz, _>(text.read_at)
            .sql(" FROM nodes n WHERE n.id = ")
            .bind::<SqlUuid, _>(text.node_id.0)
            // The board cannot be locked here: whoever changes it would wait for this.
            .sql(
                " FOR KEY SHARE ON CONFLICT (node_id) DO UPDATE SET node_version = excluded.node_version, \
                 title = excluded.title, config = excluded.config, language = excluded.language, chunk_count = excluded.chunk_count, \
                 indexed_at = excluded.indexed_at WHERE i.node_version <= excluded.node_version RETURNING i.node_id",
            );
        let marked: Vec<Uuid> = self.run(connection, mark).await?;
        if marked.is_empty() {
            return Ok(false);
        }
        let there = Statement::<(SqlUuid, Binary)>::new("chunks.there")
            .sql("SELECT c.id, c.content_digest FROM chunks c WHERE c.board_id = ")
            .bind::<SqlUuid, _>(text.board_id.0)
            .sql(" AND c.node_id = ")
            .bind::<SqlUuid, _>(text.node_id.0)
            .sql(" ORDER BY c.chunk_index");
        let there = self.run(connection, there).await?;
        let Replacement { kept, made, gone } = Replacement::of(text, there);
        if !gone.is_empty() {
            let gone = Statement::<SqlUuid>::new("chunks.delete")
                .sql("DELETE FROM chunks c WHERE c.id = ANY(")
                .bind::<Array<SqlUuid>, _>(gone)
                .sql(") RETURNING c.id");
            let _: Vec<Uuid> = self.run(connection, gone).await?;
        }
        if !kept.is_empty() {
            self.move_chunks(connection, text, &kept).await?;
        }
        if !made.is_empty() {
            self.make_chunks(connection, text, &made).await?;
        }
        self.step_search_versions(connection, vec![text.board_id.0], Some(text.config)).await?;
        // Also where all chunks were kept: a vector may have been on its way when they were cut before.
        if !text.pieces.is_empty() && !generation::in_use(self, connection).await?.is_empty() {
            let job = NewJob::new(text.board_id, text.node_id, JobType::CreateEmbeddings, priority);
            job::enqueue(self, connection, &[job]).await?;
        }
        Ok(true)
    }

    async fn move_chunks(
        &self,
        connection: &mut AsyncPgConnection,
        text: &CutText,
        kept: &[(Uuid, usize, &Piece)],
    ) -> Result<()> {
        let statement = Statement::<SqlUuid>::new("chunks.move")
            .sql(
                "UPDATE chunks c SET chunk_index = u.place, start_char = u.start_char, end_char = u.end_char, \
                  start_utf16 = u.start_utf16, end_utf16 = u.end_utf16, field = ",
            )
            .bind::<Text, _>(text.field.as_str())
            // Words are stemmed anew when the language is another one.
            .sql(", words = search_words(")
            .bind::<Text, _>(text.config)
            .sql(", concat_ws(' ', CASE WHEN c.field <> 'title' THEN ")
            .bind::<Text, _>(text.title.clone())
            .sql(" END, c.chunk_text)) FROM unnest(")
            .bind::<Array<SqlUuid>, _>(kept.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Integer>, _>(indexes(kept.iter().map(|(_, place, _)| *place)))
            .sql(", ");
        let statement = spans(statement, kept.iter().map(|(_, _, piece)| *piece))
            .sql(") AS u (id, place, start_char, end_char, start_utf16, end_utf16) WHERE c.id = u.id RETURNING c.id");
        let _: Vec<Uuid> = self.run(connection, statement).await?;
        Ok(())
    }

    async fn make_chunks(
        &self,
        connection: &mut AsyncPgConnection,
        text: &CutText,
        made: &[(usize, &Piece, Vec<u8>)],
    ) -> Result<()> {
        let title = if text.field == ChunkField::Title { String::new() } else { text.title.clone() };
        let statement = Statement::<SqlUuid>::new("chunks.make")
            .sql("INSERT INTO chunks (board_id, node_id, field, chunk_index, chunk_text, token_count, content_digest, \
                  start_char, end_char, start_utf16, end_utf16, words) SELECT ")
            .bind::<SqlUuid, _>(text.board_id.0)
            .sql(", ")
            .bind::<SqlUuid, _>(text.node_id.0)
            .sql(", ")
            .bind::<Text, _>(text.field.as_str())
            .sql(", u.place, u.chunk_text, u.tokens, u.digest, u.start_char, u.end_char, u.start_utf16, u.end_utf16, search_words(")
            .bind::<Text, _>(text.config)
            .sql(", concat_ws(' ', ")
            .bind::<Text, _>(title)
            .sql(", u.chunk_text)) FROM unnest(")
            .bind::<Array<Integer>, _>(indexes(made.iter().map(|(place, ..)| *place)))
            .sql(", ")
            .bind::<Array<Text>, _>(made.iter().map(|(_, piece, _)| piece.text.clone()).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Integer>, _>(numbers(made.iter().map(|(_, piece, _)| *piece), |piece| piece.token_count))
            .sql(", ")
            .bind::<Array<Binary>, _>(made.iter().map(|(.., digest)| digest.clone()).collect::<Vec<_>>())
            .sql(", ");
        let statement = spans(statement, made.iter().map(|(_, piece, _)| *piece)).sql(
            ") AS u (place, chunk_text, tokens, digest, start_char, end_char, start_utf16, end_utf16) RETURNING id",
        );
        let _: Vec<Uuid> = self.run(connection, statement).await?;
        Ok(())
    }

    /// Says that what is searchable of boards has changed.
    async fn step_search_versions(
        &self,
        connection: &mut AsyncPgConnection,
        mut boards: Vec<Uuid>,
        config: Option<&'static str>,
    ) -> Result<()> {
        // In the order of their ids, so that two who step the same ones do not wait for each other for ever.
        boards.sort_unstable();
        boards.dedup();
        let statement = Statement::<SqlUuid>::new("chunks.step_versions")
            .sql("INSERT INTO search_versions AS v (board_id, configs) SELECT u.id, ")
            .bind::<Array<Text>, _>(config.into_iter().collect::<Vec<_>>())
            .sql(" FROM unnest(")
            .bind::<Array<SqlUuid>, _>(boards)
            .sql(
                ") AS u (id) ON CONFLICT (board_id) DO UPDATE SET version = v.version + 1, \
                 configs = CASE WHEN v.configs @> excluded.configs THEN v.configs ELSE v.configs || excluded.configs END \
                 RETURNING v.board_id",
            );
        let _: Vec<Uuid> = self.run(connection, statement).await?;
        Ok(())
    }

    async fn ask_in(&self, connection: &mut AsyncPgConnection) -> Result<u64> {
        let alone = Statement::<Bool>::new("embeddings.alone").sql(
            "SELECT set_config('statement_timeout', '10min', true) IS NOT NULL \
                  AND pg_try_advisory_xact_lock(hashtextextended('ask_for_missing', 0))",
        );
        let is_alone: Vec<bool> = self.run(connection, alone).await?;
        // Whoever else does it asks for the same.
        if is_alone != [true] {
            return Ok(0);
        }
        let ask = Statement::<BigInt>::new("embeddings.ask_for_missing")
            .sql(
                "WITH asked AS (INSERT INTO processing_jobs (board_id, resource_id, job_type, priority) \
                 SELECT m.board_id, m.node_id, 'create_embeddings', ",
            )
            .bind::<Integer, _>(IMPORT_PRIORITY)
            .sql(
                " FROM (SELECT DISTINCT c.board_id, c.node_id FROM embedding_generations g CROSS JOIN chunks c \
                 JOIN nodes n ON n.id = c.node_id AND n.deleted_at IS NULL \
                 LEFT JOIN embeddings e ON e.generation_id = g.id AND e.chunk_id = c.id \
                 WHERE g.state = 'active' AND e.chunk_id IS NULL) m ORDER BY m.node_id ON CONFLICT DO NOTHING RETURNING 1) \
                 SELECT count(*) FROM asked",
            );
        let rows: Vec<i64> = self.run(connection, ask).await?;
        Ok(rows.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or_default())
    }

    async fn keep_in(
        &self,
        connection: &mut AsyncPgConnection,
        generation: &Generation,
        vectors: Vec<(Unembedded, Vec<f32>)>,
    ) -> Result<bool> {
        let state = generation::hold(self, connection, generation).await?;
        if matches!(state, None | Some(GenerationState::Dropped)) {
            return Ok(false);
        }
        let ids: Vec<Uuid> = vectors.iter().map(|(chunk, _)| chunk.chunk_id.0).collect();
        let boards = vectors.iter().map(|(chunk, _)| chunk.board_id.0).collect();
        let vectors: Vec<Vector> = vectors.into_iter().map(|(_, vector)| Vector::from(vector)).collect();
        let statement = Statement::<SqlUuid>::new("embeddings.keep")
            .sql("INSERT INTO embeddings (generation_id, chunk_id, board_id, node_id, embedding) SELECT ")
            .bind::<SqlUuid, _>(generation.id.0)
            .sql(", c.id, c.board_id, c.node_id, u.embedding FROM unnest(")
            .bind::<Array<SqlUuid>, _>(ids)
            .sql(", ")
            .bind::<Array<SqlVector>, _>(vectors)
            // Whoever cuts the text anew meanwhile waits, and takes the vectors away with their chunks.
            .sql(
                ") AS u (id, embedding) JOIN chunks c ON c.id = u.id FOR KEY SHARE OF c \
                 ON CONFLICT (generation_id, chunk_id) DO NOTHING RETURNING chunk_id",
            );
        let kept: Vec<Uuid> = self.run(connection, statement).await?;
        // What nobody searches changes no answer.
        if !kept.is_empty() && state == Some(GenerationState::Active) {
            self.step_search_versions(connection, boards, None).await?;
        }
        Ok(true)
    }
}

/// Adds chunks `c` of a resource `i` that have no vector of a generation.
fn lacking<ST>(statement: Statement<ST>, generation: &Generation) -> Statement<ST> {
    statement
        .sql(
            "chunks c WHERE c.board_id = i.board_id AND c.node_id = i.node_id AND NOT EXISTS (SELECT FROM embeddings e \
             WHERE e.chunk_id = c.id AND e.generation_id = ",
        )
        .bind::<SqlUuid, _>(generation.id.0)
        .sql(")")
}

#[async_trait]
impl SearchIndex for Store {
    async fn source_texts(&self, nodes: &[NodeId]) -> Result<Vec<SourceText>> {
        type Sql = (
            SqlUuid,
            SqlUuid,
            BigInt,
            Text,
            Nullable<Text>,
            Nullable<Text>,
            Nullable<Text>,
            Nullable<Text>,
            Timestamptz,
        );
        type Row =
            (Uuid, Uuid, i64, String, Option<String>, Option<String>, Option<String>, Option<String>, DateTime<Utc>);
        let rows: Vec<Row> = self
            .fetch(|| {
                Statement::<Sql>::new("chunks.source_texts")
                    .sql("SELECT n.id, n.board_id, n.version, ")
                    .sql(TITLE)
                    .sql(
                        ", r.content, r.extracted_text, r.language, (SELECT x.language FROM (SELECT i.language \
                         FROM indexed_resources i WHERE i.board_id = n.board_id LIMIT 300) x WHERE x.language IS NOT NULL \
                         GROUP BY x.language ORDER BY count(*) DESC, x.language LIMIT 1), statement_timestamp() FROM nodes n \
                         JOIN resource_nodes r ON r.node_id = n.id WHERE n.id = ANY(",
                    )
                    .bind::<Array<SqlUuid>, _>(nodes.iter().map(|id| id.0).collect::<Vec<_>>())
                    .sql(")")
            })
            .await?;
        let text =
            |(id, board, version, title, content, extracted_text, language, usual_language, read_at): Row| SourceText {
                node_id: NodeId(id),
                board_id: BoardId(board),
                version,
                title,
                content,
                extracted_text,
                language,
                usual_language,
                read_at,
            };
        Ok(rows.into_iter().map(text).collect())
    }

    async fn replace_chunks(&self, text: &CutText, priority: i32) -> Result<bool> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let replaced = self.replace_in(&mut connection, text, priority).await;
        end(&mut connection, replaced).await
    }

    async fn copy_chunks(&self, from: NodeId, to: NodeId) -> Result<bool> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let copied = self.run(&mut connection, copied_chunks(vec![from.0], vec![to.0])).await;
        let copied: Vec<Uuid> = end(&mut connection, copied).await?;
        Ok(!copied.is_empty())
    }

    async fn unembedded(&self, nodes: &[NodeId], generation: &Generation, limit: usize) -> Result<Vec<Unembedded>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .fetch(|| {
                let statement = unembedded("embeddings.missing").sql(" FROM unnest(");
                // The inner limit keeps a long text from being read to its end for each of its slices.
                let statement = statement.bind::<Array<SqlUuid>, _>(nodes.iter().map(|id| id.0).collect::<Vec<_>>()).sql(
                    ") WITH ORDINALITY AS u (id, ord) JOIN indexed_resources i ON i.node_id = u.id CROSS JOIN LATERAL (\
                        SELECT x.*, row_number() OVER (ORDER BY x.chunk_index) AS place, count(*) OVER () AS missing FROM (\
                            SELECT c.id, c.board_id, c.node_id, c.field, c.chunk_text, c.chunk_index FROM ",
                );
                lacking(statement, generation)
                    .sql(" ORDER BY c.chunk_index LIMIT ")
                    .bind::<BigInt, _>(limit)
                    .sql(") AS x) AS c ORDER BY c.place > 1, c.missing, u.ord, c.place LIMIT ")
                    .bind::<BigInt, _>(limit)
            })
            .await?;
        Ok(rows.into_iter().map(unembedded_from).collect())
    }

    async fn embedded_parts(&self, nodes: &[NodeId], generation: &Generation) -> Result<HashMap<NodeId, f32>> {
        let rows: Vec<(Uuid, f32)> = self
            .fetch(|| {
                let statement = Statement::<(SqlUuid, Float)>::new("embeddings.parts")
                    .sql("SELECT i.node_id, (c.chunk_index::double precision / greatest(i.chunk_count, 1))::real FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(nodes.iter().map(|id| id.0).collect::<Vec<_>>())
                    .sql(
                        ") AS u (id) JOIN indexed_resources i ON i.node_id = u.id CROSS JOIN LATERAL (\
                            SELECT c.chunk_index FROM ",
                    );
                lacking(statement, generation).sql(" ORDER BY c.chunk_index LIMIT 1) AS c")
            })
            .await?;
        Ok(rows.into_iter().map(|(node, part)| (NodeId(node), part.clamp(0.0, 1.0))).collect())
    }

    async fn keep_embeddings(&self, generation: &Generation, vectors: Vec<(Unembedded, Vec<f32>)>) -> Result<bool> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let kept = self.keep_in(&mut connection, generation, vectors).await;
        end(&mut connection, kept).await
    }

    async fn ask_for_missing(&self) -> Result<u64> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let asked = self.ask_in(&mut connection).await;
        end(&mut connection, asked).await
    }

    async fn generations(&self, states: &[GenerationState]) -> Result<Vec<Generation>> {
        generation::in_states(self, states).await
    }

    async fn begin_generation(
        &self,
        provider: Provider,
        model: &str,
        dimensions: i32,
        source: Option<&str>,
    ) -> Result<Generation> {
        generation::make(self, provider, model, dimensions, source).await
    }
}
