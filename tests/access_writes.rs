//! Who may change what: the table of principals × boards × mutations as a golden file. Every mutation has its row, or the
//! test fails.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, collaborator, share},
};

/// Mutations that are about no board; `tests/accounts.rs` has them.
const OF_ACCOUNTS: &[&str] = &["signUp", "signIn", "refreshSession", "signOut", "updateViewer"];

struct Principal {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
}

fn bearer(name: &'static str, account: &Account) -> Principal {
    Principal { name, headers: vec![("authorization", format!("Bearer {}", account.token))] }
}

/// The mutations of the table, with the type of their input, and the input for a board.
fn mutations(board: &Board, link: &str, share: &str, invited: &str) -> Vec<(&'static str, &'static str, Value)> {
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
    ]
}

/// Makes the board as it was, so that each cell stands for itself.
async fn repair(app: &TestApp, board: &Board, link: &str, deleted: bool) {
    let (id, link) = (board.id.0, link.parse::<ragboard::domain::LinkId>().unwrap().0);
    let (from, to) = (board.nodes[4].0, board.nodes[8].0);
    app.sql
        .batch_execute(&format!(
            "DELETE FROM boards WHERE name = 'made'; UPDATE nodes SET deleted_at = NULL; DELETE FROM connections WHERE label = 'made'; \
             UPDATE boards SET deleted_at = CASE WHEN {deleted} THEN now() END WHERE id = '{id}'; \
             INSERT INTO connections (id, board_id, from_node_id, to_node_id) VALUES ('{link}', '{id}', '{from}', '{to}') \
             ON CONFLICT DO NOTHING; \
             DELETE FROM board_collaborators c USING users u WHERE u.id = c.user_id AND u.email = 'new@example.org'; \
             INSERT INTO board_collaborators (board_id, user_id, role) SELECT '{id}', id, 'view' FROM users \
             WHERE email = 'invited@example.org' ON CONFLICT DO NOTHING; UPDATE board_shares SET revoked_at = NULL"
        ))
        .await
        .unwrap();
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
    let mut principals = vec![bearer("owner", &owner)];
    for (name, role) in [("editor", "edit"), ("commenter", "comment"), ("viewer", "view")] {
        let account = app.account(&format!("{name}@example.org")).await;
        for (_, board) in &boards {
            collaborator(&app, board, account.id, role, true).await;
        }
        principals.push(bearer(name, &account));
    }
    principals.push(bearer("stranger", &app.account("stranger@example.org").await));
    principals.push(Principal { name: "anonymous", headers: Vec::new() });
    for (name, permission) in [("share(view)", "view"), ("share(comment)", "comment"), ("share(edit)", "edit")] {
        share(&app, &boards[0].1, owner.id, name, &[("permission", &format!("'{permission}'"))]).await;
        principals.push(Principal { name, headers: vec![("x-share-token", name.into())] });
    }

    app.account("new@example.org").await;
    let invited = app.account("invited@example.org").await;
    let mut table = String::from("Shares are of the private board.\n");
    let mut covered: BTreeSet<String> = OF_ACCOUNTS.iter().map(|name| (*name).to_owned()).collect();
    for (kind, board) in &boards {
        let link = ragboard::domain::LinkId::generate().to_string();
        share(&app, board, owner.id, &format!("another of {kind}"), &[]).await;
        let sql = "SELECT id::text FROM board_shares WHERE board_id = $1::text::uuid ORDER BY created_at DESC LIMIT 1";
        let one_share: String = app.sql.query_one(sql, &[&board.id.0.to_string()]).await.unwrap().get(0);
        let one_share = ragboard::domain::ShareId(one_share.parse().unwrap()).to_string();
        let mutations = mutations(board, &link, &one_share, &invited.id.to_string());
        table += &format!("\n{:<24}", format!("{kind} board"));
        table += &principals.iter().map(|principal| format!("{:<17}", principal.name)).collect::<String>();
        for (name, input_type, input) in &mutations {
            covered.insert((*name).to_owned());
            table += &format!("\n{name:<24}");
            let document = format!(
                "mutation ($input: {input_type}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename }} }} }}"
            );
            for principal in &principals {
                repair(&app, board, &link, *name == "restoreBoard").await;
                let headers: Vec<_> = principal.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let (_, answer) = app.ask(&headers, &document, json!({ "input": input })).await;
                let error = answer["errors"][0]["extensions"]["code"].as_str();
                let refusal = answer["data"]["it"]["userErrors"][0]["__typename"].as_str();
                table += &format!("{:<17}", error.or(refusal).unwrap_or("done"));
            }
        }
        table += "\n";
    }
    let schema = app.data(None, "{ __type(name: \"Mutation\") { fields { name } } }", Value::Null).await;
    for field in schema["__type"]["fields"].as_array().unwrap() {
        assert!(covered.contains(field["name"].as_str().unwrap()), "{} has no row in the table", field["name"]);
    }
    let table: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    insta::assert_snapshot!("writes", table);
}
