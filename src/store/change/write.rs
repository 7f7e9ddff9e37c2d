//! The rows of a set of changes: one statement per kind of row, whatever their number.

use diesel::sql_types::{Array, BigInt, Bool, Double, Float, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{Transaction, uuids};
use crate::{
    domain::{
        AnyId, Board, BoardWrites, Chat, Error, Failure, Folder, Link, LinkId, NodeId, NodeKind, NodeWrite, Outcome,
        Placement, Refusal, Resource, UserId,
    },
    store::{error::constraint_of, statement::Statement},
};

impl Transaction {
    /// Writes everything, and the next version of the board.
    pub(super) async fn write(&mut self, writes: BoardWrites, actor: Option<UserId>) -> Outcome<()> {
        self.write_board(writes.board).await?;
        if !writes.inserted.is_empty() {
            self.insert_nodes(&writes.inserted).await?;
            self.write_kinds(&writes.inserted).await?;
        }
        if !writes.updated.is_empty() {
            self.update_nodes(&writes.updated).await?;
            let changed: Vec<NodeWrite> = writes.updated.into_iter().filter(|write| write.kind_changed).collect();
            self.write_kinds(&changed).await?;
        }
        if !writes.locked.is_empty() {
            self.lock_folders(&writes.locked, actor).await?;
        }
        if !writes.unplaced.is_empty() {
            let statement = Statement::<SqlUuid>::new("change.unplace")
                .sql("DELETE FROM node_hierarchy h WHERE h.board_id = ")
                .bind::<SqlUuid, _>(self.board())
                .sql(" AND h.child_id = ANY(")
                .bind::<Array<SqlUuid>, _>(uuids(&writes.unplaced))
                .sql(") RETURNING h.child_id");
            self.execute(statement).await?;
            self.touch(&writes.unplaced, None).await?;
        }
        if !writes.placed.is_empty() {
            self.place(&writes.placed).await?;
            let placed: Vec<NodeId> = writes.placed.iter().map(|(id, _)| *id).collect();
            self.touch(&placed, None).await?;
        }
        if !writes.placed_unseen.is_empty() {
            self.place(&writes.placed_unseen).await?;
        }
        if !writes.deleted.is_empty() {
            self.touch(&writes.deleted, Some(true)).await?;
        }
        if !writes.restored.is_empty() {
            self.touch(&writes.restored, Some(false)).await?;
        }
        if !writes.links_deleted.is_empty() {
            self.delete_links(&writes.links_deleted).await?;
        }
        // Before the new ones, which may take the place of a link that became one of another kind.
        if !writes.links_updated.is_empty() {
            self.update_links(&writes.links_updated).await?;
        }
        if !writes.links_inserted.is_empty() {
            self.insert_links(&writes.links_inserted).await?;
        }
        Ok(())
    }

    /// Runs a statement; a rule of the database that it breaks becomes a refusal.
    async fn execute(&mut self, statement: Statement<SqlUuid>) -> Outcome<()> {
        match self.run::<_, Uuid>(statement).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    fn next_version(&self) -> i64 {
        self.record.board.version + 1
    }

    async fn write_board(&mut self, board: Option<Board>) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.version")
            .sql("UPDATE boards b SET updated_at = now(), version = ")
            .bind::<BigInt, _>(self.next_version());
        let statement = match board {
            Some(board) => statement
                .sql(", name = ")
                .bind::<Text, _>(board.name)
                .sql(", description = ")
                .bind::<Nullable<Text>, _>(board.description)
                .sql(", thumbnail_url = ")
                .bind::<Nullable<Text>, _>(board.thumbnail_url)
                .sql(", settings = ")
                .bind::<Jsonb, _>(board.settings)
                .sql(", is_public = ")
                .bind::<Bool, _>(board.is_public)
                .sql(", is_template = ")
                .bind::<Bool, _>(board.is_template),
            None => statement,
        };
        let board = self.board();
        self.execute(statement.sql(" WHERE b.id = ").bind::<SqlUuid, _>(board).sql(" RETURNING b.id")).await
    }

    async fn insert_nodes(&mut self, nodes: &[NodeWrite]) -> Outcome<()> {
        let words: Vec<&'static str> = nodes.iter().map(|write| write.node.node_type().as_str()).collect();
        let statement = Statement::<SqlUuid>::new("change.insert_nodes")
            .sql("INSERT INTO nodes (board_id, version, id, x, y, width, height, z_index, is_locked, metadata, type) SELECT ")
            .bind::<SqlUuid, _>(self.board())
            .sql(", ")
            .bind::<BigInt, _>(self.next_version())
            .sql(", u.id, u.x, u.y, u.width, u.height, u.z, u.locked, u.metadata, u.type::node_type FROM unnest(");
        let statement = core_columns(statement, nodes)
            .sql(", ")
            .bind::<Array<Text>, _>(words)
            .sql(") AS u (id, x, y, width, height, z, locked, metadata, type) RETURNING id");
        self.execute(statement).await
    }

    async fn update_nodes(&mut self, nodes: &[NodeWrite]) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.update_nodes")
            .sql(
                "UPDATE nodes n SET x = u.x, y = u.y, width = u.width, height = u.height, z_index = u.z, \
                 is_locked = u.locked, metadata = u.metadata, updated_at = now(), version = ",
            )
            .bind::<BigInt, _>(self.next_version())
            .sql(" FROM unnest(");
        let statement = core_columns(statement, nodes)
            .sql(") AS u (id, x, y, width, height, z, locked, metadata) WHERE n.id = u.id AND n.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" RETURNING n.id");
        self.execute(statement).await
    }

    /// Steps the version of nodes, deletes them (`Some(true)`), or brings them back (`Some(false)`).
    async fn touch(&mut self, ids: &[NodeId], deleted: Option<bool>) -> Outcome<()> {
        let name = match deleted {
            None => "change.touch_nodes",
            Some(true) => "change.delete_nodes",
            Some(false) => "change.restore_nodes",
        };
        let statement = Statement::<SqlUuid>::new(name)
            .sql("UPDATE nodes n SET updated_at = now(), version = ")
            .bind::<BigInt, _>(self.next_version())
            .sql_if(deleted == Some(true), ", deleted_at = now()")
            .sql_if(deleted == Some(false), ", deleted_at = NULL")
            .sql(" WHERE n.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND n.id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(ids))
            .sql(") RETURNING n.id");
        self.execute(statement).await
    }

    async fn place(&mut self, placed: &[(NodeId, Placement)]) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.place")
            .sql("INSERT INTO node_hierarchy AS h (board_id, child_id, parent_id, position) SELECT ")
            .bind::<SqlUuid, _>(self.board())
            .sql(", u.child, u.parent, u.position FROM unnest(")
            .bind::<Array<SqlUuid>, _>(placed.iter().map(|(child, _)| child.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(placed.iter().map(|(_, place)| place.folder_id.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Double>, _>(placed.iter().map(|(_, place)| place.position).collect::<Vec<_>>())
            .sql(
                ") AS u (child, parent, position) ON CONFLICT (child_id) \
                 DO UPDATE SET parent_id = excluded.parent_id, position = excluded.position RETURNING h.child_id",
            );
        self.execute(statement).await
    }

    async fn write_kinds(&mut self, nodes: &[NodeWrite]) -> Outcome<()> {
        let (mut resources, mut chats, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        for write in nodes {
            match &write.node.kind {
                NodeKind::Resource(resource) => {
                    resources.push((write.node.id.0, resource.as_ref(), write.content.clone()))
                }
                NodeKind::Chat(chat) => chats.push((write.node.id.0, chat.as_ref())),
                NodeKind::Folder(folder) => folders.push((write.node.id.0, folder.as_ref())),
            }
        }
        if !resources.is_empty() {
            let statement = resource_statement(self.board(), &resources);
            self.execute(statement).await?;
        }
        if !chats.is_empty() {
            let statement = chat_statement(self.board(), &chats);
            self.execute(statement).await?;
        }
        if !folders.is_empty() {
            let statement = folder_statement(self.board(), &folders);
            self.execute(statement).await?;
        }
        Ok(())
    }

    async fn lock_folders(&mut self, locks: &[(NodeId, Option<String>)], actor: Option<UserId>) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.lock_folders")
            .sql("UPDATE folder_nodes f SET password_hash = u.hash, locked_by = CASE WHEN u.hash IS NOT NULL THEN ")
            .bind::<Nullable<SqlUuid>, _>(actor.map(|actor| actor.0))
            .sql("::uuid END FROM unnest(")
            .bind::<Array<SqlUuid>, _>(locks.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Nullable<Text>>, _>(locks.iter().map(|(_, hash)| hash.clone()).collect::<Vec<_>>())
            .sql(") AS u (id, hash) WHERE f.node_id = u.id AND f.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" RETURNING f.node_id");
        self.execute(statement).await?;
        let ids: Vec<NodeId> = locks.iter().map(|(id, _)| *id).collect();
        self.touch(&ids, None).await
    }

    async fn insert_links(&mut self, links: &[Link]) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.insert_links")
            .sql("INSERT INTO connections (board_id, id, from_node_id, to_node_id, connection_type, label, style, metadata) SELECT ")
            .bind::<SqlUuid, _>(self.board())
            .sql(", u.id, u.from_id, u.to_id, u.kind::connection_type, u.label, u.style, u.metadata FROM unnest(");
        let statement = link_columns(statement, links)
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(links.iter().map(|link| link.from.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(links.iter().map(|link| link.to.0).collect::<Vec<_>>())
            .sql(") AS u (id, kind, label, style, metadata, from_id, to_id) RETURNING id");
        self.execute(statement).await
    }

    async fn update_links(&mut self, links: &[Link]) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.update_links").sql(
            "UPDATE connections c SET connection_type = u.kind::connection_type, label = u.label, style = u.style, \
             metadata = u.metadata FROM unnest(",
        );
        let statement = link_columns(statement, links)
            .sql(") AS u (id, kind, label, style, metadata) WHERE c.id = u.id AND c.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" RETURNING c.id");
        self.execute(statement).await
    }

    async fn delete_links(&mut self, links: &[LinkId]) -> Outcome<()> {
        let statement = Statement::<SqlUuid>::new("change.delete_links")
            .sql("DELETE FROM connections c WHERE c.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND c.id = ANY(")
            .bind::<Array<SqlUuid>, _>(links.iter().map(|id| id.0).collect::<Vec<_>>())
            .sql(") RETURNING c.id");
        self.execute(statement).await
    }
}

/// An error that is the caller's to handle becomes a refusal.
pub(super) fn refused(error: Error) -> Failure {
    match constraint_of(&error).and_then(refusal_of) {
        Some(refusal) => Failure::Refused(refusal),
        None => Failure::Failed(error),
    }
}

/// What a broken rule of the database means to the caller. Most are checked before; these can only be seen here.
fn refusal_of(constraint: &str) -> Option<Refusal> {
    Some(match constraint {
        "boards_owner_name_unique" => {
            Refusal::conflict("name", None, vec!["name"], "Its owner has a board of this name already")
        }
        "node_hierarchy_depth" => Refusal::limit(
            "folderId",
            crate::domain::MAX_FOLDER_DEPTH.into(),
            format!("Folders nest at most {} levels deep", crate::domain::MAX_FOLDER_DEPTH),
        ),
        "connections_once" => Refusal::conflict(
            "kind",
            None::<AnyId>,
            vec!["kind"],
            "There is a link of this kind between the two already",
        ),
        "nodes_pkey" | "connections_pkey" | "boards_pkey" => {
            Refusal::conflict("id", None, vec!["id"], "This id is taken")
        }
        _ => return None,
    })
}

/// Adds id, x, y, width, height, z_index, is_locked and metadata as arrays.
fn core_columns(statement: Statement<SqlUuid>, nodes: &[NodeWrite]) -> Statement<SqlUuid> {
    let side =
        |of: fn(&crate::domain::Rect) -> f64| -> Vec<f64> { nodes.iter().map(|write| of(&write.node.rect)).collect() };
    statement
        .bind::<Array<SqlUuid>, _>(nodes.iter().map(|write| write.node.id.0).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.x))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.y))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.width))
        .sql(", ")
        .bind::<Array<Double>, _>(side(|rect| rect.height))
        .sql(", ")
        .bind::<Array<Integer>, _>(nodes.iter().map(|write| write.node.z_index).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Bool>, _>(nodes.iter().map(|write| write.node.is_locked).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Jsonb>, _>(nodes.iter().map(|write| write.node.metadata.clone()).collect::<Vec<_>>())
}

/// Adds id, kind, label, style and metadata as arrays.
fn link_columns(statement: Statement<SqlUuid>, links: &[Link]) -> Statement<SqlUuid> {
    statement
        .bind::<Array<SqlUuid>, _>(links.iter().map(|link| link.id.0).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(links.iter().map(|link| link.kind.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(links.iter().map(|link| link.label.clone()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Jsonb>, _>(links.iter().map(|link| link.style.clone()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Jsonb>, _>(links.iter().map(|link| link.metadata.clone()).collect::<Vec<_>>())
}

type ResourceWrite<'a> = (Uuid, &'a Resource, Option<Option<String>>);

/// Text that is not given stays.
fn resource_statement(board: Uuid, rows: &[ResourceWrite<'_>]) -> Statement<SqlUuid> {
    let texts =
        |of: fn(&Resource) -> Option<String>| -> Vec<Option<String>> { rows.iter().map(|(_, r, _)| of(r)).collect() };
    let numbers =
        |of: fn(&Resource) -> Option<i32>| -> Vec<Option<i32>> { rows.iter().map(|(_, r, _)| of(r)).collect() };
    Statement::<SqlUuid>::new("change.resources")
        .sql(
            "INSERT INTO resource_nodes AS r (board_id, node_id, resource_type, title, url, processing_status, language, \
             word_count, reading_time, content) SELECT ",
        )
        .bind::<SqlUuid, _>(board)
        .sql(
            ", u.id, u.type::resource_type, u.title, u.url, u.status::processing_status, u.language, u.words, u.seconds, \
             u.content FROM unnest(",
        )
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(rows.iter().map(|(_, r, _)| r.resource_type.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(texts(|r| r.title.clone()))
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(texts(|r| r.url.clone()))
        .sql(", ")
        .bind::<Array<Text>, _>(rows.iter().map(|(_, r, _)| r.processing_status.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(texts(|r| r.language.clone()))
        .sql(", ")
        .bind::<Array<Nullable<Integer>>, _>(numbers(|r| r.word_count))
        .sql(", ")
        .bind::<Array<Nullable<Integer>>, _>(numbers(|r| r.reading_time_seconds))
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(_, _, content)| content.clone().flatten()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Bool>, _>(rows.iter().map(|(_, _, content)| content.is_some()).collect::<Vec<_>>())
        .sql(
            ") AS u (id, type, title, url, status, language, words, seconds, content, has_content) \
             ON CONFLICT (node_id) DO UPDATE SET resource_type = excluded.resource_type, title = excluded.title, \
             url = excluded.url, language = excluded.language, word_count = excluded.word_count, \
             reading_time = excluded.reading_time, \
             content = CASE WHEN r.node_id = ANY(",
        )
        .bind::<Array<SqlUuid>, _>(
            rows.iter().filter(|(_, _, content)| content.is_some()).map(|(id, _, _)| *id).collect::<Vec<_>>(),
        )
        .sql(") THEN excluded.content ELSE r.content END RETURNING r.node_id")
}

fn chat_statement(board: Uuid, rows: &[(Uuid, &Chat)]) -> Statement<SqlUuid> {
    let texts =
        |of: fn(&Chat) -> Option<String>| -> Vec<Option<String>> { rows.iter().map(|(_, chat)| of(chat)).collect() };
    let reals = |of: fn(&Chat) -> f32| -> Vec<f32> { rows.iter().map(|(_, chat)| of(chat)).collect() };
    let flags = |of: fn(&Chat) -> bool| -> Vec<bool> { rows.iter().map(|(_, chat)| of(chat)).collect() };
    // Arrays of arrays would have to be of one length; each list of stops travels as JSON.
    let stops: Vec<Value> = rows.iter().map(|(_, chat)| Value::from(chat.stop_sequences.clone())).collect();
    Statement::<SqlUuid>::new("change.chats")
        .sql(
            "INSERT INTO chat_nodes AS c (board_id, node_id, ai_model, custom_model_endpoint, system_prompt, temperature, \
             max_tokens, top_p, frequency_penalty, presence_penalty, stop_sequences, response_format, tools_enabled, \
             memory_enabled, context_window_size) SELECT ",
        )
        .bind::<SqlUuid, _>(board)
        .sql(
            ", u.id, u.model::ai_model, u.endpoint, u.prompt, u.temperature, u.tokens, u.top_p, u.frequency, u.presence, \
             ARRAY(SELECT jsonb_array_elements_text(u.stops)), u.format::chat_response_format, u.tools, u.memory, \
             u.context FROM unnest(",
        )
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(rows.iter().map(|(_, chat)| chat.model.clone()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(texts(|chat| chat.custom_model_endpoint.clone()))
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(texts(|chat| chat.system_prompt.clone()))
        .sql(", ")
        .bind::<Array<Float>, _>(reals(|chat| chat.temperature))
        .sql(", ")
        .bind::<Array<Integer>, _>(rows.iter().map(|(_, chat)| chat.max_tokens).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Float>, _>(reals(|chat| chat.top_p))
        .sql(", ")
        .bind::<Array<Float>, _>(reals(|chat| chat.frequency_penalty))
        .sql(", ")
        .bind::<Array<Float>, _>(reals(|chat| chat.presence_penalty))
        .sql(", ")
        .bind::<Array<Jsonb>, _>(stops)
        .sql(", ")
        .bind::<Array<Text>, _>(rows.iter().map(|(_, chat)| chat.response_format.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Bool>, _>(flags(|chat| chat.tools_enabled))
        .sql(", ")
        .bind::<Array<Bool>, _>(flags(|chat| chat.memory_enabled))
        .sql(", ")
        .bind::<Array<Integer>, _>(rows.iter().map(|(_, chat)| chat.context_window_size).collect::<Vec<_>>())
        .sql(
            ") AS u (id, model, endpoint, prompt, temperature, tokens, top_p, frequency, presence, stops, format, tools, \
             memory, context) ON CONFLICT (node_id) DO UPDATE SET ai_model = excluded.ai_model, \
             custom_model_endpoint = excluded.custom_model_endpoint, system_prompt = excluded.system_prompt, \
             temperature = excluded.temperature, max_tokens = excluded.max_tokens, top_p = excluded.top_p, \
             frequency_penalty = excluded.frequency_penalty, presence_penalty = excluded.presence_penalty, \
             stop_sequences = excluded.stop_sequences, response_format = excluded.response_format, \
             tools_enabled = excluded.tools_enabled, memory_enabled = excluded.memory_enabled, \
             context_window_size = excluded.context_window_size RETURNING c.node_id",
        )
}

fn folder_statement(board: Uuid, rows: &[(Uuid, &Folder)]) -> Statement<SqlUuid> {
    let texts = |of: fn(&Folder) -> String| -> Vec<String> { rows.iter().map(|(_, folder)| of(folder)).collect() };
    Statement::<SqlUuid>::new("change.folders_written")
        .sql(
            "INSERT INTO folder_nodes AS f (board_id, node_id, name, description, color, icon, expanded, sort_order, \
             max_items) SELECT ",
        )
        .bind::<SqlUuid, _>(board)
        .sql(
            ", u.id, u.name, u.description, u.color, u.icon, u.expanded, u.sort_order::folder_sort_order, u.max_items \
             FROM unnest(",
        )
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(texts(|folder| folder.name.clone()))
        .sql(", ")
        .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(_, folder)| folder.description.clone()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(texts(|folder| folder.color.clone()))
        .sql(", ")
        .bind::<Array<Text>, _>(texts(|folder| folder.icon.clone()))
        .sql(", ")
        .bind::<Array<Bool>, _>(rows.iter().map(|(_, folder)| folder.is_expanded).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(rows.iter().map(|(_, folder)| folder.sort_order.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Nullable<Integer>>, _>(rows.iter().map(|(_, folder)| folder.max_items).collect::<Vec<_>>())
        .sql(
            ") AS u (id, name, description, color, icon, expanded, sort_order, max_items) ON CONFLICT (node_id) \
             DO UPDATE SET name = excluded.name, description = excluded.description, color = excluded.color, \
             icon = excluded.icon, expanded = excluded.expanded, sort_order = excluded.sort_order, \
             max_items = excluded.max_items RETURNING f.node_id",
        )
}
