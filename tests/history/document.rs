//! Requests as the API wants them.

use ragboard::domain::{BoardId, LinkKind};
use serde_json::{Map, Value, json};

use super::{
    choice::{Form, Operation},
    model::{Given, Kind, Place, Spot, Step},
};

/// A document that looks at nodes, always in the same way.
macro_rules! with_node {
    ($document:literal) => {
        concat!(
            $document,
            " fragment N on BoardNode { __typename id version position { x y } ... on ResourceNode { title content } \
             ... on FolderNode { name maxItems } ... on ChatNode { systemPrompt } }"
        )
    };
}

/// Everything on a board that can be different, page by page.
pub(crate) const WHOLE: &str = with_node!(
    "query ($id: ID!, $nodes: String, $links: String) { board(id: $id) { \
    version description updatedAt stats { nodeCount linkCount } \
    nodes(first: 100, after: $nodes) { pageInfo { hasNextPage endCursor } nodes { ...N updatedAt createdAt parent { id } \
        ancestors { id } links(first: 30) { nodes { id } } linkedNodes(first: 30) { nodes { id } } \
        ... on ResourceNode { wordCount } ... on FolderNode { childCount children(first: 60) { nodes { id } } } } } \
    links(first: 100, after: $links) { pageInfo { hasNextPage endCursor } nodes { id fromId toId kind label createdAt } } } }"
);

pub(crate) const LOOK: &str = with_node!(
    "query ($board: ID!, $node: ID!, $others: [ID!]!) { board(id: $board) { version } \
    node(id: $node) { ...N } nodes(ids: $others) { ...N } }"
);

pub(crate) const FOLLOW: &str = with_node!(
    "subscription ($id: ID!, $after: String) { boardEvents(boardId: $id, after: $after) { \
    __typename ... on ResyncRequired { version } ... on BoardChanged { version cursor clientMutationId changes { __typename \
    ... on NodeSaved { nodeId node { ...N } } ... on NodeDeleted { nodeId } \
    ... on LinkSaved { linkId link { fromId toId } } ... on LinkDeleted { linkId } } } } }"
);

pub(crate) const EVENTS: &str = "query ($id: ID!, $after: String) { board(id: $id) { version events(first: 100, after: $after) { \
    pageInfo { hasNextPage endCursor } nodes { __typename ... on ResyncRequired { version } ... on BoardChanged { version \
    clientMutationId changes { __typename ... on NodeSaved { nodeId } ... on NodeDeleted { nodeId } \
    ... on LinkSaved { linkId } ... on LinkDeleted { linkId } } } } } } }";

/// A mutation and its input.
pub(crate) fn mutation(operation: &Operation, board: BoardId, expected: Option<i64>) -> (String, Value) {
    let steps = &operation.steps;
    let (name, input, answer) = match (operation.form, &steps[0]) {
        (Form::Batch, _) => {
            let changes: Vec<Value> = steps.iter().map(|step| json!({ change_name(step): fields(step) })).collect();
            ("applyBoardChanges", json!({ "changes": changes }), "nodes { ...N }")
        }
        (_, Step::Create { kind: Kind::Resource, .. }) => ("createResourceNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Create { kind: Kind::Chat, .. }) => ("createChatNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Create { kind: Kind::Folder, .. }) => ("createFolderNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Edit { kind: Kind::Resource, .. }) => ("updateResourceNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Edit { kind: Kind::Chat, .. }) => ("updateChatNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Edit { kind: Kind::Folder, .. }) => ("updateFolderNode", fields(&steps[0]), "node { ...N }"),
        (_, Step::Move { .. }) => {
            ("moveNodes", json!({ "moves": steps.iter().map(fields).collect::<Vec<_>>() }), "nodes { ...N }")
        }
        (_, Step::Place { place, .. }) => {
            let place = place.as_ref().map(place_fields);
            ("placeInFolder", json!({ "nodeIds": ids(steps), "place": place }), "nodes { ...N }")
        }
        (_, Step::Delete { .. }) => ("deleteNodes", json!({ "nodeIds": ids(steps) }), "nodes { ...N }"),
        (_, Step::Restore { .. }) => ("restoreNodes", json!({ "nodeIds": ids(steps) }), "nodes { ...N }"),
        (_, Step::Link { .. }) => ("linkNodes", fields(&steps[0]), "link { id from { ...N } }"),
        (_, Step::EditLink { .. }) => ("updateLink", fields(&steps[0]), "link { id to { ...N } }"),
        (_, Step::Unlink { .. }) => ("unlinkNodes", json!({ "linkIds": ids(steps) }), "linkIds"),
        (_, Step::Describe { description }) => {
            let input = json!({ "id": board.to_string(), "description": description });
            ("updateBoard", input, "boardId")
        }
    };
    let mut input = input;
    let is_named_alone = matches!(
        (operation.form, &steps[0]),
        (Form::One, Step::Edit { .. } | Step::EditLink { .. } | Step::Describe { .. })
    );
    if !is_named_alone {
        input["boardId"] = json!(board.to_string());
    }
    input["idempotencyKey"] = json!(operation.key);
    input["clientMutationId"] = json!(operation.key);
    if let Some(expected) = expected {
        input["expectedVersion"] = json!(expected);
    }
    let type_name = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
    let type_name = match name {
        "deleteNodes" | "restoreNodes" => "NodesInput".to_owned(),
        _ => type_name,
    };
    let fragment = if answer.contains("...N") { with_node!("") } else { "" };
    let document = format!(
        "mutation ($input: {type_name}!) {{ payload: {name}(input: $input) {{ {answer} board {{ version }} \
         userErrors {{ __typename message path ... on ConflictError {{ current {{ id ... on Board {{ version }} \
         ... on BoardNode {{ version }} }} }} }} }} }} {fragment}"
    );
    (document, input)
}

fn ids(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| match step {
            Step::Unlink { link } => link.to_string(),
            Step::Place { node, .. } | Step::Delete { node, .. } | Step::Restore { node } => node.to_string(),
            _ => unreachable!(),
        })
        .collect()
}

