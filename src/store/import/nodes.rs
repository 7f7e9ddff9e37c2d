//! The nodes of an import: adding, changing, moving, removing, bringing back. Nodes that somebody deleted or moved since
//! this was planned are left, and counted.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{IDS, ROWS, Work, uuids};
use crate::{
    domain::{
        NodeId, NodeType, Placement, Rect, Result,
        import::{ChangedText, ImportedText, NewNode, NewNodeKind, NewPlace, Relocation},
    },
    store::statement::Statement,
};

/// Bytes of text per statement; a single row may be larger.
const TEXT_BYTES: usize = 8 << 20;

impl Work<'_> {
    /// Adds nodes; a folder must come before what is in it. What would come into a folder that is not there any more is left.
    pub(super) async fn insert_nodes(&mut self, mut nodes: Vec<NewNode>) -> Result<()> {
        let folders = nodes.iter().filter_map(|node| Some(node.placement?.folder_id));
        let mut there = self.living(folders.collect()).await?;
        let count = nodes.len();
        nodes.retain(|node| {
            let fits = node.placement.is_none_or(|placement| there.contains(&placement.folder_id));
            if fits {
                there.insert(node.id);
            }
            fits
        });
        self.left += count - nodes.len();
        let text_bytes = |node: &NewNode| match &node.kind {
            NewNodeKind::Folder(_) => 0,
            NewNodeKind::Resource(text) => text_bytes(text),
        };
        for chunk in chunks(nodes, text_bytes) {
            self.insert_chunk(chunk).await?;
        }
        Ok(())
    }

    /// Those of the nodes that live on the board.
    async fn living(&mut self, ids: HashSet<NodeId>) -> Result<HashSet<NodeId>> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let statement = Statement::<SqlUuid>::new("import.living")
            .sql("SELECT n.id FROM nodes n WHERE n.deleted_at IS NULL AND n.board_id = ")
            .bind::<SqlUuid, _>(self.board.0)
            .sql(" AND n.id = ANY(")
            .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
            .sql(")");
        let living: Vec<Uuid> = self.run(statement).await?;
        Ok(living.into_iter().map(NodeId).collect())
    }

    /// Gives nodes another text, unless somebody edited the one that they had when this was planned.
    pub(super) async fn update_texts(&mut self, changed: Vec<ChangedText>) -> Result<()> {
        let changed = self.as_seen(changed).await?;
        for chunk in chunks(changed, |changed| text_bytes(&changed.text)) {
            let count = chunk.len();
            let ids: Vec<Uuid> = chunk.iter().map(|changed| changed.id.0).collect();
            let entitled = chunk.iter().filter(|changed| changed.keeps_title);
            let entitled: Vec<Uuid> = entitled.map(|changed| changed.id.0).collect();
            let (metadata, texts): (Vec<Value>, Vec<ImportedText>) =
                chunk.into_iter().map(|changed| (changed.metadata, changed.text)).unzip();
            // What else is noted about the origin stays.
            let statement = Statement::<SqlUuid>::new("import.touch")
                .sql(
                    "UPDATE nodes n SET metadata = n.metadata || u.metadata || jsonb_build_object('import', \
                     CASE WHEN jsonb_typeof(n.metadata -> 'import') = 'object' THEN n.metadata -> 'import' \
                     ELSE '{}' END || (u.metadata -> 'import')), updated_at = now(), version = ",
                )
                .bind::<BigInt, _>(self.version)
                .sql(" FROM unnest(")
                .bind::<Array<SqlUuid>, _>(ids.clone())
                .sql(", ")
                .bind::<Array<Jsonb>, _>(metadata)
                .sql(") AS u (id, metadata) WHERE n.id = u.id AND n.deleted_at IS NULL AND n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING n.id");
            self.left += count.saturating_sub(self.write(statement).await?.len());
            let statement = Statement::<SqlUuid>::new("import.texts")
                .sql(
                    "UPDATE resource_nodes r SET resource_type = u.type::resource_type, \
                     title = CASE WHEN r.node_id = ANY(",
                )
                .bind::<Array<SqlUuid>, _>(entitled)
                .sql(
                    ") THEN r.title ELSE u.title END, content = u.content, extracted_text = u.extracted, \
                     language = u.language, word_count = u.words, reading_time = ceil(u.words * 60 / 200.0)::int, \
                     processing_status = 'completed', processing_error = NULL FROM ",
                );
            let statement = unnest_texts(statement, ids, texts)
                .sql(
                    " JOIN nodes n ON n.id = u.id AND n.deleted_at IS NULL \
                     WHERE r.node_id = u.id AND r.board_id = n.board_id AND r.board_id = ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING r.node_id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Gives nodes another place on the canvas, if they lie where they were when this was planned.
    pub(super) async fn move_nodes(&mut self, moved: &[(NodeId, Rect, Rect)]) -> Result<()> {
        for chunk in moved.chunks(ROWS) {
            let ids: Vec<Uuid> = chunk.iter().map(|(id, ..)| id.0).collect();
            let before: Vec<Rect> = chunk.iter().map(|(_, before, _)| *before).collect();
            let rects: Vec<Rect> = chunk.iter().map(|(.., rect)| *rect).collect();
            let statement = Statement::<SqlUuid>::new("import.move")
                .sql(
                    "UPDATE nodes n SET x = u.x, y = u.y, width = u.width, height = u.height, \
                     metadata = CASE WHEN n.metadata #> '{import,at}' = jsonb_build_array(n.x, n.y) \
                     THEN jsonb_set(n.metadata, '{import,at}', jsonb_build_array(u.x, u.y)) ELSE n.metadata END, \
                     updated_at = now(), version = ",
                )
                .bind::<BigInt, _>(self.version)
                .sql(" FROM unnest(")
                .bind::<Array<SqlUuid>, _>(ids);
            let statement = rect_columns(rect_columns(statement, &rects), &before)
                .sql(
                    ") AS u (id, x, y, width, height, old_x, old_y, old_width, old_height) WHERE n.id = u.id \
                     AND n.deleted_at IS NULL AND (n.x, n.y, n.width, n.height) = \
                     (u.old_x, u.old_y, u.old_width, u.old_height) AND n.board_id = ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING n.id");
            self.left += chunk.len().saturating_sub(self.write(statement).await?.len());
        }
        Ok(())
    }

    /// Notes the new paths of nodes, and gives them the names that follow from these. Such a title counts as imported.
    pub(super) async fn relocate_nodes(&mut self, relocated: &[Relocation]) -> Result<()> {
        for chunk in relocated.chunks(IDS) {
            let ids: Vec<Uuid> = chunk.iter().map(|relocation| relocation.id.0).collect();
            let texts = |of: fn(&Relocation) -> &String| -> Vec<String> { chunk.iter().map(of).cloned().collect() };
            let statement = Statement::<SqlUuid>::new("import.relocate")
                .sql(
                    "UPDATE nodes n SET metadata = jsonb_set(\
                     CASE WHEN u.old_name <> u.new_name AND t.title = u.old_name \
                     THEN jsonb_set(n.metadata, '{import,title}', \
                     to_jsonb(encode(sha256(convert_to(u.new_name, 'UTF8')), 'hex'))) ELSE n.metadata END, \
                     '{import,path}', to_jsonb(u.path)), updated_at = now(), version = ",
                )
                .bind::<BigInt, _>(self.version)
                .sql(" FROM unnest(")
                .bind::<Array<SqlUuid>, _>(ids.clone())
                .sql(", ")
                .bind::<Array<Text>, _>(texts(|relocation| &relocation.path))
                .sql(", ")
                .bind::<Array<Text>, _>(texts(|relocation| &relocation.old_name))
                .sql(", ")
                .bind::<Array<Text>, _>(texts(|relocation| &relocation.new_name))
                .sql(
                    ") AS u (id, path, old_name, new_name) LEFT JOIN resource_nodes t ON t.node_id = u.id \
                     WHERE n.id = u.id AND n.deleted_at IS NULL \
                     AND jsonb_typeof(n.metadata -> 'import') = 'object' AND n.board_id = ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING n.id");
            self.left += chunk.len().saturating_sub(self.write(statement).await?.len());
            for (name, text) in [
                ("import.retitle", "UPDATE resource_nodes t SET title = u.new_name FROM unnest("),
                ("import.rename", "UPDATE folder_nodes t SET name = u.new_name FROM unnest("),
            ] {
                let is_title = name == "import.retitle";
                let statement = Statement::<SqlUuid>::new(name)
                    .sql(text)
                    .bind::<Array<SqlUuid>, _>(ids.clone())
                    .sql(", ")
                    .bind::<Array<Text>, _>(texts(|relocation| &relocation.old_name))
                    .sql(", ")
                    .bind::<Array<Text>, _>(texts(|relocation| &relocation.new_name))
                    .sql(") AS u (id, old_name, new_name) WHERE t.node_id = u.id AND u.old_name <> u.new_name AND ")
                    .sql(if is_title { "t.title = u.old_name" } else { "t.name = u.old_name" })
                    .sql(" AND t.board_id = ")
                    .bind::<SqlUuid, _>(self.board.0)
                    .sql(" RETURNING t.node_id");
                self.write(statement).await?;
            }
        }
        Ok(())
    }

    /// Puts nodes into other folders, if they lie in the folder that they lay in when this was planned.
    pub(super) async fn place_nodes(&mut self, placed: &[NewPlace]) -> Result<()> {
        // All of them at once, or folders that change places could seem to contain themselves in between.
        for chunk in placed.chunks(IDS) {
            let (into, out_of): (Vec<_>, Vec<_>) =
                chunk.iter().partition::<Vec<&NewPlace>, _>(|place| place.to.is_some());
            let froms = |places: &[&NewPlace]| -> Vec<Option<Uuid>> {
                places.iter().map(|place| place.from.map(|from| from.0)).collect()
            };
            let mut written = Vec::new();
            if !out_of.is_empty() {
                let statement = Statement::<SqlUuid>::new("import.unplace")
                    .sql("DELETE FROM node_hierarchy h USING unnest(")
                    .bind::<Array<SqlUuid>, _>(out_of.iter().map(|place| place.id.0).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Nullable<SqlUuid>>, _>(froms(&out_of))
                    .sql(") AS u (id, from_id) WHERE h.child_id = u.id AND h.parent_id = u.from_id AND h.board_id = ")
                    .bind::<SqlUuid, _>(self.board.0)
                    .sql(" RETURNING h.child_id");
                written.extend(self.write(statement).await?);
            }
            if !into.is_empty() {
                let to = |place: &&NewPlace| place.to.map(|to| (to.folder_id.0, to.position));
                let to: Vec<(Uuid, f64)> = into.iter().filter_map(to).collect();
                let statement = Statement::<SqlUuid>::new("import.place")
                    .sql("INSERT INTO node_hierarchy AS h (board_id, child_id, parent_id, position) SELECT ")
                    .bind::<SqlUuid, _>(self.board.0)
                    .sql(", c.id, p.id, u.position FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(into.iter().map(|place| place.id.0).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Nullable<SqlUuid>>, _>(froms(&into))
                    .sql(", ")
                    .bind::<Array<SqlUuid>, _>(to.iter().map(|(folder, _)| *folder).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Double>, _>(to.iter().map(|(_, position)| *position).collect::<Vec<_>>())
                    .sql(
                        ") AS u (id, from_id, to_id, position) \
                         JOIN nodes c ON c.id = u.id AND c.deleted_at IS NULL \
                         JOIN nodes p ON p.id = u.to_id AND p.board_id = c.board_id AND p.deleted_at IS NULL \
                         LEFT JOIN node_hierarchy o ON o.child_id = u.id \
                         WHERE o.parent_id IS NOT DISTINCT FROM u.from_id AND c.board_id = ",
                    )
                    .bind::<SqlUuid, _>(self.board.0)
                    .sql(
                        " ON CONFLICT (child_id) DO UPDATE SET parent_id = excluded.parent_id, \
                         position = excluded.position RETURNING h.child_id",
                    );
                written.extend(self.write(statement).await?);
            }
            self.left += chunk.len().saturating_sub(written.len());
            let statement = Statement::<SqlUuid>::new("import.touch_placed")
                .sql("UPDATE nodes n SET updated_at = now(), version = ")
                .bind::<BigInt, _>(self.version)
                .sql(" WHERE n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND n.id = ANY(")
                .bind::<Array<SqlUuid>, _>(written)
                .sql(") RETURNING n.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Brings nodes back; the mark of their removal goes.
    pub(super) async fn restore_nodes(&mut self, nodes: &[NodeId]) -> Result<()> {
        for chunk in nodes.chunks(IDS) {
            let statement = Statement::<SqlUuid>::new("import.restore")
                .sql(
                    "UPDATE nodes n SET deleted_at = NULL, metadata = n.metadata #- '{import,gone}', updated_at = now(), \
                     version = ",
                )
                .bind::<BigInt, _>(self.version)
                .sql(" WHERE n.deleted_at IS NOT NULL AND n.board_id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND n.id = ANY(")
                .bind::<Array<SqlUuid>, _>(uuids(chunk))
                .sql(") RETURNING n.id");
            self.write(statement).await?;
        }
        Ok(())
    }

    /// Deletes nodes, softly, with a mark by which a later import knows that it was one that did it. Their links stay, unseen,
    /// for the day on which they are restored. A folder that holds something stays: nobody loses what he put there.
    ///
    /// What was deleted at the moment of a folder comes back with it: so the moment is that of the import.
    pub(super) async fn remove_nodes(&mut self, nodes: &[NodeId], at: Option<DateTime<Utc>>) -> Result<()> {
        for chunk in nodes.chunks(IDS) {
            let going = self.without_holders(chunk).await?;
            let statement = Statement::<SqlUuid>::new("import.delete")
                .sql(
                    "UPDATE nodes n SET deleted_at = m.moment, metadata = jsonb_set(n.metadata, '{import,gone}', \
                     to_jsonb((extract(epoch FROM m.moment) * 1000000)::bigint)), updated_at = now(), version = ",
                )
                .bind::<BigInt, _>(self.version)
                .sql(" FROM (SELECT coalesce(")
                .bind::<Nullable<Timestamptz>, _>(at)
                .sql(
                    ", now()) AS moment) AS m WHERE n.deleted_at IS NULL \
                     AND jsonb_typeof(n.metadata -> 'import') = 'object' AND n.board_id = ",
                )
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" AND n.id = ANY(")
                .bind::<Array<SqlUuid>, _>(going)
                .sql(") RETURNING n.id");
            self.left += chunk.len().saturating_sub(self.write(statement).await?.len());
        }
        Ok(())
    }

    /// Those of the nodes in which nothing lies that stays.
    async fn without_holders(&mut self, nodes: &[NodeId]) -> Result<Vec<Uuid>> {
        let statement = Statement::<(SqlUuid, SqlUuid)>::new("import.held")
            .sql(
                "SELECT h.child_id, h.parent_id FROM node_hierarchy h \
                 JOIN nodes c ON c.id = h.child_id AND c.deleted_at IS NULL WHERE h.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board.0)
            .sql(" AND h.parent_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(nodes))
            .sql(")");
        let held: Vec<(Uuid, Uuid)> = self.run(statement).await?;
        let mut going: HashSet<Uuid> = nodes.iter().map(|id| id.0).collect();
        let folder_of: HashMap<Uuid, Uuid> = held.into_iter().collect();
        let staying: Vec<Uuid> = folder_of.keys().filter(|child| !going.contains(*child)).copied().collect();
        for child in staying {
            let mut folder = folder_of.get(&child);
            while let Some(id) = folder.filter(|id| going.remove(*id)) {
                folder = folder_of.get(id);
            }
        }
        Ok(going.into_iter().collect())
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
