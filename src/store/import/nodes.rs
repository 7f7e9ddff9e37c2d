//! The nodes of an import: adding, changing, moving, deleting.

use std::mem;

use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{BoardImport, IDS, ROWS, uuids};
use crate::{
    domain::{
        NodeId, NodeType, Placement, Rect, Result,
        import::{ChangedText, ImportedText, NewNode, NewNodeKind},
    },
    store::statement::Statement,
};

/// Bytes of text per statement; a single row may be larger.
const TEXT_BYTES: usize = 8 << 20;

impl BoardImport<'_> {
    /// Adds nodes; a folder must come before what is in it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn insert_nodes(&mut self, nodes: Vec<NewNode>) -> Result<()> {
        let text_bytes = |node: &NewNode| match &node.kind {
            NewNodeKind::Folder(_) => 0,
            NewNodeKind::Resource(text) => text_bytes(text),
        };
        for chunk in chunks(nodes, text_bytes) {
            self.insert_chunk(chunk).await?;
        }
        Ok(())
    }

    /// Gives nodes another text.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn update_texts(&mut self, changed: Vec<ChangedText>) -> Result<()> {
        for chunk in chunks(changed, |changed| text_bytes(&changed.text)) {
            let ids: Vec<Uuid> = chunk.iter().map(|changed| changed.id.0).collect();
            let (metadata, texts): (Vec<Value>, Vec<ImportedText>) =
                chunk.into_iter().map(|changed| (changed.metadata, changed.text)).unzip();
            let statement = Statement::<SqlUuid>::new("import.touch")
                .sql("UPDATE nodes n SET metadata = n.metadata || u.metadata, updated_at = now(), version = ")
                .bind::<BigInt, _>(self.version)
                .sql(" FROM unnest(")
                .bind::<Array<SqlUuid>, _>(ids.clone())
                .sql(", ")
                .bind::<Array<Jsonb>, _>(metadata)
                .sql(") AS u (id, metadata) WHERE n.id = u.id AND n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING n.id");
            self.write(statement).await?;
            let statement = Statement::<SqlUuid>::new("import.texts").sql(
                "UPDATE resource_nodes r SET resource_type = u.type::resource_type, title = u.title, \
                 content = u.content, extracted_text = u.extracted, language = u.language, word_count = u.words, \
                 reading_time = ceil(u.words * 60 / 200.0)::int, processing_status = 'completed', \
                 processing_error = NULL FROM ",
            );
            let statement = unnest_texts(statement, ids, texts)
                .sql(" WHERE r.node_id = u.id AND r.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING r.node_id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Gives nodes another place on the canvas.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn move_nodes(&mut self, moved: &[(NodeId, Rect)]) -> Result<()> {
        for chunk in moved.chunks(ROWS) {
            let ids: Vec<Uuid> = chunk.iter().map(|(id, _)| id.0).collect();
            let rects: Vec<Rect> = chunk.iter().map(|(_, rect)| *rect).collect();
            let statement = Statement::<SqlUuid>::new("import.move")
                .sql("UPDATE nodes n SET x = u.x, y = u.y, width = u.width, height = u.height, updated_at = now(), version = ")
                .bind::<BigInt, _>(self.version)
                .sql(" FROM unnest(")
                .bind::<Array<SqlUuid>, _>(ids);
            let statement = rect_columns(statement, &rects)
                .sql(") AS u (id, x, y, width, height) WHERE n.id = u.id AND n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING n.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Deletes nodes, softly; their imported links go for good, because the next import would make them anew.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_nodes(&mut self, nodes: &[NodeId]) -> Result<()> {
        for chunk in nodes.chunks(IDS) {
            let statement = Statement::<SqlUuid>::new("import.delete_links_of")
                .sql("DELETE FROM connections c WHERE c.metadata ? 'import' AND c.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND (c.from_node_id = ANY(")
                .bind::<Array<SqlUuid>, _>(uuids(chunk))
                .sql(") OR c.to_node_id = ANY(")
                .bind::<Array<SqlUuid>, _>(uuids(chunk))
                .sql(")) RETURNING c.id");
            self.write(statement).await?;
            let statement = Statement::<SqlUuid>::new("import.delete")
                .sql("UPDATE nodes n SET deleted_at = now(), updated_at = now(), version = ")
                .bind::<BigInt, _>(self.version)
                .sql(" WHERE n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND n.id = ANY(")
                .bind::<Array<SqlUuid>, _>(uuids(chunk))
                .sql(") RETURNING n.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    async fn insert_chunk(&mut self, mut nodes: Vec<NewNode>) -> Result<()> {
        let ids: Vec<Uuid> = nodes.iter().map(|node| node.id.0).collect();
        let rects: Vec<Rect> = nodes.iter().map(|node| node.rect).collect();
        let z_indexes: Vec<i32> = nodes.iter().map(|node| node.z_index).collect();
        let metadata: Vec<Value> = nodes.iter_mut().map(|node| mem::take(&mut node.metadata)).collect();
        let placements: Vec<(Uuid, Placement)> =
            nodes.iter().filter_map(|node| Some((node.id.0, node.placement?))).collect();
        let (mut words, mut folders, mut resources) = (Vec::new(), (Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for node in nodes {
            match node.kind {
                NewNodeKind::Folder(name) => {
                    words.push(NodeType::Folder.as_str());
                    folders.0.push(node.id.0);
                    folders.1.push(name);
                }
                NewNodeKind::Resource(text) => {
                    words.push(NodeType::Resource.as_str());
                    resources.0.push(node.id.0);
                    resources.1.push(text);
                }
            }
        }

        let statement = Statement::<SqlUuid>::new("import.insert_nodes")
            .sql("INSERT INTO nodes (board_id, version, id, z_index, metadata, type, x, y, width, height) SELECT ")
            .bind::<SqlUuid, _>(self.board.0)
            .sql(", ")
            .bind::<BigInt, _>(self.version)
            .sql(", u.id, u.z, u.metadata, u.type::node_type, u.x, u.y, u.width, u.height FROM unnest(")
            .bind::<Array<SqlUuid>, _>(ids)
            .sql(", ")
            .bind::<Array<Integer>, _>(z_indexes)
            .sql(", ")
            .bind::<Array<Jsonb>, _>(metadata)
            .sql(", ")
            .bind::<Array<Text>, _>(words);
        let statement =
            rect_columns(statement, &rects).sql(") AS u (id, z, metadata, type, x, y, width, height) RETURNING id");
        self.write(statement).await?;
        if !folders.0.is_empty() {
            let statement = Statement::<SqlUuid>::new("import.insert_folders")
                .sql("INSERT INTO folder_nodes (board_id, node_id, name) SELECT ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(", u.id, u.name FROM unnest(")
                .bind::<Array<SqlUuid>, _>(folders.0)
                .sql(", ")
                .bind::<Array<Text>, _>(folders.1)
                .sql(") AS u (id, name) RETURNING node_id");
            self.write(statement).await?;
        }
        if !resources.0.is_empty() {
            let statement = Statement::<SqlUuid>::new("import.insert_texts")
                .sql(
                    "INSERT INTO resource_nodes (board_id, processing_status, node_id, resource_type, title, content, \
                     extracted_text, language, word_count, reading_time) SELECT ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(
                    ", 'completed', u.id, u.type::resource_type, u.title, u.content, u.extracted, u.language, u.words, \
                     ceil(u.words * 60 / 200.0)::int FROM ",
                );
            self.write(unnest_texts(statement, resources.0, resources.1).sql(" RETURNING node_id")).await?;
        }
        if !placements.is_empty() {
            let statement = Statement::<SqlUuid>::new("import.insert_placements")
                .sql("INSERT INTO node_hierarchy (board_id, child_id, parent_id, position) SELECT ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(", u.child, u.parent, u.position FROM unnest(")
                .bind::<Array<SqlUuid>, _>(placements.iter().map(|(child, _)| *child).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(placements.iter().map(|(_, place)| place.folder_id.0).collect::<Vec<_>>())
                .sql(", ")
                .bind::<Array<Double>, _>(placements.iter().map(|(_, place)| place.position).collect::<Vec<_>>())
                .sql(") AS u (child, parent, position) RETURNING child_id");
            self.write(statement).await?;
        }
        Ok(())
    }
}

fn text_bytes(text: &ImportedText) -> usize {
    text.content.len() + text.extracted_text.as_ref().map_or(0, String::len)
}

/// Cuts rows into portions that one statement can carry.
fn chunks<T>(rows: Vec<T>, text_bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut all, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let size = text_bytes(&row);
        if !chunk.is_empty() && (chunk.len() == ROWS || bytes + size > TEXT_BYTES) {
            all.push(mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += size;
        chunk.push(row);
    }
    if !chunk.is_empty() {
        all.push(chunk);
    }
    all
}

/// Adds four array parameters: x, y, width, height.
fn rect_columns(statement: Statement<SqlUuid>, rects: &[Rect]) -> Statement<SqlUuid> {
    let side = |of: fn(&Rect) -> f64| -> Vec<f64> { rects.iter().map(of).collect() };
    statement
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.x))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.y))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.width))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.height))
}

/// Adds `unnest(…) AS u (id, type, title, content, extracted, language, words)`.
fn unnest_texts(statement: Statement<SqlUuid>, ids: Vec<Uuid>, texts: Vec<ImportedText>) -> Statement<SqlUuid> {
    let (mut types, mut titles, mut contents) = (Vec::new(), Vec::new(), Vec::new());
    let (mut extracted, mut languages, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        types.push(text.resource_type.as_str());
        titles.push(text.title);
        contents.push(text.content);
        extracted.push(text.extracted_text);
        languages.push(text.language);
        words.push(text.word_count);
    }
    statement
        .sql("unnest(")
        .bind::<Array<SqlUuid>, _>(ids)
        .sql(", ")
        .bind::<Array<Text>, _>(types)
        .sql(", ")
        .bind::<Array<Text>, _>(titles)
        .sql(", ")
        .bind::<Array<Text>, _>(contents)
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(extracted)
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(languages)
        .sql(", ")
        .bind::<Array<Integer>, _>(words)
        .sql(") AS u (id, type, title, content, extracted, language, words)")
}
