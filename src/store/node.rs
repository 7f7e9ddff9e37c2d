//! Nodes in PostgreSQL: columns and rows of all three kinds, reading by id, ancestors and long texts. Lists of nodes are
//! in `node_list.rs`.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Float, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, batch::from_keys, error::unexpected, node_list, statement::Statement};
use crate::domain::{
    BoardId, Chat, ChatResponseFormat, Error, Folder, FolderSortOrder, MAX_FOLDER_DEPTH, MediaId, Node, NodeId,
    NodeKey, NodeKind, NodeList, NodePageKey, NodeText, NodeType, Page, Placement, ProcessingStatus, Rect, Resource,
    ResourceType, Result, ports::Nodes,
};

/// Columns of a node `n` of any kind, in the order of [`NodeRow`]; they need [`NODE_JOINS`].
pub(super) const NODE_COLUMNS: &str = "\
    n.id, n.board_id, n.type::text, n.x, n.y, n.width, n.height, n.z_index, n.is_locked, n.metadata, n.version, \
    n.created_at, n.updated_at, coalesce(f.name_key, r.title_key, ''), \
    r.resource_type::text, r.title, r.url, r.media_id, r.processing_status::text, r.processing_error, r.key_points, \
    r.language, r.word_count, r.reading_time, \
    c.ai_model::text, c.custom_model_endpoint, c.system_prompt, c.temperature, c.max_tokens, c.top_p, \
    c.frequency_penalty, c.presence_penalty, c.stop_sequences, c.response_format::text, c.tools_enabled, \
    c.memory_enabled, c.context_window_size, \
    f.name, f.description, f.color, f.icon, f.expanded, f.sort_order::text, f.max_items, f.password_hash IS NOT NULL, \
    h.parent_id, h.position";

/// What the columns come from.
pub(super) const NODE_JOINS: &str = "\
    LEFT JOIN resource_nodes r ON r.node_id = n.id \
    LEFT JOIN chat_nodes c ON c.node_id = n.id \
    LEFT JOIN folder_nodes f ON f.node_id = n.id \
    LEFT JOIN node_hierarchy h ON h.child_id = n.id";

type CoreSql = (
    SqlUuid,
    SqlUuid,
    Text,
    Double,
    Double,
    Double,
    Double,
    Integer,
    Bool,
    Jsonb,
    BigInt,
    Timestamptz,
    Timestamptz,
    Text,
);
type CoreRow = (Uuid, Uuid, String, f64, f64, f64, f64, i32, bool, Value, i64, DateTime<Utc>, DateTime<Utc>, String);

type ResourceSql = (
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<SqlUuid>,
    Text,
    Nullable<Text>,
    Array<Text>,
    Nullable<Text>,
    Nullable<Integer>,
    Nullable<Integer>,
);
type ResourceRow = (
    String,
    Option<String>,
    Option<String>,
    Option<Uuid>,
    String,
    Option<String>,
    Vec<String>,
    Option<String>,
    Option<i32>,
    Option<i32>,
);

type ChatSql =
    (Text, Nullable<Text>, Nullable<Text>, Float, Integer, Float, Float, Float, Array<Text>, Text, Bool, Bool, Integer);
type ChatRow = (String, Option<String>, Option<String>, f32, i32, f32, f32, f32, Vec<String>, String, bool, bool, i32);

/// The last column tells whether there is a password; it is there, and false, for what is no folder.
type FolderSql = (
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Bool>,
    Nullable<Text>,
    Nullable<Integer>,
    Bool,
);
type FolderRow =
    (Option<String>, Option<String>, Option<String>, Option<String>, Option<bool>, Option<String>, Option<i32>, bool);

type PlacementSql = (SqlUuid, Double);
type PlacementRow = (Uuid, f64);

pub(super) type NodeSql = (CoreSql, Nullable<ResourceSql>, Nullable<ChatSql>, FolderSql, Nullable<PlacementSql>);
pub(super) type NodeRow = (CoreRow, Option<ResourceRow>, Option<ChatRow>, FolderRow, Option<PlacementRow>);

pub(super) fn node_from(row: NodeRow) -> Result<Node> {
    let (core, resource, chat, folder, placement) = row;
    let (
        id,
        board_id,
        node_type,
        x,
        y,
        width,
        height,
        z_index,
        is_locked,
        metadata,
        version,
        created,
        updated,
        name_key,
    ) = core;
    let kind = match (NodeType::from_word(&node_type), resource, chat) {
        (Some(NodeType::Resource), Some(row), _) => NodeKind::Resource(Box::new(resource_from(row)?)),
        (Some(NodeType::Chat), _, Some(row)) => NodeKind::Chat(Box::new(chat_from(row)?)),
        (Some(NodeType::Folder), _, _) => NodeKind::Folder(Box::new(folder_from(folder)?)),
        _ => return Err(Error::internal(format!("node {id} has no row of its type {node_type}"))),
    };
    Ok(Node {
        id: NodeId(id),
        board_id: BoardId(board_id),
        rect: Rect { x, y, width, height },
        z_index,
        is_locked,
        metadata,
        version,
        created_at: created,
        updated_at: updated,
        name_key,
        placement: placement.map(|(folder, position)| Placement { folder_id: NodeId(folder), position }),
        kind,
    })
}

fn resource_from(row: ResourceRow) -> Result<Resource> {
    let (kind, title, url, media_id, status, processing_error, key_points, language, words, reading_time) = row;
    Ok(Resource {
        resource_type: ResourceType::from_word(&kind).ok_or_else(|| unexpected("resource type", &kind))?,
        title,
        url,
        media_id: media_id.map(MediaId),
        processing_status: ProcessingStatus::from_word(&status).ok_or_else(|| unexpected("status", &status))?,
        processing_error,
        key_points,
        language,
        word_count: words,
        reading_time_seconds: reading_time,
    })
}

