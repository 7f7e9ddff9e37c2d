//! Changing what lies on boards: payloads, refusals, batches, folders, idempotency, and memory that is right afterwards.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, collaborator, folder_tree},
    patience::PATIENCE,
};

const ERRORS: &str = "userErrors { __typename message path ... on ConflictError { fields current { id } } \
    ... on LimitError { limit } }";

/// Runs one mutation with its input; returns its payload.
pub(crate) async fn mutate(app: &TestApp, who: &Account, name: &str, input: &str, fields: &str, value: Value) -> Value {
    let document = format!("mutation ($input: {input}!) {{ {name}(input: $input) {{ {fields} {ERRORS} }} }}");
    app.data(Some(who), &document, json!({ "input": value })).await[name].take()
}

pub(crate) async fn batch(app: &TestApp, who: &Account, board: &Board, changes: Value) -> Value {
    let input = json!({ "boardId": board.id.to_string(), "changes": changes });
    let fields = "board { version } nodes { id } links { id }";
    mutate(app, who, "applyBoardChanges", "ApplyBoardChangesInput", fields, input).await
}

async fn setup(nodes: i32, links: i32) -> (TestApp, Account, Board) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(nodes).links(links).make(&app).await;
    (app, owner, board)
}

pub(crate) fn done(payload: &Value) -> &Value {
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    payload
}

pub(crate) fn refused<'a>(payload: &'a Value, kind: &str, path: &[&str]) -> &'a Value {
    let error = &payload["userErrors"][0];
    assert_eq!((error["__typename"].as_str(), &error["path"]), (Some(kind), &json!(path)), "{payload}");
    assert_eq!(payload["userErrors"].as_array().unwrap().len(), 1);
    error
}

