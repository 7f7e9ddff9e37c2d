//! Bringing an imported board up to date, in slices: each is a transaction of its own that makes one version of the board and
//! holds its row for a moment. What a slice does was planned from a snapshot; where somebody changed the board meanwhile,
//! the statements leave what they find. What they do is in the files below, taking turns in `turn.rs`.

mod links;
mod nodes;
mod texts;
mod turn;

use std::time::Instant;

use chrono::{DateTime, Utc};
use diesel::{
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    pg::Pg,
    query_dsl::CompatibleType,
    sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    Store,
    change::append,
    error::unexpected,
    lent::Lent,
    statement::Statement,
    transaction::{begin, commit, roll_back},
};
use crate::domain::{
    BoardId, Logged, NodeId, NodeType, Origin as ChangeOrigin, Placement, Rect, Result, UserId,
    import::{ImportSlice, ImportSnapshot, ImportTarget, KnownNode, Life, Origin, SliceEnd, SliceOutcome},
    job::IMPORT_PRIORITY,
};

/// Rows per statement.
const ROWS: usize = 500;
/// Deleting makes the database count the board anew, once per statement: better few and large ones.
const IDS: usize = 10_000;

/// The transaction of one slice. Dropping it undoes everything.
struct Work<'a> {
    store: &'a Store,
    connection: Lent,
    board: BoardId,
    /// The version of the board that this slice makes; changed rows carry it.
    version: i64,
    is_new: bool,
    has_written: bool,
    /// Rows that were left as they are.
    left: usize,
}

