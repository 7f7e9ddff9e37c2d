//! How much accounts may have: boards, nodes, bytes and copies by their plan, exact when several write at once, and said in user errors.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    support::{
        app::{Account, TestApp},
        cluster::connect,
        fixture::{Board, BoardBuilder, collaborator},
        sql::{value, values},
    },
    writes::{done, mutate, refused},
};

/// Boards whose bytes are not those of what is there.
const WRONG_BYTES: &str = "SELECT row_to_json(s) || ' but there are ' || row_to_json(t) FROM board_stats s CROSS JOIN LATERAL (\
    SELECT count(*) AS nodes, coalesce(sum(m.bytes), 0) AS bytes, coalesce(sum(m.bytes) FILTER (WHERE n.deleted_at IS NULL), 0) AS living, \
        (SELECT coalesce(sum(coalesce(octet_length(c.label), 0) + octet_length(c.style::text) + octet_length(c.metadata::text)), 0) \
            FROM connections c WHERE c.board_id = s.board_id) AS links \
    FROM nodes n CROSS JOIN LATERAL (SELECT node_bytes(n.id) AS bytes) AS m WHERE n.board_id = s.board_id) AS t \
    WHERE (s.stored_nodes, s.stored_bytes, s.living_bytes, s.link_bytes) <> (t.nodes, t.bytes, t.living, t.links)";

async fn limited(tiers: &str) -> (TestApp, Account) {
    let app = TestApp::with(&[("RAGBOARD_TIERS", tiers), ("DATABASE_POOL_SIZE", "8")]).await;
    let owner = app.account("owner@example.org").await;
    (app, owner)
}

async fn create_board(app: &TestApp, who: &Account, name: &str) -> Value {
    mutate(app, who, "createBoard", "CreateBoardInput", "board { id }", json!({ "name": name })).await
}

async fn add(app: &TestApp, who: &Account, board: &Board, content: &str) -> Value {
    let input = json!({ "boardId": board.id.to_string(), "content": content });
    mutate(app, who, "createResourceNode", "CreateResourceNodeInput", "node { id }", input).await
}

/// What an account is told that it has, and may have.
async fn quota(app: &TestApp, who: &Account) -> Value {
    let document = "{ viewer { quota { boards { used limit } nodes { used limit } bytes { used limit } copiesToday { used limit } } } }";
    app.data(Some(who), document, Value::Null).await["viewer"]["quota"].take()
}