fn ids(nodes: &Value) -> Vec<&str> {
    nodes.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

/// The version of the board, and how many entries its log has.
async fn version(app: &TestApp, board: &Board) -> (i64, i64) {
    let sql = "SELECT b.version, (SELECT count(*) FROM board_events e WHERE e.board_id = b.id) FROM boards b \
        WHERE b.id = $1::text::uuid";
    let row = app.sql.query_one(sql, &[&board.id.0.to_string()]).await.unwrap();
    (row.get(0), row.get(1))
}

const EVERYTHING: &str = "query ($id: ID!) { board(id: $id) { name version stats { nodeCount linkCount folderCount } \
    nodes(first: 100) { totalCount nodes { __typename id version position { x y } zIndex parent { id } ancestors { id } \
        ... on ResourceNode { title content } ... on FolderNode { name childCount children(first: 50) { nodes { id } } } } } \
    links(first: 100) { totalCount nodes { id label kind from { id } to { id } } } } }";

/// Memory and database must tell the same of a board.
async fn same_past_memory(app: &TestApp, who: &Account, board: &Board) -> Value {
    let variables = json!({ "id": board.id.to_string() });
    let remembered = app.data(Some(who), EVERYTHING, variables.clone()).await;
    let bearer = format!("Bearer {}", who.token);
    let headers = [("authorization", bearer.as_str()), ("cache-control", "no-cache")];
    let (_, stored) = app.ask(&headers, EVERYTHING, variables).await;
    assert_eq!(remembered, stored["data"]);
    remembered
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_all_kinds_are_made_and_changed() {
    let (app, owner, board) = setup(0, 0).await;
    let id = board.id.to_string();
    let fields = "node { __typename id version position { x } size { width } ... on ResourceNode { title content wordCount } \
        ... on ChatNode { model temperature stopSequences } ... on FolderNode { name color maxItems } } \
        edge { cursor node { id } } board { version } clientMutationId";
    let input = json!({ "boardId": id, "title": "Notes", "content": "three short words", "position": { "x": 5.0, "y": 6.0 },
        "clientMutationId": "mine" });
    let made = mutate(&app, &owner, "createResourceNode", "CreateResourceNodeInput", fields, input).await;
    let node = &done(&made)["node"];
    assert_eq!(
        (node["title"].as_str(), node["wordCount"].as_i64(), node["version"].as_i64()),
        (Some("Notes"), Some(3), Some(2))
    );
    assert_eq!((&made["clientMutationId"], &made["board"]["version"]), (&json!("mine"), &json!(2)));
    assert_eq!(made["edge"]["node"]["id"], node["id"]);

    let input = json!({ "boardId": id, "model": "gpt-4", "stopSequences": ["END", "\""], "temperature": 0.5 });
    let chat = mutate(&app, &owner, "createChatNode", "CreateChatNodeInput", fields, input).await;
    assert_eq!(done(&chat)["node"]["stopSequences"], json!(["END", "\""]));
    let input = json!({ "boardId": id, "name": "Folder", "maxItems": 3 });
    let folder = mutate(&app, &owner, "createFolderNode", "CreateFolderNodeInput", fields, input).await;
    assert_eq!(done(&folder)["node"]["maxItems"], 3);

    // What is not given stays; null empties.
    let fields = "node { title content version } board { version }";
    let input = json!({ "id": node["id"], "title": null, "expectedVersion": 2 });
    let changed = mutate(&app, &owner, "updateResourceNode", "UpdateResourceNodeInput", fields, input).await;
    assert_eq!(done(&changed)["node"], json!({ "title": null, "content": "three short words", "version": 5 }));
    let input = json!({ "id": node["id"], "content": null });
    let changed = mutate(&app, &owner, "updateResourceNode", "UpdateResourceNodeInput", fields, input).await;
    assert_eq!(done(&changed)["node"]["content"], Value::Null);
    let input = json!({ "id": folder["node"]["id"], "maxItems": null, "color": "#123456" });
    let changed =
        mutate(&app, &owner, "updateFolderNode", "UpdateFolderNodeInput", "node { name color maxItems }", input).await;
    assert_eq!(done(&changed)["node"], json!({ "name": "Folder", "color": "#123456", "maxItems": null }));
    let input = json!({ "id": chat["node"]["id"], "systemPrompt": "Be brief" });
    let changed =
        mutate(&app, &owner, "updateChatNode", "UpdateChatNodeInput", "node { model systemPrompt }", input).await;
    assert_eq!(done(&changed)["node"], json!({ "model": "gpt-4", "systemPrompt": "Be brief" }));
    // A change that changes nothing is no change.
    let before = version(&app, &board).await;
    let input = json!({ "id": chat["node"]["id"], "systemPrompt": "Be brief" });
    done(&mutate(&app, &owner, "updateChatNode", "UpdateChatNodeInput", "node { id }", input).await);
    assert_eq!(version(&app, &board).await, before);
    assert_eq!(before.0 - 1, before.1, "every version has its entry in the log");
    same_past_memory(&app, &owner, &board).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_its_reason() {
    let (app, owner, board) = setup(20, 5).await;
    let id = board.id.to_string();
    let folder = board.nodes[0].to_string();
    let resource = board.nodes[2].to_string();
    let create = async |input: Value| {
        mutate(&app, &owner, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await
    };
    let before = version(&app, &board).await;
    refused(&create(json!({ "boardId": id })).await, "ValidationError", &["name"]);
    refused(&create(json!({ "boardId": id, "name": "x".repeat(256) })).await, "ValidationError", &["name"]);
    refused(&create(json!({ "boardId": id, "name": "x", "color": "red" })).await, "ValidationError", &["color"]);
    refused(&create(json!({ "boardId": id, "name": "a\0b" })).await, "ValidationError", &["name"]);
    refused(&create(json!({ "boardId": id, "name": "x", "metadata": [1] })).await, "ValidationError", &["metadata"]);
    refused(&create(json!({ "boardId": folder, "name": "x" })).await, "ValidationError", &["boardId"]);
    refused(&create(json!({ "boardId": id, "name": "x", "id": "node_1" })).await, "ValidationError", &["id"]);
    let nowhere = "board_01h455vb4pex5vsknk084sn02q";
    refused(&create(json!({ "boardId": nowhere, "name": "x" })).await, "NotFoundError", &["boardId"]);
    let place = json!({ "folderId": resource });
    refused(&create(json!({ "boardId": id, "name": "x", "place": place })).await, "ValidationError", &["folderId"]);

    let update = async |input: Value| {
        mutate(&app, &owner, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await
    };
    refused(&update(json!({ "id": folder, "title": "x" })).await, "NotFoundError", &["id"]);
    refused(&update(json!({ "id": resource, "url": "javascript:alert(1)" })).await, "ValidationError", &["url"]);
    let stale = update(json!({ "id": resource, "title": "x", "expectedVersion": 9 })).await;
    let error = refused(&stale, "ConflictError", &["expectedVersion"]);
    assert_eq!((&error["fields"], &error["current"]["id"]), (&json!(["title"]), &json!(resource)));

    let link = async |from: &str, to: &str| {
        let input = json!({ "boardId": id, "fromId": from, "toId": to });
        mutate(&app, &owner, "linkNodes", "LinkNodesInput", "link { id }", input).await
    };
    refused(&link(&resource, &resource).await, "ValidationError", &["toId"]);
    let first = board.nodes[0].to_string();
    refused(&link(&first, &board.nodes[1].to_string()).await, "ConflictError", &["id"]);
    assert_eq!(version(&app, &board).await, before, "nothing of all this was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_decide_what_may_be_changed() {
    let (app, owner, board) = setup(3, 0).await;
    let id = board.id.to_string();
    for (name, role) in [("viewer", "view"), ("commenter", "comment"), ("editor", "edit")] {
        let guest = app.account(&format!("{name}@example.org")).await;
        collaborator(&app, &board, guest.id, role, true).await;
    }
    let create = async |who: &Account| {
        let input = json!({ "boardId": id, "name": "x" });
        mutate(&app, who, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await
    };
    let publish = async |who: &Account| {
        let input = json!({ "id": id, "isPublic": true });
        mutate(&app, who, "updateBoard", "UpdateBoardInput", "board { isPublic }", input).await
    };
    let delete =
        async |who: &Account| mutate(&app, who, "deleteBoard", "BoardInput", "boardId", json!({ "id": id })).await;
    for name in ["viewer", "commenter"] {
        let guest = app.account(&format!("{name}@example.org")).await;
        refused(&create(&guest).await, "PermissionError", &["boardId"]);
        refused(&publish(&guest).await, "PermissionError", &["id"]);
        refused(&delete(&guest).await, "PermissionError", &["id"]);
    }
    let editor = app.account("editor@example.org").await;
    done(&create(&editor).await);
    refused(&publish(&editor).await, "PermissionError", &["id"]);
    refused(&delete(&editor).await, "PermissionError", &["id"]);
    let stranger = app.account("stranger@example.org").await;
    refused(&create(&stranger).await, "NotFoundError", &["boardId"]);
    refused(&publish(&stranger).await, "NotFoundError", &["id"]);
    refused(&delete(&stranger).await, "NotFoundError", &["id"]);
    let node = board.nodes[2].to_string();
    let input = json!({ "id": node, "title": "x" });
    let foreign = mutate(&app, &stranger, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await;
    let error = refused(&foreign, "NotFoundError", &["id"]);
    assert!(!error["message"].as_str().unwrap().contains("board"), "{error}");
    done(&publish(&owner).await);
    refused(&create(&stranger).await, "PermissionError", &["boardId"]);
    done(&delete(&owner).await);
    refused(&create(&owner).await, "NotFoundError", &["boardId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_change_or_none() {
    let (app, owner, board) = setup(5, 0).await;
    let (folder, note) = ("node_01h455vb4pex5vsknk084sn02q", "node_01h455vb4pex5vsknk084sn02r");
    let link = "link_01h455vb4pex5vsknk084sn02q";
    let changes = json!([
        { "createFolder": { "id": folder, "name": "New" } },
        { "createResource": { "id": note, "title": "Note", "content": "text", "place": { "folderId": folder } } },
        { "placeInFolder": { "id": board.nodes[2].to_string(), "place": { "folderId": folder, "first": true } } },
        { "link": { "id": link, "fromId": note, "toId": board.nodes[1].to_string(), "label": "to the chat" } },
        { "moveNode": { "id": folder, "position": { "x": 10.0, "y": 20.0 } } },
        { "updateResource": { "id": note, "title": "Renamed" } },
        { "updateBoard": { "name": "Another name" } },
    ]);
    let before = version(&app, &board).await;
    let payload = batch(&app, &owner, &board, changes).await;
    assert_eq!(ids(&done(&payload)["nodes"]), [folder, note, &board.nodes[2].to_string()]);
    assert_eq!(ids(&payload["links"]), [link]);
    assert_eq!(version(&app, &board).await, (before.0 + 1, before.1 + 1));
    let data = same_past_memory(&app, &owner, &board).await;
    let nodes = data["board"]["nodes"]["nodes"].as_array().unwrap();
    let made = nodes.iter().find(|node| node["id"] == folder).unwrap();
    assert_eq!(ids(&made["children"]["nodes"]), [&board.nodes[2].to_string(), note]);
    assert_eq!((&made["position"], &data["board"]["name"]), (&json!({ "x": 10.0, "y": 20.0 }), &json!("Another name")));

    let before = version(&app, &board).await;
    let changes = json!([
        { "updateResource": { "id": note, "title": "Lost" } },
        { "deleteNode": { "id": folder } },
        { "updateResource": { "id": note, "title": "Deleted by the change before" } },
    ]);
    let payload = batch(&app, &owner, &board, changes).await;
    refused(&payload, "NotFoundError", &["changes", "2", "updateResource", "id"]);
    assert_eq!(version(&app, &board).await, before);
    assert_eq!(same_past_memory(&app, &owner, &board).await, data);
    let none = batch(&app, &owner, &board, json!([])).await;
    refused(&none, "LimitError", &["changes"]);
    let many = |count: usize| {
        (0..count)
            .map(|n| json!({ "createFolder": { "name": n.to_string(), "position": { "x": n, "y": 0 } } }))
            .collect::<Value>()
    };
    done(&batch(&app, &owner, &board, many(1_000)).await);
    refused(&batch(&app, &owner, &board, many(1_001)).await, "LimitError", &["changes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_500_nodes_takes_a_handful_of_statements() {
    let (app, owner, board) = setup(500, 100).await;
    let variables = json!({ "id": board.id.to_string() });
    app.data(Some(&owner), EVERYTHING, variables.clone()).await;
    app.app.cached.settled().await;
    app.data(Some(&owner), EVERYTHING, variables.clone()).await;
    let moved = |by: f64| -> Value {
        let change = |id: &ragboard::domain::NodeId| json!({ "moveNode": { "id": id.to_string(), "position": { "x": by, "y": by } } });
        board.nodes.iter().map(change).collect()
    };
    let expected = [
        "change.board",
        "change.committed_board",
        "change.lock",
        "change.log",
        "change.nodes",
        "change.nodes",
        "change.stats",
        "change.update_nodes",
        "change.version",
    ];
    let (mut by, deadline) = (0.0, Instant::now() + PATIENCE);
    loop {
        app.current().await;
        let mut written = Vec::new();
        for _ in 0..2 {
            by += 1.0;
            let before = app.statements();
            done(&batch(&app, &owner, &board, moved(by)).await);
            written = app.statements_since(&before);
        }
        // What was written is in memory: the next reader asks the database nothing but long texts.
        let before = app.statements();
        let data = app.data(Some(&owner), EVERYTHING, variables.clone()).await;
        assert_eq!(data["board"]["nodes"]["nodes"][0]["position"], json!({ "x": by, "y": by }));
        let read = app.statements_since(&before);
        if written == expected && read == ["nodes.texts"] {
            break;
        }
        // While a look of the cache is late, reads pass memory, and rightly.
        assert!(Instant::now() < deadline, "{written:?}, then {read:?}");
    }
    same_past_memory(&app, &owner, &board).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_keep_their_rules() {
    let (app, owner, board) = setup(40, 0).await;
    let name = |number: usize| board.nodes[number].to_string();
    let place = |node: usize, place: Value| json!({ "placeInFolder": { "id": name(node), "place": place } });
    let into = |node: usize, folder: usize| place(node, json!({ "folderId": name(folder) }));
    // 0, 10, 20 and 30 are folders.
    done(&batch(&app, &owner, &board, json!([into(10, 0), into(20, 10), into(2, 20), into(3, 20), into(4, 20)])).await);
    let around = batch(&app, &owner, &board, json!([into(0, 20)])).await;
    let error = refused(&around, "ConflictError", &["changes", "0", "placeInFolder", "folderId"]);
    assert_eq!(error["fields"], json!(["parent"]));
    refused(
        &batch(&app, &owner, &board, json!([into(30, 30)])).await,
        "ConflictError",
        &["changes", "0", "placeInFolder", "folderId"],
    );
    // Out of the way first, it fits; all in one batch.
    done(&batch(&app, &owner, &board, json!([place(20, Value::Null), into(0, 20)])).await);
    done(&batch(&app, &owner, &board, json!([place(0, Value::Null), into(20, 10)])).await);

    // Order by hand: first, last, before and behind, again and again in the same gap.
    let order = async || {
        let document =
            "query ($id: ID!) { node(id: $id) { ... on FolderNode { children(first: 50) { nodes { id } } } } }";
        let data = app.data(Some(&owner), document, json!({ "id": name(20) })).await;
        ids(&data["node"]["children"]["nodes"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let named = |numbers: &[usize]| numbers.iter().map(|number| name(*number)).collect::<Vec<_>>();
    assert_eq!(order().await, named(&[2, 3, 4]));
    let spot = |node: usize, key: &str, anchor: usize| {
        let mut spot = json!({ "folderId": name(20) });
        spot[key] = json!(name(anchor));
        place(node, spot)
    };
    done(
        &batch(&app, &owner, &board, json!([spot(4, "beforeId", 3), place(2, json!({ "folderId": name(20) }))])).await,
    );
    assert_eq!(order().await, named(&[4, 3, 2]));
    for turn in 0..70 {
        let (moved, anchor) = if turn % 2 == 0 { (2, 4) } else { (3, 4) };
        done(&batch(&app, &owner, &board, json!([spot(moved, "afterId", anchor)])).await);
    }
    assert_eq!(order().await, named(&[4, 3, 2]));
    let missing = batch(&app, &owner, &board, json!([spot(2, "afterId", 7)])).await;
    refused(&missing, "NotFoundError", &["changes", "0", "placeInFolder", "position"]);

    let input = json!({ "id": name(30), "maxItems": 2 });
    done(&mutate(&app, &owner, "updateFolderNode", "UpdateFolderNodeInput", "node { id }", input).await);
    done(&batch(&app, &owner, &board, json!([into(5, 30), into(6, 30), into(6, 30)])).await);
    let full = batch(&app, &owner, &board, json!([into(7, 30)])).await;
    assert_eq!(refused(&full, "LimitError", &["changes", "0", "placeInFolder", "folderId"])["limit"], 2);
    done(&batch(&app, &owner, &board, json!([{ "deleteNode": { "id": name(5) } }, into(7, 30)])).await);
    let full = batch(&app, &owner, &board, json!([{ "restoreNode": { "id": name(5) } }])).await;
    refused(&full, "LimitError", &["changes", "0", "restoreNode", "folderId"]);
    same_past_memory(&app, &owner, &board).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_nest_64_levels_and_no_deeper() {
    let (app, owner, board) = setup(0, 0).await;
    let id = |number: usize| ragboard::domain::NodeId(uuid::Uuid::from_u128(number as u128 + 1)).to_string();
    let chain = |levels: usize| -> Value {
        (0..levels)
            .map(|level| {
                let place = if level == 0 { Value::Null } else { json!({ "folderId": id(level - 1) }) };
                json!({ "createFolder": { "id": id(level), "name": level.to_string(), "place": place } })
            })
            .collect()
    };
    let deep = batch(&app, &owner, &board, chain(67)).await;
    assert_eq!(deep["userErrors"][0]["__typename"], "LimitError", "{deep}");
    done(&batch(&app, &owner, &board, chain(64)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_of_a_cycle_do_not_meet() {
    let (app, owner, board) = setup(20, 0).await;
    let (a, b) = (board.nodes[0].to_string(), board.nodes[10].to_string());
    for _ in 0..10 {
        let into = |node: &str, folder: &str| {
            let changes = json!([{ "placeInFolder": { "id": node, "place": { "folderId": folder } } }]);
            batch(&app, &owner, &board, changes)
        };
        let (one, other) = tokio::join!(into(&a, &b), into(&b, &a));
        let refusals =
            [&one, &other].iter().filter(|payload| !payload["userErrors"].as_array().unwrap().is_empty()).count();
        assert_eq!(refusals, 1, "{one} {other}");
        let out = json!([{ "placeInFolder": { "id": a } }, { "placeInFolder": { "id": b } }]);
        done(&batch(&app, &owner, &board, out).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_takes_its_content_along_and_gives_it_back() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let (board, root) = folder_tree(&app, owner.id, 3, 2).await;
    let (inner, leaf) = (board.nodes[1].to_string(), board.nodes[4].to_string());
    let input = |ids: &[&str]| json!({ "boardId": board.id.to_string(), "nodeIds": ids });
    let fields = "nodes { id } nodeIds board { stats { nodeCount } }";
    let linked = json!([{ "link": { "fromId": leaf, "toId": board.nodes[2].to_string() } }]);
    done(&batch(&app, &owner, &board, linked).await);
    let whole = same_past_memory(&app, &owner, &board).await;
    // One leaf goes by itself first; it does not come back with the folder.
    let alone = board.nodes[5].to_string();
    done(&mutate(&app, &owner, "deleteNodes", "NodesInput", fields, input(&[&alone])).await);
    let deleted = mutate(&app, &owner, "deleteNodes", "NodesInput", fields, input(&[&inner])).await;
    assert_eq!(done(&deleted)["board"]["stats"]["nodeCount"], 13 - 1 - 3);
    assert_eq!((&deleted["nodes"], &deleted["nodeIds"]), (&json!([]), &json!([inner])));
    let after = same_past_memory(&app, &owner, &board).await;
    assert_eq!(after["board"]["links"]["totalCount"], 0, "links go with their ends");
    let again = mutate(&app, &owner, "deleteNodes", "NodesInput", fields, input(&[&leaf])).await;
    refused(&again, "NotFoundError", &["nodeIds", "0", "id"]);
    let restored = mutate(&app, &owner, "restoreNodes", "NodesInput", fields, input(&[&inner])).await;
    assert_eq!(done(&restored)["board"]["stats"]["nodeCount"], 13 - 1);
    done(&mutate(&app, &owner, "restoreNodes", "NodesInput", fields, input(&[&alone])).await);
    let back = same_past_memory(&app, &owner, &board).await;
    assert_eq!(back["board"]["stats"], whole["board"]["stats"]);
    // What comes back while its folder is gone lies on the board itself.
    done(&mutate(&app, &owner, "deleteNodes", "NodesInput", fields, input(&[&leaf])).await);
    done(&mutate(&app, &owner, "deleteNodes", "NodesInput", fields, input(&[&root.to_string()])).await);
    done(&mutate(&app, &owner, "restoreNodes", "NodesInput", fields, input(&[&leaf])).await);
    let data = app
        .data(
            Some(&owner),
            "query ($id: ID!) { node(id: $id) { ... on FolderNode { parent { id } } } }",
            json!({ "id": leaf }),
        )
        .await;
    assert_eq!(data["node"], json!({ "parent": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_changed_and_removed() {
    let (app, owner, board) = setup(4, 0).await;
    let (a, b) = (board.nodes[2].to_string(), board.nodes[3].to_string());
    let input = json!({ "boardId": board.id.to_string(), "fromId": a, "toId": b, "kind": "REFERENCE", "label": "see" });
    let made = mutate(
        &app,
        &owner,
        "linkNodes",
        "LinkNodesInput",
        "link { id kind label style } edge { cursor } board { version }",
        input,
    )
    .await;
    assert_eq!(done(&made)["link"]["label"], "see");
    let id = made["link"]["id"].clone();
    let input = json!({ "id": id, "label": null, "kind": "HIERARCHY" });
    let changed = mutate(&app, &owner, "updateLink", "UpdateLinkInput", "link { kind label }", input).await;
    assert_eq!(done(&changed)["link"], json!({ "kind": "HIERARCHY", "label": null }));
    let data = same_past_memory(&app, &owner, &board).await;
    assert_eq!(data["board"]["stats"]["linkCount"], 1);
    let input = json!({ "boardId": board.id.to_string(), "linkIds": [id] });
    let removed = mutate(&app, &owner, "unlinkNodes", "UnlinkNodesInput", "linkIds", input.clone()).await;
    assert_eq!(done(&removed)["linkIds"], json!([id]));
    let again = mutate(&app, &owner, "unlinkNodes", "UnlinkNodesInput", "linkIds", input).await;
    refused(&again, "NotFoundError", &["linkIds", "0", "id"]);
    assert_eq!(same_past_memory(&app, &owner, &board).await["board"]["stats"]["linkCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_a_key_is_done_once() {
    let (app, owner, board) = setup(2, 0).await;
    let create = async |name: &str, key: &str| {
        let input = json!({ "boardId": board.id.to_string(), "name": name, "idempotencyKey": key });
        mutate(&app, &owner, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await
    };
    let first = create("Folder", "key").await;
    let again = create("Folder", "key").await;
    assert_eq!(done(&first)["node"], done(&again)["node"]);
    refused(&create("Another", "key").await, "IdempotencyKeyReusedError", &["idempotencyKey"]);
    let at_once = futures_util::future::join_all((0..8).map(|_| create("Once", "at once"))).await;
    assert!(at_once.windows(2).all(|pair| done(&pair[0])["node"] == pair[1]["node"]));
    assert_eq!(version(&app, &board).await.0, 3);
    // A refused request leaves its key free.
    refused(&create("", "later").await, "ValidationError", &["name"]);
    done(&create("Later", "later").await);
    // Keys are everybody's own.
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &board, guest.id, "edit", true).await;
    let input = json!({ "boardId": board.id.to_string(), "name": "Folder", "idempotencyKey": "key" });
    let theirs = mutate(&app, &guest, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await;
    assert_ne!(done(&theirs)["node"], first["node"]);
    app.sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'", &[]).await.unwrap();
    done(&create("Another", "key").await);
    assert_eq!(app.app.store.remove_expired().await.unwrap(), 3, "all but the one that was used anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_creation_under_a_chosen_id_is_done_once() {
    let (app, owner, board) = setup(2, 0).await;
    let create = async |title: &str, content: &str| {
        let input = json!({ "boardId": board.id.to_string(), "id": "node_01h455vb4pex5vsknk084sn02q", "title": title, "content": content });
        mutate(&app, &owner, "createResourceNode", "CreateResourceNodeInput", "node { id }", input).await
    };
    done(&create("Title", "Content").await);
    let before = version(&app, &board).await;
    done(&create("Title", "Content").await);
    assert_eq!(version(&app, &board).await, before);
    let other = create("Title", "Other").await;
    assert_eq!(refused(&other, "ConflictError", &["id"])["current"]["id"], "node_01h455vb4pex5vsknk084sn02q");
    // An id of another board is taken, and says nothing of that board.
    let stranger = app.account("stranger@example.org").await;
    let own = BoardBuilder::new(stranger.id, "Own").make(&app).await;
    let input = json!({ "boardId": own.id.to_string(), "id": "node_01h455vb4pex5vsknk084sn02q", "title": "Title" });
    let taken = mutate(&app, &stranger, "createResourceNode", "CreateResourceNodeInput", "node { id }", input).await;
    assert_eq!(refused(&taken, "ConflictError", &["id"])["current"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_changed_in_the_order_of_commits() {
    let (app, owner, board) = setup(3, 0).await;
    let (a, b) = (board.nodes[1].to_string(), board.nodes[2].to_string());
    let input = json!({ "boardId": board.id.to_string(), "fromId": a, "toId": b, "clientMutationId": "mine" });
    let link =
        done(&mutate(&app, &owner, "linkNodes", "LinkNodesInput", "link { id }", input).await)["link"]["id"].clone();
    done(
        &batch(&app, &owner, &board, json!([{ "updateBoard": { "name": "Another" } }, { "deleteNode": { "id": a } }]))
            .await,
    );
    let document = "query ($id: ID!, $after: String) { board(id: $id) { events(first: 10, after: $after) { totalCount \
        pageInfo { hasNextPage endCursor } nodes { __typename ... on ResyncRequired { version } ... on BoardChanged { cursor version \
        actor { id } clientMutationId changes { __typename ... on LinkSaved { linkId link { id } } \
        ... on NodeDeleted { nodeId } ... on BoardUpdated { board { name } } } } } } } }";
    let events = async |after: Value| {
        let variables = json!({ "id": board.id.to_string(), "after": after });
        app.data(Some(&owner), document, variables).await["board"]["events"].take()
    };
    let all = events(Value::Null).await;
    assert_eq!(all["totalCount"], 2);
    let first = &all["nodes"][0];
    assert_eq!((&first["version"], &first["clientMutationId"]), (&json!(2), &json!("mine")));
    assert_eq!(first["actor"]["id"], owner.id.to_string());
    // The link is shown as it is now: hidden with its end.
    assert_eq!(first["changes"], json!([{ "__typename": "LinkSaved", "linkId": link, "link": null }]));
    let second = json!([
        { "__typename": "BoardUpdated", "board": { "name": "Another" } }, { "__typename": "NodeDeleted", "nodeId": a }
    ]);
    assert_eq!(all["nodes"][1]["changes"], second);
    let rest = events(first["cursor"].clone()).await;
    assert_eq!((rest["nodes"].as_array().unwrap().len(), &rest["nodes"][0]["version"]), (1, &json!(3)));
    assert_eq!(events(all["pageInfo"]["endCursor"].clone()).await["nodes"], json!([]));
    // A log that was cut off behind the reader.
    app.sql.execute("DELETE FROM board_events WHERE version = 3", &[]).await.unwrap();
    done(&batch(&app, &owner, &board, json!([{ "updateBoard": { "name": "Third" } }])).await);
    let cut = events(first["cursor"].clone()).await;
    assert_eq!(cut["nodes"], json!([{ "__typename": "ResyncRequired", "version": 4 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_do_not_come_by_get() {
    let (app, owner, board) = setup(1, 0).await;
    let mutation = "mutation%7BcreateBoard(input%3A%7Bname%3A%22x%22%7D)%7BboardId%7D%7D";
    let request = axum::http::Request::get(format!("/graphql?query={mutation}"))
        .header("authorization", format!("Bearer {}", owner.token))
        .body(axum::body::Body::empty());
    let response = app.send(request.unwrap()).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "INVALID_DOCUMENT");
    let boards: i64 = app.sql.query_one("SELECT count(*) FROM boards", &[]).await.unwrap().get(0);
    assert_eq!((boards, version(&app, &board).await.0), (1, 1));
}