impl Store {
    /// What lies on the living board of this name and owner, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn import_snapshot(&self, owner: UserId, board_name: &str) -> Result<Option<ImportSnapshot>> {
        let boards: Vec<(Uuid, i64, DateTime<Utc>)> = self
            .fetch(|| {
                Statement::<(SqlUuid, BigInt, Timestamptz)>::new("import.board")
                    .sql("SELECT b.id, b.version, now() FROM boards b WHERE b.deleted_at IS NULL AND b.user_id = ")
                    .bind::<SqlUuid, _>(owner.0)
                    .sql(" AND b.name = ")
                    .bind::<Text, _>(board_name.to_owned())
            })
            .await?;
        let Some((board, version, taken_at)) = boards.into_iter().next() else { return Ok(None) };
        let nodes = self.import_nodes(BoardId(board)).await?;
        Ok(Some(ImportSnapshot { board_id: BoardId(board), version, taken_at, nodes }))
    }

    /// All living nodes of the board, and those of the deleted ones that an import made; oldest first.
    async fn import_nodes(&self, board: BoardId) -> Result<Vec<KnownNode>> {
        type Sql = (
            SqlUuid,
            Text,
            (Double, Double, Double, Double),
            (Nullable<Text>, Nullable<Text>, Bool),
            Nullable<(SqlUuid, Double)>,
            Nullable<(BigInt, Bool)>,
        );
        type Row = (
            Uuid,
            String,
            (f64, f64, f64, f64),
            (Option<String>, Option<String>, bool),
            Option<(Uuid, f64)>,
            Option<(i64, bool)>,
        );
        let rows: Vec<Row> = self
            .fetch(|| {
                // The mark names the deletion: a node that was restored and deleted again was not deleted by an import.
                // Imports of before the mark are known by their entry in the log, which names nothing.
                Statement::<Sql>::new("import.nodes")
                    .sql(
                        "SELECT n.id, n.type::text, n.x, n.y, n.width, n.height, \
                         CASE WHEN jsonb_typeof(n.metadata #> '{import,path}') = 'string' \
                         THEN n.metadata #>> '{import,path}' END, n.metadata #>> '{import,digest}', \
                         coalesce(n.metadata #> '{import,at}' = jsonb_build_array(n.x, n.y), false), \
                         h.parent_id, h.position, \
                         (extract(epoch FROM n.deleted_at) * 1000000)::bigint, \
                         CASE WHEN n.deleted_at IS NOT NULL THEN coalesce(n.metadata #>> '{import,gone}' = \
                         ((extract(epoch FROM n.deleted_at) * 1000000)::bigint)::text, false) \
                         OR (NOT coalesce((n.metadata -> 'import') ? 'gone', false) AND EXISTS (SELECT FROM board_events e \
                         WHERE e.board_id = n.board_id AND e.version = n.version \
                         AND e.changes @> '[{\"type\": \"unknown\"}]')) END \
                         FROM nodes n LEFT JOIN node_hierarchy h ON h.board_id = n.board_id AND h.child_id = n.id \
                         WHERE n.board_id = ",
                    )
                    .bind::<SqlUuid, _>(board.0)
                    .sql(
                        " AND (n.deleted_at IS NULL OR n.id IN (SELECT d.id FROM nodes d WHERE d.deleted_at IS NOT NULL \
                         AND jsonb_typeof(d.metadata #> '{import,path}') = 'string' AND d.board_id = ",
                    )
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" ORDER BY d.deleted_at DESC LIMIT ")
                    .bind::<Integer, _>(MAX_DELETED)
                    .sql(")) ORDER BY n.id")
            })
            .await?;
        rows.into_iter()
            .map(|(id, node_type, (x, y, width, height), (path, digest, is_where_put), placement, deleted)| {
                Ok(KnownNode {
                    id: NodeId(id),
                    node_type: NodeType::from_word(&node_type).ok_or_else(|| unexpected("node type", &node_type))?,
                    rect: Rect { x, y, width, height },
                    placement: placement.map(|(folder, position)| Placement { folder_id: NodeId(folder), position }),
                    origin: path.map(|path| Origin { path, digest, is_where_put }),
                    life: match deleted {
                        None => Life::Living,
                        Some((at, true)) => Life::RemovedByImport(at),
                        Some((at, false)) => Life::DeletedByHand(at),
                    },
                })
            })
            .collect()
    }

    /// Writes a slice and makes it last. `board` is the one that was planned for; without one it is made, and a board that
    /// somebody made meanwhile is taken. `holder` must have the turn.
    ///
    /// # Errors
    /// Those of the database; the board is then as it was.
    pub async fn write_import(
        &self,
        target: &ImportTarget,
        holder: Uuid,
        board: Option<BoardId>,
        slice: ImportSlice,
    ) -> Result<SliceEnd> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        // What somebody writes by hand is worked on before what was imported.
        let settings = Statement::<Text>::new("import.settings")
            .sql("SELECT set_config('ragboard.job_priority', ")
            .bind::<Text, _>(IMPORT_PRIORITY.to_string())
            .sql(", true)");
        let _: Vec<String> = self.run(&mut connection, settings).await?;
        let mut work = Work {
            store: self,
            connection,
            board: board.unwrap_or_else(BoardId::generate),
            version: 1,
            is_new: false,
            has_written: false,
            left: 0,
        };
        let is_locked = match board {
            Some(board) => work.lock_board(board).await?,
            None => work.make_board(target).await?,
        };
        let began = Instant::now();
        if !is_locked {
            roll_back(&mut work.connection).await;
            return Ok(SliceEnd::BoardGone);
        }
        if !work.keeps_turn(target, holder).await? {
            roll_back(&mut work.connection).await;
            return Ok(SliceEnd::TurnLost);
        }
        work.write_slice(slice).await?;
        let (board_id, left) = (work.board, work.left);
        let version = work.finish().await?;
        Ok(SliceEnd::Done(SliceOutcome { board_id, version, left, held: began.elapsed() }))
    }
}

/// So many deleted nodes are looked through for those whose files are back.
const MAX_DELETED: i32 = 250_000;

