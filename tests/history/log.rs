//! What is in the database in the end, past the gateways: the change log as it was written, and the rows.

use std::collections::{BTreeMap, BTreeSet};

use ragboard::domain::{BoardId, LinkId, NodeId};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::model::{Board, Changes, Kind};

/// An entry of the change log.
pub(crate) struct Entry {
    pub(crate) version: i64,
    pub(crate) client_mutation_id: Option<String>,
    pub(crate) actor: Option<String>,
    /// As it is stored, in its order.
    pub(crate) changes: Vec<Value>,
}

fn uuid(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

impl Entry {
    /// What it names.
    pub(crate) fn named(&self) -> Changes {
        let mut changes = Changes::default();
        for change in &self.changes {
            let is_new = match change["type"].as_str().unwrap() {
                "board_updated" => !std::mem::replace(&mut changes.board, true),
                "node_saved" => changes.saved.insert(NodeId(uuid(&change["id"]))),
                "node_deleted" => changes.deleted.insert(NodeId(uuid(&change["id"]))),
                "link_saved" => changes.links_saved.insert(LinkId(uuid(&change["id"]))),
                "link_deleted" => changes.links_deleted.insert(LinkId(uuid(&change["id"]))),
                other => panic!("version {}: {other}", self.version),
            };
            assert!(is_new, "version {} names something twice: {change}", self.version);
        }
        changes
    }
}

/// The log of a board, in the order of its versions.
pub(crate) async fn log(sql: &Client, board: BoardId) -> Vec<Entry> {
    let rows = sql
        .query(
            "SELECT version, client_mutation_id, actor_id::text, changes::text FROM board_events \
             WHERE board_id = $1::text::uuid ORDER BY version, at",
            &[&board.0.to_string()],
        )
        .await
        .unwrap();
    let entry = |row: &tokio_postgres::Row| Entry {
        version: row.get(0),
        client_mutation_id: row.get(1),
        actor: row.get(2),
        changes: serde_json::from_str(row.get(3)).unwrap(),
    };
    rows.iter().map(entry).collect()
}

/// Nodes that live and links that are there after a log, with the version that each node was last saved in.
pub(crate) fn replay(log: &[Entry]) -> (BTreeMap<NodeId, i64>, BTreeSet<LinkId>) {
    let (mut nodes, mut links) = (BTreeMap::new(), BTreeSet::new());
    for entry in log {
        for change in &entry.changes {
            match change["type"].as_str().unwrap() {
                "node_saved" => drop(nodes.insert(NodeId(uuid(&change["id"])), entry.version)),
                "node_deleted" => drop(nodes.remove(&NodeId(uuid(&change["id"])))),
                "link_saved" => drop(links.insert(LinkId(uuid(&change["id"])))),
                "link_deleted" => drop(links.remove(&LinkId(uuid(&change["id"])))),
                _ => {}
            }
        }
    }
    (nodes, links)
}

/// Every row of a board as one line of text: the board, nodes (deleted ones too), links.
pub(crate) async fn rows(sql: &Client, board: BoardId) -> Vec<String> {
    let rows = sql
        .query(
            "SELECT format('board %s %s', b.version, b.description) FROM boards b WHERE b.id = $1::text::uuid \
             UNION ALL SELECT format('node %s %s %s %s %s,%s %s at %s in %s %s', n.id, n.type, \
                 coalesce(r.title, c.system_prompt, f.name), r.content, n.x, n.y, f.max_items, n.version, h.parent_id, h.position) \
                 || CASE WHEN n.deleted_at IS NULL THEN '' ELSE ' deleted' END \
             FROM nodes n LEFT JOIN resource_nodes r ON r.node_id = n.id LEFT JOIN chat_nodes c ON c.node_id = n.id \
                 LEFT JOIN folder_nodes f ON f.node_id = n.id LEFT JOIN node_hierarchy h ON h.child_id = n.id \
             WHERE n.board_id = $1::text::uuid \
             UNION ALL SELECT format('link %s %s %s %s %s', l.id, l.from_node_id, l.to_node_id, l.connection_type, l.label) \
             FROM connections l WHERE l.board_id = $1::text::uuid",
            &[&board.0.to_string()],
        )
        .await
        .unwrap();
    let mut rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    rows.sort();
    rows
}

fn or_nothing<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The same of a board of the model.
pub(crate) fn rows_of(board: &Board) -> Vec<String> {
    let mut rows = vec![format!("board {} {}", board.version, or_nothing(board.description.as_ref()))];
    for (id, node) in &board.nodes {
        let kind = match node.kind {
            Kind::Resource => "resource",
            Kind::Chat => "chat",
            Kind::Folder => "folder",
        };
        rows.push(format!(
            "node {} {kind} {} {} {},{} {} at {} in {} {}{}",
            id.0,
            node.name,
            or_nothing(node.content.as_ref()),
            node.at.0,
            node.at.1,
            or_nothing(node.max_items),
            node.version,
            or_nothing(node.place.map(|(folder, _)| folder.0)),
            or_nothing(node.place.map(|(_, position)| position)),
            if node.is_living() { "" } else { " deleted" },
        ));
    }
    for (id, link) in &board.links {
        rows.push(format!("link {} {} {} {} {}", id.0, link.from.0, link.to.0, link.kind.as_str(), link.label));
    }
    rows.sort();
    rows
}
