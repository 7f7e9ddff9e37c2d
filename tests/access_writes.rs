//! Who may change and follow what: the table of principals × boards × mutations and subscriptions as a golden file. Every
//! mutation and subscription has its row, or the test fails.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use ragboard::domain::JobId;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    fixture::{Board, BoardBuilder, api_key, collaborator, share},
};

/// The refresh token of the table, and the tokens that were sent to its account by mail.
const REFRESH_TOKEN: &str = "refresh_of_the_table";
const MAILED: [(&str, &str); 2] = [("verify_email", "verify_of_the_table"), ("reset_password", "reset_of_the_table")];
const PASSWORD: &str = "correct horse battery";

struct Principal {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
}

fn bearer(name: &'static str, token: &str) -> Principal {
    Principal { name, headers: vec![("authorization", format!("Bearer {token}"))] }
}

impl Principal {
    fn headers(&self) -> Vec<(&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// How a mutation ends.
    async fn changes(&self, app: &TestApp, name: &str, input_type: &str, input: &Value) -> String {
        let document = format!(
            "mutation ($input: {input_type}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename }} }} }}"
        );
        let (_, answer) = app.ask(&self.headers(), &document, json!({ "input": input })).await;
        let error = answer["errors"][0]["extensions"]["code"].as_str();
        let refusal = answer["data"]["it"]["userErrors"][0]["__typename"].as_str();
        error.or(refusal).unwrap_or("done").to_owned()
    }

    /// How a subscription begins.
    async fn follows(&self, app: &TestApp, document: &str, variables: &Value) -> String {
        let mut request =
            Request::post("/graphql").header("content-type", "application/json").header("accept", "text/event-stream");
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let body = json!({ "query": document, "variables": variables }).to_string();
        let response = app.send(request.body(Body::from(body)).unwrap()).await;
        let mut chunks = response.into_body().into_data_stream();
        let mut text = String::new();
        let data = loop {
            let data = text.lines().find_map(|line| line.strip_prefix("data:")).map(str::to_owned);
            match data {
                Some(data) if text.contains("\n\n") => break data,
                _ => text += std::str::from_utf8(&chunks.next().await.expect("an event").unwrap()).unwrap(),
            }
        };
        let answer: Value = serde_json::from_str(data.trim()).unwrap_or_else(|_| panic!("{text}"));
        match answer["errors"][0]["extensions"]["code"].as_str() {
            Some(code) => code.to_owned(),
            None => {
                assert!(answer["data"].is_object(), "{answer}");
                "heard".to_owned()
            }
        }
    }
}

/// The subscriptions of the table, on a board in whose log there is something.
fn subscriptions(board: &Board) -> Vec<(&'static str, &'static str, Value)> {
    let start = ragboard::domain::event_place(board.id, 1).encode(ragboard::domain::EVENT_ORDER);
    vec![
        (
            "boardEvents",
            "subscription ($id: ID!, $after: String) { boardEvents(boardId: $id, after: $after) { __typename } }",
            json!({ "id": board.id.to_string(), "after": start }),
        ),
        (
            "presence",
            "subscription ($id: ID!) { presence(boardId: $id) { __typename } }",
            json!({ "id": board.id.to_string() }),
        ),
        (
            "jobs",
            "subscription ($id: ID!) { jobs(boardId: $id) { __typename } }",
            json!({ "id": board.id.to_string() }),
        ),
    ]
}

/// The mutations that are about no board, with the type of their input, and the input for the principal of this number.
fn account_mutations(key: &str, session: &str, principal: usize) -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("signUp", "SignUpInput", json!({ "email": format!("made-{principal}@example.org"), "password": PASSWORD })),
        ("signIn", "SignInInput", json!({ "email": "ada@example.org", "password": PASSWORD })),
        ("refreshSession", "SessionInput", json!({ "refreshToken": REFRESH_TOKEN })),
        ("signOut", "SessionInput", json!({ "refreshToken": REFRESH_TOKEN })),
        ("verifyEmail", "VerifyEmailInput", json!({ "token": MAILED[0].1 })),
        ("changePassword", "ChangePasswordInput", json!({ "currentPassword": "no password", "newPassword": PASSWORD })),
        ("resetPassword", "ResetPasswordInput", json!({ "token": MAILED[1].1, "newPassword": PASSWORD })),
        ("endSession", "EndSessionInput", json!({ "id": session })),
        ("endOtherSessions", "EndOtherSessionsInput", json!({})),
        ("updateViewer", "UpdateViewerInput", json!({ "name": "made" })),
        ("createApiKey", "CreateApiKeyInput", json!({ "name": "made", "scopes": ["READ"] })),
        ("revokeApiKey", "RevokeApiKeyInput", json!({ "id": key })),
        // Last: the mails that these ask for bring tokens of their own.
        ("requestEmailVerification", "RequestEmailVerificationInput", json!({})),
        ("requestPasswordReset", "RequestPasswordResetInput", json!({ "email": "ada@example.org" })),
    ]
}

