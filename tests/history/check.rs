//! Whether what everybody was told fits one history: that of the change log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ragboard::domain::{BoardId, NodeId};
use serde_json::{Value, json};
use tokio_postgres::Client as Sql;

use super::{
    choice::{BOARDS, CLIENTS},
    client::{Outcome, Record, Sight},
    log::{self, Entry},
    model::{Board, Changes, Kind, Node},
    subscriber::Subscriber,
};

/// What became of the history of one board.
pub(crate) struct History {
    pub(crate) log: Vec<Entry>,
    /// The board in the end.
    pub(crate) board: Board,
    /// What was done, by the version that it made.
    done: Vec<(i64, String)>,
    /// Every version of every node, with the version of the board that made it.
    nodes: HashMap<NodeId, Vec<(i64, Node)>>,
}

/// Numbers worth telling.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) versions: usize,
    pub(crate) changed_nothing: usize,
    pub(crate) refused: usize,
    pub(crate) asked_again: usize,
    pub(crate) sights: usize,
    pub(crate) heard: usize,
}

/// Holds the log of a board and everything that clients were told of their requests against the model.
pub(crate) async fn history(
    sql: &Sql,
    id: BoardId,
    number: usize,
    records: &[&Record],
    counts: &mut Counts,
) -> History {
    let log = log::log(sql, id).await;
    let by_key: HashMap<&str, &Record> =
        records.iter().map(|record| (record.operation.key.as_str(), *record)).collect();
    assert_eq!(by_key.len(), records.len(), "two requests under one key");
    let logged: HashSet<&str> = log.iter().filter_map(|entry| entry.client_mutation_id.as_deref()).collect();
    // Requests that left nothing in the log: refused ones, and those that changed nothing.
    let mut silent: Vec<&Record> =
        records.iter().copied().filter(|record| !logged.contains(record.operation.key.as_str())).collect();
    silent.sort_by_key(|record| std::cmp::Reverse(record.after));
    let mut open: Vec<&Record> = Vec::new();
    let mut board = Board::new();
    let mut nodes: HashMap<NodeId, Vec<(i64, Node)>> = HashMap::new();
    let (mut done, mut operations) = (HashSet::new(), Vec::new());
    for entry in log.iter().map(Some).chain([None]) {
        while let Some(record) = silent.pop_if(|record| record.after <= board.version) {
            open.push(record);
        }
        if let Some(record) = open.iter().find(|record| latest(record) < board.version) {
            unexplained(number, record);
        }
        open.retain(|record| !is_explained(&mut board, record));
        let Some(entry) = entry else { break };
        assert_eq!(entry.version, board.version + 1, "board {number}: a gap or a repetition");
        let key = entry.client_mutation_id.as_deref().unwrap_or_default();
        let record = by_key.get(key).unwrap_or_else(|| panic!("board {number}: nobody asked for {key}"));
        let what = format!("board {number}, version {}, {:?}", entry.version, record.operation);
        assert!(done.insert(key), "{what}: done twice");
        assert!(matches!(record.outcome, Outcome::Done(told) if told >= entry.version), "{what}: {:?}", record.outcome);
        assert_eq!(entry.actor, Some(record.actor.0.to_string()), "{what}");
        assert!(record.after < entry.version, "{what}: done before it was asked for, at {}", record.after);
        let changes = match board.apply(&record.operation.steps, record.expected) {
            Ok(changes) => changes,
            Err(refused) => panic!("{what}: was done, and should have been refused: {refused:?}"),
        };
        assert_eq!(entry.named(), changes, "{what}: the log names the left, the change was the right");
        assert_eq!(board.version, entry.version, "{what}: changed nothing");
        operations.push((entry.version, format!("{:?}", record.operation.steps)));
        for id in changes.saved.iter().chain(&changes.deleted) {
            nodes.entry(*id).or_default().push((entry.version, board.nodes[id].clone()));
        }
    }
    if let Some(record) = open.first().or(silent.first()) {
        unexplained(number, record);
    }
    counts.versions += log.len();
    counts.refused += records.iter().filter(|record| matches!(record.outcome, Outcome::Refused(_))).count();
    counts.changed_nothing += records
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Done(_)) && !logged.contains(record.operation.key.as_str()))
        .count();
    counts.asked_again += records.iter().filter(|record| record.attempts > 1).count();
    History { log, board, done: operations, nodes }
}

/// The last version at which it can have been decided what becomes of a request: what somebody was told meanwhile, and at most
/// one change of every other client that it was not told of yet.
fn latest(record: &Record) -> i64 {
    record.told + CLIENTS as i64
}

