//! What happened on a board, and how much an account uses: noted beside the requests and told a moment later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{BoardBuilder, collaborator, share},
    patience::PATIENCE,
};

const ACTIVITY: &str = "query ($id: ID!, $first: Int, $after: String) { board(id: $id) { activity(first: $first, after: $after) { \
    totalCount pageInfo { hasNextPage endCursor } nodes { kind count objectId actor { name } } } } }";

async fn mutate(app: &TestApp, who: &Account, name: &str, kind: &str, input: Value) {
    let document = format!("mutation ($input: {kind}!) {{ {name}(input: $input) {{ userErrors {{ message }} }} }}");
    let answer = app.data(Some(who), &document, json!({ "input": input })).await;
    assert_eq!(answer[name]["userErrors"], json!([]), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_on_a_board_is_noted_once_for_each_kind() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let editor = app.account("editor@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(20).make(&app).await;
    collaborator(&app, &board, editor.id, "edit", true).await;
    let id = board.id.to_string();
    let node = |number: usize| board.nodes[number].to_string();
    let moves: Vec<Value> =
        (2..8).map(|number| json!({ "id": node(number), "position": { "x": 1, "y": number } })).collect();
    mutate(&app, &owner, "updateBoard", "UpdateBoardInput", json!({ "id": id, "description": "New" })).await;
    mutate(&app, &editor, "moveNodes", "MoveNodesInput", json!({ "boardId": id, "moves": moves })).await;
    mutate(&app, &editor, "deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [node(9)] })).await;
    mutate(&app, &owner, "shareBoard", "ShareBoardInput", json!({ "boardId": id })).await;
    // What changes nothing is not noted, nor what is refused.
    mutate(&app, &owner, "updateBoard", "UpdateBoardInput", json!({ "id": id, "description": "New" })).await;
    let page = |first: i32, after: Value| json!({ "id": id, "first": first, "after": after });
    let deadline = Instant::now() + PATIENCE;
    let all = loop {
        let activity = app.data(Some(&editor), ACTIVITY, page(10, Value::Null)).await["board"]["activity"].take();
        // The count is read after the page.
        if activity["nodes"].as_array().unwrap().len() == 4 && activity["totalCount"] == 4 {
            break activity;
        }
        assert!(Instant::now() < deadline, "{activity}");
    };
    let told: Vec<(&str, i64, &Value, &str)> = all["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |value: &'_ Value| -> &'static str { value.as_str().unwrap().to_owned().leak() };
            (text(&row["kind"]), row["count"].as_i64().unwrap(), &row["objectId"], text(&row["actor"]["name"]))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("BOARD_SHARED", 1, &Value::Null, "owner"),
            ("NODE_DELETED", 1, &json!(node(9)), "editor"),
            ("NODE_UPDATED", 6, &Value::Null, "editor"),
            ("BOARD_UPDATED", 1, &json!(id), "owner"),
        ]
    );
    let first = app.data(Some(&editor), ACTIVITY, page(3, Value::Null)).await["board"]["activity"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let rest = app.data(Some(&editor), ACTIVITY, page(3, first["pageInfo"]["endCursor"].clone())).await;
    assert_eq!(rest["board"]["activity"]["nodes"], json!([all["nodes"][3]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_counted_by_the_hour_for_oneself() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(5).make(&app).await;
    let nodes: Vec<String> = board.nodes[..3].iter().map(ToString::to_string).collect();
    let input = json!({ "boardId": board.id.to_string(), "nodeIds": nodes });
    mutate(&app, &owner, "deleteNodes", "NodesInput", input).await;
    app.data(None, "{ service { version } }", Value::Null).await;
    let document = "query ($from: DateTime!, $to: DateTime!) { viewer { \
        calls: usage(metric: API_CALLS, from: $from, to: $to) { from value } \
        changes: usage(metric: BOARD_CHANGES, from: $from, to: $to) { value } } }";
    let now = chrono::Utc::now();
    let hours = |hours: i64| (now + chrono::TimeDelta::hours(hours)).to_rfc3339();
    let variables = json!({ "from": hours(-2), "to": hours(2) });
    let sum =
        |points: &Value| points.as_array().unwrap().iter().map(|point| point["value"].as_i64().unwrap()).sum::<i64>();
    let deadline = Instant::now() + PATIENCE;
    let mut asked = 1;
    loop {
        asked += 1;
        let viewer = app.data(Some(&owner), document, variables.clone()).await["viewer"].take();
        let (calls, changes) = (sum(&viewer["calls"]), sum(&viewer["changes"]));
        assert!(calls <= asked && changes <= 3, "{viewer}");
        if calls >= 2 && changes == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "{viewer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let too_long = json!({ "from": hours(-3_000), "to": hours(0) });
    assert_eq!(app.code(Some(&owner), document, too_long).await, "INVALID_ARGUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_a_board_are_named_to_each_other_only() {
    let app = TestApp::new().await;
    let [owner, editor, viewer, stranger] = [
        app.account("owner@example.org").await,
        app.account("editor@example.org").await,
        app.account("viewer@example.org").await,
        app.account("stranger@example.org").await,
    ];
    let board = BoardBuilder::new(owner.id, "Board").nodes(10).public().make(&app).await;
    collaborator(&app, &board, editor.id, "edit", true).await;
    collaborator(&app, &board, viewer.id, "view", true).await;
    share(&app, &board, owner.id, "a token of the test", &[("permission", "'edit'")]).await;
    let id = board.id.to_string();
    let node = |number: usize| board.nodes[number].to_string();
    let delete = async |who: &Account, number: usize| {
        mutate(&app, who, "deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [node(number)] })).await;
    };
    delete(&owner, 2).await;
    delete(&editor, 3).await;
    mutate(&app, &owner, "shareBoard", "ShareBoardInput", json!({ "boardId": id })).await;
    let left = json!({ "boardId": id, "userId": viewer.id.to_string(), "role": "COMMENT" });
    mutate(&app, &owner, "changeCollaboratorRole", "ChangeCollaboratorRoleInput", left).await;
    // As windows do, again and again: who is silent for half a minute is gone.
    let show = async || {
        for who in [&owner, &editor, &stranger] {
            mutate(&app, who, "setPresence", "SetPresenceInput", json!({ "boardId": id })).await;
        }
    };
    let document = "query ($id: ID!) { board(id: $id) { owner { name } collaborators { user { name } } \
        activity(first: 10) { totalCount nodes { kind objectId actor { name } } } \
        events(first: 10) { nodes { ... on BoardChanged { actor { name } } } } presence { user { name } guestName } } }";
    let bearers = [&owner, &editor, &viewer, &stranger].map(|account| format!("Bearer {}", account.token));
    let ask = async |headers: &[(&str, &str)]| {
        let (_, mut answer) = app.ask(headers, document, json!({ "id": id })).await;
        answer["data"]["board"].take()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        show().await;
        let seen = ask(&[("authorization", &bearers[0])]).await;
        if seen["activity"]["totalCount"] == 4 && seen["presence"].as_array().unwrap().len() == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "{seen}");
    }
    let names = |list: &Value, at: &str| -> Vec<Option<String>> {
        let rows = list.as_array().unwrap().iter();
        rows.map(|row| row.pointer(at).and_then(Value::as_str).map(str::to_owned)).collect()
    };
    let some = |names: &[&str]| -> Vec<Option<String>> { names.iter().map(|name| Some((*name).to_owned())).collect() };
    for bearer in &bearers[..3] {
        show().await;
        let seen = ask(&[("authorization", bearer)]).await;
        assert_eq!(names(&seen["activity"]["nodes"], "/actor/name"), some(&["owner", "owner", "editor", "owner"]));
        assert_eq!(names(&seen["events"]["nodes"], "/actor/name"), some(&["owner", "editor"]));
        let mut there = names(&seen["presence"], "/user/name");
        there.sort();
        assert_eq!(there, some(&["editor", "owner", "stranger"]));
        assert_eq!(seen["collaborators"].as_array().unwrap().len(), 2);
    }
    let share = ("x-share-token", "a token of the test");
    let others = [
        vec![],
        vec![share],
        vec![("authorization", bearers[3].as_str())],
        vec![("authorization", bearers[3].as_str()), share],
    ];
    for (number, headers) in others.iter().enumerate() {
        show().await;
        let seen = ask(headers).await;
        assert_eq!(seen["owner"]["name"], "owner");
        assert_eq!(names(&seen["activity"]["nodes"], "/kind"), some(&["NODE_DELETED", "NODE_DELETED"]), "{seen}");
        assert_eq!(seen["activity"]["totalCount"], 2);
        assert_eq!(names(&seen["activity"]["nodes"], "/actor/name"), [None, Some("owner".to_owned())]);
        assert_eq!(names(&seen["events"]["nodes"], "/actor/name"), [Some("owner".to_owned()), None]);
        let mut there = names(&seen["presence"], "/user/name");
        there.sort();
        let own = (number >= 2).then(|| "stranger".to_owned());
        let mut expected = [None, Some("owner".to_owned()), own];
        expected.sort();
        assert_eq!(there, expected);
        for person in seen["presence"].as_array().unwrap() {
            assert_eq!(person["user"].is_null(), person["guestName"].is_string(), "{person}");
        }
        let text = seen.to_string();
        assert!(
            !text.contains("editor")
                && !text.contains(&editor.id.to_string())
                && !text.contains(&viewer.id.to_string())
        );
    }
}
