//! Idempotency keys of mutations that are no changes of a board: done once, however often and by how many at once they are
//! asked for, with no secret kept. Those of boards are in `writes.rs`, those of API keys in `api_keys.rs`.

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder},
    sql::value,
};

struct Mutation {
    name: &'static str,
    kind: &'static str,
    fields: &'static str,
}

const fn mutation(name: &'static str, kind: &'static str, fields: &'static str) -> Mutation {
    Mutation { name, kind, fields }
}

const SHARE: Mutation = mutation("shareBoard", "ShareBoardInput", "share { id } token");
const REVOKE: Mutation = mutation("revokeShare", "ShareInput", "shareId");
const INVITE: Mutation =
    mutation("inviteCollaborator", "InviteCollaboratorInput", "invitation { email role invitedAt }");
const ACCEPT: Mutation = mutation("acceptInvitation", "AcceptInvitationInput", "board { id }");
const ROLE: Mutation =
    mutation("changeCollaboratorRole", "ChangeCollaboratorRoleInput", "collaborator { user { id } role }");
const REMOVE: Mutation = mutation("removeCollaborator", "RemoveCollaboratorInput", "userId");
const UPDATE: Mutation = mutation("updateViewer", "UpdateViewerInput", "user { name }");
const SET_PASSWORD: Mutation = mutation("setFolderPassword", "SetFolderPasswordInput", "folder { id }");
const SIGN_UP: Mutation = mutation("signUp", "SignUpInput", "accessToken refreshToken user { id email }");

impl Mutation {
    async fn run(&self, app: &TestApp, who: Option<&Account>, input: Value) -> Value {
        let Mutation { name, kind, fields } = self;
        let document = format!(
            "mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ __typename path }} }} }}"
        );
        app.data(who, &document, json!({ "input": input })).await[name].take()
    }

    /// Runs it under a key; the same again, one after the other and at once, has to say the same and do nothing more. Another
    /// input under the key is refused.
    async fn is_done_once(&self, app: &TestApp, who: &Account, input: &Value, other: Value, count: &str) -> Value {
        let key = format!("the key of {}", self.name);
        let with_key = |mut input: Value| {
            input["idempotencyKey"] = json!(key);
            input
        };
        let before: i64 = value(&app.sql, count).await.parse().unwrap();
        let (first, second) = tokio::join!(
            self.run(app, Some(who), with_key(input.clone())),
            self.run(app, Some(who), with_key(input.clone()))
        );
        let third = self.run(app, Some(who), with_key(input.clone())).await;
        for answer in [&first, &second, &third] {
            assert_eq!(answer["userErrors"], json!([]), "{} {answer}", self.name);
        }
        let after: i64 = value(&app.sql, count).await.parse().unwrap();
        assert_eq!(after - before, 1, "{} did its work once", self.name);
        let other = self.run(app, Some(who), with_key(other)).await;
        assert_eq!(other["userErrors"][0]["__typename"], "IdempotencyKeyReusedError", "{} {other}", self.name);
        let without_token = |answer: &Value| {
            let mut answer = answer.clone();
            answer.as_object_mut().unwrap().remove("token");
            answer
        };
        assert_eq!(without_token(&first), without_token(&second), "{}", self.name);
        assert_eq!(without_token(&first), without_token(&third), "{}", self.name);
        if first["token"].is_string() { first } else { second }
    }
}