fn chat_from(row: ChatRow) -> Result<Chat> {
    let (
        model,
        endpoint,
        system_prompt,
        temperature,
        max_tokens,
        top_p,
        frequency,
        presence,
        stops,
        format,
        tools,
        memory,
        window,
    ) = row;
    Ok(Chat {
        model,
        custom_model_endpoint: endpoint,
        system_prompt,
        temperature,
        max_tokens,
        top_p,
        frequency_penalty: frequency,
        presence_penalty: presence,
        stop_sequences: stops,
        response_format: ChatResponseFormat::from_word(&format).ok_or_else(|| unexpected("format", &format))?,
        tools_enabled: tools,
        memory_enabled: memory,
        context_window_size: window,
    })
}

fn folder_from(row: FolderRow) -> Result<Folder> {
    let (Some(name), description, Some(color), Some(icon), Some(expanded), Some(order), max_items, has_password) = row
    else {
        return Err(Error::internal("a folder has no row in folder_nodes"));
    };
    Ok(Folder {
        name,
        description,
        color,
        icon,
        is_expanded: expanded,
        sort_order: FolderSortOrder::from_word(&order).ok_or_else(|| unexpected("sort order", &order))?,
        max_items,
        is_password_protected: has_password,
    })
}

fn starts(keys: &[NodeKey]) -> impl Iterator<Item = (BoardId, Uuid)> {
    keys.iter().map(|key| (key.board_id, key.node_id.0))
}

type TextRow = (Uuid, Option<String>, Option<String>, Option<String>);

#[async_trait]
impl Nodes for Store {
    async fn locate_nodes(&self, ids: &[NodeId]) -> Result<Vec<Option<BoardId>>> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(Uuid, Uuid)> = self
            .fetch(|| {
                Statement::<(SqlUuid, SqlUuid)>::new("nodes.locate")
                    .sql("SELECT n.id, n.board_id FROM nodes n WHERE n.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(wanted.clone())
                    .sql(")")
            })
            .await?;
        let found: HashMap<Uuid, Uuid> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| found.get(&id.0).copied().map(BoardId)).collect())
    }

    async fn nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<Arc<Node>>>> {
        let rows: Vec<NodeRow> = self
            .fetch(|| {
                let statement = Statement::<NodeSql>::new("nodes.by_id").sql("SELECT ").sql(NODE_COLUMNS).sql(" FROM ");
                from_keys(statement, starts(keys))
                    .sql(" JOIN nodes n ON n.board_id = k.board_id AND n.id = k.id AND n.deleted_at IS NULL ")
                    .sql(NODE_JOINS)
            })
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let node = node_from(row)?;
            found.insert(NodeKey { board_id: node.board_id, node_id: node.id }, Arc::new(node));
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn node_pages(&self, keys: &[NodePageKey]) -> Result<Vec<Page<Arc<Node>>>> {
        node_list::pages(self, keys).await
    }

    async fn node_counts(&self, lists: &[NodeList]) -> Result<Vec<i64>> {
        node_list::counts(self, lists).await
    }

    async fn ancestors(&self, keys: &[NodeKey]) -> Result<Vec<Vec<Arc<Node>>>> {
        let statement = |_: &NodeKey, keys: &[&NodeKey]| {
            let statement = Statement::<(BigInt, NodeSql)>::new("nodes.ancestors").sql("SELECT k.ord, ");
            from_keys(statement.sql(NODE_COLUMNS).sql(" FROM "), keys.iter().map(|key| (key.board_id, key.node_id.0)))
                .sql(
                    " CROSS JOIN LATERAL (\
                        WITH RECURSIVE up AS (\
                            SELECT a.parent_id, 1 AS depth FROM node_hierarchy a \
                            WHERE a.board_id = k.board_id AND a.child_id = k.id \
                            UNION ALL \
                            SELECT a.parent_id, up.depth + 1 FROM up \
                            JOIN node_hierarchy a ON a.board_id = k.board_id AND a.child_id = up.parent_id \
                            WHERE up.depth < ",
                )
                .bind::<Integer, _>(MAX_FOLDER_DEPTH)
                .sql(
                    ") SELECT up.parent_id, up.depth FROM up) AS up \
                    JOIN nodes n ON n.board_id = k.board_id AND n.id = up.parent_id AND n.deleted_at IS NULL ",
                )
                .sql(NODE_JOINS)
                .sql(" ORDER BY k.ord, up.depth DESC")
        };
        self.by_shape(
            keys,
            |_, _| true,
            statement,
            |_, rows: Vec<NodeRow>| rows.into_iter().map(|row| node_from(row).map(Arc::new)).collect(),
        )
        .await
    }

    async fn node_texts(&self, keys: &[(NodeKey, i64)]) -> Result<Vec<Arc<NodeText>>> {
        let rows: Vec<TextRow> = self
            .fetch(|| {
                let statement =
                    Statement::<(SqlUuid, Nullable<Text>, Nullable<Text>, Nullable<Text>)>::new("nodes.texts")
                        .sql("SELECT r.node_id, r.content, r.extracted_text, r.summary FROM ");
                from_keys(statement, keys.iter().map(|(key, _)| (key.board_id, key.node_id.0)))
                    .sql(" JOIN resource_nodes r ON r.board_id = k.board_id AND r.node_id = k.id")
            })
            .await?;
        let found: HashMap<Uuid, Arc<NodeText>> = rows
            .into_iter()
            .map(|(id, content, extracted_text, summary)| (id, Arc::new(NodeText { content, extracted_text, summary })))
            .collect();
        Ok(keys.iter().map(|(key, _)| found.get(&key.node_id.0).cloned().unwrap_or_default()).collect())
    }
}
