//! Lists of nodes in PostgreSQL: many lists at once, one statement per shape.
//!
//! Lists of one shape differ only in the board and node they start from (the children of twenty folders, say), so they
//! are answered together: `unnest(keys) CROSS JOIN LATERAL (… LIMIT n)`. What a list contains is decided twice in this
//! program, here and in `domain::NodeFilter::matches` for lists in memory; a test holds the two against each other.

use std::sync::Arc;

use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Text, Timestamptz};

use super::{
    Store,
    batch::from_keys,
    folder_lock::outside,
    keyset,
    node::{NODE_COLUMNS, NODE_JOINS, NodeRow, NodeSql, node_from},
    statement::Statement,
};
use crate::domain::{LinkDirection, Node, NodeFilter, NodeList, NodeOrderKey, NodePageKey, NodeScope, Page, Result};

/// The id that a list starts from; lists of a whole board start from the board itself.
fn start(list: &NodeList) -> uuid::Uuid {
    match list.scope {
        NodeScope::Board | NodeScope::Roots => list.board_id.0,
        NodeScope::ChildrenOf(id) | NodeScope::DescendantsOf(id, _) | NodeScope::LinkedWith(id, _) => id.0,
    }
}

fn same_shape(a: &NodeList, b: &NodeList) -> bool {
    let scopes = match (a.scope, b.scope) {
        (NodeScope::DescendantsOf(_, a), NodeScope::DescendantsOf(_, b)) => a == b,
        (NodeScope::LinkedWith(_, a), NodeScope::LinkedWith(_, b)) => a == b,
        (a, b) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
    };
    scopes && a.link_kinds == b.link_kinds && a.filter == b.filter && a.order == b.order && a.sealed == b.sealed
}

pub(super) async fn pages(store: &Store, keys: &[NodePageKey]) -> Result<Vec<Page<Arc<Node>>>> {
    store
        .by_shape(
            keys,
            |a, b| a.page == b.page && same_shape(&a.list, &b.list),
            page_statement,
            |key, rows: Vec<NodeRow>| {
                let nodes = rows.into_iter().map(|row| node_from(row).map(Arc::new)).collect::<Result<Vec<_>>>()?;
                Ok(key.page.cut(nodes))
            },
        )
        .await
}

fn page_statement(NodePageKey { list, page }: &NodePageKey, keys: &[&NodePageKey]) -> Statement<(BigInt, NodeSql)> {
    let name = match list.scope {
        NodeScope::Board => "nodes.page",
        NodeScope::Roots => "nodes.roots",
        NodeScope::ChildrenOf(_) => "nodes.children",
        NodeScope::DescendantsOf(..) => "nodes.descendants",
        NodeScope::LinkedWith(..) => "nodes.linked",
    };
    let column = order_column(list.order.key);
    let descending = list.order.descending != page.from_end;
    let statement = Statement::new(name).sql("SELECT k.ord, ").sql(NODE_COLUMNS).sql(" FROM ");
    let statement = from_keys(statement, keys.iter().map(|key| (key.list.board_id, start(&key.list))))
        .sql(" CROSS JOIN LATERAL (SELECT n.*, ")
        .sql(column)
        .sql(" AS sort_key");
    let statement = members(statement, list);
    let id = if matches!(list.order.key, NodeOrderKey::Position) { "p.child_id" } else { "n.id" };
    let statement = keyset::bounds(statement, page, list.order.descending, column, id);
    keyset::order_limit(statement, column, id, descending, page.limit)
        .sql(") AS n ")
        .sql(NODE_JOINS)
        .sql(" ORDER BY k.ord, n.sort_key")
        .sql_if(descending, " DESC")
        .sql(", n.id")
        .sql_if(descending, " DESC")
}

pub(super) async fn counts(store: &Store, lists: &[NodeList]) -> Result<Vec<i64>> {
    let statement = |first: &NodeList, lists: &[&NodeList]| {
        let statement = Statement::<(BigInt, BigInt)>::new("nodes.count").sql("SELECT k.ord, n.total FROM ");
        let statement = from_keys(statement, lists.iter().map(|list| (list.board_id, start(list))))
            .sql(" CROSS JOIN LATERAL (SELECT count(*) AS total");
        members(statement, first).sql(") AS n")
    };
    store.by_shape(lists, same_shape, statement, |_, totals: Vec<i64>| Ok(totals.iter().sum())).await
}

fn order_column(key: NodeOrderKey) -> &'static str {
    match key {
        NodeOrderKey::Created => "n.created_at",
        NodeOrderKey::Updated => "n.updated_at",
        NodeOrderKey::Name => "coalesce(fs.name_key, rs.title_key, '')",
        NodeOrderKey::ZIndex => "n.z_index",
        // Lists without folder have no positions: all are equal and the id decides.
        NodeOrderKey::Position => "p.position",
        NodeOrderKey::Type => {
            "CASE n.type WHEN 'folder' THEN '0' WHEN 'resource' THEN '1' ELSE '2' END COLLATE \"C\" \
                || coalesce(fs.name_key, rs.title_key, '')"
        }
    }
}