async fn setup() -> (TestApp, Account, Account, Board) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let guest = app.account("guest@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    (app, owner, guest, board)
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_is_done_once_under_a_key() {
    let (app, owner, guest, board) = setup().await;
    let (board, guest_id) = (board.id.to_string(), guest.id.to_string());

    let input = json!({ "boardId": board, "maxUses": 5 });
    let other = json!({ "boardId": board, "maxUses": 6 });
    let made = SHARE.is_done_once(&app, &owner, &input, other, "SELECT count(*) FROM board_shares").await;
    assert!(made["token"].is_string(), "told to one of them: {made}");
    let revoked = "SELECT count(*) FROM board_shares WHERE revoked_at IS NOT NULL";
    let share = json!({ "id": made["share"]["id"] });
    let another = SHARE.run(&app, Some(&owner), json!({ "boardId": board })).await;
    REVOKE.is_done_once(&app, &owner, &share, json!({ "id": another["share"]["id"] }), revoked).await;

    let input = json!({ "boardId": board, "email": "guest@example.org", "role": "VIEW" });
    let other = json!({ "boardId": board, "email": "guest@example.org", "role": "EDIT" });
    let count = "SELECT count(*) FROM board_invitations";
    INVITE.is_done_once(&app, &owner, &input, other, count).await;
    let again = INVITE.run(&app, Some(&owner), input).await;
    assert_eq!(again["userErrors"][0]["__typename"], "ConflictError", "without the key it is another request");

    let accepted = "SELECT count(*) FROM board_collaborators WHERE accepted_at IS NOT NULL";
    let other_board = BoardBuilder::new(owner.id, "Other").make(&app).await.id.to_string();
    let other = json!({ "boardId": other_board });
    ACCEPT.is_done_once(&app, &guest, &json!({ "boardId": board }), other, accepted).await;

    let input = json!({ "boardId": board, "userId": guest_id, "role": "EDIT" });
    let other = json!({ "boardId": board, "userId": guest_id, "role": "VIEW" });
    let editors = "SELECT count(*) FROM board_collaborators WHERE role = 'edit'";
    let changed = ROLE.is_done_once(&app, &owner, &input, other, editors).await;
    assert_eq!(changed["collaborator"]["role"], "EDIT");

    let input = json!({ "boardId": board, "userId": guest_id });
    let other = json!({ "boardId": board, "userId": owner.id.to_string() });
    let gone = "SELECT 1 - count(*) FROM board_collaborators";
    REMOVE.is_done_once(&app, &guest, &input, json!({ "boardId": other_board, "userId": guest_id }), gone).await;
    let refused = REMOVE.run(&app, Some(&owner), other).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "NotFoundError");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_its_key_free_and_keys_are_ones_own() {
    let (app, owner, guest, board) = setup().await;
    let board = board.id.to_string();
    let input = |email: &str| json!({ "boardId": board, "email": email, "role": "VIEW", "idempotencyKey": "k" });
    let refused = INVITE.run(&app, Some(&owner), input("nobody")).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "ValidationError");
    let done = INVITE.run(&app, Some(&owner), input("guest@example.org")).await;
    assert_eq!(done["invitation"]["email"], "guest@example.org");
    let by_guest = UPDATE.run(&app, Some(&guest), json!({ "name": "Guest", "idempotencyKey": "k" })).await;
    assert_eq!((&by_guest["user"]["name"], &by_guest["userErrors"]), (&json!("Guest"), &json!([])));
    let by_owner = UPDATE.run(&app, Some(&owner), json!({ "name": "Owner", "idempotencyKey": "k" })).await;
    assert_eq!(by_owner["userErrors"][0]["__typename"], "IdempotencyKeyReusedError");
    // After a day the key is free again.
    app.sql.batch_execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'").await.unwrap();
    let by_owner = UPDATE.run(&app, Some(&owner), json!({ "name": "Owner", "idempotencyKey": "k" })).await;
    assert_eq!(by_owner["user"]["name"], "Owner");
    let named = UPDATE.run(&app, Some(&owner), json!({ "name": "Somebody" })).await;
    assert_eq!(named["user"]["name"], "Somebody");
    UPDATE.run(&app, Some(&owner), json!({ "name": "Owner", "idempotencyKey": "k" })).await;
    let name = value(&app.sql, "SELECT name FROM users WHERE email = 'owner@example.org'").await;
    assert_eq!(name, "Somebody", "a repeated request does not undo what came after it");
    let long = UPDATE.run(&app, Some(&owner), json!({ "name": "Owner", "idempotencyKey": "x".repeat(256) })).await;
    assert_eq!(long["userErrors"][0]["path"], json!(["idempotencyKey"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_again_signs_in_to_the_account_that_was_made() {
    let app = TestApp::new().await;
    let input = |email: &str, password: &str| json!({ "email": email, "password": password, "idempotencyKey": "k" });
    let ada = input("ada@example.org", "correct horse battery");
    let (one, two) = tokio::join!(SIGN_UP.run(&app, None, ada.clone()), SIGN_UP.run(&app, None, ada));
    assert_eq!(one["user"], two["user"]);
    assert!(one["accessToken"].is_string() && two["accessToken"].is_string(), "{one} {two}");
    assert_ne!(one["refreshToken"], two["refreshToken"], "each has a session of its own");
    assert_eq!(value(&app.sql, "SELECT count(*) FROM users").await, "1");
    // Somebody who knows the key and not the password.
    let guess = SIGN_UP.run(&app, None, input("ada@example.org", "wrong horse battery")).await;
    assert_eq!(guess["userErrors"][0]["__typename"], "IdempotencyKeyReusedError");
    assert_eq!((&guess["user"], &guess["accessToken"]), (&Value::Null, &Value::Null));
    // Strangers who happen to use the same key do not meet.
    let bob = SIGN_UP.run(&app, None, input("bob@example.org", "correct horse battery")).await;
    assert_eq!(bob["user"]["email"], "bob@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_links_are_told_apart_without_being_kept() {
    let (app, owner, _, board) = setup().await;
    let share = async |password: Option<&str>| {
        let input = json!({ "boardId": board.id.to_string(), "password": password, "idempotencyKey": "k" });
        SHARE.run(&app, Some(&owner), input).await
    };
    let made = share(Some("open sesame")).await;
    assert!(made["token"].is_string());
    let again = share(Some("open sesame")).await;
    assert_eq!((&again["share"], &again["token"]), (&made["share"], &Value::Null));
    for password in [Some("another"), None] {
        assert_eq!(share(password).await["userErrors"][0]["__typename"], "IdempotencyKeyReusedError");
    }
    assert_eq!(value(&app.sql, "SELECT count(*) FROM board_shares").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_of_a_folder_is_another_request() {
    let (app, owner, _, _) = setup().await;
    let board = BoardBuilder::new(owner.id, "With a folder").nodes(1).make(&app).await;
    let set = async |password: &str, key: &str| {
        let input = json!({ "id": board.nodes[0].to_string(), "password": password, "idempotencyKey": key });
        SET_PASSWORD.run(&app, Some(&owner), input).await
    };
    let hash = async || value(&app.sql, "SELECT password_hash FROM folder_nodes WHERE password_hash IS NOT NULL").await;
    assert_eq!(set("open sesame", "k").await["userErrors"], json!([]));
    let first = hash().await;
    assert_eq!(set("open sesame", "k").await["userErrors"], json!([]));
    assert_eq!(hash().await, first, "done once");
    assert_eq!(set("another", "k").await["userErrors"][0]["__typename"], "IdempotencyKeyReusedError");
    assert_eq!(hash().await, first);
    assert_eq!(set("another", "l").await["userErrors"], json!([]));
    assert_ne!(hash().await, first);
}

const CREATE: Mutation = mutation("createResourceNode", "CreateResourceNodeInput", "node { id }");
const PLACE: Mutation = mutation("placeInFolder", "PlaceInFolderInput", "board { version }");
const LINK: Mutation = mutation("linkNodes", "LinkNodesInput", "link { id }");
const EDIT: Mutation = mutation("updateResourceNode", "UpdateResourceNodeInput", "node { id }");

/// Sends a request whose input is written by hand: JSON of a test would sort its fields.
async fn written(app: &TestApp, who: &Account, of: &Mutation, input: &str) -> Value {
    let Mutation { name, kind, fields } = of;
    let document = format!(
        "mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ __typename path }} }} }}"
    );
    let body = format!("{{\"query\":{},\"variables\":{{\"input\":{input}}}}}", json!(document));
    let request = axum::http::Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", who.token));
    let response = app.send(request.body(axum::body::Body::from(body)).unwrap()).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer.get("errors"), None, "{input}");
    answer["data"][*name].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_the_same_whatever_way_it_is_written() {
    let (app, owner, _, _) = setup().await;
    let board = BoardBuilder::new(owner.id, "Nodes").nodes(10).make(&app).await;
    let id = board.id.to_string();
    let [folder, first, second] = [0, 2, 3].map(|number| board.nodes[number].to_string());
    let at = "2031-01-01T00:00:00";
    // The first of each is done; the others are the same; those behind the line are not.
    let cases: [(&Mutation, String, &[String], &[String]); 5] = [
        (
            &CREATE,
            format!(
                r#""boardId":"{id}","title":"a","position":{{"x":1,"y":2.5}},"metadata":{{"a":1,"b":[{{"c":2,"d":null}}]}}"#
            ),
            &[
                format!(
                    r#""metadata":{{"b":[{{"d":null,"c":2.0}}],"a":1e0}},"position":{{"y":2.50,"x":1.0}},"title":"a","boardId":"{id}""#
                ),
                format!(
                    r#""boardId":"{id}","title":"a","zIndex":null,"isLocked":null,"content":null,"place":null,"clientMutationId":"other","position":{{"x":1,"y":25e-1}},"metadata":{{"a":1,"b":[{{"c":2,"d":null}}]}}"#
                ),
            ],
            &[
                format!(
                    r#""boardId":"{id}","title":"a","position":{{"x":1,"y":2.5}},"metadata":{{"a":1,"b":[{{"c":2}}]}}"#
                ),
                format!(
                    r#""boardId":"{id}","title":"a","position":{{"x":1,"y":2.5}},"metadata":{{"a":"1","b":[{{"c":2,"d":null}}]}}"#
                ),
                format!(
                    r#""boardId":"{id}","title":"a","position":{{"x":1,"y":2.5}},"zIndex":0,"metadata":{{"a":1,"b":[{{"c":2,"d":null}}]}}"#
                ),
            ],
        ),
        (
            &EDIT,
            format!(r#""id":"{first}","title":"new""#),
            &[format!(r#""title":"new","id":"{first}","zIndex":null,"expectedVersion":null"#)],
            // Null clears a text.
            &[format!(r#""id":"{first}","title":"new","content":null"#), format!(r#""id":"{first}","title":null"#)],
        ),
        (
            &PLACE,
            format!(r#""boardId":"{id}","nodeIds":["{first}"],"place":{{"folderId":"{folder}"}}"#),
            &[format!(
                r#""place":{{"first":false,"folderId":"{folder}","beforeId":null}},"nodeIds":"{first}","boardId":"{id}""#
            )],
            &[
                format!(r#""boardId":"{id}","nodeIds":["{first}"],"place":{{"folderId":"{folder}","first":true}}"#),
                format!(r#""boardId":"{id}","nodeIds":["{first}"]"#),
            ],
        ),
        (
            &LINK,
            format!(r#""boardId":"{id}","fromId":"{first}","toId":"{second}""#),
            &[format!(r#""kind":"DATA_FLOW","boardId":"{id}","toId":"{second}","fromId":"{first}""#)],
            &[format!(r#""boardId":"{id}","fromId":"{first}","toId":"{second}","kind":"REFERENCE""#)],
        ),
        (
            &SHARE,
            format!(r#""boardId":"{id}","expiresAt":"{at}Z""#),
            &[
                format!(r#""boardId":"{id}","expiresAt":"{at}.000+00:00","permission":"VIEW","maxUses":null"#),
                format!(r#""boardId":"{id}","expiresAt":"2031-01-01T01:00:00+01:00","password":null"#),
            ],
            &[
                format!(r#""boardId":"{id}","expiresAt":"{at}.001Z""#),
                format!(r#""boardId":"{id}","permission":"EDIT""#),
            ],
        ),
    ];
    for (number, (mutation, done, same, others)) in cases.into_iter().enumerate() {
        let under_key = async |input: &str| {
            written(&app, &owner, mutation, &format!("{{\"idempotencyKey\":\"key {number}\",{input}}}")).await
        };
        let mut first = under_key(&done).await;
        assert_eq!(first["userErrors"], json!([]), "{done}");
        // Told once.
        first.as_object_mut().unwrap().remove("token");
        for input in same {
            let mut again = under_key(input).await;
            again.as_object_mut().unwrap().remove("token");
            assert_eq!(again, first, "{input}");
        }
        for input in others {
            assert_eq!(under_key(input).await["userErrors"][0]["__typename"], "IdempotencyKeyReusedError", "{input}");
        }
    }
    // Written in the document it is the same as in variables.
    let document = format!(
        "mutation {{ linkNodes(input: {{ kind: DATA_FLOW, toId: \"{second}\", fromId: \"{first}\", boardId: \"{id}\", \
         idempotencyKey: \"key 3\" }}) {{ userErrors {{ __typename }} }} }}"
    );
    assert_eq!(app.data(Some(&owner), &document, Value::Null).await["linkNodes"]["userErrors"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_program_of_before_are_not_done_twice() {
    let (app, owner, _, board) = setup().await;
    let input = json!({ "boardId": board.id.to_string(), "maxUses": 5, "idempotencyKey": "k" });
    let made = SHARE.run(&app, Some(&owner), input.clone()).await;
    let sign_up = |password: &str| json!({ "email": "ada@example.org", "password": password, "idempotencyKey": "k" });
    assert_eq!(SIGN_UP.run(&app, None, sign_up("correct horse battery")).await["userErrors"], json!([]));
    app.sql
        .batch_execute("UPDATE idempotency_keys SET digest_version = 1, request_digest = sha256('of the text')")
        .await
        .unwrap();
    let again = SHARE.run(&app, Some(&owner), input).await;
    assert_eq!((&again["share"], &again["userErrors"]), (&made["share"], &json!([])));
    assert_eq!(value(&app.sql, "SELECT count(*) FROM board_shares").await, "1");
    // Whoever knows a key does not get in without the password.
    let guess = SIGN_UP.run(&app, None, sign_up("wrong horse battery")).await;
    assert_eq!(guess["userErrors"][0]["__typename"], "IdempotencyKeyReusedError");
}
