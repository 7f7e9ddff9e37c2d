//! Folders with a password: what lies in them is not there for those who have not opened them, whatever way they ask, from
//! memory and past it.

use std::time::{Duration, Instant};

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
}

const COPY: &str = "mutation ($input: DuplicateBoardInput!) { it: duplicateBoard(input: $input) { \
    board { id stats { nodeCount linkCount } roots(first: 100) { nodes { id ... on FolderNode { name isPasswordProtected \
        isUnlocked } } } } userErrors { __typename } } }";

/// The folders of an answer that have a password: id, name, whether they are open.
fn protected(board: &Value) -> Vec<(String, String, bool)> {
    let nodes = board["roots"]["nodes"].as_array().unwrap().iter().filter(|node| node["isPasswordProtected"] == true);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    nodes.map(|node| (text(&node["id"]), text(&node["name"]), node["isUnlocked"].as_bool().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_the_password_of_what_its_maker_sees_and_has_nothing_else() {
    let house = house().await;
    let id = house.board.id.to_string();
    let guest = bearer(&house.guest);
    let opened = house.unlock(&[("authorization", &bearer(&house.other))], house.folder, PASSWORD).await;
    let token = opened["data"]["it"]["unlockToken"].as_str().unwrap().to_owned();
    // Whoever is shut out copies an empty folder without a password, also of a template.
    house.app.sql.execute("UPDATE boards SET is_template = true", &[]).await.unwrap();
    let stranger = house.app.account("stranger@example.org").await;
    // What another program writes is known here a moment later.
    let document = "query ($id: ID!) { board(id: $id) { id } }";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while house.app.data(Some(&stranger), document, json!({ "id": id })).await["board"].is_null() {
        assert!(tokio::time::Instant::now() < deadline, "the template does not show");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for who in [&house.guest, &stranger] {
        let input = json!({ "id": id, "name": "Copy" });
        let copy = house.mutate(&[("authorization", &bearer(who))], COPY, input).await;
        assert_eq!(copy["board"]["stats"], json!({ "nodeCount": 16, "linkCount": 14 }), "{copy}");
        assert_eq!(protected(&copy["board"]), []);
    }
    let cases = [(&house.owner, ""), (&house.keeper, ""), (&house.other, token.as_str())];
    for (who, token) in cases {
        let own = bearer(who);
        let headers = [("authorization", own.as_str()), ("x-unlock-token", token)];
        let copy = house.mutate(&headers, COPY, json!({ "id": id, "name": "Whole copy" })).await;
        assert_eq!(copy["board"]["stats"], json!({ "nodeCount": 20, "linkCount": 20 }), "{copy}");
        let locked = protected(&copy["board"]);
        assert_eq!(locked.len(), 1, "{copy}");
        assert_eq!((locked[0].1.as_str(), locked[0].2), ("Folder 0", true));
        let copied = copy["board"]["id"].as_str().unwrap();
        let publish =
            "mutation ($input: UpdateBoardInput!) { it: updateBoard(input: $input) { userErrors { __typename } } }";
        let published =
            house.mutate(&[("authorization", &own)], publish, json!({ "id": copied, "isPublic": true })).await;
        assert_eq!(published["userErrors"], json!([]));
        // The others are shut out of the copy as they were of the board, and get in with the password.
        let document = "query ($id: ID!) { board(id: $id) { stats { nodeCount linkCount } \
            nodes(first: 100) { totalCount nodes { ... on ResourceNode { content } } } \
            roots(first: 100) { nodes { id ... on FolderNode { name isPasswordProtected isUnlocked } } } } }";
        for headers in [vec![], vec![("authorization", guest.as_str())]] {
            let (_, seen) = house.app.ask(&headers, document, json!({ "id": copied })).await;
            let board = &seen["data"]["board"];
            assert_eq!(board["stats"], json!({ "nodeCount": 16, "linkCount": 14 }), "{seen}");
            assert_eq!(board["nodes"]["totalCount"], 16);
            assert!(!board.to_string().contains("Content of 2\""), "{board}");
            assert_eq!(protected(board), [(locked[0].0.clone(), "Folder 0".to_owned(), false)]);
        }
        let folder: NodeId = locked[0].0.parse().unwrap();
        let unlocked = house.unlock(&[("authorization", &guest)], folder, PASSWORD).await;
        assert_eq!(unlocked["data"]["it"]["folder"], json!({ "isUnlocked": true, "childCount": 2 }), "{unlocked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_locked_folders_in_locked_folders_opens_no_more_than_the_board() {
    let house = house().await;
    let (guest, keeper) = (bearer(&house.guest), bearer(&house.keeper));
    let document = "mutation ($input: SetFolderPasswordInput!) { it: setFolderPassword(input: $input) { userErrors { __typename } } }";
    let input = json!({ "id": house.hidden[1].to_string(), "password": "another door" });
    assert_eq!(house.mutate(&[("authorization", &keeper)], document, input).await["userErrors"], json!([]));
    let opened = house.unlock(&[("authorization", &guest)], house.folder, PASSWORD).await;
    let token = opened["data"]["it"]["unlockToken"].as_str().unwrap();
    // The outer folder is open for the guest, the inner one is not.
    let headers = [("authorization", guest.as_str()), ("x-unlock-token", token)];
    let copy = house.mutate(&headers, COPY, json!({ "id": house.board.id.to_string(), "name": "Copy" })).await;
    assert_eq!(copy["board"]["stats"]["nodeCount"], 18, "{copy}");
    let sql = "SELECT f.name, f.password_hash IS NOT NULL, f.locked_by::text FROM folder_nodes f WHERE f.board_id = $1::text::uuid \
        ORDER BY f.name";
    let copied: ragboard::domain::BoardId = copy["board"]["id"].as_str().unwrap().parse().unwrap();
    let rows = house.app.sql.query(sql, &[&copied.0.to_string()]).await.unwrap();
    let rows: Vec<(String, bool, Option<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let maker = Some(house.guest.id.0.to_string());
    assert_eq!(rows, [("Folder 0".to_owned(), true, maker), ("Folder 10".to_owned(), false, None)]);
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

#[tokio::test(flavor = "multi_thread")]
async fn activity_and_times_of_change_tell_nothing_of_a_locked_folder() {
    let house = house().await;
    house.app.sql.execute("UPDATE boards SET is_public = true", &[]).await.unwrap();
    let stranger = house.app.account("stranger@example.org").await;
    let viewer = house.app.account("viewer@example.org").await;
    collaborator(&house.app, &house.board, viewer.id, "view", true).await;
    let id = house.board.id.to_string();
    let own = [&house.owner, &house.guest, &stranger, &viewer].map(bearer);
    let [owner, shut_out @ ..] = own.each_ref().map(|bearer| vec![("authorization", bearer.as_str())]);
    let nobody: Vec<(&str, &str)> = Vec::new();
    let keeper = bearer(&house.keeper);
    let change = async |name: &str, kind: &str, input: Value| {
        let document =
            format!("mutation ($input: {kind}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename }} }} }}");
        let payload = house.mutate(&[("authorization", &keeper)], &document, input).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
    };
    let times = async |headers: &[(&str, &str)]| {
        let document = "query ($id: ID!) { board(id: $id) { updatedAt stats { lastModified } } }";
        let past: Vec<(&str, &str)> = headers.iter().copied().chain([("cache-control", "no-cache")]).collect();
        let (_, answer) = house.app.ask(&past, document, json!({ "id": id })).await;
        house.app.app.cached.settled().await;
        let (_, again) = house.app.ask(headers, document, json!({ "id": id })).await;
        assert_eq!(answer, again);
        assert!(answer["data"]["board"]["stats"]["lastModified"].is_string(), "{answer}");
        answer["data"]["board"].clone()
    };
    let outside = house.board.nodes[5].to_string();
    change("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": outside, "title": "open" })).await;
    let mut before = Vec::new();
    for headers in [&owner].into_iter().chain(&shut_out).chain([&nobody]) {
        before.push(times(headers).await);
    }
    // Everything that can happen in there: one by one, several at once, together with something outside, with links.
    let [first, inner, second, third] = [0, 1, 2, 3].map(|number| house.hidden[number].to_string());
    let place = json!({ "folderId": house.folder.to_string() });
    change("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": first, "title": "secret" })).await;
    let new = json!({ "boardId": id, "title": "new", "place": place });
    change("createResourceNode", "CreateResourceNodeInput", new).await;
    let moves: Vec<Value> =
        [&second, &third].into_iter().map(|node| json!({ "id": node, "position": { "x": 1, "y": 2 } })).collect();
    change("moveNodes", "MoveNodesInput", json!({ "boardId": id, "moves": moves })).await;
    let linked = json!({ "boardId": id, "fromId": outside, "toId": third });
    change("linkNodes", "LinkNodesInput", linked).await;
    change("deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [inner] })).await;
    change("restoreNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [inner] })).await;
    let headers = [&owner].into_iter().chain(&shut_out).chain([&nobody]);
    for (number, (headers, before)) in headers.zip(before).enumerate() {
        let now = times(headers).await;
        assert_eq!(now == before, number > 0, "{now} {before}");
    }

    let document =
        "query ($id: ID!) { board(id: $id) { activity(first: 100) { totalCount nodes { kind objectId count } } } }";
    let activity = async |headers: &[(&str, &str)]| {
        let (_, answer) = house.app.ask(headers, document, json!({ "id": id })).await;
        answer["data"]["board"]["activity"].clone()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    // The password, what was outside, and the six inside.
    while activity(&owner).await["totalCount"] != 8 {
        assert!(Instant::now() < deadline, "{}", activity(&owner).await);
    }
    let told = json!({ "totalCount": 2, "nodes": [
        { "kind": "NODE_UPDATED", "objectId": outside, "count": 1 },
        { "kind": "NODE_UPDATED", "objectId": house.folder.to_string(), "count": 1 },
    ] });
    for headers in shut_out.iter().chain([&nobody]) {
        assert_eq!(activity(headers).await, told);
    }
    // What comes out of the folder is seen from then on, and so is the time.
    change("placeInFolder", "PlaceInFolderInput", json!({ "boardId": id, "nodeIds": [first] })).await;
    assert_ne!(times(&shut_out[0]).await["updatedAt"], Value::Null);
    while activity(&shut_out[0]).await["totalCount"] != 4 {
        assert!(Instant::now() < deadline, "{}", activity(&shut_out[0]).await);
    }
}
