//! Folders with a password: what lies in them is not there for those who have not opened them, whatever way they ask, from
//! memory and past it.

use ragboard::domain::{LinkId, NodeId};
use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, collaborator, link_ids, place},
};

const PASSWORD: &str = "behind the door";

struct House {
    app: TestApp,
    owner: Account,
    keeper: Account,
    guest: Account,
    other: Account,
    board: Board,
    folder: NodeId,
    hidden: Vec<NodeId>,
}

/// A board with a locked folder that holds a node and a folder with two more. The keeper has set the password; keeper and
/// guest may change the board.
async fn house() -> House {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let keeper = app.account("keeper@example.org").await;
    let guest = app.account("guest@example.org").await;
    let board = BoardBuilder::new(owner.id, "House").nodes(20).links(20).make(&app).await;
    let other = app.account("other@example.org").await;
    for account in [&keeper, &guest, &other] {
        collaborator(&app, &board, account.id, "edit", true).await;
    }
    let (folder, inner) = (board.nodes[0], board.nodes[10]);
    place(&app, &board, folder, &[board.nodes[2], inner]).await;
    place(&app, &board, inner, &[board.nodes[11], board.nodes[12]]).await;
    let hidden = vec![board.nodes[2], inner, board.nodes[11], board.nodes[12]];
    let house = House { app, owner, keeper, guest, other, board, folder, hidden };
    let set = house.set_password(&house.keeper, Some(PASSWORD)).await;
    assert_eq!(set["userErrors"], json!([]), "{set}");
    assert_eq!((&set["folder"]["isPasswordProtected"], &set["folder"]["isUnlocked"]), (&json!(true), &json!(true)));
    house
}

impl House {
    async fn mutate(&self, headers: &[(&str, &str)], document: &str, input: Value) -> Value {
        let (_, answer) = self.app.ask(headers, document, json!({ "input": input })).await;
        answer["data"]["it"].clone()
    }

    async fn set_password(&self, who: &Account, password: Option<&str>) -> Value {
        let bearer = format!("Bearer {}", who.token);
        let document = "mutation ($input: SetFolderPasswordInput!) { it: setFolderPassword(input: $input) { \
            folder { isPasswordProtected isUnlocked } userErrors { __typename path } } }";
        let input = json!({ "id": self.folder.to_string(), "password": password });
        self.mutate(&[("authorization", &bearer)], document, input).await
    }

    async fn unlock(&self, headers: &[(&str, &str)], folder: NodeId, password: &str) -> Value {
        let document = "mutation ($input: UnlockFolderInput!) { it: unlockFolder(input: $input) { unlockToken expiresAt \
            folder { isUnlocked childCount } userErrors { __typename path } } }";
        let (_, answer) = self
            .app
            .ask(headers, document, json!({ "input": { "id": folder.to_string(), "password": password } }))
            .await;
        answer
    }

    /// Everything that the API tells of the board, in as many ways as there are.
    async fn seen(&self, headers: &[(&str, &str)]) -> Value {
        let document = "query ($board: ID!, $folder: ID!, $all: [ID!]!, $links: [ID!]!) { \
            board(id: $board) { \
                stats { nodeCount linkCount resourceCount chatCount folderCount } \
                nodes(first: 20) { totalCount nodes { id parent { id } ancestors { id } \
                    links(first: 10) { totalCount nodes { id fromId toId from { id } to { id } } } \
                    linkedNodes(first: 10) { totalCount nodes { id } } } } \
                byName: nodes(first: 100, orderBy: { field: NAME, direction: DESC }) { nodes { id } } \
                roots(first: 100) { totalCount nodes { id } } \
                links(first: 100) { totalCount nodes { id } } \
            } \
            folder: node(id: $folder) { ... on FolderNode { isPasswordProtected isUnlocked childCount \
                children(first: 100) { totalCount nodes { id } } descendants(first: 100) { totalCount nodes { id } } } } \
            byId: nodes(ids: $all) { id } \
            linksById: nodes(ids: $links) { id } }";
        let ids = |ids: Vec<String>| Value::from(ids);
        let links = link_ids(&self.app, &self.board).await;
        let variables = json!({
            "board": self.board.id.to_string(),
            "folder": self.folder.to_string(),
            "all": ids(self.board.nodes.iter().map(ToString::to_string).collect()),
            "links": ids(links.iter().map(ToString::to_string).collect()),
        });
        let (_, answer) = self.app.ask(headers, document, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].clone()
    }

    /// The same from the database and from memory, which must agree.
    async fn seen_everywhere(&self, headers: &[(&str, &str)]) -> Value {
        let past: Vec<(&str, &str)> = headers.iter().copied().chain([("cache-control", "no-cache")]).collect();
        let from_database = self.seen(&past).await;
        assert_eq!(self.seen(headers).await, from_database, "while the board may not be in memory yet");
        self.app.app.cached.settled().await;
        assert_eq!(self.seen(headers).await, from_database, "from memory");
        from_database
    }

