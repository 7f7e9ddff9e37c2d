//! Who is on a board: seen by others on every gateway, gone by a word or by silence, and in no log.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use ragboard::domain::{BoardId, GONE_AFTER};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    follow::setup,
    support::{
        app::{Account, TestApp},
        fixture::{BoardBuilder, collaborator, share},
        patience::PATIENCE,
        socket::Socket,
    },
};

const SHOW: &str = "mutation ($input: SetPresenceInput!) { setPresence(input: $input) { clientMutationId \
    presence { id user { id } guestName } userErrors { __typename path message } } }";
const FIELDS: &str = "id isHere user { id name } guestName cursor { x y } selection state";

async fn show(app: &TestApp, who: &Account, input: Value) -> Value {
    app.data(Some(who), SHOW, json!({ "input": input })).await["setPresence"].take()
}

/// A socket that follows who is on a board.
async fn watch(address: SocketAddr, who: &Account, board: BoardId) -> Socket {
    let mut socket = Socket::of(address, who).await;
    let query = format!("subscription {{ presence(boardId: \"{board}\") {{ {FIELDS} }} }}");
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
    socket
}

/// What is told next that fits.
async fn told(socket: &mut Socket, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let mut message = socket.next().await;
        assert_eq!(message["payload"].get("errors"), None, "{message}");
        let presence = message["payload"]["data"]["presence"].take();
        assert!(presence.is_object(), "{message}");
        if fits(&presence) {
            return presence;
        }
    }
}

