//! Who may see what: the table of principals × boards × operations as a golden file, and a refusal for every root field.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, collaborator, link_ids, place, share},
    patience::PATIENCE,
};

/// Somebody who asks: a name for the table, and headers.
struct Principal {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
}

fn bearer(name: &'static str, account: &Account) -> Principal {
    Principal { name, headers: vec![("authorization", format!("Bearer {}", account.token))] }
}

async fn ask(app: &TestApp, principal: &Principal, document: &str, variables: Value) -> Value {
    let headers: Vec<(&str, &str)> = principal.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    app.ask(&headers, document, variables).await.1
}

/// The operations of the table: each says what it shows of a board, or `-`.
async fn cell(app: &TestApp, principal: &Principal, operation: &str, board: &Board) -> String {
    let node = board.nodes[2].to_string();
    let link = link_ids(app, board).await[0].to_string();
    let id = board.id.to_string();
    let (document, variables, pointer) = match operation {
        "board" => (
            "query ($id: ID!) { it: board(id: $id) { viewerPermission } }",
            json!({ "id": id }),
            "/data/it/viewerPermission",
        ),
        "node(board)" => ("query ($id: ID!) { it: node(id: $id) { id } }", json!({ "id": id }), "/data/it/id"),
        "node(node)" => ("query ($id: ID!) { it: node(id: $id) { id } }", json!({ "id": node }), "/data/it/id"),
        "node(link)" => ("query ($id: ID!) { it: node(id: $id) { id } }", json!({ "id": link }), "/data/it/id"),
        "nodes" => ("query ($ids: [ID!]!) { it: nodes(ids: $ids) { id } }", json!({ "ids": [node] }), "/data/it/0/id"),
        "up from node" => (
            "query ($id: ID!) { it: node(id: $id) { ... on BoardNode { board { viewerPermission } } } }",
            json!({ "id": node }),
            "/data/it/board/viewerPermission",
        ),
        // Whoever names a board that is not there for them is told so, in the same words as when it does not exist.
        "search" => {
            let document = "query ($id: ID!) { it: search(input: { query: \"content\", scope: { boardId: $id } }) { plan { scopeRows } } }";
            let answer = ask(app, principal, document, json!({ "id": id })).await;
            return match answer.get("errors") {
                None => "searched".into(),
                Some(errors) => {
                    assert_eq!(errors[0]["message"], "There is no such board");
                    "-".into()
                }
            };
        }
        "boards" | "boards(public)" | "templates" => {
            let document = match operation {
                "boards" => "{ it: boards(first: 100) { nodes { id } } }",
                "boards(public)" => "{ it: boards(first: 100, filter: { relation: PUBLIC }) { nodes { id } } }",
                _ => "{ it: templates(first: 100) { nodes { id } } }",
            };
            let answer = ask(app, principal, document, Value::Null).await;
            let listed = answer["data"]["it"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
            return if listed.iter().any(|board| board["id"] == id) { "listed".into() } else { "-".into() };
        }
        other => panic!("{other}"),
    };
    let answer = ask(app, principal, document, variables).await;
    assert_eq!(answer.get("errors"), None, "who may not see a thing gets null, never an error: {answer}");
    match answer.pointer(pointer).and_then(Value::as_str) {
        Some(id) if id.contains('_') => "seen".into(),
        Some(permission) => permission.to_lowercase(),
        None => "-".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_permission_table() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let mut principals = vec![bearer("owner", &owner)];
    let mut boards = Vec::new();
    for (name, builder) in [
        ("private", BoardBuilder::new(owner.id, "Private")),
        ("public", BoardBuilder::new(owner.id, "Public").public()),
        ("template", BoardBuilder::new(owner.id, "Template").template()),
        ("deleted", BoardBuilder::new(owner.id, "Deleted")),
    ] {
        boards.push((name, builder.nodes(10).links(5).make(&app).await));
    }
    for (name, role, accepted) in
        [("viewer", "view", true), ("commenter", "comment", true), ("editor", "edit", true), ("invited", "edit", false)]
    {
        let account = app.account(&format!("{name}@example.org")).await;
        for (_, board) in &boards {
            collaborator(&app, board, account.id, role, accepted).await;
        }
        principals.push(bearer(name, &account));
    }
    let stranger = app.account("stranger@example.org").await;
    principals.push(bearer("stranger", &stranger));
    principals.push(Principal { name: "anonymous", headers: Vec::new() });
    for (name, permission) in [("share(view)", "view"), ("share(comment)", "comment"), ("share(edit)", "edit")] {
        share(&app, &boards[0].1, owner.id, name, &[("permission", &format!("'{permission}'"))]).await;
        principals.push(Principal { name, headers: vec![("x-share-token", name.into())] });
    }
    let mut both = bearer("stranger+share(edit)", &stranger);
    both.headers.push(("x-share-token", "share(edit)".into()));
    principals.push(both);
    app.sql
        .execute("UPDATE boards SET deleted_at = now() WHERE id = $1::text::uuid", &[&boards[3].1.id.0.to_string()])
        .await
        .unwrap();

    let operations = [
        "board",
        "node(board)",
        "node(node)",
        "node(link)",
        "nodes",
        "up from node",
        "search",
        "boards",
        "boards(public)",
        "templates",
    ];
    let mut table = String::from("Shares are of the private board.\n");
    for (kind, board) in &boards {
        table += &format!("\n{:<22}", format!("{kind} board"));
        table += &operations.map(|operation| format!("{operation:<15}")).concat();
        for principal in &principals {
            table += &format!("\n{:<22}", principal.name);
            for operation in operations {
                table += &format!("{:<15}", cell(&app, principal, operation, board).await);
            }
        }
        table += "\n";
    }
    let table: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    insta::assert_snapshot!("permissions", table);
}

/// For every root field: a document of somebody without rights, and what shows that nothing was given away.
fn refusals(board: &Board) -> BTreeMap<&'static str, (String, &'static str, Value)> {
    let id = board.id.to_string();
    let node = board.nodes[0].to_string();
    BTreeMap::from([
        ("node", (format!("{{ it: node(id: \"{node}\") {{ id }} }}"), "/it", Value::Null)),
        ("nodes", (format!("{{ it: nodes(ids: [\"{node}\", \"{id}\"]) {{ id }} }}"), "/it", json!([null, null]))),
        ("viewer", ("{ it: viewer { email } }".into(), "/it", Value::Null)),
        ("board", (format!("{{ it: board(id: \"{id}\") {{ name }} }}"), "/it", Value::Null)),
        ("sharedBoard", ("{ it: sharedBoard(token: \"wrong\") { name } }".into(), "/it", Value::Null)),
        ("boards", ("{ it: boards(first: 10) { totalCount nodes { id } } }".into(), "/it/totalCount", json!(0))),
        ("templates", ("{ it: templates(first: 10) { totalCount nodes { id } } }".into(), "/it/totalCount", json!(0))),
        (
            "search",
            (
                "{ it: search(input: { query: \"content\", scope: { mine: true } }) { plan { scopeRows } } }".into(),
                "/it/plan/scopeRows",
                json!(0),
            ),
        ),
        // About the server itself: the same for everybody.
        ("service", ("{ it: service { readOnly } }".into(), "/it/readOnly", json!(false))),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_has_a_refusal() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Secret").nodes(10).links(5).make(&app).await;
    let refusals = refusals(&board);
    let schema = app.data(None, "{ __schema { queryType { fields { name } } } }", Value::Null).await;
    let fields = schema["__schema"]["queryType"]["fields"].as_array().unwrap().clone();
    for field in fields {
        let name = field["name"].as_str().unwrap();
        let (document, pointer, expected) = refusals.get(name).unwrap_or_else(|| panic!("no refusal for Query.{name}"));
        let data = app.data(None, document, Value::Null).await;
        assert_eq!(data.pointer(pointer), Some(expected), "Query.{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_shows_its_private_fields_to_itself_only() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let other = app.account("other@example.org").await;
    let board = BoardBuilder::new(owner.id, "Public").public().make(&app).await;
    BoardBuilder::new(owner.id, "Private").make(&app).await;
    let document = "query ($id: ID!) { board(id: $id) { owner { id name email emailVerified settings subscriptionTier \
        boards(first: 10) { totalCount } recentBoards { name } } } }";
    let id = json!({ "id": board.id.to_string() });
    let own = app.data(Some(&owner), document, id.clone()).await["board"]["owner"].take();
    assert_eq!((own["email"].as_str(), own["boards"]["totalCount"].as_i64()), (Some("owner@example.org"), Some(2)));
    assert_eq!(own["recentBoards"].as_array().map(Vec::len), Some(2));
    for viewer in [Some(&other), None] {
        let seen = app.data(viewer, document, id.clone()).await["board"]["owner"].take();
        assert_eq!(seen["name"], "owner");
        assert_eq!(
            (&seen["email"], &seen["settings"], &seen["subscriptionTier"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(
            (seen["boards"]["totalCount"].as_i64(), seen["recentBoards"].as_array().map(Vec::len)),
            (Some(1), Some(0))
        );
        let by_id =
            app.data(viewer, "query ($id: ID!) { node(id: $id) { id } }", json!({ "id": owner.id.to_string() })).await;
        assert_eq!(by_id["node"], Value::Null, "accounts cannot be enumerated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_valid_refuses_the_request() {
    let app = TestApp::new().await;
    let account = app.account("owner@example.org").await;
    let mut cases: Vec<Vec<(&str, String)>> = ["Bearer", "Bearer ", "Basic abc", "Bearer not.a.token", "Bearer é"]
        .map(|value| vec![("authorization", value.to_owned())])
        .to_vec();
    cases.push(vec![("x-share-token", "wrong".into())]);
    cases.push(vec![("authorization", format!("Bearer {}", account.token)), ("x-share-token", "wrong".into())]);
    let app_headers = |case: &[(&'static str, String)]| case.to_vec();
    for case in &cases {
        let case = app_headers(case);
        let headers: Vec<(&str, &str)> = case.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, answer) = app.ask(&headers, "{ service { version } }", Value::Null).await;
        assert_eq!(
            (status.as_u16(), answer["errors"][0]["extensions"]["code"].as_str()),
            (401, Some("UNAUTHENTICATED")),
            "{case:?}"
        );
    }
    let token = format!("Bearer {}", account.token);
    let asked = async || app.ask(&[("authorization", token.as_str())], "{ viewer { id } }", Value::Null).await;
    assert_eq!(asked().await.0.as_u16(), 200);
    app.sql.execute("UPDATE users SET is_active = false", &[]).await.unwrap();
    // The cache follows the account: with its next look the token is worth nothing.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while asked().await.0.as_u16() != 401 {
        assert!(tokio::time::Instant::now() < deadline, "a deactivated account went on");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reached_through_a_share_link_stays_under_it() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Shared").nodes(20).links(15).make(&app).await;
    BoardBuilder::new(owner.id, "Other").make(&app).await;
    place(&app, &board, board.nodes[0], &[board.nodes[10], board.nodes[2]]).await;
    share(&app, &board, owner.id, "the token", &[]).await;
    let document = "{ it: sharedBoard(token: \"the token\") { viewerPermission owner { email boards(first: 5) { totalCount } } \
        nodes(first: 100) { nodes { board { viewerPermission } parent { board { viewerPermission } } \
            links(first: 5) { nodes { board { viewerPermission } from { board { viewerPermission } } } } } } } }";
    let data = app.data(None, document, Value::Null).await;
    let text = data.to_string();
    assert_eq!(data["it"]["owner"], json!({ "email": null, "boards": { "totalCount": 0 } }));
    assert!(text.matches("\"VIEW\"").count() > 60);
    assert!(!text.contains("EDIT") && !text.contains("OWNER"));
}
