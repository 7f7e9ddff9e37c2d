//! The links of an import: only those of the kind `Reference`, and only those that an import made, are ever changed.

use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{IDS, ROWS, Work, uuids};
use crate::{
    domain::{BoardId, LinkId, NodeId, Result, import::ImportedLink},
    store::{Store, statement::Statement},
};

impl Store {
    /// The links of the kind `Reference` that start at these nodes; those of other kinds do not concern an import.
    /// The flag says whether an import made the link.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn import_links(&self, board: BoardId, nodes: &[NodeId]) -> Result<Vec<(ImportedLink, bool)>> {
        type Sql = (SqlUuid, SqlUuid, SqlUuid, Nullable<Text>, Bool);
        type Row = (Uuid, Uuid, Uuid, Option<String>, bool);
        let rows: Vec<Row> = self
            .fetch(|| {
                Statement::<Sql>::new("import.links")
                    .sql(
                        "SELECT c.id, c.from_node_id, c.to_node_id, c.label, c.metadata ? 'import' FROM connections c \
                         WHERE c.connection_type = 'reference' AND c.board_id = ",
                    )
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" AND c.from_node_id = ANY(")
                    .bind::<Array<SqlUuid>, _>(uuids(nodes))
                    .sql(") ORDER BY c.id")
            })
            .await?;
        let link = |(id, from, to, label, imported)| {
            (ImportedLink { id: LinkId(id), from: NodeId(from), to: NodeId(to), label }, imported)
        };
        Ok(rows.into_iter().map(link).collect())
    }
}

impl Work<'_> {
    /// Adds links. One whose ends are not both there any more is left, and so is one that somebody drew meanwhile.
    pub(super) async fn insert_links(&mut self, links: &[ImportedLink]) -> Result<()> {
        for chunk in links.chunks(ROWS) {
            let statement = Statement::<SqlUuid>::new("import.insert_links")
                .sql(
                    "INSERT INTO connections (board_id, id, from_node_id, to_node_id, connection_type, label, metadata) \
                     SELECT ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(", u.id, f.id, t.id, 'reference', u.label, '{\"import\": true}' FROM unnest(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.id.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.from.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.to.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<Nullable<Text>>, _>(chunk.iter().map(|link| link.label.clone()).collect::<Vec<_>>())
                .sql(
                    ") AS u (id, from_id, to_id, label) \
                     JOIN nodes f ON f.id = u.from_id AND f.deleted_at IS NULL \
                     JOIN nodes t ON t.id = u.to_id AND t.deleted_at IS NULL AND t.board_id = f.board_id \
                     WHERE f.board_id = ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" ON CONFLICT ON CONSTRAINT connections_once DO NOTHING RETURNING id");
            self.left += chunk.len().saturating_sub(self.write(statement).await?.len());
        }
        Ok(())
    }

    /// Gives imported links another label.
    pub(super) async fn relabel_links(&mut self, links: &[(LinkId, Option<String>)]) -> Result<()> {
        for chunk in links.chunks(ROWS) {
            let statement = Statement::<SqlUuid>::new("import.relabel_links")
                .sql("UPDATE connections c SET label = u.label FROM unnest(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<Nullable<Text>>, _>(chunk.iter().map(|(_, label)| label.clone()).collect::<Vec<_>>())
                .sql(") AS u (id, label) WHERE c.id = u.id AND c.metadata ? 'import' AND c.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING c.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Removes imported links for good.
    pub(super) async fn delete_links(&mut self, links: &[LinkId]) -> Result<()> {
        for chunk in links.chunks(IDS) {
            let statement = Statement::<SqlUuid>::new("import.delete_links")
                .sql("DELETE FROM connections c WHERE c.metadata ? 'import' AND c.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND c.id = ANY(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|id| id.0).collect::<Vec<_>>())
                .sql(") RETURNING c.id");
            self.write(statement).await?;
        }
        Ok(())
    }
}