fn succeeded(payloads: &[Value]) -> usize {
    payloads.iter().filter(|payload| payload["userErrors"] == json!([])).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_boards_at_the_limit_exactly_so_many_are_made() {
    let (app, owner) = limited("free boards=3").await;
    let names: Vec<String> = (0..8).map(|number| format!("Board {number}")).collect();
    let made = join_all(names.iter().map(|name| create_board(&app, &owner, name))).await;
    assert_eq!(succeeded(&made), 3);
    let refusal = made.iter().find(|payload| payload["userErrors"] != json!([])).unwrap();
    refused(refusal, "LimitError", &[]);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM boards").await, "3");
    // One that is deleted makes room, and does not come back when the room is taken.
    let board = made.iter().find_map(|payload| payload["board"]["id"].as_str()).unwrap();
    done(&mutate(&app, &owner, "deleteBoard", "BoardInput", "clientMutationId", json!({ "id": board })).await);
    done(&create_board(&app, &owner, "In its place").await);
    let restored = mutate(&app, &owner, "restoreBoard", "BoardInput", "board { id }", json!({ "id": board })).await;
    refused(&restored, "LimitError", &[]);
    assert_eq!(quota(&app, &owner).await["boards"], json!({ "used": 3.0, "limit": 3.0 }));
    // Another account has limits of its own.
    let other = app.account("other@example.org").await;
    done(&create_board(&app, &other, "Board 0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_making_without_end_is_stopped() {
    let (app, owner) = limited("free boards=2").await;
    for number in 0..6 {
        let made = create_board(&app, &owner, &format!("Board {number}")).await;
        let board = done(&made)["board"]["id"].clone();
        done(&mutate(&app, &owner, "deleteBoard", "BoardInput", "clientMutationId", json!({ "id": board })).await);
    }
    let refusal = create_board(&app, &owner, "One too many").await;
    let error = refused(&refusal, "LimitError", &[]);
    assert!(error["message"].as_str().unwrap().contains("deleted ones included"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_counted_over_all_boards_of_the_owner_whoever_adds_them() {
    let (app, owner) = limited("free nodes=10").await;
    let mut boards = Vec::new();
    for number in 0..4 {
        boards.push(BoardBuilder::new(owner.id, &format!("Board {number}")).nodes(2).make(&app).await);
    }
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &boards[0], guest.id, "edit", true).await;
    // Two places are left, and four write at once, each to a board of its own.
    let added = join_all(boards.iter().map(|board| add(&app, &owner, board, "text"))).await;
    assert_eq!(succeeded(&added), 2);
    refused(&add(&app, &guest, &boards[0], "text").await, "LimitError", &[]);
    assert_eq!(quota(&app, &owner).await["nodes"], json!({ "used": 10.0, "limit": 10.0 }));
    assert_eq!(quota(&app, &guest).await["nodes"]["used"], 0.0);
    // What does not grow goes on; so does what becomes smaller, and that makes room.
    let node = boards[1].nodes[0].to_string();
    let moved =
        json!({ "boardId": boards[1].id.to_string(), "moves": [{ "id": node, "position": { "x": 9, "y": 9 } }] });
    done(&mutate(&app, &owner, "moveNodes", "MoveNodesInput", "nodes { id }", moved).await);
    let deleted = json!({ "boardId": boards[1].id.to_string(), "changes": [{ "deleteNode": { "id": node } }] });
    done(&mutate(&app, &owner, "applyBoardChanges", "ApplyBoardChangesInput", "nodes { id }", deleted).await);
    done(&add(&app, &owner, &boards[0], "text").await);
    let restored = json!({ "boardId": boards[1].id.to_string(), "changes": [{ "restoreNode": { "id": node } }] });
    let restored = mutate(&app, &owner, "applyBoardChanges", "ApplyBoardChangesInput", "nodes { id }", restored).await;
    assert_eq!(restored["userErrors"][0]["__typename"], "LimitError", "{restored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_back_is_counted_also_far_from_the_limits() {
    let (app, owner) = limited("free nodes=150000").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    let other = BoardBuilder::new(owner.id, "Other").make(&app).await;
    let (id, node) = (board.id.to_string(), board.nodes[0].to_string());
    let deleted = json!({ "boardId": id, "changes": [{ "deleteNode": { "id": node } }] });
    done(&mutate(&app, &owner, "applyBoardChanges", "ApplyBoardChangesInput", "nodes { id }", deleted).await);
    // As if so many were there, and known to be far from it a moment ago.
    let many = "UPDATE board_stats SET node_count = 149998 WHERE board_id = $1::text::uuid";
    assert_eq!(app.sql.execute(many, &[&other.id.0.to_string()]).await.unwrap(), 1);
    let restored = json!({ "boardId": id, "changes": [{ "restoreNode": { "id": node } }] });
    let restored = mutate(&app, &owner, "applyBoardChanges", "ApplyBoardChangesInput", "nodes { id }", restored).await;
    assert_eq!(restored["userErrors"][0]["__typename"], "LimitError", "{restored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_exact_and_texts_that_grow_are_refused() {
    let (app, owner) = limited("free bytes=5000").await;
    let boards =
        [BoardBuilder::new(owner.id, "One").make(&app).await, BoardBuilder::new(owner.id, "Two").make(&app).await];
    let text = "x".repeat(3_000);
    let added = join_all(boards.iter().map(|board| add(&app, &owner, board, &text))).await;
    assert_eq!(succeeded(&added), 1, "two writers, and room for one");
    let node = added.iter().find_map(|payload| payload["node"]["id"].as_str()).unwrap();
    let edit = async |input: Value| {
        mutate(&app, &owner, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await
    };
    refused(&edit(json!({ "id": node, "content": "x".repeat(5_000) })).await, "LimitError", &[]);
    refused(&edit(json!({ "id": node, "metadata": { "long": "y".repeat(4_000) } })).await, "LimitError", &[]);
    done(&edit(json!({ "id": node, "content": "x".repeat(4_900) })).await);
    // A smaller plan than what is there: it can become smaller, and not larger.
    app.sql.batch_execute("UPDATE resource_nodes SET extracted_text = repeat('z', 9000)").await.unwrap();
    done(&edit(json!({ "id": node, "content": "x".repeat(1_000) })).await);
    refused(&edit(json!({ "id": node, "content": "x".repeat(1_001) })).await, "LimitError", &[]);
    assert_eq!(values(&app.sql, WRONG_BYTES).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_counted_by_the_day_and_by_what_they_add() {
    let (app, owner) = limited("free nodes=30 copies=2, pro").await;
    let board = BoardBuilder::new(owner.id, "Original").nodes(10).links(5).make(&app).await;
    let copy = async |name: &str| {
        let input = json!({ "id": board.id.to_string(), "name": name });
        mutate(&app, &owner, "duplicateBoard", "DuplicateBoardInput", "board { id }", input).await
    };
    let names = ["A", "B", "C", "D"];
    let copied = join_all(names.iter().map(|name| copy(name))).await;
    assert_eq!(succeeded(&copied), 2);
    assert_eq!(value(&app.sql, "SELECT count(*) FROM nodes").await, "30", "what was refused left nothing behind");
    assert_eq!(quota(&app, &owner).await["copiesToday"], json!({ "used": 2.0, "limit": 2.0 }));
    // Another day, but no room for the nodes.
    app.sql.batch_execute("UPDATE account_copies SET day = day - 1").await.unwrap();
    refused(&copy("E").await, "LimitError", &[]);
    assert_eq!(values(&app.sql, WRONG_BYTES).await, [""; 0]);
    // Another plan, and nothing is limited.
    app.sql.batch_execute("UPDATE users SET subscription_tier = 'pro', updated_at = now()").await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !quota(&app, &owner).await["nodes"]["limit"].is_null() {
        assert!(std::time::Instant::now() < deadline, "the plan was never heard of");
    }
    done(&copy("F").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_bytes_follow_every_change() {
    let (app, owner) = limited("free").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(40).links(20).make(&app).await;
    let id = board.id.0;
    for change in [
        "UPDATE resource_nodes SET content = content || ' and more', metadata = '{\"a\": 1}'",
        "UPDATE nodes SET deleted_at = now(), metadata = '{\"deleted\": true}' WHERE type = 'resource'",
        "UPDATE resource_nodes SET title = NULL",
        "UPDATE nodes SET metadata = metadata || '{\"more\": \"ü\"}'",
        "UPDATE nodes SET deleted_at = NULL WHERE x < 4000",
        "UPDATE folder_nodes SET description = 'Ein Überblick'; UPDATE chat_nodes SET system_prompt = 'x'",
        "UPDATE connections SET label = 'Länge'",
        "DELETE FROM connections WHERE id IN (SELECT id FROM connections LIMIT 5)",
        "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes ORDER BY id LIMIT 7)",
        "INSERT INTO nodes (board_id, type, metadata, deleted_at) SELECT id, 'resource', '{\"b\": 2}', now() FROM boards",
    ] {
        app.sql.batch_execute(change).await.unwrap();
        assert_eq!(values(&app.sql, WRONG_BYTES).await, [""; 0], "{change} on {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_were_there_before_are_counted_while_others_write() {
    let (app, owner) = limited("free boards=1000").await;
    for number in 0..60 {
        BoardBuilder::new(owner.id, &format!("Board {number}")).nodes(4).links(3).make(&app).await;
    }
    let before = "UPDATE board_stats SET stored_nodes = 0, stored_bytes = 0, living_bytes = 0, link_bytes = 0, bytes_counted = false";
    app.sql.batch_execute(before).await.unwrap();
    assert_eq!(values(&app.sql, WRONG_BYTES).await.len(), 60);
    // One is held by somebody who writes, and adds to it.
    let mut writer = connect(&app.url).await;
    let writing = writer.transaction().await.unwrap();
    let held = "UPDATE folder_nodes SET name = name || ' and more' WHERE node_id = (SELECT min(node_id::text)::uuid FROM folder_nodes)";
    assert_eq!(writing.execute(held, &[]).await.unwrap(), 1);
    let mut counted = 0;
    loop {
        let found = app.app.store.count_board_bytes().await.unwrap();
        counted += found;
        if found == 0 {
            break;
        }
    }
    assert_eq!((counted, values(&app.sql, WRONG_BYTES).await.len()), (59, 1));
    writing.commit().await.unwrap();
    assert_eq!(app.app.store.count_board_bytes().await.unwrap(), 1);
    assert_eq!(values(&app.sql, WRONG_BYTES).await, Vec::<String>::new());
    assert_eq!(app.app.store.count_board_bytes().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_what_others_have() {
    let (app, owner) = limited("free boards=3").await;
    let other = app.account("other@example.org").await;
    let document = "query ($id: ID!) { node(id: $id) { ... on User { quota { boards { used } } } } }";
    let asked = app.data(Some(&other), document, json!({ "id": owner.id.to_string() })).await;
    assert!(asked["node"].is_null() || asked["node"]["quota"].is_null(), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_has_at_most_a_hundred_links_that_can_be_used() {
    let (app, owner) = limited("free").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    // Dead ones do not count, and only the newest of them stay.
    app.sql
        .batch_execute(&format!(
            "INSERT INTO board_shares (board_id, shared_by, token_digest, expires_at) \
             SELECT '{board}', '{owner}', sha256(i::text::bytea), CASE WHEN i > 98 THEN now() - interval '1 day' END \
             FROM generate_series(1, 1100) i",
            board = board.id.0,
            owner = owner.id.0
        ))
        .await
        .unwrap();
    let share = async || {
        let input = json!({ "boardId": board.id.to_string() });
        mutate(&app, &owner, "shareBoard", "ShareBoardInput", "share { id }", input).await
    };
    let made = join_all((0..5).map(|_| share())).await;
    assert_eq!(succeeded(&made), 2);
    refused(&share().await, "LimitError", &["boardId"]);
    let counts = "SELECT count(*) FILTER (WHERE expires_at IS NULL) || ' ' || count(*) FROM board_shares";
    assert_eq!(value(&app.sql, counts).await, "100 1000");
}
