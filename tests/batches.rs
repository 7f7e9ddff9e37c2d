//! Changes that have to do with each other: several of one batch, and those of two gateways on one board.

use serde_json::{Value, json};

use crate::{
    support::{
        app::{Account, TestApp},
        fixture::{Board, BoardBuilder, folder_tree},
        sql::{value, values},
    },
    writes::{batch, done, mutate, refused},
};

async fn setup(nodes: i32) -> (TestApp, Account, Board) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(nodes).make(&app).await;
    (app, owner, board)
}

const NODES: &str = "query ($id: ID!) { board(id: $id) { version stats { nodeCount } \
    nodes(first: 100) { nodes { id version position { x y } parent { id } } } links(first: 100) { nodes { id label } } } }";

/// The board from memory, which must be what is in the database.
async fn seen(app: &TestApp, owner: &Account, board: &Board) -> Value {
    let variables = json!({ "id": board.id.to_string() });
    let bearer = format!("Bearer {}", owner.token);
    let past_memory = [("authorization", bearer.as_str()), ("cache-control", "no-cache")];
    let seen = app.answer(Some(owner), NODES, variables.clone()).await;
    assert_eq!(seen, app.ask(&past_memory, NODES, variables).await.1);
    seen["data"]["board"].clone()
}

/// Sees to it that the board is in memory.
async fn warm(app: &TestApp, owner: &Account, board: &Board) {
    app.data(Some(owner), NODES, json!({ "id": board.id.to_string() })).await;
    app.app.cached.settled().await;
}

async fn shift(app: &TestApp, owner: &Account, board: &Board, node: usize, x: f64, more: Value) -> Value {
    let mut change = json!({ "id": board.nodes[node].to_string(), "position": { "x": x, "y": 0.0 } });
    change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let key = change.as_object_mut().unwrap().remove("idempotencyKey");
    let input = json!({ "boardId": board.id.to_string(), "moves": [change], "idempotencyKey": key });
    let document = "mutation ($input: MoveNodesInput!) { moveNodes(input: $input) { board { version } \
        userErrors { __typename ... on ConflictError { current { ... on BoardNode { version position { x } } } } } } }";
    app.data(Some(owner), document, json!({ "input": input })).await["moveNodes"].take()
}

