//! The texts that stand on the board where files have others now. An import looks at them before it writes over them,
//! and once more in the transaction: are they still the same?

use std::collections::HashSet;

use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Work, uuids};
use crate::{
    domain::{
        BoardId, NodeId, Result,
        import::{ChangedText, StandingText, TextDigests},
    },
    store::{Store, statement::Statement},
};

impl Store {
    /// What stands on the board as the texts of these nodes, also of deleted ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn import_texts(&self, board: BoardId, nodes: &[NodeId]) -> Result<Vec<StandingText>> {
        type Sql = (SqlUuid, Text, Text, Nullable<Text>, Nullable<Text>, Bool, Integer);
        type Row = (Uuid, String, String, Option<String>, Option<String>, bool, i32);
        let rows: Vec<Row> = self
            .fetch(|| {
                Statement::<Sql>::new("import.standing_texts")
                    .sql(
                        "SELECT r.node_id, encode(sha256(convert_to(coalesce(r.content, ''), 'UTF8')), 'hex'), \
                         encode(sha256(convert_to(coalesce(r.title, ''), 'UTF8')), 'hex'), \
                         n.metadata #>> '{import,text}', n.metadata #>> '{import,title}', \
                         coalesce(r.extracted_text, r.content, '') !~ '[^[:space:]]', \
                         octet_length(coalesce(r.content, '')) FROM nodes n \
                         JOIN resource_nodes r ON r.board_id = n.board_id AND r.node_id = n.id WHERE n.board_id = ",
                    )
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" AND n.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(uuids(nodes))
                    .sql(")")
            })
            .await?;
        let text = |(id, text, title, imported_text, imported_title, is_blank, bytes): Row| StandingText {
            id: NodeId(id),
            now: TextDigests { text, title },
            imported_text,
            imported_title,
            is_blank,
            size_bytes: usize::try_from(bytes).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(text).collect())
    }

    /// The first so many characters of what a reader sees of these nodes' texts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn import_beginnings(
        &self,
        board: BoardId,
        nodes: &[NodeId],
        chars: i32,
    ) -> Result<Vec<(NodeId, String)>> {
        let rows: Vec<(Uuid, String)> = self
            .fetch(|| {
                Statement::<(SqlUuid, Text)>::new("import.beginnings")
                    .sql("SELECT r.node_id, left(coalesce(r.extracted_text, r.content, ''), ")
                    .bind::<Integer, _>(chars)
                    .sql(") FROM resource_nodes r WHERE r.board_id = ")
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" AND r.node_id = ANY(")
                    .bind::<Array<SqlUuid>, _>(uuids(nodes))
                    .sql(")")
            })
            .await?;
        Ok(rows.into_iter().map(|(id, text)| (NodeId(id), text)).collect())
    }
}

impl Work<'_> {
    /// Those whose nodes live and have the text and the title that they had when this was planned. The others are left,
    /// and counted.
    pub(super) async fn as_seen(&mut self, mut changed: Vec<ChangedText>) -> Result<Vec<ChangedText>> {
        if changed.is_empty() {
            return Ok(changed);
        }
        // No plain equality: by that the planner might join, and would have to compute the digests of the whole board.
        let statement = Statement::<SqlUuid>::new("import.as_seen")
            .sql("SELECT r.node_id FROM unnest(")
            .bind::<Array<SqlUuid>, _>(changed.iter().map(|changed| changed.id.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Text>, _>(changed.iter().map(|changed| changed.seen.text.clone()).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Text>, _>(changed.iter().map(|changed| changed.seen.title.clone()).collect::<Vec<_>>())
            .sql(
                ") AS u (id, content_digest, title_digest) \
                 JOIN nodes n ON n.id = u.id AND n.deleted_at IS NULL \
                 JOIN resource_nodes r ON r.node_id = n.id AND r.board_id = n.board_id \
                 WHERE encode(sha256(convert_to(coalesce(r.title, ''), 'UTF8')), 'hex') \
                 IS NOT DISTINCT FROM u.title_digest \
                 AND encode(sha256(convert_to(coalesce(r.content, ''), 'UTF8')), 'hex') \
                 IS NOT DISTINCT FROM u.content_digest AND n.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board.0);
        let seen: Vec<Uuid> = self.run(statement).await?;
        let seen: HashSet<Uuid> = seen.into_iter().collect();
        let count = changed.len();
        changed.retain(|changed| seen.contains(&changed.id.0));
        self.left += count - changed.len();
        Ok(changed)
    }
}
