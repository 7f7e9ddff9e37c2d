//! Links in PostgreSQL (table `connections`). A link is visible while both its ends live.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, batch::from_keys, error::unexpected, folder_lock::outside, statement::Statement};
use crate::domain::{
    BoardId, Link, LinkDirection, LinkId, LinkKind, LinkList, LinkPageKey, NodeId, Page, Result, ports::Links,
};

/// Columns of a link `l`, in the order of [`LinkRow`].
pub(super) const LINK_COLUMNS: &str = "l.id, l.board_id, l.from_node_id, l.to_node_id, l.connection_type::text, \
    l.label, l.style, l.metadata, l.created_at";

/// Hides links with an end that was deleted.
pub(super) const LIVING_ENDS: &str = "\
    EXISTS (SELECT 1 FROM nodes e WHERE e.board_id = l.board_id AND e.id = l.from_node_id AND e.deleted_at IS NULL) \
    AND EXISTS (SELECT 1 FROM nodes e WHERE e.board_id = l.board_id AND e.id = l.to_node_id AND e.deleted_at IS NULL)";

pub(super) type LinkSql = (SqlUuid, SqlUuid, SqlUuid, SqlUuid, Text, Nullable<Text>, Jsonb, Jsonb, Timestamptz);
pub(super) type LinkRow = (Uuid, Uuid, Uuid, Uuid, String, Option<String>, Value, Value, DateTime<Utc>);

pub(super) fn link_from(row: LinkRow) -> Result<Link> {
    let (id, board_id, from, to, kind, label, style, metadata, created_at) = row;
    Ok(Link {
        id: LinkId(id),
        board_id: BoardId(board_id),
        from: NodeId(from),
        to: NodeId(to),
        kind: LinkKind::from_word(&kind).ok_or_else(|| unexpected("kind of link", &kind))?,
        label,
        style,
        metadata,
        created_at,
    })
}

/// The id that a list starts from; lists of a whole board start from the board itself.
fn start(list: &LinkList) -> (BoardId, Uuid) {
    (list.board_id, list.node.map_or(list.board_id.0, |(node, _)| node.0))
}

fn same_shape(a: &LinkList, b: &LinkList) -> bool {
    a.sealed == b.sealed
        && a.kinds == b.kinds
        && a.node.map(|(_, direction)| direction) == b.node.map(|(_, direction)| direction)
}

/// Adds FROM and WHERE: the visible links `l` of the list that starts at `k`.
fn members<ST>(statement: Statement<ST>, list: &LinkList) -> Statement<ST> {
    let statement = statement.sql(" FROM connections l WHERE l.board_id = k.board_id AND ").sql(LIVING_ENDS);
    let statement = match list.node {
        None => statement,
        Some((_, LinkDirection::In)) => statement.sql(" AND l.to_node_id = k.id"),
        Some((_, LinkDirection::Out)) => statement.sql(" AND l.from_node_id = k.id"),
        Some((_, LinkDirection::Any)) => statement.sql(" AND (l.from_node_id = k.id OR l.to_node_id = k.id)"),
    };
    let statement = outside(statement, &list.sealed, "l.board_id", "l.from_node_id");
    let statement = outside(statement, &list.sealed, "l.board_id", "l.to_node_id");
    if list.kinds.is_empty() {
        return statement;
    }
    let words: Vec<&'static str> = list.kinds.iter().map(|kind| kind.as_str()).collect();
    statement.sql(" AND l.connection_type::text = ANY(").bind::<Array<Text>, _>(words).sql(")")
}

fn page_statement(LinkPageKey { list, page }: &LinkPageKey, keys: &[&LinkPageKey]) -> Statement<(BigInt, LinkSql)> {
    let name = if list.node.is_some() { "links.of_nodes" } else { "links.page" };
    let statement = Statement::new(name).sql("SELECT k.ord, ").sql(LINK_COLUMNS).sql(" FROM ");
    let statement = from_keys(statement, keys.iter().map(|key| start(&key.list)));
    let mut statement = members(statement.sql(" CROSS JOIN LATERAL (SELECT l.*"), list);
    if let Some(place) = &page.after {
        statement = statement.sql(" AND l.id > ").bind::<SqlUuid, _>(place.id);
    }
    if let Some(place) = &page.before {
        statement = statement.sql(" AND l.id < ").bind::<SqlUuid, _>(place.id);
    }
    let direction = if page.from_end { " DESC" } else { "" };
    statement
        .sql(" ORDER BY l.id")
        .sql(direction)
        .sql(" LIMIT ")
        .bind::<BigInt, _>(page.limit as i64 + 1)
        .sql(") AS l ORDER BY k.ord, l.id")
        .sql(direction)
}

#[async_trait]
impl Links for Store {
    async fn locate_links(&self, ids: &[LinkId]) -> Result<Vec<Option<BoardId>>> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(Uuid, Uuid)> = self
            .fetch(|| {
                Statement::<(SqlUuid, SqlUuid)>::new("links.locate")
                    .sql("SELECT l.id, l.board_id FROM connections l WHERE l.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(wanted.clone())
                    .sql(")")
            })
            .await?;
        let found: HashMap<Uuid, Uuid> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| found.get(&id.0).copied().map(BoardId)).collect())
    }

    async fn links(&self, keys: &[(BoardId, LinkId)]) -> Result<Vec<Option<Arc<Link>>>> {
        let rows: Vec<LinkRow> = self
            .fetch(|| {
                let statement = Statement::<LinkSql>::new("links.by_id").sql("SELECT ").sql(LINK_COLUMNS).sql(" FROM ");
                from_keys(statement, keys.iter().map(|(board, link)| (*board, link.0)))
                    .sql(" JOIN connections l ON l.board_id = k.board_id AND l.id = k.id WHERE ")
                    .sql(LIVING_ENDS)
            })
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let link = link_from(row)?;
            found.insert((link.board_id, link.id), Arc::new(link));
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn link_pages(&self, keys: &[LinkPageKey]) -> Result<Vec<Page<Arc<Link>>>> {
        let same = |a: &LinkPageKey, b: &LinkPageKey| a.page == b.page && same_shape(&a.list, &b.list);
        self.by_shape(keys, same, page_statement, |key, rows: Vec<LinkRow>| {
            let links = rows.into_iter().map(|row| link_from(row).map(Arc::new)).collect::<Result<Vec<_>>>()?;
            Ok(key.page.cut(links))
        })
        .await
    }

    async fn link_counts(&self, lists: &[LinkList]) -> Result<Vec<i64>> {
        let statement = |first: &LinkList, lists: &[&LinkList]| {
            let statement = Statement::<(BigInt, BigInt)>::new("links.count").sql("SELECT k.ord, l.total FROM ");
            let statement = from_keys(statement, lists.iter().map(|list| start(list)))
                .sql(" CROSS JOIN LATERAL (SELECT count(*) AS total");
            members(statement, first).sql(") AS l")
        };
        self.by_shape(lists, same_shape, statement, |_, totals: Vec<i64>| Ok(totals.iter().sum())).await
    }
}
