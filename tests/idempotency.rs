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
const INVITE: Mutation = mutation("inviteCollaborator", "InviteCollaboratorInput", "collaborator { user { id } role }");
const ACCEPT: Mutation = mutation("acceptInvitation", "AcceptInvitationInput", "board { id }");
const ROLE: Mutation =
    mutation("changeCollaboratorRole", "ChangeCollaboratorRoleInput", "collaborator { user { id } role }");
const REMOVE: Mutation = mutation("removeCollaborator", "RemoveCollaboratorInput", "userId");
const UPDATE: Mutation = mutation("updateViewer", "UpdateViewerInput", "user { name }");
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
    let count = "SELECT count(*) FROM board_collaborators";
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
    let refused = INVITE.run(&app, Some(&owner), input("nobody@example.org")).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "NotFoundError");
    let done = INVITE.run(&app, Some(&owner), input("guest@example.org")).await;
    assert_eq!(done["collaborator"]["user"]["id"], guest.id.to_string());
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