    fn names_hidden(&self, answer: &Value) -> bool {
        let text = answer.to_string();
        self.hidden.iter().any(|id| text.contains(&id.to_string()))
    }
}

fn bearer(account: &Account) -> String {
    format!("Bearer {}", account.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_locked_folder_is_not_there_for_others() {
    let house = house().await;
    let guest = bearer(&house.guest);
    let seen = house.seen_everywhere(&[("authorization", &guest)]).await;
    assert!(!house.names_hidden(&seen), "{seen:#}");
    let board = &seen["board"];
    // 4 of 20 nodes, and the 20 links go round: those at 2, and at 10, 11 and 12.
    assert_eq!(board["stats"]["nodeCount"], 16);
    assert_eq!(board["nodes"]["totalCount"], 16);
    assert_eq!(board["stats"]["linkCount"], board["links"]["totalCount"]);
    assert_eq!(board["links"]["totalCount"], 14);
    assert_eq!(board["links"]["nodes"].as_array().unwrap().len(), 14);
    assert_eq!((&board["stats"]["folderCount"], &board["stats"]["chatCount"]), (&json!(1), &json!(1)));
    let empty = json!({ "totalCount": 0, "nodes": [] });
    assert_eq!(
        seen["folder"],
        json!({ "isPasswordProtected": true, "isUnlocked": false, "childCount": 0, "children": empty, "descendants": empty })
    );
    let null = |list: &Value| list.as_array().unwrap().iter().filter(|entry| entry.is_null()).count();
    assert_eq!((null(&seen["byId"]), null(&seen["linksById"])), (4, 6));

    for (who, _) in [(&house.owner, "owns the board"), (&house.keeper, "has set the password")] {
        let seen = house.seen_everywhere(&[("authorization", &bearer(who))]).await;
        assert_eq!(seen["board"]["nodes"]["totalCount"], 20);
        assert_eq!(seen["board"]["links"]["totalCount"], 20);
        assert_eq!(seen["folder"]["descendants"]["totalCount"], 4);
        assert_eq!((null(&seen["byId"]), null(&seen["linksById"])), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_opens_the_folder_for_whoever_gave_it() {
    let house = house().await;
    let guest = bearer(&house.guest);
    let headers = [("authorization", guest.as_str())];
    let wrong = house.unlock(&headers, house.folder, "something else").await;
    assert_eq!(wrong["data"]["it"]["userErrors"], json!([{ "__typename": "PermissionError", "path": ["password"] }]));
    let inner = house.unlock(&headers, house.hidden[1], PASSWORD).await;
    assert_eq!(inner["data"]["it"]["userErrors"], json!([{ "__typename": "NotFoundError", "path": ["id"] }]));

    let opened = house.unlock(&headers, house.folder, PASSWORD).await["data"]["it"].clone();
    assert_eq!(opened["userErrors"], json!([]), "{opened}");
    assert_eq!(opened["folder"], json!({ "isUnlocked": true, "childCount": 2 }));
    let token = opened["unlockToken"].as_str().unwrap();
    let with_token = [("authorization", guest.as_str()), ("x-unlock-token", token)];
    let seen = house.seen_everywhere(&with_token).await;
    assert_eq!(seen["board"]["nodes"]["totalCount"], 20);
    assert_eq!(seen["folder"]["isUnlocked"], true);
    // Among others, of which some are nobody's.
    let several = format!("unlock_nonsense, {token}");
    let seen = house.seen(&[("authorization", guest.as_str()), ("x-unlock-token", &several)]).await;
    assert_eq!(seen["board"]["nodes"]["totalCount"], 20);

    // Bound to the guest.
    let other = bearer(&house.other);
    let stolen = house.seen_everywhere(&[("authorization", other.as_str()), ("x-unlock-token", token)]).await;
    assert!(!house.names_hidden(&stolen));
    // Dead with the password, and with its time.
    house.app.sql.execute("UPDATE folder_unlocks SET expires_at = now()", &[]).await.unwrap();
    assert!(!house.names_hidden(&house.seen(&with_token).await));
    house.app.sql.execute("UPDATE folder_unlocks SET expires_at = now() + interval '1 hour'", &[]).await.unwrap();
    assert!(house.names_hidden(&house.seen(&with_token).await));
    assert_eq!(house.set_password(&house.keeper, Some("another one")).await["userErrors"], json!([]));
    assert!(!house.names_hidden(&house.seen(&with_token).await));
    assert_eq!(house.set_password(&house.owner, None).await["userErrors"], json!([]));
    assert!(house.names_hidden(&house.seen(&headers).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_a_password_are_counted() {
    let house = house().await;
    let guest = bearer(&house.guest);
    for _ in 0..10 {
        let wrong = house.unlock(&[("authorization", &guest)], house.folder, "wrong").await;
        assert_eq!(wrong["data"]["it"]["userErrors"][0]["__typename"], "PermissionError");
    }
    let right = house.unlock(&[("authorization", &guest)], house.folder, PASSWORD).await;
    assert_eq!(right["errors"][0]["extensions"]["code"], "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_what_they_are_shut_out_of() {
    let house = house().await;
    let (guest, id) = (bearer(&house.guest), house.board.id.to_string());
    let (folder, hidden, inner) = (house.folder.to_string(), house.hidden[0].to_string(), house.hidden[1].to_string());
    let outside = house.board.nodes[5].to_string();
    let sql = "SELECT id::text FROM connections WHERE from_node_id = $1::text::uuid";
    let hidden_link: String = house.app.sql.query_one(sql, &[&house.hidden[0].0.to_string()]).await.unwrap().get(0);
    let hidden_link = LinkId(hidden_link.parse().unwrap()).to_string();
    let cases = [
        ("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": hidden, "title": "mine" }), "NotFoundError"),
        ("deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [hidden] }), "NotFoundError"),
        ("restoreNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [hidden] }), "NotFoundError"),
        ("placeInFolder", "PlaceInFolderInput", json!({ "boardId": id, "nodeIds": [hidden] }), "NotFoundError"),
        (
            "placeInFolder",
            "PlaceInFolderInput",
            json!({ "boardId": id, "nodeIds": [outside], "place": { "folderId": folder } }),
            "LockedError",
        ),
        (
            "placeInFolder",
            "PlaceInFolderInput",
            json!({ "boardId": id, "nodeIds": [outside], "place": { "folderId": inner } }),
            "NotFoundError",
        ),
        ("deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [folder] }), "LockedError"),
        ("setFolderPassword", "SetFolderPasswordInput", json!({ "id": folder, "password": null }), "LockedError"),
        ("linkNodes", "LinkNodesInput", json!({ "boardId": id, "fromId": outside, "toId": hidden }), "NotFoundError"),
        ("updateLink", "UpdateLinkInput", json!({ "id": hidden_link, "label": "mine" }), "NotFoundError"),
        ("unlinkNodes", "UnlinkNodesInput", json!({ "boardId": id, "linkIds": [hidden_link] }), "NotFoundError"),
        (
            "createResourceNode",
            "CreateResourceNodeInput",
            json!({ "boardId": id, "title": "new", "place": { "folderId": folder } }),
            "LockedError",
        ),
    ];
    let version = |answer: Value| answer["board"]["version"].as_i64().unwrap();
    let ask = async || {
        house.app.data(Some(&house.owner), "query ($id: ID!) { board(id: $id) { version } }", json!({ "id": id })).await
    };
    let before = version(ask().await);
    for (name, kind, input, refusal) in cases {
        let document = format!(
            "mutation ($input: {kind}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename message }} }} }}"
        );
        let payload = house.mutate(&[("authorization", &guest)], &document, input).await;
        assert_eq!(payload["userErrors"][0]["__typename"], refusal, "{name}: {payload}");
    }
    assert_eq!(version(ask().await), before);

    // A copy has what its maker sees.
    let document = "mutation ($input: DuplicateBoardInput!) { it: duplicateBoard(input: $input) { \
        board { stats { nodeCount linkCount } } userErrors { __typename } } }";
    for (who, nodes, links) in [(&house.guest, 16, 14), (&house.keeper, 20, 20)] {
        let copy =
            house.mutate(&[("authorization", &bearer(who))], document, json!({ "id": id, "name": "Copy" })).await;
        assert_eq!(copy["board"]["stats"], json!({ "nodeCount": nodes, "linkCount": links }), "{copy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_nothing_of_a_locked_folder() {
    let house = house().await;
    let id = house.board.id.to_string();
    let keeper = bearer(&house.keeper);
    let change = async |name: &str, kind: &str, input: Value| {
        let document =
            format!("mutation ($input: {kind}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename }} }} }}");
        let payload = house.mutate(&[("authorization", &keeper)], &document, input).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
    };
    let (hidden, outside) = (house.hidden[0].to_string(), house.board.nodes[5].to_string());
    let place = json!({ "folderId": house.folder.to_string() });
    change("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": hidden, "title": "secret" })).await;
    change("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": outside, "title": "open" })).await;
    change("deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [hidden] })).await;
    change("placeInFolder", "PlaceInFolderInput", json!({ "boardId": id, "nodeIds": [outside], "place": place })).await;
    let document = "query ($id: ID!) { board(id: $id) { events(first: 100) { nodes { __typename \
        ... on BoardChanged { changes { ... on NodeSaved { nodeId node { id } } ... on NodeDeleted { nodeId } } } } } } }";
    for (who, expected) in [
        (&house.keeper, ["ResyncRequired", "BoardChanged", "BoardChanged", "BoardChanged", "BoardChanged"]),
        // The node that was moved in is not there any more for the guest, so neither is what happened to it before.
        (&house.guest, ["ResyncRequired"; 5]),
    ] {
        let events = house.app.data(Some(who), document, json!({ "id": id })).await;
        let kinds: Vec<_> =
            events["board"]["events"]["nodes"].as_array().unwrap().iter().map(|event| &event["__typename"]).collect();
        assert_eq!(kinds, expected, "{events:#}");
        assert_eq!(house.names_hidden(&events), expected[1] == "BoardChanged");
    }
}
