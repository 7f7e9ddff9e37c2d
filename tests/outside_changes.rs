//! Changes that are made past the gateway: each statement steps the version of the boards it changed and leaves an entry in
//! the log, so that memory and followers learn of it. The gateway's own changes are not logged twice.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Client;

use crate::support::{
    app::{Account, TestApp},
    cluster::connect,
    fixture::{Board, BoardBuilder, place},
    sql::value,
};

struct Outside {
    app: TestApp,
    owner: Account,
    board: Board,
    other: Board,
    /// As somebody with psql has it.
    psql: Client,
}

async fn outside() -> Outside {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(10).links(5).make(&app).await;
    let other = BoardBuilder::new(owner.id, "Other").nodes(3).make(&app).await;
    place(&app, &board, board.nodes[0], &board.nodes[2..4]).await;
    let psql = connect(&app.url).await;
    Outside { app, owner, board, other, psql }
}

impl Outside {
    async fn version(&self, board: &Board) -> i64 {
        let sql = "SELECT version FROM boards WHERE id = $1::text::uuid";
        self.psql.query_one(sql, &[&board.id.0.to_string()]).await.unwrap().get(0)
    }

    /// Whether the log of each board has all its versions after the first.
    async fn is_gapless(&self) -> bool {
        let sql = "SELECT bool_and(b.version = 1 + (SELECT count(*) FROM board_events e WHERE e.board_id = b.id) \
                   AND b.version = coalesce((SELECT max(version) FROM board_events e WHERE e.board_id = b.id), 1))::text FROM boards b";
        value(&self.psql, sql).await == "true"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_steps_the_boards_that_it_changed_once() {
    let outside = outside().await;
    let (board, other) = (outside.board.id.0, outside.other.id.0);
    let node = outside.board.nodes[5].0;
    let statements = [
        (format!("UPDATE nodes SET x = x + 1 WHERE board_id = '{board}'"), 1, 0),
        ("UPDATE nodes SET y = y + 1".to_owned(), 1, 1),
        ("UPDATE nodes SET y = y WHERE false".to_owned(), 0, 0),
        (format!("UPDATE resource_nodes SET title = 'By hand' WHERE node_id = '{node}'"), 1, 0),
        (format!("UPDATE folder_nodes SET name = 'By hand' WHERE board_id = '{board}'"), 1, 0),
        (format!("DELETE FROM node_hierarchy WHERE board_id = '{board}'"), 1, 0),
        (format!("DELETE FROM connections WHERE board_id = '{board}'"), 1, 0),
        (format!("INSERT INTO nodes (board_id, type) VALUES ('{other}', 'chat')"), 0, 1),
        (format!("UPDATE boards SET description = 'By hand' WHERE id = '{board}'"), 1, 0),
        (format!("UPDATE boards SET version = version + 1 WHERE id = '{board}'"), 1, 0),
        ("TRUNCATE connections".to_owned(), 1, 1),
        ("UPDATE users SET name = 'By hand'".to_owned(), 0, 0),
    ];
    for (statement, on_board, on_other) in statements {
        let before = (outside.version(&outside.board).await, outside.version(&outside.other).await);
        outside.psql.batch_execute(&statement).await.unwrap();
        let after = (outside.version(&outside.board).await, outside.version(&outside.other).await);
        assert_eq!((after.0 - before.0, after.1 - before.1), (on_board, on_other), "{statement}");
        assert!(outside.is_gapless().await, "{statement}");
    }
    // With everything on it, and nothing is left to log.
    outside.psql.batch_execute(&format!("DELETE FROM boards WHERE id = '{board}'")).await.unwrap();
    assert!(outside.is_gapless().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_followers_learn_of_them() {
    let outside = outside().await;
    let id = outside.board.id.to_string();
    let document = "query ($id: ID!) { board(id: $id) { version nodes(first: 1) { totalCount } \
        events(first: 100) { nodes { __typename ... on ResyncRequired { version } } } } }";
    let ask = async || outside.app.data(Some(&outside.owner), document, json!({ "id": id })).await["board"].take();
    ask().await;
    outside.app.app.cached.settled().await;
    assert_eq!(ask().await["nodes"]["totalCount"], 10);
    outside.psql.batch_execute("UPDATE nodes SET deleted_at = now() WHERE z_index = 0").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let board = loop {
        let board = ask().await;
        if board["version"] == 2 {
            break board;
        }
        assert!(Instant::now() < deadline, "memory never showed what was changed by hand");
    };
    assert_eq!(board["nodes"]["totalCount"], 8);
    assert_eq!(board["events"]["nodes"], json!([{ "__typename": "ResyncRequired", "version": 2 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_logs_its_own_changes_once() {
    let outside = outside().await;
    let document =
        "mutation ($input: CreateResourceNodeInput!) { createResourceNode(input: $input) { board { version } } }";
    let input = json!({ "input": { "boardId": outside.board.id.to_string(), "title": "New" } });
    let made = outside.app.data(Some(&outside.owner), document, input).await;
    assert_eq!(made["createResourceNode"]["board"]["version"], 2);
    assert!(outside.is_gapless().await);
}
