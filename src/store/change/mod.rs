//! A transaction that changes one board, under the lock of its row. Dropping it undoes everything.
//!
//! Reading what the changes name is here, writing rows is in `write.rs`, the change log and the keys of requests in
//! `log.rs`. All statements are set-based: their number does not depend on how much changes.

mod board;
mod copy;
mod log;
mod write;

pub(super) use copy::copy as copied_chunks;
pub(super) use log::{append, claim, from_json as logged_from, remember};

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use diesel::{
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    pg::Pg,
    query_dsl::CompatibleType,
    sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid},
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{
    Store,
    board::{RecordRow, STATS_COLUMNS, StatsRow, StatsSql, record_from, record_statement, stats_from},
    board_turns::BoardTurn,
    error::is_lock_timeout,
    folder_lock::hidden,
    lent::Lent,
    link::{LINK_COLUMNS, LIVING_ENDS, LinkRow, LinkSql, link_from},
    node::{NODE_COLUMNS, NODE_JOINS, NodeRow, NodeSql, node_from},
    statement::Statement,
    transaction::{begin_for_lock, end, roll_back},
};
use crate::domain::{
    AccountUsage, Below, Board, BoardId, BoardRecord, BoardStats, BoardWrites, Child, Claim, Code, Committed, CopyOf,
    Error, IdempotencyKey, Limits, Link, LinkId, LinkKind, Logged, NodeId, Origin, Outcome, Result, Sealed, StoredNode,
    UserId,
    ports::{BoardTransaction, Writes},
};

struct Transaction {
    store: Store,
    connection: Lent,
    record: Arc<BoardRecord>,
    /// After the connection: who is next finds the lock free.
    _turn: BoardTurn,
}

/// Which part of the patience for a connection a writer of a board has: it is to be told why, and not that its time is over.
const PATIENCE: f64 = 0.75;
/// How long a writer leaves its connection to others when somebody else has the lock of the board, at most.
const PAUSE: Duration = Duration::from_millis(100);

fn is_busy() -> Error {
    Error::new(Code::Overloaded, "The board is busy: something else changes it and takes long; try again later")
}

impl Store {
    /// A transaction that has the lock of a living board.
    async fn locked(&self, board: BoardId) -> Result<Option<(Lent, Arc<BoardRecord>)>> {
        let mut connection = self.connection().await?;
        begin_for_lock(&mut connection).await?;
        // Locked by a statement of its own: the next one then sees everything that the lock was waited for. Its outer part is
        // computed when the lock is there.
        let lock = Statement::<(SqlUuid, Text)>::new("change.lock")
            .sql(
                "SELECT l.id, set_config('lock_timeout', '0', true) FROM (\
                 SELECT b.id FROM boards b WHERE b.deleted_at IS NULL AND b.id = ",
            )
            .bind::<SqlUuid, _>(board.0)
            .sql(" FOR NO KEY UPDATE) AS l");
        let locked: Vec<(Uuid, String)> = match self.run(&mut connection, lock).await {
            Ok(locked) => locked,
            Err(error) => {
                roll_back(&mut connection).await;
                return Err(error);
            }
        };
        if locked.is_empty() {
            roll_back(&mut connection).await;
            return Ok(None);
        }
        let record = record_statement("change.board").sql(OF_BOARD).bind::<SqlUuid, _>(board.0);
        let rows: Vec<RecordRow> = self.run(&mut connection, record).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        Ok(Some((connection, Arc::new(record_from(row)?.0))))
    }
}