async fn here(app: &TestApp, who: &Account, board: BoardId) -> Vec<Value> {
    let query = format!("{{ board(id: \"{board}\") {{ presence {{ {FIELDS} }} }} }}");
    app.data(Some(who), &query, Value::Null).await["board"]["presence"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_each_other_on_every_gateway() {
    let (app, owner, board, address) = setup().await;
    let guest = app.account("guest@example.org").await;
    collaborator(&app, &board, guest.id, "view", true).await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let mut near = watch(address, &owner, board.id).await;
    let mut far = watch(other.listen().await, &owner, board.id).await;
    let selected = board.nodes[2].to_string();
    let input = json!({
        "boardId": board.id.to_string(), "clientId": "window", "cursor": { "x": 1.5, "y": -2 },
        "selection": [selected], "state": { "tool": "pen" }, "clientMutationId": "mine",
    });
    let shown = show(&app, &guest, input).await;
    assert_eq!((&shown["clientMutationId"], &shown["userErrors"]), (&json!("mine"), &json!([])));
    let expected = json!({
        "id": shown["presence"]["id"], "isHere": true, "user": { "id": guest.id.to_string(), "name": "guest" }, "guestName": null,
        "cursor": { "x": 1.5, "y": -2.0 }, "selection": [selected], "state": { "tool": "pen" },
    });
    assert_eq!(told(&mut near, |_| true).await, expected);
    assert_eq!(told(&mut far, |_| true).await, expected);
    assert_eq!(here(&other, &owner, board.id).await, [expected]);
    // Another window of the same person, on the other gateway; it replaces nothing.
    let input =
        |x: i64| json!({ "boardId": board.id.to_string(), "clientId": "other window", "cursor": { "x": x, "y": 0 } });
    for x in 1..=20 {
        assert_eq!(show(&other, &guest, input(x)).await["userErrors"], json!([]));
    }
    for socket in [&mut near, &mut far] {
        let last = told(socket, |presence| presence["cursor"]["x"] == 20.0).await;
        assert_eq!((&last["selection"], &last["state"]), (&json!([]), &Value::Null));
        assert_ne!(last["id"], shown["presence"]["id"]);
    }
    assert_eq!(here(&app, &owner, board.id).await.len(), 2);
    // A goodbye is heard by all; who comes later sees who stayed.
    let goodbye = json!({ "boardId": board.id.to_string(), "clientId": "window", "isHere": false });
    show(&app, &guest, goodbye).await;
    for socket in [&mut near, &mut far] {
        assert_eq!(told(socket, |presence| presence["isHere"] == false).await["id"], shown["presence"]["id"]);
    }
    let mut late = watch(address, &guest, board.id).await;
    assert_eq!(told(&mut late, |_| true).await["cursor"]["x"], 20.0);
    assert_eq!(here(&app, &owner, board.id).await.len(), 1);
    // Nothing of it is a change of the board.
    let version =
        app.sql.query_one("SELECT version, (SELECT count(*) FROM board_events) FROM boards", &[]).await.unwrap();
    assert_eq!((version.get::<_, i64>(0), version.get::<_, i64>(1)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_gone() {
    let (app, owner, board, _) = setup().await;
    show(&app, &owner, json!({ "boardId": board.id.to_string() })).await;
    crate::support::sql::until(&app.sql, "SELECT count(*) = 1 FROM board_presence").await;
    assert_eq!(here(&app, &owner, board.id).await.len(), 1);
    app.sql.batch_execute("UPDATE board_presence SET seen_at = seen_at - interval '31 seconds'").await.unwrap();
    assert_eq!(here(&app, &owner, board.id).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_seen_and_nobody_is_not() {
    let (app, owner, board, address) = setup().await;
    let public = BoardBuilder::new(owner.id, "Public").public().make(&app).await;
    share(&app, &board, owner.id, "a token of the test", &[]).await;
    let mut socket = watch(address, &owner, board.id).await;
    let ask = async |headers: &[(&str, &str)], board: BoardId| {
        app.ask(headers, SHOW, json!({ "input": { "boardId": board.to_string() } })).await.1
    };
    let guest = [("x-share-token", "a token of the test")];
    let shown = ask(&guest, board.id).await["data"]["setPresence"]["presence"].take();
    assert!(shown["guestName"].as_str().unwrap().starts_with("Guest ") && shown["user"].is_null(), "{shown}");
    assert_eq!(told(&mut socket, |_| true).await["guestName"], shown["guestName"]);
    // A link is for its board.
    for (headers, board) in [(&guest[..], public.id), (&[], public.id)] {
        assert_eq!(ask(headers, board).await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }
    let stranger = app.account("stranger@example.org").await;
    let refused = show(&app, &stranger, json!({ "boardId": board.id.to_string() })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "NotFoundError");
    assert_eq!(show(&app, &stranger, json!({ "boardId": public.id.to_string() })).await["userErrors"], json!([]));
    // Who may not see the board does not see who is there, and hears it no longer than that.
    let mut stranger = watch(address, &stranger, board.id).await;
    assert_eq!(stranger.next().await["payload"]["errors"][0]["extensions"]["code"], "INVALID_ARGUMENT");
    let mut holder = Socket::open(address, json!({ "x-share-token": "a token of the test" })).await;
    assert_eq!(holder.next().await["type"], "connection_ack");
    let query = format!("subscription {{ presence(boardId: \"{}\") {{ id }} }}", board.id);
    holder.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
    assert_eq!(told(&mut holder, |_| true).await["id"], shown["id"]);
    app.sql.batch_execute("UPDATE board_shares SET revoked_at = now()").await.unwrap();
    assert_eq!(holder.ended().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_has_its_bounds() {
    let (app, owner, board, _) = setup().await;
    let node = board.nodes[0].to_string();
    for (name, value, path) in [
        ("clientId", json!("x".repeat(65)), "clientId"),
        ("cursor", json!({ "x": 1e10, "y": 0 }), "cursor"),
        ("selection", json!(vec![node; 101]), "selection"),
        ("selection", json!([board.id.to_string()]), "selection.0"),
        ("state", json!("x".repeat(1023)), "state"),
        ("state", json!({ "nul": "\0" }), "state"),
    ] {
        let mut input = json!({ "boardId": board.id.to_string() });
        input[name] = value;
        let refused = show(&app, &owner, input).await;
        let error = &refused["userErrors"][0];
        assert_eq!((&error["__typename"], &error["path"]), (&json!("ValidationError"), &json!([path])), "{refused}");
    }
    for window in 0..10 {
        let input = json!({ "boardId": board.id.to_string(), "clientId": window.to_string() });
        assert_eq!(show(&app, &owner, input).await["userErrors"], json!([]));
    }
    let refused = show(&app, &owner, json!({ "boardId": board.id.to_string(), "clientId": "one more" })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "LimitError");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_boards_are_asked_at_once() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for number in 0..5 {
        let board = BoardBuilder::new(owner.id, &format!("Board {number}")).make(&app).await;
        show(&app, &owner, json!({ "boardId": board.id.to_string() })).await;
    }
    crate::support::sql::until(&app.sql, "SELECT count(*) = 5 FROM board_presence").await;
    let before = app.statements();
    let all = "{ boards(first: 10) { nodes { presence { user { name } } } } }";
    let data = app.data(Some(&owner), all, Value::Null).await;
    let shown = json!({ "presence": [{ "user": { "name": "owner" } }] });
    assert_eq!(data["boards"]["nodes"], json!(vec![shown; 5]));
    let ran = app.statements_since(&before);
    assert_eq!(ran.iter().filter(|name| **name == "presence.read").count(), 1, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_right_leaves_at_once() {
    for round in 1.. {
        if leave_before_they_are_silent().await {
            break;
        }
        assert!(round < 5, "they left when nothing was heard of them any more");
    }
}

/// People lose their right in several ways. Whether all of them left sooner than those who are merely silent; on a
/// machine that has much else to do it may take as long.
async fn leave_before_they_are_silent() -> bool {
    let (app, owner, board, address) = setup().await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let id = board.id.to_string();
    let window = |client: &str| json!({ "boardId": id, "clientId": client, "cursor": { "x": 1, "y": 1 } });
    // Removed here, deactivated, and by a link that is revoked; each says something on the other gateway as well.
    let removed = app.account("removed@example.org").await;
    let deactivated = app.account("deactivated@example.org").await;
    for guest in [&removed, &deactivated] {
        collaborator(&app, &board, guest.id, "view", true).await;
        // The row was made beside the program, which hears of it by its next look.
        for (gateway, client) in [(&app, "near"), (&other, "far")] {
            let deadline = Instant::now() + PATIENCE;
            while show(gateway, guest, window(client)).await["userErrors"] != json!([]) {
                assert!(Instant::now() < deadline, "{client} never was let in");
            }
        }
    }
    share(&app, &board, owner.id, "a token of the test", &[]).await;
    let headers = [("x-share-token", "a token of the test")];
    // All of them show themselves again, as windows do: who is merely silent stays for half a minute after that.
    let shown = async |guests: &[&Account]| {
        let began = Instant::now();
        for guest in guests {
            for (gateway, client) in [(&app, "near"), (&other, "far")] {
                assert_eq!(show(gateway, guest, window(client)).await["userErrors"], json!([]));
            }
        }
        let (_, answer) = app.ask(&headers, SHOW, json!({ "input": window("held") })).await;
        assert_eq!(answer["data"]["setPresence"]["userErrors"], json!([]), "{answer}");
        (began, answer["data"]["setPresence"]["presence"]["id"].clone())
    };
    let mut watching = watch(address, &owner, board.id).await;
    let (mut windows, deadline) = (BTreeSet::new(), Instant::now() + PATIENCE);
    while windows.len() < 5 {
        shown(&[&removed, &deactivated]).await;
        let here = async {
            while windows.len() < 5 {
                windows.insert(told(&mut watching, |presence| presence["isHere"] == true).await["id"].to_string());
            }
        };
        let _ = timeout(Duration::from_secs(5), here).await;
        assert!(Instant::now() < deadline, "{windows:?}");
    }
    let (began, _) = shown(&[&removed, &deactivated]).await;
    let input = json!({ "boardId": id, "userId": removed.id.to_string() });
    let remove =
        "mutation ($input: RemoveCollaboratorInput!) { removeCollaborator(input: $input) { userErrors { message } } }";
    app.data(Some(&owner), remove, json!({ "input": input })).await;
    for _ in 0..2 {
        let gone = told(&mut watching, |presence| presence["isHere"] == false).await;
        if began.elapsed() >= GONE_AFTER {
            return false;
        }
        assert_eq!(gone["user"]["id"], removed.id.to_string(), "{gone}");
    }
    let (began, _) = shown(&[&deactivated]).await;
    app.sql.execute("UPDATE users SET is_active = false WHERE email LIKE 'deactivated%'", &[]).await.unwrap();
    for _ in 0..2 {
        let gone = told(&mut watching, |presence| presence["isHere"] == false).await;
        if began.elapsed() >= GONE_AFTER {
            return false;
        }
        assert_eq!(gone["user"]["id"], deactivated.id.to_string(), "{gone}");
    }
    let (began, held) = shown(&[]).await;
    app.sql.batch_execute("UPDATE board_shares SET revoked_at = now()").await.unwrap();
    let gone = told(&mut watching, |presence| presence["isHere"] == false).await;
    if began.elapsed() >= GONE_AFTER {
        return false;
    }
    assert_eq!(gone["id"], held, "{gone}");
    assert_eq!(here(&app, &owner, board.id).await, Vec::<Value>::new());
    true
}
