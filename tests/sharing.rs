//! Sharing a board through the API: links with their terms, collaborators from invitation to leaving.

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder},
};

async fn mutate(app: &TestApp, who: &Account, name: &str, kind: &str, fields: &str, input: Value) -> Value {
    let document = format!(
        "mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ __typename path message }} }} }}"
    );
    app.data(Some(who), &document, json!({ "input": input })).await[name].take()
}

fn refused(payload: &Value, kind: &str, path: &str) {
    assert_eq!(payload["userErrors"][0]["__typename"], kind, "{payload}");
    assert_eq!(payload["userErrors"][0]["path"], json!([path]), "{payload}");
}

async fn setup() -> (TestApp, Account, Account, Board) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let guest = app.account("guest@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    (app, owner, guest, board)
}

async fn permission(app: &TestApp, headers: &[(&str, &str)], board: &Board) -> Value {
    let document = "query ($id: ID!) { board(id: $id) { viewerPermission } }";
    let (_, mut answer) = app.ask(headers, document, json!({ "id": board.id.to_string() })).await;
    answer["data"]["board"]["viewerPermission"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_the_board_until_it_is_revoked() {
    let (app, owner, guest, board) = setup().await;
    let id = board.id.to_string();
    let fields = "token share { id permission hasPassword maxUses useCount expiresAt }";
    let input = json!({ "boardId": id, "permission": "EDIT", "password": "open sesame", "maxUses": 5 });
    let made = mutate(&app, &owner, "shareBoard", "ShareBoardInput", fields, input).await;
    let share = &made["share"];
    assert_eq!(
        (&share["permission"], &share["hasPassword"], &share["maxUses"]),
        (&json!("EDIT"), &json!(true), &json!(5))
    );
    let token = made["token"].as_str().unwrap();
    let stored: i64 = app
        .sql
        .query_one("SELECT count(*) FROM board_shares WHERE password_hash LIKE '$argon2id$%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(stored, 1);
    let with_password = [("x-share-token", token), ("x-share-password", "open sesame")];
    assert_eq!(permission(&app, &with_password, &board).await, "EDIT");
    assert_eq!(permission(&app, &[("x-share-token", token), ("x-share-password", "wrong")], &board).await, Value::Null);
    let listed = app
        .data(Some(&owner), "query ($id: ID!) { board(id: $id) { shares { id useCount } } }", json!({ "id": id }))
        .await;
    assert_eq!(listed["board"]["shares"], json!([{ "id": share["id"], "useCount": 1 }]));

    let by_guest = mutate(&app, &guest, "revokeShare", "ShareInput", "shareId", json!({ "id": share["id"] })).await;
    refused(&by_guest, "NotFoundError", "id");
    let revoked = mutate(&app, &owner, "revokeShare", "ShareInput", "shareId", json!({ "id": share["id"] })).await;
    assert_eq!(revoked["shareId"], share["id"]);
    // In the process that revoked it, at once.
    assert_eq!(permission(&app, &with_password, &board).await, Value::Null);
    for (input, path) in [
        (json!({ "boardId": id, "permission": "OWNER" }), "permission"),
        (json!({ "boardId": id, "maxUses": 0 }), "maxUses"),
        (json!({ "boardId": id, "expiresAt": "2001-01-01T00:00:00Z" }), "expiresAt"),
        (json!({ "boardId": id, "password": "" }), "password"),
        (json!({ "boardId": "nonsense" }), "boardId"),
    ] {
        refused(&mutate(&app, &owner, "shareBoard", "ShareBoardInput", fields, input).await, "ValidationError", path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collaborators_come_and_go() {
    let (app, owner, guest, board) = setup().await;
    let id = board.id.to_string();
    let bearer = format!("Bearer {}", guest.token);
    let as_guest = [("authorization", bearer.as_str())];
    let fields = "collaborator { user { id } role acceptedAt }";
    let input = json!({ "boardId": id, "email": "GUEST@example.org", "role": "COMMENT" });
    let sent = "invitation { email role } collaborator { role }";
    let invited = mutate(&app, &owner, "inviteCollaborator", "InviteCollaboratorInput", sent, input.clone()).await;
    assert_eq!(invited["invitation"], json!({ "email": "guest@example.org", "role": "COMMENT" }));
    assert_eq!(invited["collaborator"], Value::Null);
    refused(
        &mutate(&app, &owner, "inviteCollaborator", "InviteCollaboratorInput", sent, input.clone()).await,
        "ConflictError",
        "email",
    );
    for (email, role, path) in
        [("owner@example.org", "VIEW", "email"), ("nonsense", "VIEW", "email"), ("a@example.org", "OWNER", "role")]
    {
        let input = json!({ "boardId": id, "email": email, "role": role });
        let answer = mutate(&app, &owner, "inviteCollaborator", "InviteCollaboratorInput", sent, input).await;
        refused(&answer, "ValidationError", path);
    }
    let people = "query ($id: ID!) { board(id: $id) { invitations { email role } collaborators { user { id } } } }";
    let data = app.data(Some(&owner), people, json!({ "id": id })).await;
    assert_eq!(data["board"]["invitations"], json!([{ "email": "guest@example.org", "role": "COMMENT" }]));
    assert_eq!(data["board"]["collaborators"], json!([]), "nobody yet");

    assert_eq!(permission(&app, &as_guest, &board).await, Value::Null, "invited is not accepted");
    let waiting = "{ viewer { invitations { boardId boardName role } } }";
    let invitation = json!([{ "boardId": id, "boardName": "Board", "role": "COMMENT" }]);
    assert_eq!(app.data(Some(&guest), waiting, Value::Null).await["viewer"]["invitations"], invitation);
    let accept = json!({ "boardId": id });
    let accepted =
        mutate(&app, &guest, "acceptInvitation", "AcceptInvitationInput", "board { viewerPermission }", accept.clone())
            .await;
    assert_eq!(accepted["board"]["viewerPermission"], "COMMENT");
    assert_eq!(app.data(Some(&guest), waiting, Value::Null).await["viewer"]["invitations"], json!([]));
    assert_eq!(permission(&app, &as_guest, &board).await, "COMMENT");
    refused(
        &mutate(&app, &owner, "inviteCollaborator", "InviteCollaboratorInput", sent, input).await,
        "ConflictError",
        "email",
    );
    let data = app.data(Some(&owner), people, json!({ "id": id })).await;
    let collaborators = json!([{ "user": { "id": guest.id.to_string() } }]);
    assert_eq!(data["board"], json!({ "invitations": [], "collaborators": collaborators }));

    let change = json!({ "boardId": id, "userId": guest.id.to_string(), "role": "EDIT" });
    refused(
        &mutate(&app, &guest, "changeCollaboratorRole", "ChangeCollaboratorRoleInput", fields, change.clone()).await,
        "PermissionError",
        "boardId",
    );
    mutate(&app, &owner, "changeCollaboratorRole", "ChangeCollaboratorRoleInput", fields, change).await;
    assert_eq!(permission(&app, &as_guest, &board).await, "EDIT");
    let seen = "query ($id: ID!) { board(id: $id) { collaborators { user { name } role } shares { id } } }";
    let data = app.data(Some(&guest), seen, json!({ "id": id })).await;
    assert_eq!(
        data["board"],
        json!({ "collaborators": [{ "user": { "name": "guest" }, "role": "EDIT" }], "shares": [] })
    );

    let leave = json!({ "boardId": id, "userId": guest.id.to_string() });
    let left = mutate(&app, &guest, "removeCollaborator", "RemoveCollaboratorInput", "userId", leave.clone()).await;
    assert_eq!(left["userId"], guest.id.to_string());
    assert_eq!(permission(&app, &as_guest, &board).await, Value::Null, "at once");
    refused(
        &mutate(&app, &owner, "removeCollaborator", "RemoveCollaboratorInput", "userId", leave).await,
        "NotFoundError",
        "userId",
    );
    refused(
        &mutate(&app, &guest, "acceptInvitation", "AcceptInvitationInput", "board { id }", accept).await,
        "NotFoundError",
        "boardId",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_does_not_tell_who_has_an_account() {
    // Without memory, so that the same work is the same statements.
    let app = TestApp::with(&[("RAGBOARD_CACHE_MODE", "off")]).await;
    let (owner, guest) = (app.account("owner@example.org").await, app.account("guest@example.org").await);
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let id = board.id.to_string();
    let bearer = |account: &Account| format!("Bearer {}", account.token);
    let everything = "invitation { email role } collaborator { role } userErrors { __typename path message }";
    let document = format!(
        "mutation ($input: InviteCollaboratorInput!) {{ inviteCollaborator(input: $input) {{ {everything} }} }}"
    );
    let ask = async |email: &str| {
        let input = json!({ "input": { "boardId": id, "email": email, "role": "VIEW" } });
        let before = app.statements();
        let (_, answer) = app.ask(&[("authorization", &bearer(&owner))], &document, input).await;
        (answer.to_string().replace(email, "…"), app.statements_since(&before))
    };
    // The first use of anything may fill a memory.
    ask("first@example.org").await;
    assert_eq!(ask("guest@example.org").await, ask("nobody@example.org").await, "first time");
    assert_eq!(ask("guest@example.org").await, ask("nobody@example.org").await, "second time");
    let people = "query ($id: ID!) { board(id: $id) { invitations { email } collaborators { user { id } } \
        activity(first: 10) { nodes { objectId } } } }";
    let data = app.data(Some(&owner), people, json!({ "id": id })).await;
    let emails =
        ["first@example.org", "guest@example.org", "nobody@example.org"].map(|email| json!({ "email": email }));
    assert_eq!(data["board"]["invitations"], json!(emails));
    assert!(!data.to_string().contains(&guest.id.to_string()), "{data}");

    // Others than the owner see none, and one who declines is invited no more.
    let none = app.data(Some(&guest), people, json!({ "id": id })).await;
    assert_eq!(none["board"], Value::Null);
    let decline = json!({ "boardId": id, "userId": guest.id.to_string() });
    let declined = mutate(&app, &guest, "removeCollaborator", "RemoveCollaboratorInput", "userId", decline).await;
    assert_eq!(declined["userId"], guest.id.to_string());
    let cancel = json!({ "boardId": id, "email": "Nobody@example.org" });
    let cancelled = mutate(&app, &owner, "cancelInvitation", "CancelInvitationInput", "email", cancel.clone()).await;
    assert_eq!(cancelled["email"], "Nobody@example.org");
    let again = mutate(&app, &owner, "cancelInvitation", "CancelInvitationInput", "email", cancel).await;
    refused(&again, "NotFoundError", "email");
    let data = app.data(Some(&owner), people, json!({ "id": id })).await;
    assert_eq!(data["board"]["invitations"], json!([{ "email": "first@example.org" }]));
    // Who makes an account later finds the invitation.
    let late = app.account("first@example.org").await;
    let waiting = app.data(Some(&late), "{ viewer { invitations { boardId } } }", Value::Null).await;
    assert_eq!(waiting["viewer"]["invitations"], json!([{ "boardId": id }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_run_out_whether_there_are_such_accounts_or_not() {
    let app = TestApp::with(&[("RAGBOARD_INVITATIONS_PER_HOUR", "3")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let document =
        "mutation ($input: InviteCollaboratorInput!) { inviteCollaborator(input: $input) { invitation { role } } }";
    for (number, expected) in [(0, true), (1, true), (2, true), (3, false), (0, false)] {
        let email = format!("guest-{number}@example.org");
        let input = json!({ "input": { "boardId": board.id.to_string(), "email": email, "role": "VIEW" } });
        let answer = app.answer(Some(&owner), document, input).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code == "RATE_LIMITED", !expected, "{number}: {answer}");
    }
}