impl Work<'_> {
    async fn lock_board(&mut self, board: BoardId) -> Result<bool> {
        let statement = Statement::<(SqlUuid, BigInt)>::new("import.lock")
            .sql("SELECT b.id, b.version FROM boards b WHERE b.deleted_at IS NULL AND b.id = ")
            .bind::<SqlUuid, _>(board.0)
            .sql(" FOR NO KEY UPDATE");
        let rows: Vec<(Uuid, i64)> = self.run(statement).await?;
        let Some((_, version)) = rows.into_iter().next() else { return Ok(false) };
        self.version = version + 1;
        Ok(true)
    }

    async fn make_board(&mut self, target: &ImportTarget) -> Result<bool> {
        let statement = Statement::<SqlUuid>::new("import.create")
            .sql("INSERT INTO boards (id, user_id, name, is_public) VALUES (")
            .bind::<SqlUuid, _>(self.board.0)
            .sql(", ")
            .bind::<SqlUuid, _>(target.owner.0)
            .sql(", ")
            .bind::<Text, _>(target.board_name.clone())
            .sql(", ")
            .bind::<Bool, _>(target.is_public)
            .sql(") ON CONFLICT (user_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id");
        let made: Vec<Uuid> = self.run(statement).await?;
        self.is_new = !made.is_empty();
        if self.is_new {
            return Ok(true);
        }
        let statement = Statement::<SqlUuid>::new("import.board_made_meanwhile")
            .sql("SELECT b.id FROM boards b WHERE b.deleted_at IS NULL AND b.user_id = ")
            .bind::<SqlUuid, _>(target.owner.0)
            .sql(" AND b.name = ")
            .bind::<Text, _>(target.board_name.clone());
        let found: Vec<Uuid> = self.run(statement).await?;
        let Some(board) = found.into_iter().next() else { return Ok(false) };
        self.board = BoardId(board);
        self.lock_board(self.board).await
    }

    async fn write_slice(&mut self, slice: ImportSlice) -> Result<()> {
        self.restore_nodes(&slice.restored).await?;
        self.move_nodes(&slice.moved).await?;
        self.insert_nodes(slice.inserted).await?;
        self.relocate_nodes(&slice.relocated).await?;
        self.place_nodes(&slice.placed).await?;
        self.update_texts(slice.rewritten).await?;
        self.remove_nodes(&slice.removed, slice.removed_at).await?;
        self.delete_links(&slice.links_removed).await?;
        self.relabel_links(&slice.links_relabelled).await?;
        self.insert_links(&slice.links_added).await
    }

    /// Makes everything last; returns the version of the board. It grows by one if anything was written to a board that was
    /// there before.
    async fn finish(mut self) -> Result<i64> {
        if !self.has_written || self.is_new {
            commit(&mut self.connection).await?;
            return Ok(if self.is_new { self.version } else { self.version - 1 });
        }
        let statement = Statement::<SqlUuid>::new("import.version")
            .sql("UPDATE boards SET version = ")
            .bind::<BigInt, _>(self.version)
            .sql(", updated_at = now() WHERE id = ")
            .bind::<SqlUuid, _>(self.board.0)
            .sql(" RETURNING id");
        self.write(statement).await?;
        let (origin, logged) = (ChangeOrigin::default(), [Logged::Unknown]);
        append(self.store, &mut self.connection, self.board, self.version, &origin, &logged).await?;
        commit(&mut self.connection).await?;
        Ok(self.version)
    }

    /// Returns the ids of the rows that were written.
    async fn write(&mut self, statement: Statement<SqlUuid>) -> Result<Vec<Uuid>> {
        let written: Vec<Uuid> = self.run(statement).await?;
        self.has_written |= !written.is_empty();
        Ok(written)
    }

    async fn run<ST, Row>(&mut self, statement: Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        self.store.run(&mut self.connection, statement).await
    }
}

fn uuids(nodes: &[NodeId]) -> Vec<Uuid> {
    nodes.iter().map(|id| id.0).collect()
}
