//! Subscriptions over WebSocket and server-sent events: no gap, no repetition, and an end for those who may not hear more.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, collaborator, share},
    socket::{FOLLOW, Socket, start},
};

pub(crate) async fn create(app: &TestApp, who: &Account, board: &Board, name: &str) {
    let document =
        "mutation ($input: CreateFolderNodeInput!) { createFolderNode(input: $input) { userErrors { message } } }";
    let input = json!({ "boardId": board.id.to_string(), "name": name, "clientMutationId": name });
    let data = app.data(Some(who), document, json!({ "input": input })).await;
    assert_eq!(data["createFolderNode"]["userErrors"], json!([]));
}

pub(crate) async fn setup() -> (TestApp, Account, Board, SocketAddr) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    let address = app.listen().await;
    (app, owner, board, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_a_reader_goes_on_where_it_was() {
    let (app, owner, board, address) = setup().await;
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    // Another operation on the same socket.
    socket.send(json!({ "id": "2", "type": "subscribe", "payload": { "query": "{ viewer { id } }" } })).await;
    assert_eq!(socket.next().await["payload"]["data"]["viewer"]["id"], owner.id.to_string());
    assert_eq!(socket.next().await, json!({ "id": "2", "type": "complete" }));
    for number in 2..=40 {
        create(&app, &owner, &board, &number.to_string()).await;
    }
    let mut cursors = Vec::new();
    for number in 2..=40 {
        let event = socket.event().await;
        assert_eq!((&event["version"], &event["clientMutationId"]), (&json!(number), &json!(number.to_string())));
        assert_eq!(event["changes"][0]["node"]["name"], number.to_string());
        assert_eq!(event["actor"]["id"], owner.id.to_string());
        cursors.push(event["cursor"].clone());
    }
    drop(socket);
    create(&app, &owner, &board, "41").await;
    let mut again = Socket::of(address, &owner).await;
    again.follow("1", &board, cursors[29].clone()).await;
    for number in 32..=41 {
        assert_eq!(again.event().await["version"], number);
    }
    create(&app, &owner, &board, "42").await;
    assert_eq!(again.event().await["version"], 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_another_process_are_heard() {
    let (app, owner, board, address) = setup().await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    // The board as it was is in memory.
    let document = "query ($id: ID!) { board(id: $id) { nodes(first: 1) { totalCount } } }";
    app.data(Some(&owner), document, json!({ "id": board.id.to_string() })).await;
    app.app.cached.settled().await;
    create(&other, &owner, &board, "elsewhere").await;
    let event = socket.event().await;
    assert_eq!((&event["version"], &event["clientMutationId"]), (&json!(2), &json!("elsewhere")));
    assert_eq!(event["changes"][0]["node"]["name"], "elsewhere", "shown as it is since the change");
    // What the log cannot tell.
    app.sql
        .batch_execute(
            "BEGIN; UPDATE boards SET version = 3; INSERT INTO board_events (board_id, version, changes) \
             SELECT id, 3, '[{\"type\": \"unknown\"}]' FROM boards; COMMIT",
        )
        .await
        .unwrap();
    assert_eq!(socket.event().await, json!({ "__typename": "ResyncRequired", "version": 3 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_hear_more_is_told_so() {
    let (app, owner, board, address) = setup().await;
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &board, guest.id, "view", true).await;
    share(&app, &board, owner.id, "a token of the test", &[]).await;
    let shared = json!({ "X-Share-Token": "a token of the test" });
    let mut holder = Socket::open(address, shared).await;
    assert_eq!(holder.next().await["type"], "connection_ack");
    let mut socket = Socket::of(address, &guest).await;
    for socket in [&mut socket, &mut holder] {
        socket.follow("1", &board, start(&board)).await;
    }
    create(&app, &owner, &board, "heard").await;
    assert_eq!(socket.event().await["clientMutationId"], "heard");
    assert_eq!(holder.event().await["clientMutationId"], "heard");
    app.sql.batch_execute("DELETE FROM board_collaborators; UPDATE board_shares SET revoked_at = now()").await.unwrap();
    let last = socket.next().await;
    assert_eq!(last["payload"]["errors"][0]["extensions"]["code"], "INVALID_ARGUMENT", "{last}");
    assert_eq!(socket.next().await, json!({ "id": "1", "type": "complete" }));
    // A share link is all that its holder has.
    assert_eq!(holder.ended().await, 4401);
    // Nor does anybody begin who may not.
    socket.follow("3", &board, Value::Null).await;
    let refused = socket.next().await;
    assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "INVALID_ARGUMENT", "{refused}");
    let mut wrong = Socket::open(address, json!({ "authorization": "Bearer nonsense" })).await;
    assert_eq!(wrong.ended().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_carries_a_hundred_operations_and_no_more() {
    let (app, owner, board, address) = setup().await;
    let mut socket = Socket::of(address, &owner).await;
    for number in 0..100 {
        socket.follow(&number.to_string(), &board, start(&board)).await;
    }
    socket.follow("one more", &board, Value::Null).await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["id"], &refused["payload"]["errors"][0]["extensions"]["code"]),
        (&json!("one more"), &json!("RATE_LIMITED"))
    );
    assert_eq!(socket.next().await, json!({ "id": "one more", "type": "complete" }));
    // One that is given up makes room for another.
    socket.send(json!({ "id": "7", "type": "complete" })).await;
    socket.follow("in its place", &board, start(&board)).await;
    socket.send(json!({ "id": "8", "type": "complete" })).await;
    socket.send(json!({ "id": "ask", "type": "subscribe", "payload": { "query": "{ __typename }" } })).await;
    // The end of those that were given up may be told as well.
    let result = loop {
        let message = socket.next().await;
        if message["type"] != "complete" {
            break message;
        }
    };
    assert_eq!((&result["id"], &result["payload"]["data"]["__typename"]), (&json!("ask"), &json!("Query")), "{result}");
    create(&app, &owner, &board, "heard").await;
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 99 {
        let message = socket.next().await;
        if message["type"] != "complete" {
            assert_eq!(message["payload"]["data"]["boardEvents"]["clientMutationId"], "heard", "{message}");
            assert!(heard.insert(message["id"].to_string()), "told twice: {message}");
        }
    }
    assert!(heard.contains("\"in its place\"") && !heard.contains("\"7\"") && !heard.contains("\"8\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_carry_the_same() {
    let (app, owner, board, address) = setup().await;
    create(&app, &owner, &board, "before").await;
    let read = "query ($id: ID!) { board(id: $id) { eventCursor } }";
    let read = app.data(Some(&owner), read, json!({ "id": board.id.to_string() })).await;
    let place = &read["board"]["eventCursor"];
    create(&app, &owner, &board, "after").await;
    let body = json!({ "query": FOLLOW, "variables": { "id": board.id.to_string(), "after": place } }).to_string();
    let request = crate::support::program::client()
        .post(format!("http://{address}/graphql"))
        .header("authorization", format!("Bearer {}", owner.token))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let mut response = request.body(body).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("\n\n") {
        text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(text.starts_with("event: next\ndata: {"), "{text}");
    assert!(text.contains("\"clientMutationId\":\"after\"") && !text.contains("before"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_nodes_come_back_with_their_links() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).links(3).make(&app).await;
    let change = async |mutation: &str, nodes: &[usize]| {
        let ids: Vec<String> = nodes.iter().map(|node| board.nodes[*node].to_string()).collect();
        let document =
            format!("mutation ($input: NodesInput!) {{ {mutation}(input: $input) {{ userErrors {{ message }} }} }}");
        let input = json!({ "boardId": board.id.to_string(), "nodeIds": ids });
        let data = app.data(Some(&owner), &document, json!({ "input": input })).await;
        assert_eq!(data[mutation]["userErrors"], json!([]));
    };
    let links = async || {
        let document = "query ($id: ID!) { board(id: $id) { links(first: 100) { nodes { id } } } }";
        let data = app.data(Some(&owner), document, json!({ "id": board.id.to_string() })).await;
        let links = data["board"]["links"]["nodes"].as_array().unwrap();
        links.iter().map(|link| link["id"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let named = async || {
        let document = "query ($id: ID!) { board(id: $id) { events(first: 100) { nodes { ... on BoardChanged { \
            changes { ... on LinkSaved { linkId link { id } } } } } } } }";
        let data = app.data(Some(&owner), document, json!({ "id": board.id.to_string() })).await;
        let last = data["board"]["events"]["nodes"].as_array().unwrap().last().unwrap().clone();
        let links = last["changes"].as_array().unwrap().iter().filter(|change| change["linkId"].is_string());
        links
            .map(|link| {
                assert_eq!(link["link"]["id"], link["linkId"]);
                link["linkId"].as_str().unwrap().to_owned()
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    let all = links().await;
    assert_eq!(all.len(), 3, "a ring of three");
    change("deleteNodes", &[0, 1]).await;
    assert!(links().await.is_empty());
    // Of one end alone, those come back whose other end lives.
    change("restoreNodes", &[0]).await;
    let (first, told) = (links().await, named().await);
    assert_eq!((first.len(), &told), (1, &first));
    change("restoreNodes", &[1]).await;
    assert_eq!(links().await, all);
    assert_eq!(named().await, all.difference(&first).cloned().collect());
}