/// Whether a request that left nothing in the log would have done so on the board as it is.
fn is_explained(board: &mut Board, record: &Record) -> bool {
    let outcome = board.outcome(&record.operation.steps, record.expected);
    match record.outcome {
        Outcome::Done(_) => outcome == Ok(Changes::default()),
        Outcome::Refused(refused) => outcome == Err(refused),
    }
}

fn unexplained(number: usize, record: &Record) -> ! {
    panic!(
        "board {number}: no version from {} to {} explains {:?} (after {} attempts) for {:?}",
        record.after,
        latest(record),
        record.outcome,
        record.attempts,
        record.operation
    )
}

/// The state of the database is that which the log tells, and that of the model, row by row.
pub(crate) async fn database(sql: &Sql, id: BoardId, number: usize, history: &History) {
    let (found, expected) = (log::rows(sql, id).await, log::rows_of(&history.board));
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), expected.iter().collect());
    if found != expected {
        // What was done to the first row that differs: a row names its object in the second word.
        let differs = found.symmetric_difference(&expected).next();
        let object = differs.and_then(|row| row.split(' ').nth(1)).unwrap_or_default();
        let done: Vec<_> = history.done.iter().filter(|(_, steps)| steps.contains(object)).collect();
        panic!(
            "board {number}: in the database and not expected {:#?}, expected and not there {:#?}, done to it {done:#?}",
            found.difference(&expected).take(5).collect::<Vec<_>>(),
            expected.difference(&found).take(5).collect::<Vec<_>>()
        );
    }
    // Once more from the log alone, which is all that a client has.
    let (nodes, links) = log::replay(&history.log);
    let living = history.board.nodes.iter().filter(|(_, node)| node.is_living());
    let living: BTreeMap<NodeId, i64> = living.map(|(id, node)| (*id, node.version)).collect();
    assert_eq!(nodes, living, "board {number}: nodes after a replay, and as they are");
    let there: BTreeSet<_> = history.board.links.keys().copied().collect();
    assert_eq!(links, there, "board {number}: links after a replay, and as they are");
}

/// What a node looks like in the API.
fn shown(id: NodeId, node: &Node) -> Value {
    let mut value = json!({
        "id": id.to_string(),
        "version": node.version,
        "position": { "x": node.at.0, "y": node.at.1 },
    });
    let own = match node.kind {
        Kind::Resource => json!({ "__typename": "ResourceNode", "title": node.name, "content": node.content }),
        Kind::Chat => json!({ "__typename": "ChatNode", "systemPrompt": node.name }),
        Kind::Folder => json!({ "__typename": "FolderNode", "name": node.name, "maxItems": node.max_items }),
    };
    value.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    value
}

/// What was seen of a node was so at some version that is not older than what was known.
pub(crate) fn sight(history: &History, sight: &Sight) {
    let versions = history.nodes.get(&sight.id).map(Vec::as_slice).unwrap_or_default();
    let then = versions.iter().rposition(|(version, _)| *version <= sight.at_least);
    let (by, board, id, at_least) = (&sight.by, sight.board, sight.id, sight.at_least);
    let since = &versions[then.unwrap_or(0)..];
    if sight.node.is_null() {
        let was_gone = then.is_none() || since.iter().any(|(_, node)| !node.is_living());
        assert!(was_gone, "{by}: board {board} had {id} at version {at_least} and ever since, and it did not show");
        return;
    }
    let version = sight.node["version"].as_i64().unwrap();
    let Some((_, node)) = since.iter().find(|(made, node)| *made == version && node.is_living()) else {
        let made_by = |version: &i64| history.log.iter().find(|entry| entry.version == *version);
        let made_by = |version: &i64| made_by(version).and_then(|entry| entry.client_mutation_id.clone());
        let known: Vec<_> = since.iter().map(|(made, _)| (*made, made_by(made))).collect();
        panic!("{by}: board {board} was at {at_least}, {id} at one of {known:?}, and this was seen: {}", sight.node);
    };
    let (mut seen, mut expected) = (sight.node.clone(), shown(id, node));
    // A text is read after its node, so it may be newer.
    let content = |value: &mut Value| value.as_object_mut().unwrap().remove("content");
    let (text, _) = (content(&mut seen), content(&mut expected));
    assert_eq!(seen, expected, "{by}: board {board}");
    let newer = since.iter().filter(|(made, _)| *made >= version);
    let is_known = |text: Value| newer.clone().any(|(_, node)| json!(node.content) == text);
    assert!(text.clone().is_none_or(is_known), "{by}: board {board}, {id} at {version}: {text:?}");
}

/// A change as the API tells it, in short.
fn told(change: &Value) -> Value {
    let id = ["nodeId", "linkId"].iter().find_map(|name| change.get(*name)).unwrap_or(&Value::Null);
    json!([change["__typename"], id])
}

