//! Boards as a whole: making, deleting, bringing back, copying. Each in one transaction with its entry in the log.

use std::sync::Arc;

use diesel::sql_types::{Array, Bool, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{OF_BOARD, Transaction, copy::copy_texts, log, write::refused};
use crate::{
    domain::{
        AccountUsage, Board, BoardId, BoardRecord, Claim, CopyOf, Error, Limits, LinkId, Logged, NodeId, Origin,
        Outcome, Refusal, Result, UserId,
    },
    store::{
        Store,
        board::{RecordRow, record_from, record_statement},
        statement::Statement,
        transaction::{begin, commit, end},
    },
};

async fn record(store: &Store, connection: &mut AsyncPgConnection, board: BoardId) -> Result<Option<Arc<BoardRecord>>> {
    let statement = record_statement("change.made_board")
        .sql(OF_BOARD)
        .bind::<SqlUuid, _>(board.0)
        .sql(" AND b.deleted_at IS NULL");
    let found: Vec<RecordRow> = store.run(connection, statement).await?;
    found.into_iter().next().map(|row| Ok(Arc::new(record_from(row)?.0))).transpose()
}

/// The board that an earlier request under the same key made.
async fn made_before(
    store: &Store,
    connection: &mut AsyncPgConnection,
    origin: &Origin,
) -> Outcome<Option<Arc<BoardRecord>>> {
    let Some(key) = &origin.idempotency else { return Ok(None) };
    let board = match log::claim(store, connection, key).await? {
        Claim::Free => return Ok(None),
        Claim::Reused => return Err(Refusal::key_reused().into()),
        Claim::Done(result) => result.get("board").and_then(Value::as_str).and_then(|id| id.parse::<BoardId>().ok()),
    };
    let gone = || Refusal::not_found("idempotencyKey", "The board of this key is gone");
    match board {
        Some(board) => Ok(Some(record(store, connection, board).await?.ok_or_else(gone)?)),
        None => Err(gone().into()),
    }
}

impl Store {
    /// Makes a board with everything that `from` holds, if one is named.
    pub(super) async fn make_board(
        &self,
        board: Board,
        from: Option<CopyOf>,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Arc<BoardRecord>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let made = self.make_in(&mut connection, board, from, &origin, limits).await;
        end(&mut connection, made).await
    }

    async fn make_in(
        &self,
        connection: &mut AsyncPgConnection,
        board: Board,
        from: Option<CopyOf>,
        origin: &Origin,
        limits: Option<Limits>,
    ) -> Outcome<Arc<BoardRecord>> {
        if let Some(made) = made_before(self, connection, origin).await? {
            return Ok(made);
        }
        let (id, owner, is_copy) = (board.id, board.owner_id, from.is_some());
        if let (Some(limits), Some(from)) = (&limits, &from) {
            self.has_room_for_copy(connection, owner, limits, (from.board, from.is_whole)).await?;
        }
        let statement = Statement::<SqlUuid>::new("change.insert_board")
            .sql(
                "INSERT INTO boards (id, user_id, name, description, thumbnail_url, settings, is_public, is_template) VALUES (",
            )
            .bind::<SqlUuid, _>(id.0)
            .sql(", ")
            .bind::<SqlUuid, _>(board.owner_id.0)
            .sql(", ")
            .bind::<Text, _>(board.name)
            .sql(", ")
            .bind::<Nullable<Text>, _>(board.description)
            .sql(", ")
            .bind::<Nullable<Text>, _>(board.thumbnail_url)
            .sql(", ")
            .bind::<Jsonb, _>(board.settings)
            .sql(", ")
            .bind::<Bool, _>(board.is_public)
            .sql(", ")
            .bind::<Bool, _>(board.is_template)
            .sql(") RETURNING id");
        let _: Vec<Uuid> = self.run(connection, statement).await.map_err(refused)?;
        if let Some(from) = from {
            self.copy(connection, &from, board.owner_id, id).await?;
        }
        if let Some(key) = &origin.idempotency {
            log::remember(self, connection, key, json!({ "board": id.to_string() })).await?;
        }
        let made = record(self, connection, id).await?;
        let made = made.ok_or_else(|| Error::internal("change.made_board: no row"))?;
        if is_copy {
            self.count_copy(connection, owner).await?;
        }
        if let Some(limits) = limits {
            let before = (AccountUsage::default(), i64::from(is_copy));
            self.within_limits(connection, (owner, id), &limits, before).await?;
        }
        Ok(made)
    }

    /// Copies what lives on a board, but for what lies in folders that the copier is shut out of, under fresh ids that sort
    /// as the old ones do.
    async fn copy(&self, connection: &mut AsyncPgConnection, from: &CopyOf, owner: UserId, to: BoardId) -> Result<()> {
        let open: Vec<Uuid> = from.open.iter().map(|folder| folder.0).collect();
        // Which folders are locked is read with the nodes: a password that was set since the check shuts out as well.
        let shut = |statement: Statement<SqlUuid>, head: &'static str| {
            statement
                .sql(head)
                .bind::<SqlUuid, _>(from.board.0)
                .sql(" AND f.password_hash IS NOT NULL AND f.node_id <> ALL(")
                .bind::<Array<SqlUuid>, _>(open.clone())
                .sql("))")
        };
        let living = Statement::<SqlUuid>::new("copy.nodes_of")
            .sql("SELECT n.id FROM nodes n WHERE n.deleted_at IS NULL AND n.board_id = ")
            .bind::<SqlUuid, _>(from.board.0);
        let living = shut(living, " AND (NOT EXISTS (SELECT FROM folder_nodes f WHERE f.board_id = ");
        let shut_folders =
            " OR NOT lies_in(n.board_id, n.id, ARRAY(SELECT f.node_id FROM folder_nodes f WHERE f.board_id = ";
        let living = shut(living, shut_folders).sql(")) ORDER BY n.created_at, n.id");
        let old: Vec<Uuid> = self.run(connection, living).await?;
        let new: Vec<Uuid> = old.iter().map(|_| NodeId::generate().0).collect();
        let pairs = |statement: Statement<SqlUuid>| {
            statement
                .bind::<Array<SqlUuid>, _>(old.clone())
                .sql(", ")
                .bind::<Array<SqlUuid>, _>(new.clone())
                .sql(") AS m (old_id, new_id) ")
        };
        let into = |name, head: &'static str, columns: &'static str| {
            Statement::<SqlUuid>::new(name).sql(head).bind::<SqlUuid, _>(to.0).sql(columns)
        };
        let nodes = into(
            "copy.nodes",
            "INSERT INTO nodes (board_id, id, type, x, y, width, height, z_index, is_locked, metadata, created_at) SELECT ",
            ", m.new_id, n.type, n.x, n.y, n.width, n.height, n.z_index, n.is_locked, n.metadata, n.created_at FROM unnest(",
        );
        let resources = into(
            "copy.resources",
            "INSERT INTO resource_nodes (board_id, node_id, resource_type, title, content, url, media_id, processing_status, \
             processing_error, extracted_text, summary, key_points, language, word_count, reading_time, metadata) SELECT ",
            ", m.new_id, r.resource_type, r.title, r.content, r.url, r.media_id, r.processing_status, r.processing_error, \
             r.extracted_text, r.summary, r.key_points, r.language, r.word_count, r.reading_time, r.metadata FROM unnest(",
        );
        let chats = into(
            "copy.chats",
            "INSERT INTO chat_nodes (board_id, node_id, ai_model, custom_model_endpoint, system_prompt, temperature, max_tokens, \
             top_p, frequency_penalty, presence_penalty, stop_sequences, response_format, tools_enabled, memory_enabled, \
             context_window_size) SELECT ",
            ", m.new_id, c.ai_model, c.custom_model_endpoint, c.system_prompt, c.temperature, c.max_tokens, c.top_p, \
             c.frequency_penalty, c.presence_penalty, c.stop_sequences, c.response_format, c.tools_enabled, \
             c.memory_enabled, c.context_window_size FROM unnest(",
        );
        // A password goes along with what it protects. Who was shut out has copied an empty folder, and gets no hash of a
        // password that they could try guesses on.
        let hash = |statement: Statement<SqlUuid>| {
            let statement = statement.sql(", CASE WHEN f.node_id = ANY(").bind::<Array<SqlUuid>, _>(open.clone());
            statement.sql(") THEN f.password_hash END")
        };
        let folders = into(
            "copy.folders",
            "INSERT INTO folder_nodes (board_id, node_id, name, description, color, icon, expanded, sort_order, max_items, \
             password_hash, locked_by) SELECT ",
            ", m.new_id, f.name, f.description, f.color, f.icon, f.expanded, f.sort_order, f.max_items",
        );
        let folders = hash(folders)
            .sql(", CASE WHEN f.password_hash IS NOT NULL AND f.node_id = ANY(")
            .bind::<Array<SqlUuid>, _>(open.clone())
            .sql(") THEN ")
            .bind::<SqlUuid, _>(owner.0)
            .sql("::uuid END FROM unnest(");
        let places = into(
            "copy.places",
            "INSERT INTO node_hierarchy (board_id, child_id, parent_id, position) SELECT ",
            ", m.new_id, p.new_id, h.position FROM unnest(",
        );
        for statement in [
            pairs(nodes).sql("JOIN nodes n ON n.id = m.old_id RETURNING id"),
            pairs(resources).sql("JOIN resource_nodes r ON r.node_id = m.old_id RETURNING node_id"),
            pairs(chats).sql("JOIN chat_nodes c ON c.node_id = m.old_id RETURNING node_id"),
            pairs(folders).sql("JOIN folder_nodes f ON f.node_id = m.old_id RETURNING node_id"),
        ] {
            let _: Vec<Uuid> = self.run(connection, statement).await?;
        }
        let parents = |statement: Statement<SqlUuid>, head: &'static str| {
            let statement = statement.sql(head).bind::<Array<SqlUuid>, _>(old.clone()).sql(", ");
            statement.bind::<Array<SqlUuid>, _>(new.clone())
        };
        let places = parents(pairs(places).sql("JOIN node_hierarchy h ON h.child_id = m.old_id "), "JOIN unnest(")
            .sql(") AS p (old_id, new_id) ON p.old_id = h.parent_id RETURNING child_id");
        let _: Vec<Uuid> = self.run(connection, places).await?;
        self.copy_links(connection, from.board, to, &old, &new).await?;
        copy_texts(self, connection, to, &old, &new).await
    }

    async fn copy_links(
        &self,
        connection: &mut AsyncPgConnection,
        from: BoardId,
        to: BoardId,
        old: &[Uuid],
        new: &[Uuid],
    ) -> Result<()> {
        let of = Statement::<SqlUuid>::new("copy.links_of")
            .sql("SELECT l.id FROM connections l WHERE l.board_id = ")
            .bind::<SqlUuid, _>(from.0)
            .sql(" ORDER BY l.id");
        let links: Vec<Uuid> = self.run(connection, of).await?;
        let copies: Vec<Uuid> = links.iter().map(|_| LinkId::generate().0).collect();
        let statement = Statement::<SqlUuid>::new("copy.links")
            .sql("INSERT INTO connections (board_id, id, from_node_id, to_node_id, connection_type, label, style, metadata) SELECT ")
            .bind::<SqlUuid, _>(to.0)
            .sql(", i.new_id, a.new_id, b.new_id, l.connection_type, l.label, l.style, l.metadata FROM unnest(")
            .bind::<Array<SqlUuid>, _>(links)
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(copies)
            .sql(") AS i (old_id, new_id) JOIN connections l ON l.id = i.old_id JOIN unnest(")
            .bind::<Array<SqlUuid>, _>(old.to_vec())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(new.to_vec())
            .sql(") AS a (old_id, new_id) ON a.old_id = l.from_node_id JOIN unnest(")
            .bind::<Array<SqlUuid>, _>(old.to_vec())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(new.to_vec())
            .sql(") AS b (old_id, new_id) ON b.old_id = l.to_node_id RETURNING id");
        let _: Vec<Uuid> = self.run(connection, statement).await?;
        Ok(())
    }

    /// Brings a deleted board of this owner back.
    pub(super) async fn revive_board(
        &self,
        board: BoardId,
        owner: UserId,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Option<Arc<BoardRecord>>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let revived = self.revive_in(&mut connection, board, owner, &origin, limits).await;
        end(&mut connection, revived).await
    }

    async fn revive_in(
        &self,
        connection: &mut AsyncPgConnection,
        board: BoardId,
        owner: UserId,
        origin: &Origin,
        limits: Option<Limits>,
    ) -> Outcome<Option<Arc<BoardRecord>>> {
        if let Some(made) = made_before(self, connection, origin).await? {
            return Ok(Some(made));
        }
        let statement = Statement::<(SqlUuid, diesel::sql_types::BigInt)>::new("change.restore_board")
            .sql("UPDATE boards b SET deleted_at = NULL, updated_at = now(), version = b.version + 1 WHERE b.deleted_at IS NOT NULL AND b.id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND b.user_id = ")
            .bind::<SqlUuid, _>(owner.0)
            .sql(" RETURNING b.id, b.version");
        let revived: Vec<(Uuid, i64)> = self.run(connection, statement).await.map_err(refused)?;
        if let Some((_, version)) = revived.first() {
            log::append(self, connection, board, *version, origin, &[Logged::Unknown]).await?;
            if let Some(key) = &origin.idempotency {
                log::remember(self, connection, key, json!({ "board": board.to_string() })).await?;
            }
        }
        let found = record(self, connection, board).await?;
        if let (Some(limits), false) = (limits, revived.is_empty()) {
            let more = self.board_usage(connection, board).await?;
            // It was stored before as well.
            let before = AccountUsage { nodes: 0, bytes: 0, stored_boards: 1, ..more };
            self.within_limits(connection, (owner, board), &limits, (before, 0)).await?;
        }
        Ok(found)
    }
}

impl Transaction {
    /// Deletes the board, softly.
    pub(super) async fn delete_board(mut self, origin: &Origin) -> Result<()> {
        let statement = Statement::<SqlUuid>::new("change.delete_board")
            .sql("UPDATE boards b SET deleted_at = now(), updated_at = now(), version = b.version + 1 WHERE b.id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" RETURNING b.id");
        let _: Vec<Uuid> = self.run(statement).await?;
        let (board, version) = (self.record.board.id, self.record.board.version + 1);
        log::append(&self.store, &mut self.connection, board, version, origin, &[Logged::BoardDeleted]).await?;
        if let Some(key) = &origin.idempotency {
            log::remember(&self.store, &mut self.connection, key, json!({ "deleted": board.to_string() })).await?;
        }
        commit(&mut self.connection).await
    }
}
