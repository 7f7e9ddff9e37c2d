//! Memory is right: changes of others show, a lost database is not papered over, modes mean what they say.

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder},
    patience::{PATIENCE, until},
};

const NAME: &str =
    "query ($id: ID!) { board(id: $id) { name version stats { nodeCount } nodes(first: 1) { totalCount } } }";

async fn warm(app: &TestApp) -> (Account, Board) {
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Before").nodes(10).make(app).await;
    app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
    app.app.cached.settled().await;
    app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
    (owner, board)
}

async fn change(app: &TestApp) {
    app.sql
        .batch_execute(
            "BEGIN; UPDATE boards SET version = version + 1, name = 'After'; \
             UPDATE nodes SET deleted_at = now() WHERE z_index = 0; COMMIT",
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_others_show_by_themselves_and_never_by_halves() {
    let app = TestApp::new().await;
    let (owner, board) = warm(&app).await;
    let old = app.takes(&[], async || app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await).await;
    change(&app).await;
    let began = tokio::time::Instant::now();
    loop {
        let new = app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
        if new["board"]["name"] == "After" {
            assert_eq!(
                new["board"],
                json!({ "name": "After", "version": 2, "stats": { "nodeCount": 8 }, "nodes": { "totalCount": 8 } })
            );
            break;
        }
        assert_eq!(new, old, "until the change shows, all of the old state does");
        assert!(began.elapsed() < PATIENCE, "the change never showed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cache_reads_past_memory_at_once() {
    let app = TestApp::new().await;
    let (owner, board) = warm(&app).await;
    change(&app).await;
    let headers = [("authorization", format!("Bearer {}", owner.token)), ("cache-control", "no-cache".into())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_, answer) = app.ask(&headers, NAME, json!({ "id": board.id.to_string() })).await;
    assert_eq!(answer["data"]["board"]["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_mode_shows_every_change_at_once_for_one_look() {
    let app = TestApp::with(&[("RAGBOARD_CACHE_MODE", "strict")]).await;
    let (owner, board) = warm(&app).await;
    let before = app.statements();
    app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
    assert_eq!(app.statements_since(&before), ["stamps", "users.by_id"], "one look at the board, and the account");
    change(&app).await;
    let new = app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
    assert_eq!(new["board"]["stats"]["nodeCount"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_collaborator_is_out_with_the_next_look() {
    let app = TestApp::new().await;
    let (_, board) = warm(&app).await;
    let guest = app.account("guest@example.org").await;
    crate::support::fixture::collaborator(&app, &board, guest.id, "view", true).await;
    let sees = async || !app.data(Some(&guest), NAME, json!({ "id": board.id.to_string() })).await["board"].is_null();
    let began = tokio::time::Instant::now();
    while !sees().await {
        assert!(began.elapsed() < PATIENCE, "the new right never showed");
    }
    app.sql.execute("DELETE FROM board_collaborators", &[]).await.unwrap();
    let began = tokio::time::Instant::now();
    while sees().await {
        assert!(began.elapsed() < PATIENCE, "the revoked right went on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_above_the_snapshot_limit_is_read_by_pages() {
    let app = TestApp::with(&[("RAGBOARD_SNAPSHOT_MAX_NODES", "50")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Large").nodes(51).make(&app).await;
    for _ in 0..2 {
        let before = app.statements();
        let data = app.data(Some(&owner), NAME, json!({ "id": board.id.to_string() })).await;
        assert_eq!(data["board"]["stats"]["nodeCount"], 51);
        assert!(app.statements_since(&before).contains(&"nodes.page"));
        app.app.cached.settled().await;
    }
    assert_eq!(app.app.cached.usage().boards, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_cause_one_fill() {
    let app = std::sync::Arc::new(TestApp::new().await);
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(50).make(&app).await;
    let asking: Vec<_> = (0..40)
        .map(|_| {
            let (app, owner, id) = (std::sync::Arc::clone(&app), owner.clone(), board.id.to_string());
            tokio::spawn(async move { app.data(Some(&owner), NAME, json!({ "id": id })).await })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    app.app.cached.settled().await;
    assert_eq!(app.app.store.statements()["snapshot.nodes"].count, 1);
    assert_eq!(app.data(None, "{ viewer { id } }", Value::Null).await["viewer"], Value::Null);
}

/// Asks twice, so that the second answer can be kept, and then once more; says whether that one came from memory as a whole.
async fn is_served_again(app: &TestApp, who: Option<&Account>, document: &str, variables: Value) -> bool {
    let first = app.answer(who, document, variables.clone()).await;
    app.app.cached.settled().await;
    assert_eq!(app.answer(who, document, variables.clone()).await, first);
    app.current().await;
    let before = app.app.cached.usage().answers_served;
    assert_eq!(app.answer(who, document, variables).await, first);
    app.app.cached.usage().answers_served > before
}

/// It has to be so while memory is current, which it may cease to be between two of these steps.
async fn comes_to_be_served_again(app: &TestApp, who: Option<&Account>, document: &str, variables: Value) {
    let what = format!("{document} is served again");
    until(&what, async || is_served_again(app, who, document, variables.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_answers_are_served_again_to_those_they_were_made_for() {
    let app = TestApp::new().await;
    let (owner, board) = warm(&app).await;
    let stranger = app.account("stranger@example.org").await;
    let id = json!({ "id": board.id.to_string() });
    comes_to_be_served_again(&app, Some(&owner), NAME, id.clone()).await;
    comes_to_be_served_again(&app, Some(&owner), "{ viewer { name email } }", Value::Null).await;
    comes_to_be_served_again(&app, None, "{ __schema { queryType { name } } viewer { id } }", Value::Null).await;
    // The very same request of somebody else is another one.
    assert_eq!(app.data(Some(&stranger), NAME, id.clone()).await["board"], Value::Null);
    assert_eq!(app.data(None, NAME, id.clone()).await["board"], Value::Null);
    // What could change unseen is run each time: lists of boards, the service, what is not there yet, and errors.
    for document in [
        "{ boards(first: 5) { nodes { id } } }",
        "{ viewer { boards(first: 5) { nodes { id } } } }",
        "{ service { version } }",
        "{ board(id: \"board_01h455vb4pex5vsknk084sn02q\") { id } }",
        "{ viewer { id } node(id: \"nonsense\") { id } }",
    ] {
        assert!(!is_served_again(&app, Some(&owner), document, Value::Null).await, "{document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_answers_end_with_what_they_rest_on() {
    let app = TestApp::new().await;
    let (owner, board) = warm(&app).await;
    let document = "query ($id: ID!) { viewer { name } board(id: $id) { name owner { name } } }";
    let id = json!({ "id": board.id.to_string() });
    for change in [
        "UPDATE boards SET name = 'Another', version = version + 1",
        "UPDATE users SET name = 'Another'",
        "UPDATE users SET is_active = false",
    ] {
        comes_to_be_served_again(&app, Some(&owner), document, id.clone()).await;
        let before = app.answer(Some(&owner), document, id.clone()).await;
        app.sql.batch_execute(change).await.unwrap();
        let began = tokio::time::Instant::now();
        while app.answer(Some(&owner), document, id.clone()).await == before {
            assert!(began.elapsed() < PATIENCE, "{change} never showed");
        }
    }
}