/// A change of the log as the API should tell it, in short.
fn to_tell(change: &Value) -> Value {
    let id = change["id"].as_str().map(|id| id.parse::<uuid::Uuid>().unwrap());
    let node = id.map(|id| NodeId(id).to_string());
    let link = id.map(|id| ragboard::domain::LinkId(id).to_string());
    match change["type"].as_str().unwrap() {
        "board_updated" => json!(["BoardUpdated", null]),
        "node_saved" => json!(["NodeSaved", node]),
        "node_deleted" => json!(["NodeDeleted", node]),
        "link_saved" => json!(["LinkSaved", link]),
        "link_deleted" => json!(["LinkDeleted", link]),
        other => panic!("{other}"),
    }
}

/// Whether events of the API are exactly those of the log.
pub(crate) fn events(history: &History, told_events: &[(i64, &Value, &[Value])], by: &str) {
    let versions: Vec<i64> = told_events.iter().map(|(version, ..)| *version).collect();
    assert_eq!(versions, (2..=history.board.version).collect::<Vec<_>>(), "{by}");
    for (entry, (version, client_mutation_id, changes)) in history.log.iter().zip(told_events) {
        assert_eq!(json!(entry.client_mutation_id), **client_mutation_id, "{by}: version {version}");
        let expected: Vec<Value> = entry.changes.iter().map(to_tell).collect();
        assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), expected, "{by}: version {version}");
    }
}

/// The links that somebody has who keeps those that it is told of, and lets them go with their ends, as clients do.
fn kept_links<'a>(changes: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut links: BTreeMap<&str, [&str; 2]> = BTreeMap::new();
    for change in changes {
        match (change["__typename"].as_str(), change["linkId"].as_str()) {
            (Some("LinkSaved"), Some(id)) => {
                // What is not there any more by the time of the event is told as gone by a later one.
                match (change["link"]["fromId"].as_str(), change["link"]["toId"].as_str()) {
                    (Some(from), Some(to)) => drop(links.insert(id, [from, to])),
                    _ => drop(links.remove(id)),
                }
            }
            (Some("LinkDeleted"), Some(id)) => drop(links.remove(id)),
            (Some("NodeDeleted"), _) => links.retain(|_, ends| ends.iter().all(|end| change["nodeId"] != *end)),
            _ => {}
        }
    }
    links.into_keys().map(str::to_owned).collect()
}

/// Whether a subscriber has heard exactly the log.
pub(crate) fn subscriber(histories: &[History; BOARDS], subscriber: &Subscriber, counts: &mut Counts) {
    for (board, following) in &subscriber.boards {
        let heard: Vec<(i64, &Value, &[Value])> = following
            .heard
            .iter()
            .map(|heard| (heard.version, &heard.client_mutation_id, heard.changes.as_slice()))
            .collect();
        counts.heard += heard.len();
        events(&histories[*board], &heard, &format!("subscriber {} of board {board}", subscriber.number));
    }
    for (board, following) in &subscriber.boards {
        let board_now = &histories[*board].board;
        let visible = board_now.links.iter().filter(|(_, link)| board_now.is_visible(link));
        let visible: BTreeSet<String> = visible.map(|(id, _)| id.to_string()).collect();
        let kept = kept_links(following.heard.iter().flat_map(|heard| &heard.changes));
        assert_eq!(kept, visible, "links that subscriber {} of board {board} was told of", subscriber.number);
    }
    subscriber.sights.iter().for_each(|seen| sight(&histories[seen.board], seen));
    counts.sights += subscriber.sights.len();
}

/// Whether the nodes and links that the API lists are those of the board, and as they are there.
pub(crate) fn listed(history: &History, number: usize, nodes: &[Value], links: &[Value]) {
    let board = &history.board;
    let text = |node: &Value| node["id"].as_str().unwrap().to_owned();
    let living = board.nodes.iter().filter(|(_, node)| node.is_living());
    let expected: BTreeMap<String, Value> = living
        .map(|(id, node)| {
            let mut value = shown(*id, node);
            let parent = node.place.map(|(folder, _)| json!({ "id": folder.to_string() }));
            value["parent"] = json!(parent);
            (id.to_string(), value)
        })
        .collect();
    let found: BTreeMap<String, Value> = nodes
        .iter()
        .map(|node| {
            let wanted = expected.get(&text(node)).and_then(Value::as_object);
            let is_wanted = |name: &String| wanted.is_none_or(|wanted| wanted.contains_key(name));
            let fields = node.as_object().unwrap().iter().filter(|(name, _)| is_wanted(name));
            (text(node), fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Value>())
        })
        .collect();
    assert_eq!(found, expected, "board {number}");
    let expected = board.links.iter().filter(|(_, link)| board.is_visible(link)).map(|(id, _)| id.to_string());
    assert_eq!(links.iter().map(text).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "board {number}");
}