/// Adds FROM and WHERE: the living nodes `n` of the list that starts at `k`.
fn members<ST>(statement: Statement<ST>, list: &NodeList) -> Statement<ST> {
    let statement = match list.scope {
        NodeScope::ChildrenOf(_) => {
            statement.sql(" FROM node_hierarchy p JOIN nodes n ON n.board_id = p.board_id AND n.id = p.child_id")
        }
        NodeScope::DescendantsOf(_, max_depth) => statement
            .sql(
                " FROM (WITH RECURSIVE down AS (\
                    SELECT d.child_id, 1 AS depth FROM node_hierarchy d \
                    WHERE d.board_id = k.board_id AND d.parent_id = k.id \
                    UNION ALL \
                    SELECT d.child_id, down.depth + 1 FROM down \
                    JOIN nodes dn ON dn.board_id = k.board_id AND dn.id = down.child_id AND dn.deleted_at IS NULL \
                    JOIN node_hierarchy d ON d.board_id = k.board_id AND d.parent_id = down.child_id \
                    WHERE down.depth < ",
            )
            .bind::<Integer, _>(max_depth)
            .sql(") SELECT down.child_id FROM down) AS down JOIN nodes n ON n.id = down.child_id"),
        _ => statement.sql(" FROM nodes n"),
    };
    let by_name = matches!(list.order.key, NodeOrderKey::Name | NodeOrderKey::Type);
    let by_resource = !list.filter.resource_types.is_empty() || !list.filter.processing_statuses.is_empty();
    let statement = statement
        .sql_if(by_name || by_resource, " LEFT JOIN resource_nodes rs ON rs.node_id = n.id")
        .sql_if(by_name, " LEFT JOIN folder_nodes fs ON fs.node_id = n.id")
        .sql(" WHERE n.board_id = k.board_id AND n.deleted_at IS NULL");
    let statement = match list.scope {
        NodeScope::Board | NodeScope::DescendantsOf(..) => statement,
        NodeScope::Roots => statement.sql(
            " AND NOT EXISTS (SELECT 1 FROM node_hierarchy p WHERE p.board_id = n.board_id AND p.child_id = n.id)",
        ),
        NodeScope::ChildrenOf(_) => statement.sql(" AND p.board_id = k.board_id AND p.parent_id = k.id"),
        NodeScope::LinkedWith(_, direction) => linked(statement, direction, list),
    };
    outside(conditions(statement, &list.filter), &list.sealed, "n.board_id", "n.id")
}

fn linked<ST>(statement: Statement<ST>, direction: LinkDirection, list: &NodeList) -> Statement<ST> {
    let kinds: Vec<&'static str> = list.link_kinds.iter().map(|kind| kind.as_str()).collect();
    let kind = |statement: Statement<ST>| match kinds.is_empty() {
        true => statement,
        false => statement.sql(" AND l.connection_type::text = ANY(").bind::<Array<Text>, _>(kinds.clone()).sql(")"),
    };
    let mut statement = statement.sql(" AND n.id IN (");
    if direction != LinkDirection::In {
        statement = kind(
            statement
                .sql("SELECT l.to_node_id FROM connections l WHERE l.board_id = k.board_id AND l.from_node_id = k.id"),
        );
    }
    if direction == LinkDirection::Any {
        statement = statement.sql(" UNION ALL ");
    }
    if direction != LinkDirection::Out {
        statement = kind(
            statement
                .sql("SELECT l.from_node_id FROM connections l WHERE l.board_id = k.board_id AND l.to_node_id = k.id"),
        );
    }
    statement.sql(")")
}

fn conditions<ST>(mut statement: Statement<ST>, filter: &NodeFilter) -> Statement<ST> {
    if !filter.types.is_empty() {
        let words: Vec<&'static str> = filter.types.iter().map(|kind| kind.as_str()).collect();
        statement = statement.sql(" AND n.type = ANY(").bind::<Array<Text>, _>(words).sql("::text[]::node_type[])");
    }
    if !filter.resource_types.is_empty() {
        let words: Vec<&'static str> = filter.resource_types.iter().map(|kind| kind.as_str()).collect();
        statement = statement.sql(" AND rs.resource_type::text = ANY(").bind::<Array<Text>, _>(words).sql(")");
    }
    if !filter.processing_statuses.is_empty() {
        let words: Vec<&'static str> = filter.processing_statuses.iter().map(|status| status.as_str()).collect();
        statement = statement.sql(" AND rs.processing_status::text = ANY(").bind::<Array<Text>, _>(words).sql(")");
    }
    if let Some(wanted) = filter.is_locked {
        statement = statement.sql(" AND n.is_locked = ").bind::<Bool, _>(wanted);
    }
    let moments = [
        (filter.created_from, " AND n.created_at >= "),
        (filter.created_until, " AND n.created_at < "),
        (filter.updated_from, " AND n.updated_at >= "),
        (filter.updated_until, " AND n.updated_at < "),
    ];
    for (moment, comparison) in moments {
        if let Some(moment) = moment {
            statement = statement.sql(comparison).bind::<Timestamptz, _>(moment);
        }
    }
    if let Some(rect) = filter.within {
        statement = statement
            .sql(" AND n.x <= ")
            .bind::<Double, _>(rect.x + rect.width)
            .sql(" AND n.x + n.width >= ")
            .bind::<Double, _>(rect.x)
            .sql(" AND n.y <= ")
            .bind::<Double, _>(rect.y + rect.height)
            .sql(" AND n.y + n.height >= ")
            .bind::<Double, _>(rect.y);
    }
    statement
}
