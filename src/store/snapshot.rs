//! What the cache reads: whole boards in one transaction, and stamps.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store,
    board::{
        BOARD_STAMP, RecordRow, RecordSql, STATS_COLUMNS, StatsRow, StatsSql, record_from, record_statement, stats_from,
    },
    error::Aborted,
    link::{LINK_COLUMNS, LIVING_ENDS, LinkRow, LinkSql, link_from},
    node::{NODE_COLUMNS, NODE_JOINS, NodeRow, NodeSql, node_from},
    share::SHARE_STAMP,
    statement::Statement,
};
use crate::domain::{
    AnswerKey, ApiKeyId, Basis, BoardId, BoardRecord, Committed, Error, Ground, Result, Sealed, ShareId, Snapshot,
    Stamp, Stamps, TokenDigest, UserId,
    ports::{BoardView, CacheSource, Views},
};

#[async_trait]
impl CacheSource for Store {
    async fn snapshot(&self, board: BoardId, max_nodes: usize) -> Result<Option<Snapshot>> {
        let mut connection = self.connection().await?;
        let rows = connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |transaction| {
                let (record, stats): (Vec<RecordRow>, Vec<StatsRow>) = (
                    self.run(transaction, of_board(record_statement("snapshot.board"), board)).await?,
                    self.run(transaction, stats_of(board)).await?,
                );
                let size = stats.first().map_or(0, |(nodes, ..)| *nodes);
                if record.is_empty() || usize::try_from(size).is_ok_and(|size| size > max_nodes) {
                    return Ok::<_, Aborted>(None);
                }
                let nodes: Vec<NodeRow> = self.run(transaction, nodes_of(board)).await?;
                let links: Vec<LinkRow> = self.run(transaction, links_of(board)).await?;
                Ok(Some((record, stats, nodes, links)))
            })
            .await?;
        let Some((record, stats, nodes, links)) = rows else { return Ok(None) };
        let Some(record) = record.into_iter().next() else { return Ok(None) };
        Ok(Some(Snapshot {
            record: Arc::new(record_from(record)?.0),
            stats: stats.into_iter().next().map(stats_from).unwrap_or_default(),
            nodes: nodes.into_iter().map(|row| node_from(row).map(Arc::new)).collect::<Result<_>>()?,
            links: links.into_iter().map(|row| link_from(row).map(Arc::new)).collect::<Result<_>>()?,
        }))
    }

    async fn stamps(
        &self,
        boards: &[BoardId],
        users: &[UserId],
        shares: &[ShareId],
        keys: &[ApiKeyId],
    ) -> Result<Stamps> {
        let boards: Vec<Uuid> = boards.iter().map(|id| id.0).collect();
        let users: Vec<Uuid> = users.iter().map(|id| id.0).collect();
        let shares: Vec<Uuid> = shares.iter().map(|id| id.0).collect();
        let keys: Vec<Uuid> = keys.iter().map(|id| id.0).collect();
        let rows: Vec<(String, Uuid, Stamp)> = self
            .fetch(|| {
                Statement::<(Text, SqlUuid, BigInt)>::new("stamps")
                    .sql("SELECT 'board', b.id, ")
                    .sql(BOARD_STAMP)
                    .sql(" FROM boards b JOIN users u ON u.id = b.user_id WHERE b.deleted_at IS NULL AND b.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(boards.clone())
                    .sql(") UNION ALL SELECT 'user', u.id, u.xmin::text::bigint FROM users u WHERE u.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(users.clone())
                    .sql(") UNION ALL SELECT 'share', s.id, ")
                    .sql(SHARE_STAMP)
                    .sql(" FROM board_shares s WHERE s.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(shares.clone())
                    .sql(") UNION ALL SELECT 'key', k.id, k.xmin::text::bigint FROM api_keys k WHERE k.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(keys.clone())
                    .sql(")")
            })
            .await?;
        let mut stamps = Stamps { boards: HashMap::with_capacity(boards.len()), ..Stamps::default() };
        for (kind, id, stamp) in rows {
            match kind.as_str() {
                "board" => drop(stamps.boards.insert(BoardId(id), stamp)),
                "user" => drop(stamps.users.insert(UserId(id), stamp)),
                "share" => drop(stamps.shares.insert(ShareId(id), stamp)),
                "key" => drop(stamps.keys.insert(ApiKeyId(id), stamp)),
                other => return Err(Error::internal(format!("stamps: {other}"))),
            }
        }
        Ok(stamps)
    }

    async fn moved(&self, known: &[(Ground, Stamp)]) -> Result<Vec<(usize, Option<Stamp>)>> {
        let mut rows = Known::default();
        for (place, (ground, stamp)) in known.iter().enumerate() {
            let (list, id) = match ground {
                Ground::Board(id) => (&mut rows.boards, id.0),
                Ground::User(id) => (&mut rows.users, id.0),
                Ground::Share(id) => (&mut rows.shares, id.0),
                Ground::Key(id) => (&mut rows.keys, id.0),
                Ground::Session(_) => continue,
            };
            list.places.push(i32::try_from(place).unwrap_or(i32::MAX));
            list.ids.push(id);
            list.stamps.push(*stamp);
        }
        // By primary key, row by row. Only what differs is sent.
        let moved: Vec<(i32, Option<Stamp>)> = self
            .fetch(|| {
                let statement = Statement::<(Integer, Nullable<BigInt>)>::new("stamps.moved")
                    .sql("SELECT k.place, s.stamp FROM unnest(");
                let statement = rows.boards.bind(statement).sql(
                    ") AS k (place, id, stamp) LEFT JOIN LATERAL (SELECT ",
                );
                let statement = statement.sql(BOARD_STAMP).sql(
                    " AS stamp FROM boards b JOIN users u ON u.id = b.user_id WHERE b.deleted_at IS NULL AND b.id = k.id) s ON true \
                     WHERE s.stamp IS DISTINCT FROM k.stamp UNION ALL SELECT k.place, s.stamp FROM unnest(",
                );
                let statement = rows.users.bind(statement).sql(
                    ") AS k (place, id, stamp) LEFT JOIN LATERAL (SELECT u.xmin::text::bigint AS stamp FROM users u WHERE u.id = k.id) s \
                     ON true WHERE s.stamp IS DISTINCT FROM k.stamp UNION ALL SELECT k.place, s.stamp FROM unnest(",
                );
                let statement = rows.shares.bind(statement).sql(") AS k (place, id, stamp) LEFT JOIN LATERAL (SELECT ");
                let statement = statement.sql(SHARE_STAMP).sql(
                    " AS stamp FROM board_shares s WHERE s.id = k.id) s ON true WHERE s.stamp IS DISTINCT FROM k.stamp \
                     UNION ALL SELECT k.place, s.stamp FROM unnest(",
                );
                rows.keys.bind(statement).sql(
                    ") AS k (place, id, stamp) LEFT JOIN LATERAL (SELECT a.xmin::text::bigint AS stamp FROM api_keys a \
                     WHERE a.id = k.id) s ON true WHERE s.stamp IS DISTINCT FROM k.stamp",
                )
            })
            .await?;
        Ok(moved.into_iter().filter_map(|(place, stamp)| Some((usize::try_from(place).ok()?, stamp))).collect())
    }
}

/// Rows with the stamps that are known of them, by their kinds.
#[derive(Default)]
struct Known {
    boards: KnownRows,
    users: KnownRows,
    shares: KnownRows,
    keys: KnownRows,
}

#[derive(Default)]
struct KnownRows {
    places: Vec<i32>,
    ids: Vec<Uuid>,
    stamps: Vec<Stamp>,
}

impl KnownRows {
    fn bind<ST>(&self, statement: Statement<ST>) -> Statement<ST> {
        statement
            .bind::<Array<Integer>, _>(self.places.clone())
            .sql(", ")
            .bind::<Array<SqlUuid>, _>(self.ids.clone())
            .sql(", ")
            .bind::<Array<BigInt>, _>(self.stamps.clone())
    }
}

impl Views for Store {
    /// PostgreSQL keeps no board in the memory of this process.
    fn view(&self, _: &BoardRecord, _: &Sealed) -> Option<Arc<dyn BoardView>> {
        None
    }

    /// Nor an answer.
    fn kept_answer(&self, _: &AnswerKey) -> Option<Bytes> {
        None
    }

    fn keep_answer(&self, _: AnswerKey, _: Basis, _: Bytes) {}

    fn read(&self, _: &Arc<BoardRecord>) {}

    fn heard(&self, _: BoardId, _: i64) {}

    fn committed(&self, _: &Committed) {}

    fn forget_shares(&self, _: BoardId) {}

    fn forget_user(&self, _: UserId) {}

    fn forget_key(&self, _: &TokenDigest) {}

    fn forget(&self, _: BoardId) {}
}

fn of_board(statement: Statement<RecordSql>, board: BoardId) -> Statement<RecordSql> {
    statement
        .sql(" FROM boards b JOIN users u ON u.id = b.user_id WHERE b.deleted_at IS NULL AND b.id = ")
        .bind::<SqlUuid, _>(board.0)
}

fn stats_of(board: BoardId) -> Statement<StatsSql> {
    Statement::new("snapshot.stats")
        .sql("SELECT ")
        .sql(STATS_COLUMNS)
        .sql(" FROM board_stats s WHERE s.board_id = ")
        .bind::<SqlUuid, _>(board.0)
}

fn nodes_of(board: BoardId) -> Statement<NodeSql> {
    Statement::new("snapshot.nodes")
        .sql("SELECT ")
        .sql(NODE_COLUMNS)
        .sql(" FROM nodes n ")
        .sql(NODE_JOINS)
        .sql(" WHERE n.deleted_at IS NULL AND n.board_id = ")
        .bind::<SqlUuid, _>(board.0)
}

fn links_of(board: BoardId) -> Statement<LinkSql> {
    Statement::new("snapshot.links")
        .sql("SELECT ")
        .sql(LINK_COLUMNS)
        .sql(" FROM connections l WHERE ")
        .sql(LIVING_ENDS)
        .sql(" AND l.board_id = ")
        .bind::<SqlUuid, _>(board.0)
}