#[async_trait]
impl Writes for Store {
    async fn begin(&self, board: BoardId) -> Result<Option<Box<dyn BoardTransaction>>> {
        let deadline = Instant::now() + self.patience.mul_f64(PATIENCE);
        let turn = timeout_at(deadline, self.board_turns.take(board)).await.map_err(|_| is_busy())??;
        loop {
            match self.locked(board).await {
                Ok(Some((connection, record))) => {
                    return Ok(Some(Box::new(Transaction { store: self.clone(), connection, record, _turn: turn })));
                }
                Ok(None) => return Ok(None),
                Err(error) if !is_lock_timeout(&error) => return Err(error),
                Err(_) if Instant::now() >= deadline => return Err(is_busy()),
                // Not always the same: two processes that want the same board are not to meet each time.
                Err(_) => sleep(PAUSE.mul_f64(rand::random())).await,
            }
        }
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Claim> {
        let mut connection = self.connection().await?;
        log::known(self, &mut connection, key).await
    }

    async fn create_board(
        &self,
        board: Board,
        from: Option<CopyOf>,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Arc<BoardRecord>> {
        self.make_board(board, from, origin, limits).await
    }

    async fn restore_board(
        &self,
        board: BoardId,
        owner: UserId,
        origin: Origin,
        limits: Option<Limits>,
    ) -> Outcome<Option<Arc<BoardRecord>>> {
        self.revive_board(board, owner, origin, limits).await
    }
}

/// Links that the entry of a restoration names; with more it says that the board has to be read again.
const MOST_LINKS_BACK: i64 = 5_000;
const OF_BOARD: &str = " FROM boards b JOIN users u ON u.id = b.user_id WHERE b.id = ";

impl Transaction {
    async fn run<ST, Row>(&mut self, statement: Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        self.store.run(&mut self.connection, statement).await
    }

    fn board(&self) -> Uuid {
        self.record.board.id.0
    }

    /// Everything that belongs to the next version, and what it makes true; nothing where there is nothing to be written.
    async fn write_all(&mut self, writes: BoardWrites, origin: &Origin, result: Value) -> Outcome<Committed> {
        let mut committed = Committed {
            record: Arc::clone(&self.record),
            stats: BoardStats::default(),
            nodes: Vec::new(),
            deleted: writes.deleted.clone(),
            restored: writes.restored.clone(),
            links: Vec::new(),
            links_deleted: writes.links_deleted.clone(),
            usage: None,
        };
        let limits = writes.limits.filter(|_| writes.may_grow());
        let before = match limits {
            Some(_) => {
                let board = self.store.board_usage(&mut self.connection, self.record.board.id).await?;
                AccountUsage { boards: 1, stored_boards: 1, ..board }
            }
            None => AccountUsage::default(),
        };
        if !writes.is_empty() {
            let saved = writes.saved_nodes();
            let links = writes.links_inserted.iter().chain(&writes.links_updated).map(|link| link.id.0).collect();
            let (mut logged, restored) = (writes.logged(), writes.restored.clone());
            self.write(writes, origin.actor).await?;
            self.log_links_back(&restored, &mut logged).await?;
            let (board, version) = (self.record.board.id, self.record.board.version + 1);
            log::append(&self.store, &mut self.connection, board, version, origin, &logged).await?;
            if !saved.is_empty() {
                let nodes = self.nodes(&saved).await?;
                committed.nodes = nodes.into_iter().map(|stored| Arc::new(stored.node)).collect();
            }
            committed.links = self.saved_links(links).await?;
        }
        (committed.record, committed.stats) = self.record_and_stats().await?;
        if let Some(key) = &origin.idempotency {
            log::remember(&self.store, &mut self.connection, key, result).await?;
        }
        if let Some(limits) = limits {
            let of = (self.record.board.owner_id, self.record.board.id);
            let usage = self.store.within_limits(&mut self.connection, of, &limits, (before, 0)).await?;
            committed.usage = Some(usage);
        }
        Ok(committed)
    }

    /// Names the links that are seen again with the nodes that live again: whoever follows was told that they went.
    async fn log_links_back(&mut self, restored: &[NodeId], logged: &mut Vec<Logged>) -> Result<()> {
        if restored.is_empty() {
            return Ok(());
        }
        let statement = Statement::<SqlUuid>::new("change.links_back")
            .sql("SELECT l.id FROM connections l WHERE ")
            .sql(LIVING_ENDS)
            .sql(" AND l.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND l.id IN (SELECT i.id FROM connections i WHERE i.from_node_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(restored))
            .sql(") UNION SELECT i.id FROM connections i WHERE i.to_node_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(restored))
            .sql(")) ORDER BY l.id LIMIT ")
            .bind::<BigInt, _>(MOST_LINKS_BACK + 1);
        let back: Vec<Uuid> = self.run(statement).await?;
        if back.len() as i64 > MOST_LINKS_BACK {
            logged.push(Logged::Unknown);
            return Ok(());
        }
        let named: HashSet<LinkId> = logged
            .iter()
            .filter_map(|entry| if let Logged::LinkSaved(id) = entry { Some(*id) } else { None })
            .collect();
        let back = back.into_iter().map(LinkId).filter(|id| !named.contains(id));
        logged.extend(back.map(Logged::LinkSaved));
        Ok(())
    }

    async fn saved_links(&mut self, ids: Vec<Uuid>) -> Result<Vec<Arc<Link>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let statement = Statement::<LinkSql>::new("change.saved_links")
            .sql("SELECT ")
            .sql(LINK_COLUMNS)
            .sql(" FROM connections l WHERE l.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND l.id = ANY(")
            .bind::<Array<SqlUuid>, _>(ids)
            .sql(")");
        let rows: Vec<LinkRow> = self.run(statement).await?;
        rows.into_iter().map(|row| link_from(row).map(Arc::new)).collect()
    }

    async fn record_and_stats(&mut self) -> Result<(Arc<BoardRecord>, BoardStats)> {
        let board = self.board();
        let record = record_statement("change.committed_board").sql(OF_BOARD).bind::<SqlUuid, _>(board);
        let rows: Vec<RecordRow> = self.run(record).await?;
        let gone = || Error::internal("change.committed_board: the locked board is gone");
        let record = Arc::new(record_from(rows.into_iter().next().ok_or_else(gone)?)?.0);
        let stats = Statement::<StatsSql>::new("change.stats")
            .sql("SELECT ")
            .sql(STATS_COLUMNS)
            .sql(" FROM board_stats s WHERE s.board_id = ")
            .bind::<SqlUuid, _>(board);
        let rows: Vec<StatsRow> = self.run(stats).await?;
        Ok((record, rows.into_iter().next().map(stats_from).unwrap_or_default()))
    }
}

fn uuids(ids: &[NodeId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

/// When a node was deleted, exactly: what was deleted together has the same.
const DELETED_AT_US: &str = "(extract(epoch FROM n.deleted_at) * 1000000)::bigint";

#[async_trait]
impl BoardTransaction for Transaction {
    fn record(&self) -> &Arc<BoardRecord> {
        &self.record
    }

    async fn claim(&mut self, key: &IdempotencyKey) -> Result<Claim> {
        log::claim(&self.store, &mut self.connection, key).await
    }

    async fn nodes(&mut self, ids: &[NodeId]) -> Result<Vec<StoredNode>> {
        let statement = Statement::<(NodeSql, Nullable<BigInt>)>::new("change.nodes")
            .sql("SELECT ")
            .sql(NODE_COLUMNS)
            .sql(", ")
            .sql(DELETED_AT_US)
            .sql(" FROM nodes n ")
            .sql(NODE_JOINS)
            .sql(" WHERE n.id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(ids))
            .sql(")");
        let rows: Vec<(NodeRow, Option<i64>)> = self.run(statement).await?;
        rows.into_iter().map(|(row, deleted_at_us)| Ok(StoredNode { node: node_from(row)?, deleted_at_us })).collect()
    }

    async fn contents(&mut self, ids: &[NodeId]) -> Result<HashMap<NodeId, Option<String>>> {
        let statement = Statement::<(SqlUuid, Nullable<Text>)>::new("change.contents")
            .sql("SELECT r.node_id, r.content FROM resource_nodes r WHERE r.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND r.node_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(ids))
            .sql(")");
        let rows: Vec<(Uuid, Option<String>)> = self.run(statement).await?;
        Ok(rows.into_iter().map(|(id, content)| (NodeId(id), content)).collect())
    }

    async fn links(&mut self, ids: &[LinkId], pairs: &[(NodeId, NodeId, LinkKind)]) -> Result<Vec<Link>> {
        let statement = Statement::<LinkSql>::new("change.links")
            .sql("SELECT ")
            .sql(LINK_COLUMNS)
            .sql(" FROM connections l WHERE l.id = ANY(")
            .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
            .sql(") UNION SELECT ")
            .sql(LINK_COLUMNS)
            .sql(" FROM unnest(")
            .bind::<Array<SqlUuid>, _>(pairs.iter().map(|(from, _, _)| from.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(pairs.iter().map(|(_, to, _)| to.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Text>, _>(pairs.iter().map(|(_, _, kind)| kind.as_str()).collect::<Vec<_>>())
            .sql(") AS p (from_id, to_id, kind) JOIN connections l ON l.board_id = ")
            .bind::<SqlUuid, _>(self.board())
            .sql(
                " AND l.from_node_id = p.from_id AND l.to_node_id = p.to_id \
                 AND l.connection_type = p.kind::connection_type",
            );
        let rows: Vec<LinkRow> = self.run(statement).await?;
        rows.into_iter().map(link_from).collect()
    }

    async fn folders(&mut self) -> Result<Vec<(NodeId, NodeId)>> {
        let statement = Statement::<(SqlUuid, SqlUuid)>::new("change.folders")
            .sql(
                "SELECT h.child_id, h.parent_id FROM folder_nodes f \
                 JOIN node_hierarchy h ON h.board_id = f.board_id AND h.child_id = f.node_id WHERE f.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board());
        let rows: Vec<(Uuid, Uuid)> = self.run(statement).await?;
        Ok(rows.into_iter().map(|(child, parent)| (NodeId(child), NodeId(parent))).collect())
    }

    async fn children(&mut self, folders: &[NodeId]) -> Result<Vec<Child>> {
        let statement = Statement::<(SqlUuid, SqlUuid, Double, Bool)>::new("change.children")
            .sql(
                "SELECT h.parent_id, h.child_id, h.position, n.deleted_at IS NULL FROM node_hierarchy h \
                 JOIN nodes n ON n.board_id = h.board_id AND n.id = h.child_id WHERE h.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND h.parent_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(folders))
            .sql(")");
        let rows: Vec<(Uuid, Uuid, f64, bool)> = self.run(statement).await?;
        let child = |(folder, id, position, is_living)| Child {
            folder_id: NodeId(folder),
            id: NodeId(id),
            position,
            is_living,
        };
        Ok(rows.into_iter().map(child).collect())
    }

    async fn below(&mut self, folders: &[NodeId]) -> Result<Vec<Below>> {
        // Folders do not nest in themselves, so the recursion ends.
        let statement = Statement::<(SqlUuid, SqlUuid, SqlUuid, Nullable<BigInt>)>::new("change.below")
            .sql(
                "WITH RECURSIVE below AS (\
                    SELECT h.parent_id AS folder_id, h.child_id, h.parent_id FROM node_hierarchy h WHERE h.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board())
            .sql(" AND h.parent_id = ANY(")
            .bind::<Array<SqlUuid>, _>(uuids(folders))
            .sql(
                ") UNION ALL SELECT b.folder_id, h.child_id, h.parent_id FROM below b \
                 JOIN node_hierarchy h ON h.parent_id = b.child_id AND h.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board())
            .sql(") SELECT b.folder_id, b.child_id, b.parent_id, ")
            .sql(DELETED_AT_US)
            .sql(" FROM below b JOIN nodes n ON n.id = b.child_id AND n.board_id = ")
            .bind::<SqlUuid, _>(self.board());
        let rows: Vec<(Uuid, Uuid, Uuid, Option<i64>)> = self.run(statement).await?;
        let below = |(folder, id, parent, deleted_at_us)| Below {
            folder_id: NodeId(folder),
            id: NodeId(id),
            parent_id: NodeId(parent),
            deleted_at_us,
        };
        Ok(rows.into_iter().map(below).collect())
    }

    async fn hidden(&mut self, nodes: &[NodeId], sealed: &Sealed) -> Result<Vec<NodeId>> {
        if sealed.is_empty() || nodes.is_empty() {
            return Ok(Vec::new());
        }
        let hidden: Vec<Uuid> = self.run(hidden(self.record.board.id, nodes, sealed)).await?;
        Ok(hidden.into_iter().map(NodeId).collect())
    }

    async fn roll_back(mut self: Box<Self>) {
        roll_back(&mut self.connection).await;
    }

    async fn delete_board(self: Box<Self>, origin: Origin) -> Result<()> {
        Transaction::delete_board(*self, &origin).await
    }

    async fn commit(mut self: Box<Self>, writes: BoardWrites, origin: Origin, result: Value) -> Outcome<Committed> {
        let outcome = self.write_all(writes, &origin, result).await;
        end(&mut self.connection, outcome).await
    }
}
