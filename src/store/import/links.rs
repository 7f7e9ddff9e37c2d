//! The links of an import: only those of the kind `Reference`, and only those that an import made, are ever changed.

use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{BoardImport, IDS, ROWS, uuids};
use crate::{
    domain::{LinkId, NodeId, Result, import::ImportedLink},
    store::statement::Statement,
};

impl BoardImport<'_> {
    /// The links of the kind `Reference` that start at these nodes; those of other kinds do not concern an import.
    /// The flag says whether an import made the link.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn links_from(&mut self, nodes: &[NodeId]) -> Result<Vec<(ImportedLink, bool)>> {
        type Sql = (SqlUuid, SqlUuid, SqlUuid, Nullable<Text>, Bool);
        type Row = (Uuid, Uuid, Uuid, Option<String>, bool);
        let statement = Statement::<Sql>::new("import.links")
            .sql(
                "SELECT c.id, c.from_node_id, c.to_node_id, c.label, c.metadata ? 'import' FROM connections c \
                 WHERE c.connection_type = 'reference' AND c.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board.0)
            .sql(" AND c.from_node_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(nodes))
            .sql(") ORDER BY c.id");
        let rows: Vec<Row> = self.run(statement).await?;
        let link = |(id, from, to, label, imported)| {
            (ImportedLink { id: LinkId(id), from: NodeId(from), to: NodeId(to), label }, imported)
        };
        Ok(rows.into_iter().map(link).collect())
    }

    /// Adds links; there must be none of the kind `Reference` between the same nodes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn insert_links(&mut self, links: &[ImportedLink]) -> Result<()> {
        for chunk in links.chunks(ROWS) {
            let statement = Statement::<SqlUuid>::new("import.insert_links")
                .sql(
                    "INSERT INTO connections (board_id, id, from_node_id, to_node_id, connection_type, label, metadata) \
                     SELECT ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(", u.id, u.from_id, u.to_id, 'reference', u.label, '{\"import\": true}' FROM unnest(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.id.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.from.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|link| link.to.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<Nullable<Text>>, _>(chunk.iter().map(|link| link.label.clone()).collect::<Vec<_>>())
                .sql(") AS u (id, from_id, to_id, label) RETURNING id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Gives links another label.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn relabel_links(&mut self, links: &[(LinkId, Option<String>)]) -> Result<()> {
        for chunk in links.chunks(ROWS) {
            let statement = Statement::<SqlUuid>::new("import.relabel_links")
                .sql("UPDATE connections c SET label = u.label FROM unnest(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<Nullable<Text>>, _>(chunk.iter().map(|(_, label)| label.clone()).collect::<Vec<_>>())
                .sql(") AS u (id, label) WHERE c.id = u.id AND c.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING c.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Removes links for good.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_links(&mut self, links: &[LinkId]) -> Result<()> {
        for chunk in links.chunks(IDS) {
            let statement = Statement::<SqlUuid>::new("import.delete_links")
                .sql("DELETE FROM connections c WHERE c.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND c.id = ANY(")
                .bind::<Array<SqlUuid>, _>(chunk.iter().map(|id| id.0).collect::<Vec<_>>())
                .sql(") RETURNING c.id");
            self.write(statement).await?;
        }
        Ok(())
    }
}
