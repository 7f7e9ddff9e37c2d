//! What a search looks at, as SQL: resources of boards that somebody may see, without what lies in folders that are shut,
//! and only what fits the filter. One condition, in every statement of a search, before anything is ranked.

use diesel::sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::super::statement::Statement;
use crate::domain::{BoardId, NodeId, SearchArea};

/// A phrase is looked for in every configuration that the boards use, each by the index.
const SAID: &str = ") WITH ORDINALITY p (said, ord) CROSS JOIN LATERAL (\
    SELECT c.node_id FROM chunks c JOIN indexed_resources ci ON ci.node_id = c.node_id \
    WHERE ci.config = k.config AND c.words @@ phraseto_tsquery(k.config::regconfig, search_text(p.said)) AND c.board_id = ANY(";

pub(super) fn boards(area: &SearchArea) -> Vec<Uuid> {
    area.boards.iter().map(|id: &BoardId| id.0).collect()
}

/// Begins a statement with what the condition below needs besides tables. Ends without a comma.
pub(super) fn with<ST>(statement: Statement<ST>, area: &SearchArea) -> Statement<ST> {
    let mut statement = statement.sql("WITH asked AS (SELECT 1)");
    if let Some(folder) = area.within {
        statement = below(statement.sql(", inside AS MATERIALIZED ("), vec![folder.0]).sql(")");
    }
    if !area.sealed.is_empty() {
        let sealed = area.sealed.iter().map(|id: &NodeId| id.0).collect();
        statement = below(statement.sql(", shut AS MATERIALIZED ("), sealed).sql(")");
    }
    for (name, said) in [(", said AS MATERIALIZED (", &area.phrases), (", unsaid AS MATERIALIZED (", &area.excluded)] {
        if !said.is_empty() {
            statement = statement
                .sql(name)
                .sql(
                    "SELECT c.node_id, p.ord FROM (SELECT DISTINCT unnest(v.configs) AS config FROM search_versions v \
                      WHERE v.board_id = ANY(",
                )
                .bind::<Array<SqlUuid>, _>(boards(area))
                .sql(")) k CROSS JOIN unnest(")
                .bind::<Array<Text>, _>(said.clone())
                .sql(SAID)
                .bind::<Array<SqlUuid>, _>(boards(area))
                .sql(")) c)");
        }
    }
    statement
}

/// What lies in folders, at any depth. Folders do not nest in themselves, so it ends.
pub(super) fn below<ST>(statement: Statement<ST>, folders: Vec<Uuid>) -> Statement<ST> {
    statement
        .sql("WITH RECURSIVE down AS (SELECT d.child_id FROM node_hierarchy d WHERE d.parent_id = ANY(")
        .bind::<Array<SqlUuid>, _>(folders)
        .sql(
            ") UNION SELECT d.child_id FROM down \
             JOIN nodes dn ON dn.id = down.child_id AND dn.type = 'folder' AND dn.deleted_at IS NULL \
             JOIN node_hierarchy d ON d.parent_id = down.child_id) SELECT down.child_id FROM down",
        )
}

/// Adds FROM and WHERE: resources `i` of the area that were cut into chunks, with their nodes `n`.
pub(super) fn members<ST>(statement: Statement<ST>, area: &SearchArea) -> Statement<ST> {
    let filter = &area.filter;
    let mut statement = statement
        .sql(" FROM indexed_resources i JOIN nodes n ON n.id = i.node_id")
        .sql_if(!filter.resource_types.is_empty(), " JOIN resource_nodes r ON r.node_id = i.node_id")
        .sql(" WHERE n.deleted_at IS NULL AND i.board_id = ANY(")
        .bind::<Array<SqlUuid>, _>(boards(area))
        .sql(")")
        .sql_if(area.within.is_some(), " AND i.node_id IN (SELECT child_id FROM inside)")
        .sql_if(!area.sealed.is_empty(), " AND i.node_id NOT IN (SELECT child_id FROM shut)")
        .sql_if(!area.excluded.is_empty(), " AND i.node_id NOT IN (SELECT node_id FROM unsaid)");
    if !area.phrases.is_empty() {
        statement = statement
            .sql(" AND i.node_id IN (SELECT node_id FROM said GROUP BY node_id HAVING count(DISTINCT ord) = ")
            .bind::<BigInt, _>(area.phrases.len() as i64)
            .sql(")");
    }
    if let Some(except) = area.except {
        statement = statement.sql(" AND i.node_id <> ").bind::<SqlUuid, _>(except.0);
    }
    if !filter.resource_types.is_empty() {
        let types: Vec<&'static str> = filter.resource_types.iter().map(|kind| kind.as_str()).collect();
        statement = statement.sql(" AND r.resource_type::text = ANY(").bind::<Array<Text>, _>(types).sql(")");
    }
    if !filter.languages.is_empty() {
        statement = statement
            .sql(" AND lower(split_part(i.language, '-', 1)) = ANY(")
            .bind::<Array<Text>, _>(filter.languages.clone())
            .sql(")");
    }
    if !filter.tags.is_empty() {
        statement = statement.sql(" AND n.metadata -> 'tags' ?& ").bind::<Array<Text>, _>(filter.tags.clone());
    }
    for (condition, at) in [
        (" AND n.created_at >= ", filter.created_from),
        (" AND n.created_at < ", filter.created_before),
        (" AND n.updated_at >= ", filter.updated_from),
        (" AND n.updated_at < ", filter.updated_before),
    ] {
        if let Some(at) = at {
            statement = statement.sql(condition).bind::<Timestamptz, _>(at);
        }
    }
    statement
}