fn change_name(step: &Step) -> &'static str {
    match step {
        Step::Create { kind: Kind::Resource, .. } => "createResource",
        Step::Create { kind: Kind::Chat, .. } => "createChat",
        Step::Create { kind: Kind::Folder, .. } => "createFolder",
        Step::Edit { kind: Kind::Resource, .. } => "updateResource",
        Step::Edit { kind: Kind::Chat, .. } => "updateChat",
        Step::Edit { kind: Kind::Folder, .. } => "updateFolder",
        Step::Move { .. } => "moveNode",
        Step::Place { .. } => "placeInFolder",
        Step::Delete { .. } => "deleteNode",
        Step::Restore { .. } => "restoreNode",
        Step::Link { .. } => "link",
        Step::EditLink { .. } => "updateLink",
        Step::Unlink { .. } => "unlink",
        Step::Describe { .. } => "updateBoard",
    }
}

fn place_fields(place: &Place) -> Value {
    let folder = place.folder.to_string();
    match place.spot {
        Spot::First => json!({ "folderId": folder, "first": true }),
        Spot::Last => json!({ "folderId": folder }),
        Spot::Before(node) => json!({ "folderId": folder, "beforeId": node.to_string() }),
        Spot::After(node) => json!({ "folderId": folder, "afterId": node.to_string() }),
    }
}

fn point((x, y): (f64, f64)) -> Value {
    json!({ "x": x, "y": y })
}

fn kind_word(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::DataFlow => "DATA_FLOW",
        LinkKind::Reference => "REFERENCE",
        LinkKind::Hierarchy => "HIERARCHY",
    }
}

fn given_fields(object: &mut Map<String, Value>, kind: Kind, given: &Given) {
    let name = match kind {
        Kind::Resource => "title",
        Kind::Chat => "systemPrompt",
        Kind::Folder => "name",
    };
    let mut put = |field: &str, value: Option<Value>| drop(value.map(|value| object.insert(field.to_owned(), value)));
    put(name, given.name.as_ref().map(|name| json!(name)));
    put("content", given.content.as_ref().map(|content| json!(content)));
    put("position", given.at.map(point));
    put("maxItems", given.max_items.map(|most| json!(most)));
}

/// The fields of one step, as they stand in a batch and in the mutation of its own alike.
fn fields(step: &Step) -> Value {
    let mut object = Map::new();
    let mut put = |field: &str, value: Value| drop(object.insert(field.to_owned(), value));
    let insist = |expected: &Option<i64>| expected.map(|expected| json!(expected));
    match step {
        Step::Create { node, kind, given, place } => {
            put("id", json!(node.to_string()));
            if let Some(place) = place {
                put("place", place_fields(place));
            }
            given_fields(&mut object, *kind, given);
        }
        Step::Edit { node, kind, given, expected } => {
            put("id", json!(node.to_string()));
            if let Some(expected) = insist(expected) {
                put("expectedVersion", expected);
            }
            given_fields(&mut object, *kind, given);
        }
        Step::Move { node, at, expected } => {
            put("id", json!(node.to_string()));
            put("position", point(*at));
            if let Some(expected) = insist(expected) {
                put("expectedVersion", expected);
            }
        }
        Step::Place { node, place } => {
            put("id", json!(node.to_string()));
            put("place", json!(place.as_ref().map(place_fields)));
        }
        Step::Delete { node, expected } => {
            put("id", json!(node.to_string()));
            if let Some(expected) = insist(expected) {
                put("expectedVersion", expected);
            }
        }
        Step::Restore { node } => put("id", json!(node.to_string())),
        Step::Link { link, from, to, kind, label } => {
            put("id", json!(link.to_string()));
            put("fromId", json!(from.to_string()));
            put("toId", json!(to.to_string()));
            put("kind", json!(kind_word(*kind)));
            put("label", json!(label));
        }
        Step::EditLink { link, kind, label } => {
            put("id", json!(link.to_string()));
            if let Some(kind) = kind {
                put("kind", json!(kind_word(*kind)));
            }
            if let Some(label) = label {
                put("label", json!(label));
            }
        }
        Step::Unlink { link } => put("id", json!(link.to_string())),
        Step::Describe { description } => put("description", json!(description)),
    }
    Value::Object(object)
}