/// The mutations of the table, with the type of their input, and the input for a board.
fn mutations(
    board: &Board,
    link: &str,
    share: &str,
    invited: &str,
    job: JobId,
) -> Vec<(&'static str, &'static str, Value)> {
    let id = board.id.to_string();
    let node = |number: usize| board.nodes[number].to_string();
    let place = json!({ "folderId": node(0) });
    vec![
        ("createBoard", "CreateBoardInput", json!({ "name": "made" })),
        ("updateBoard", "UpdateBoardInput", json!({ "id": id, "description": "made" })),
        ("deleteBoard", "BoardInput", json!({ "id": id })),
        ("restoreBoard", "BoardInput", json!({ "id": id })),
        ("duplicateBoard", "DuplicateBoardInput", json!({ "id": id, "name": "made" })),
        ("createResourceNode", "CreateResourceNodeInput", json!({ "boardId": id, "title": "made" })),
        ("createChatNode", "CreateChatNodeInput", json!({ "boardId": id })),
        ("createFolderNode", "CreateFolderNodeInput", json!({ "boardId": id, "name": "made" })),
        ("updateResourceNode", "UpdateResourceNodeInput", json!({ "id": node(2), "title": "made" })),
        ("updateChatNode", "UpdateChatNodeInput", json!({ "id": node(1), "systemPrompt": "made" })),
        ("updateFolderNode", "UpdateFolderNodeInput", json!({ "id": node(0), "description": "made" })),
        (
            "moveNodes",
            "MoveNodesInput",
            json!({ "boardId": id, "moves": [{ "id": node(2), "position": { "x": 1, "y": 2 } }] }),
        ),
        ("deleteNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [node(3)] })),
        ("restoreNodes", "NodesInput", json!({ "boardId": id, "nodeIds": [node(3)] })),
        ("placeInFolder", "PlaceInFolderInput", json!({ "boardId": id, "nodeIds": [node(2)], "place": place })),
        ("setFolderPassword", "SetFolderPasswordInput", json!({ "id": node(0), "password": null })),
        ("unlockFolder", "UnlockFolderInput", json!({ "id": node(0), "password": "none" })),
        ("linkNodes", "LinkNodesInput", json!({ "boardId": id, "fromId": node(5), "toId": node(9), "label": "made" })),
        ("updateLink", "UpdateLinkInput", json!({ "id": link, "label": "changed" })),
        ("unlinkNodes", "UnlinkNodesInput", json!({ "boardId": id, "linkIds": [link] })),
        ("shareBoard", "ShareBoardInput", json!({ "boardId": id })),
        ("revokeShare", "ShareInput", json!({ "id": share })),
        (
            "inviteCollaborator",
            "InviteCollaboratorInput",
            json!({ "boardId": id, "email": "new@example.org", "role": "VIEW" }),
        ),
        ("cancelInvitation", "CancelInvitationInput", json!({ "boardId": id, "email": "asked@example.org" })),
        ("acceptInvitation", "AcceptInvitationInput", json!({ "boardId": id })),
        (
            "changeCollaboratorRole",
            "ChangeCollaboratorRoleInput",
            json!({ "boardId": id, "userId": invited, "role": "EDIT" }),
        ),
        ("removeCollaborator", "RemoveCollaboratorInput", json!({ "boardId": id, "userId": invited })),
        (
            "applyBoardChanges",
            "ApplyBoardChangesInput",
            json!({ "boardId": id, "changes": [{ "updateBoard": { "description": "x" } }] }),
        ),
        ("setPresence", "SetPresenceInput", json!({ "boardId": id, "cursor": { "x": 1, "y": 2 } })),
        ("reprocessResource", "ReprocessResourceInput", json!({ "id": node(2) })),
        ("cancelJob", "JobInput", json!({ "id": job.to_string() })),
        ("retryJob", "JobInput", json!({ "id": job.to_string() })),
    ]
}

/// Makes the board as it was, so that each cell stands for itself.
async fn repair(app: &TestApp, board: &Board, link: &str, job: JobId, mutation: &str) {
    let deleted = mutation == "restoreBoard";
    let status = if mutation == "retryJob" { "failed" } else { "pending" };
    let (id, link) = (board.id.0, link.parse::<ragboard::domain::LinkId>().unwrap().0);
    let (from, to) = (board.nodes[4].0, board.nodes[8].0);
    app.sql
        .batch_execute(&format!(
            "DELETE FROM boards WHERE name = 'made'; UPDATE nodes SET deleted_at = NULL; DELETE FROM connections WHERE label = 'made'; \
             UPDATE boards SET deleted_at = CASE WHEN {deleted} THEN now() END WHERE id = '{id}'; \
             INSERT INTO connections (id, board_id, from_node_id, to_node_id) VALUES ('{link}', '{id}', '{from}', '{to}') \
             ON CONFLICT DO NOTHING; \
             DELETE FROM board_invitations; \
             INSERT INTO board_invitations (board_id, email, role) VALUES ('{id}', 'asked@example.org', 'view'); \
             INSERT INTO board_collaborators (board_id, user_id, role) SELECT '{id}', id, 'view' FROM users \
             WHERE email = 'invited@example.org' ON CONFLICT DO NOTHING; UPDATE board_shares SET revoked_at = NULL; \
             DELETE FROM processing_jobs WHERE resource_id = '{from}'; \
             INSERT INTO processing_jobs (id, board_id, resource_id, job_type, status) \
             VALUES ('{}', '{id}', '{from}', 'extract_text', '{status}')",
            job.0
        ))
        .await
        .unwrap();
}

/// The same for what belongs to accounts.
async fn repair_accounts(app: &TestApp) {
    let digest =
        |token: &str| -> String { ragboard::access::token_digest(token).iter().map(|b| format!("{b:02x}")).collect() };
    let mailed = MAILED.map(|(purpose, token)| {
        format!(
            "INSERT INTO account_tokens (user_id, purpose, token_digest, email, expires_at) SELECT id, '{purpose}', \
             '\\x{}', email, now() + interval '1 day' FROM users WHERE email = '{}'",
            digest(token),
            if purpose == "verify_email" { "owner@example.org" } else { "ada@example.org" }
        )
    });
    app.sql
        .batch_execute(&format!(
            "DELETE FROM account_tokens; {}; UPDATE users SET email_verified = email <> 'owner@example.org'",
            mailed.join("; ")
        ))
        .await
        .unwrap();
    let digest = digest(REFRESH_TOKEN);
    app.sql
        .batch_execute(&format!(
            "DELETE FROM users WHERE email LIKE 'made-%'; DELETE FROM api_keys WHERE name = 'made'; \
             UPDATE api_keys SET revoked_at = NULL; DELETE FROM refresh_tokens; DELETE FROM sessions; \
             INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) SELECT id, id, sha256('owner'), \
             now() + interval '1 day' FROM users WHERE email = 'owner@example.org'; \
             INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) \
             SELECT id, id, '\\x{digest}', now() + interval '1 day' FROM users WHERE email = 'ada@example.org'"
        ))
        .await
        .unwrap();
}

/// One line of the table.
fn line(name: &str, cells: &[String]) -> String {
    let name = format!("{name} ");
    let line = cells.iter().fold(format!("{name:<24}"), |line, cell| line + &format!("{cell:<17}"));
    format!("{}\n", line.trim_end())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_writes() {
    // The boards are repaired past the program.
    let app = TestApp::with(&[("RAGBOARD_CACHE_MODE", "strict")]).await;
    let owner = app.account("owner@example.org").await;
    let boards = [
        ("private", BoardBuilder::new(owner.id, "Private").nodes(10).make(&app).await),
        ("public", BoardBuilder::new(owner.id, "Public").public().nodes(10).make(&app).await),
    ];
    let mut principals = vec![bearer("owner", &owner.token)];
    for (name, role) in [("editor", "edit"), ("commenter", "comment"), ("viewer", "view")] {
        let account = app.account(&format!("{name}@example.org")).await;
        for (_, board) in &boards {
            collaborator(&app, board, account.id, role, true).await;
        }
        principals.push(bearer(name, &account.token));
    }
    principals.push(bearer("stranger", &app.account("stranger@example.org").await.token));
    principals.push(Principal { name: "anonymous", headers: Vec::new() });
    for (name, permission) in [("share(view)", "view"), ("share(comment)", "comment"), ("share(edit)", "edit")] {
        share(&app, &boards[0].1, owner.id, name, &[("permission", &format!("'{permission}'"))]).await;
        principals.push(Principal { name, headers: vec![("x-share-token", name.into())] });
    }
    for (name, scopes) in [("key(read)", "{read}"), ("key(write)", "{write}"), ("key(admin)", "{read,write,admin}")] {
        let key = format!("rbk_{name}");
        api_key(&app, owner.id, &key, &format!("'{scopes}'")).await;
        principals.push(bearer(name, &key));
    }
    let names: Vec<String> = principals.iter().map(|principal| principal.name.to_owned()).collect();
    let reader = names.iter().position(|name| name == "key(read)").unwrap();

    app.account("new@example.org").await;
    let invited = app.account("invited@example.org").await;
    let mut table = String::from("Shares are of the private board, keys of the owner.\n");
    let mut covered = BTreeSet::new();
    let mut add = |table: &mut String, name: &'static str, cells: Vec<String>| {
        covered.insert(name);
        *table += &line(name, &cells);
        assert_ne!(cells[reader], "done", "a key for reading changed something by {name}");
    };
    for (kind, board) in &boards {
        let link = ragboard::domain::LinkId::generate().to_string();
        share(&app, board, owner.id, &format!("another of {kind}"), &[]).await;
        let sql = "SELECT id::text FROM board_shares WHERE board_id = $1::text::uuid ORDER BY created_at DESC LIMIT 1";
        let one_share: String = app.sql.query_one(sql, &[&board.id.0.to_string()]).await.unwrap().get(0);
        let one_share = ragboard::domain::ShareId(one_share.parse().unwrap()).to_string();
        let job = JobId::generate();
        table += &format!("\n{}", line(&format!("{kind} board"), &names));
        for (name, input_type, input) in mutations(board, &link, &one_share, &invited.id.to_string(), job) {
            let mut cells = Vec::new();
            for principal in &principals {
                repair(&app, board, &link, job, name).await;
                cells.push(principal.changes(&app, name, input_type, &input).await);
            }
            add(&mut table, name, cells);
        }
        repair(&app, board, &link, job, "").await;
        for (name, document, variables) in subscriptions(board) {
            let mut cells = Vec::new();
            for principal in &principals {
                // Somebody is there, so that there is somebody to be told of.
                let there = json!({ "boardId": board.id.to_string() });
                assert_eq!(principals[0].changes(&app, "setPresence", "SetPresenceInput", &there).await, "done");
                cells.push(principal.follows(&app, document, &variables).await);
            }
            add(&mut table, name, cells);
        }
    }

    let hash = ragboard::access::SecretHasher::default().hash(&SecretString::from(PASSWORD)).await.unwrap();
    app.account("ada@example.org").await;
    app.sql.execute("UPDATE users SET password_hash = $1 WHERE email = 'ada@example.org'", &[&hash]).await.unwrap();
    api_key(&app, owner.id, "rbk_another", "'{read}'").await;
    let sql = "SELECT id::text FROM api_keys WHERE name = 'rbk_another'";
    let another: String = app.sql.query_one(sql, &[]).await.unwrap().get(0);
    let another = ragboard::domain::ApiKeyId(another.parse().unwrap()).to_string();
    table += &format!("\n{}", line("accounts", &names));
    let session = ragboard::domain::SessionId(owner.id.0).to_string();
    for row in 0..account_mutations(&another, &session, 0).len() {
        let (mut cells, mut row_name) = (Vec::new(), "");
        for (number, principal) in principals.iter().enumerate() {
            let (name, input_type, input) = account_mutations(&another, &session, number).swap_remove(row);
            repair_accounts(&app).await;
            cells.push(principal.changes(&app, name, input_type, &input).await);
            row_name = name;
        }
        add(&mut table, row_name, cells);
    }

    let fields = "{ __schema { mutationType { fields { name } } subscriptionType { fields { name } } } }";
    let schema = app.data(None, fields, Value::Null).await;
    for root in ["mutationType", "subscriptionType"] {
        for field in schema["__schema"][root]["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            assert!(covered.contains(name), "{name} has no row in the table");
        }
    }
    insta::assert_snapshot!("writes", table);
}