/// The names of what an entry of the log says, in its order.
async fn logged(app: &TestApp, version: i64) -> Vec<String> {
    let changes = "SELECT concat_ws(' ', c->>'type', c->>'id') FROM board_events, jsonb_array_elements(changes) c";
    values(&app.sql, &format!("{changes} WHERE version = {version}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_nothing_does_not_hide_what_another_gateway_did() {
    let (app, owner, board) = setup(4).await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    warm(&app, &owner, &board).await;
    assert_eq!(shift(&other, &owner, &board, 2, 5000.0, json!({})).await["board"]["version"], 2);
    // To where it is: there is nothing to do, and the version is the other's.
    assert_eq!(shift(&app, &owner, &board, 3, 1200.0, json!({})).await["board"]["version"], 2);
    assert_eq!(seen(&app, &owner, &board).await["nodes"]["nodes"][2]["position"]["x"], 5000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_again_or_refused_finds_the_board_as_it_was_then() {
    let (app, owner, board) = setup(4).await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let key = json!({ "idempotencyKey": "key" });
    warm(&app, &owner, &board).await;
    shift(&other, &owner, &board, 2, 5000.0, key.clone()).await;
    assert_eq!(shift(&app, &owner, &board, 2, 5000.0, key).await["board"]["version"], 2);
    assert_eq!(seen(&app, &owner, &board).await["version"], 2);
    warm(&app, &owner, &board).await;
    shift(&other, &owner, &board, 2, 6000.0, json!({})).await;
    let conflict = shift(&app, &owner, &board, 2, 7000.0, json!({ "expectedVersion": 2 })).await;
    let expected = json!({ "version": 3, "position": { "x": 6000.0 } });
    assert_eq!(conflict["userErrors"][0], json!({ "__typename": "ConflictError", "current": expected }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_changed_and_then_removed_is_not_missed_by_who_asks_again() {
    let (app, owner, board) = setup(3).await;
    let link = "link_01h455vb4pex5vsknk084sn02q";
    let [from, to] = [1, 2].map(|node: usize| board.nodes[node].to_string());
    done(&batch(&app, &owner, &board, json!([{ "link": { "id": link, "fromId": from, "toId": to } }])).await);
    let change = json!({ "id": link, "label": "changed", "idempotencyKey": "key" });
    let change = async || {
        mutate(&app, &owner, "updateLink", "UpdateLinkInput", "link { label } board { version }", change.clone()).await
    };
    assert_eq!(done(&change().await)["link"]["label"], "changed");
    done(&batch(&app, &owner, &board, json!([{ "unlink": { "id": link } }])).await);
    let again = change().await;
    assert_eq!((&done(&again)["link"], &again["board"]["version"]), (&Value::Null, &json!(4)));
    let other = json!({ "id": link, "label": "another" });
    refused(
        &mutate(&app, &owner, "updateLink", "UpdateLinkInput", "board { id }", other).await,
        "NotFoundError",
        &["id"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_makes_and_deletes_again_was_never_there() {
    let (app, owner, board) = setup(3).await;
    warm(&app, &owner, &board).await;
    let [node, link] = ["node_01h455vb4pex5vsknk084sn02q", "link_01h455vb4pex5vsknk084sn02q"];
    let folder = board.nodes[0].to_string();
    let changes = json!([
        { "createResource": { "id": node, "title": "short-lived", "place": { "folderId": folder } } },
        { "link": { "id": link, "fromId": node, "toId": board.nodes[1].to_string() } },
        { "restoreNode": { "id": node } },
        { "deleteNode": { "id": folder } },
    ]);
    done(&batch(&app, &owner, &board, changes).await);
    assert_eq!(seen(&app, &owner, &board).await["nodes"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(logged(&app, 2).await, [format!("node_deleted {}", board.nodes[0].0)]);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM connections").await, "0");
    // What is deleted before and after shows neither, whatever happens in between.
    let changes = json!([
        { "restoreNode": { "id": folder } },
        { "moveNode": { "id": folder, "position": { "x": 9, "y": 9 } } },
        { "deleteNode": { "id": folder } },
        { "moveNode": { "id": board.nodes[1].to_string(), "position": { "x": 9, "y": 9 } } },
    ]);
    done(&batch(&app, &owner, &board, changes).await);
    assert_eq!(seen(&app, &owner, &board).await["nodes"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(logged(&app, 3).await, [format!("node_saved {}", board.nodes[1].0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_a_batch_deletes_and_restores_brings_back_what_it_took() {
    let (app, owner, board) = setup(4).await;
    let [folder, before, with] = [0, 1, 2].map(|node: usize| board.nodes[node].to_string());
    let place = |id: &str| json!({ "placeInFolder": { "id": id, "place": { "folderId": folder } } });
    done(&batch(&app, &owner, &board, json!([place(&before), place(&with)])).await);
    done(&batch(&app, &owner, &board, json!([{ "deleteNode": { "id": before } }])).await);
    let made = "node_01h455vb4pex5vsknk084sn02q";
    let changes = json!([
        { "createResource": { "id": made, "title": "made", "place": { "folderId": folder } } },
        { "deleteNode": { "id": folder } },
        { "restoreNode": { "id": folder } },
    ]);
    done(&batch(&app, &owner, &board, changes).await);
    let seen = seen(&app, &owner, &board).await;
    let mut ids: Vec<_> = seen["nodes"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
    let mut expected = [folder.as_str(), &with, &board.nodes[3].to_string(), made].map(|id| json!(id)).to_vec();
    ids.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(ids, expected, "what was deleted before stays deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_a_batch_frees_and_takes_again_is_there_in_the_end() {
    let (app, owner, board) = setup(3).await;
    warm(&app, &owner, &board).await;
    let link = "link_01h455vb4pex5vsknk084sn02q";
    let [from, to] = [1, 2].map(|node: usize| board.nodes[node].to_string());
    let make = |label: &str| json!({ "link": { "id": link, "fromId": from, "toId": to, "label": label } });
    done(&batch(&app, &owner, &board, json!([make("first")])).await);
    done(&batch(&app, &owner, &board, json!([{ "unlink": { "id": link } }, make("second")])).await);
    assert_eq!(seen(&app, &owner, &board).await["links"]["nodes"], json!([{ "id": link, "label": "second" }]));
    // Who follows the log step by step comes to the same.
    let steps = logged(&app, 3).await;
    assert!(
        steps[0].starts_with("link_deleted") && steps[1].starts_with("link_saved") && steps.len() == 2,
        "{steps:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_a_batch_frees_is_taken_once() {
    let (app, owner, board) = setup(4).await;
    let link = |id: &str, to: usize| json!({ "link": { "id": id, "fromId": board.nodes[0].to_string(), "toId": board.nodes[to].to_string() } });
    let (first, second) = ("link_01h455vb4pex5vsknk084sn02q", "link_01h455vb4pex5vsknk084sn02r");
    done(&batch(&app, &owner, &board, json!([link(first, 1)])).await);
    let freed = json!({ "unlink": { "id": first } });
    let other_ends = batch(&app, &owner, &board, json!([freed, link(first, 2), link(first, 3)])).await;
    refused(&other_ends, "ConflictError", &["changes", "2", "link", "id"]);
    let same_ends = batch(&app, &owner, &board, json!([freed, link(first, 2), link(second, 2)])).await;
    refused(&same_ends, "ConflictError", &["changes", "2", "link", "id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_siblings_move_over_unseen() {
    let (app, owner, board) = setup(5).await;
    warm(&app, &owner, &board).await;
    let [folder, first, gone, last] = [0, 1, 2, 3].map(|node: usize| board.nodes[node].to_string());
    let place = |id: &str| json!({ "placeInFolder": { "id": id, "place": { "folderId": folder } } });
    done(&batch(&app, &owner, &board, json!([place(&first), place(&gone), place(&last)])).await);
    done(&batch(&app, &owner, &board, json!([{ "deleteNode": { "id": gone } }])).await);
    // Again and again behind the first: some time there is no room left before the deleted one.
    let behind = |id: &str, first: &str| json!({ "placeInFolder": { "id": id, "place": { "folderId": folder, "afterId": first } } });
    let mut version = 3;
    // Then they begin at 1 anew.
    while version < 10 || value(&app.sql, "SELECT min(position) FROM node_hierarchy").await != "1" {
        assert!(version < 200, "nothing was ever numbered anew");
        let (one, anchor) = if version % 2 == 1 { (&last, &first) } else { (&first, &last) };
        done(&batch(&app, &owner, &board, json!([behind(one, anchor)])).await);
        version += 1;
        assert!(!logged(&app, version).await.contains(&format!("node_saved {}", board.nodes[2].0)), "{version}");
    }
    let seen = seen(&app, &owner, &board).await;
    assert!(!seen["nodes"].to_string().contains(&gone), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_together_does_not_depend_on_its_order() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let (board, root) = folder_tree(&app, owner.id, 2, 3).await;
    let name = |number: usize| board.nodes[number].to_string();
    let input = |ids: &[String]| json!({ "boardId": board.id.to_string(), "nodeIds": ids });
    let whole = seen(&app, &owner, &board).await;
    let parents = |seen: &Value| -> Vec<(Value, Value)> {
        let mut places: Vec<_> = seen["nodes"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| (node["id"].clone(), node["parent"].clone()))
            .collect();
        places.sort_by_key(|(id, _)| id.to_string());
        places
    };
    let root = root.to_string();
    // 1 lies in the root, 3 and 4 in 1, 7 in 3. Each deletion is one request.
    let cases: [(&[&[String]], Vec<String>); 4] = [
        (&[&[name(3), name(1)]], vec![name(3), name(1)]),
        (&[std::slice::from_ref(&root)], vec![name(7), name(3), root.clone()]),
        (&[&[name(7)], &[name(3)], &[name(1)]], vec![name(7), name(3), name(1)]),
        (&[&[name(7), name(4)], std::slice::from_ref(&root)], vec![name(4), root.clone(), name(7)]),
    ];
    for (deletions, mut restored) in cases {
        for _ in 0..restored.len() {
            for ids in deletions {
                done(&mutate(&app, &owner, "deleteNodes", "NodesInput", "nodeIds", input(ids)).await);
            }
            let back =
                mutate(&app, &owner, "restoreNodes", "NodesInput", "nodeIds nodes { id }", input(&restored)).await;
            let told = done(&back)["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap());
            assert_eq!(told.collect::<Vec<_>>(), restored, "told in the order of the request");
            assert_eq!(parents(&seen(&app, &owner, &board).await), parents(&whole), "{restored:?}");
            restored.rotate_left(1);
        }
    }
    // In a batch too, with other changes between.
    done(&mutate(&app, &owner, "deleteNodes", "NodesInput", "nodeIds", input(&[name(1)])).await);
    let changes = json!([
        { "restoreNode": { "id": name(7) } },
        { "moveNode": { "id": name(7), "position": { "x": 1, "y": 1 } } },
        { "restoreNode": { "id": name(1) } },
    ]);
    done(&batch(&app, &owner, &board, changes).await);
    assert_eq!(parents(&seen(&app, &owner, &board).await), parents(&whole));
}
