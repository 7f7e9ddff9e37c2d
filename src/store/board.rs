//! Boards in PostgreSQL: by id, in lists, and their counts.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Store, error, keyset,
    statement::Statement,
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{
    Board, BoardId, BoardList, BoardOrderKey, BoardRecord, BoardStats, BoardsOf, Cursor, FolderLock, ListedBoard,
    NodeId, Page, PageRequest, Permission, Result, SortKey, Stamp, UserId, ports::Boards,
};

/// Columns of a board `b`, in the order of [`BoardRow`].
const BOARD_COLUMNS: &str = "b.id, b.user_id, b.name, b.name_key, b.description, b.thumbnail_url, b.settings, \
    b.is_public, b.is_template, b.view_count, b.version, b.created_at, b.updated_at";

/// The people of a board, as two arrays of one length.
const COLLABORATOR_COLUMNS: &str = "\
    ARRAY(SELECT c.user_id FROM board_collaborators c WHERE c.board_id = b.id AND c.accepted_at IS NOT NULL \
        ORDER BY c.user_id), \
    ARRAY(SELECT c.role::text FROM board_collaborators c WHERE c.board_id = b.id AND c.accepted_at IS NOT NULL \
        ORDER BY c.user_id)";

/// The folders with a password, and who set them, as two arrays of one length.
const LOCK_COLUMNS: &str = "\
    ARRAY(SELECT f.node_id FROM folder_nodes f WHERE f.board_id = b.id AND f.password_hash IS NOT NULL ORDER BY f.node_id), \
    ARRAY(SELECT f.locked_by FROM folder_nodes f WHERE f.board_id = b.id AND f.password_hash IS NOT NULL ORDER BY f.node_id)";

/// Changes with the rows of the board `b`, of its owner `u` and of its people, whoever changed them.
pub(super) const BOARD_STAMP: &str = "hashtextextended(concat_ws(' ', b.version, b.xmin, u.xmin, \
    (SELECT string_agg(c.xmin::text, ' ' ORDER BY c.id) FROM board_collaborators c WHERE c.board_id = b.id)), 0)";

type BoardSql = (
    SqlUuid,
    SqlUuid,
    Text,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Jsonb,
    Bool,
    Bool,
    Integer,
    BigInt,
    Timestamptz,
    Timestamptz,
);

type BoardRow = (
    Uuid,
    Uuid,
    String,
    String,
    Option<String>,
    Option<String>,
    Value,
    bool,
    bool,
    i32,
    i64,
    DateTime<Utc>,
    DateTime<Utc>,
);

type LockSql = (Array<SqlUuid>, Array<Nullable<SqlUuid>>);
type LockRow = (Vec<Uuid>, Vec<Option<Uuid>>);

pub(super) type RecordSql = (BoardSql, UserSql, Array<SqlUuid>, Array<Text>, LockSql, BigInt);
pub(super) type RecordRow = (BoardRow, UserRow, Vec<Uuid>, Vec<String>, LockRow, Stamp);

pub(super) fn permission_from(role: &str) -> Result<Permission> {
    match role {
        "view" => Ok(Permission::View),
        "comment" => Ok(Permission::Comment),
        "edit" => Ok(Permission::Edit),
        other => Err(error::unexpected("role", other)),
    }
}

pub(super) fn record_from(row: RecordRow) -> Result<(BoardRecord, String)> {
    let (
        (
            id,
            user_id,
            name,
            name_key,
            description,
            thumbnail_url,
            settings,
            is_public,
            is_template,
            view_count,
            version,
            created_at,
            updated_at,
        ),
        owner,
        people,
        roles,
        (folders, lockers),
        stamp,
    ) = row;
    let board = Board {
        id: BoardId(id),
        owner_id: UserId(user_id),
        name,
        description,
        thumbnail_url,
        settings,
        is_public,
        is_template,
        view_count,
        version,
        created_at,
        updated_at,
    };
    let collaborators = people
        .into_iter()
        .zip(&roles)
        .map(|(person, role)| Ok((UserId(person), permission_from(role)?)))
        .collect::<Result<_>>()?;
    let locks = folders.into_iter().zip(lockers);
    let locks = locks.map(|(id, by)| FolderLock { folder_id: NodeId(id), set_by: by.map(UserId) }).collect();
    Ok((BoardRecord { board, owner: Arc::new(user_from(owner)), collaborators, locks, stamp }, name_key))
}

/// FROM and WHERE of somebody's boards; `ORDER BY` and what it selects are added by the caller.
pub(super) fn boards_of<ST>(statement: Statement<ST>, of: &BoardsOf) -> Statement<ST> {
    let statement = statement.sql(" FROM boards b JOIN users u ON u.id = b.user_id WHERE b.deleted_at IS NULL AND ");
    let collaborating = "SELECT c.board_id FROM board_collaborators c WHERE c.accepted_at IS NOT NULL AND c.user_id = ";
    match of {
        BoardsOf::OwnedBy(user) => statement.sql("b.user_id = ").bind::<SqlUuid, _>(user.0),
        BoardsOf::PublicOf(user) => {
            statement.sql("(b.is_public OR b.is_template) AND b.user_id = ").bind::<SqlUuid, _>(user.0)
        }
        BoardsOf::SharedWith(user) => statement.sql("b.id IN (").sql(collaborating).bind::<SqlUuid, _>(user.0).sql(")"),
        BoardsOf::ReachableBy(user) => statement
            .sql("b.id IN (SELECT o.id FROM boards o WHERE o.user_id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" AND o.deleted_at IS NULL UNION ALL ")
            .sql(collaborating)
            .bind::<SqlUuid, _>(user.0)
            .sql(")"),
        BoardsOf::Templates => statement.sql("b.is_template"),
        BoardsOf::Public => statement.sql("b.is_public"),
    }
}

/// FROM and WHERE of a list of boards.
fn of_list<ST>(statement: Statement<ST>, list: &BoardList) -> Statement<ST> {
    let statement = boards_of(statement, &list.of);
    let statement = match &list.name_contains {
        Some(part) => {
            statement.sql(" AND strpos(fold_text(b.name), fold_text(").bind::<Text, _>(part.clone()).sql(")) > 0")
        }
        None => statement,
    };
    let statement = match list.is_template {
        Some(wanted) => statement.sql(" AND b.is_template = ").bind::<Bool, _>(wanted),
        None => statement,
    };
    match list.is_public {
        Some(wanted) => statement.sql(" AND b.is_public = ").bind::<Bool, _>(wanted),
        None => statement,
    }
}

fn order_columns(key: BoardOrderKey) -> &'static str {
    match key {
        BoardOrderKey::Created => "b.created_at",
        BoardOrderKey::Updated => "b.updated_at",
        BoardOrderKey::Name => "b.name_key",
    }
}

#[async_trait]
impl Boards for Store {
    async fn boards(&self, ids: &[BoardId]) -> Result<Vec<Option<Arc<BoardRecord>>>> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<RecordRow> = self
            .fetch(|| {
                record_statement("boards.by_id")
                    .sql(" FROM boards b JOIN users u ON u.id = b.user_id WHERE b.deleted_at IS NULL AND b.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(wanted.clone())
                    .sql(")")
            })
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let (record, _) = record_from(row)?;
            found.insert(record.board.id, Arc::new(record));
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn board_now(&self, id: BoardId) -> Result<Option<Arc<BoardRecord>>> {
        Ok(self.boards(&[id]).await?.into_iter().next().flatten())
    }

    async fn board_page(&self, list: &BoardList, page: &PageRequest) -> Result<Page<ListedBoard>> {
        let column = order_columns(list.order.key);
        let descending = list.order.descending != page.from_end;
        let rows: Vec<RecordRow> = self
            .fetch(|| {
                let statement = of_list(record_statement("boards.page"), list);
                let statement = keyset::bounds(statement, page, list.order.descending, column, "b.id");
                keyset::order_limit(statement, column, "b.id", descending, page.limit)
            })
            .await?;
        let listed = rows.into_iter().map(|row| {
            let (record, name_key) = record_from(row)?;
            let place = match list.order.key {
                BoardOrderKey::Name => Cursor { key: SortKey::Text(name_key), id: record.board.id.0 },
                key => record.board.time_place(key),
            };
            Ok(ListedBoard { record: Arc::new(record), place })
        });
        Ok(page.cut(listed.collect::<Result<Vec<_>>>()?))
    }

    async fn board_count(&self, list: &BoardList) -> Result<i64> {
        let rows: Vec<i64> =
            self.fetch(|| of_list(Statement::<BigInt>::new("boards.count").sql("SELECT count(*)"), list)).await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    async fn board_stats(&self, ids: &[BoardId]) -> Result<Vec<BoardStats>> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(Uuid, StatsRow)> = self
            .fetch(|| {
                Statement::<(SqlUuid, StatsSql)>::new("boards.stats")
                    .sql("SELECT s.board_id, ")
                    .sql(STATS_COLUMNS)
                    .sql(" FROM board_stats s WHERE s.board_id = ANY(")
                    .bind::<Array<SqlUuid>, _>(wanted.clone())
                    .sql(")")
            })
            .await?;
        let found: HashMap<Uuid, BoardStats> = rows.into_iter().map(|(id, row)| (id, stats_from(row))).collect();
        Ok(ids.iter().map(|id| found.get(&id.0).copied().unwrap_or_default()).collect())
    }
}

pub(super) fn record_statement(name: &'static str) -> Statement<RecordSql> {
    Statement::new(name)
        .sql("SELECT ")
        .sql(BOARD_COLUMNS)
        .sql(", ")
        .sql(USER_COLUMNS)
        .sql(", ")
        .sql(COLLABORATOR_COLUMNS)
        .sql(", ")
        .sql(LOCK_COLUMNS)
        .sql(", ")
        .sql(BOARD_STAMP)
}

pub(super) const STATS_COLUMNS: &str =
    "s.node_count, s.connection_count, s.resource_count, s.chat_count, s.folder_count, s.last_modified";

pub(super) type StatsSql = (Integer, Integer, Integer, Integer, Integer, Nullable<Timestamptz>);
pub(super) type StatsRow = (i32, i32, i32, i32, i32, Option<DateTime<Utc>>);

pub(super) fn stats_from(row: StatsRow) -> BoardStats {
    let (node_count, link_count, resource_count, chat_count, folder_count, last_modified) = row;
    BoardStats { node_count, link_count, resource_count, chat_count, folder_count, last_modified }
}
