//! Boards as a whole: made, changed, deleted, brought back, copied. What lies on them is in `writes.rs`.

use serde_json::{Value, json};

use crate::{
    support::{
        app::{Account, TestApp},
        fixture::BoardBuilder,
    },
    writes::{batch, done, mutate, refused},
};

#[tokio::test(flavor = "multi_thread")]
async fn boards_are_made_changed_deleted_restored_and_copied() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let create = async |name: &str| {
        let input = json!({ "name": name, "settings": { "theme": "dark" } });
        let fields = "board { id name settings { theme gridSize } viewerPermission version } edge { cursor }";
        mutate(&app, &owner, "createBoard", "CreateBoardInput", fields, input).await
    };
    let made = create("First").await;
    let board = &done(&made)["board"];
    assert_eq!(board["settings"], json!({ "theme": "dark", "gridSize": 20 }));
    assert_eq!(refused(&create("First").await, "ConflictError", &["name"])["fields"], json!(["name"]));
    refused(&create(" ").await, "ValidationError", &["name"]);
    done(&create("Second").await);
    let rename = json!({ "id": board["id"], "name": "Second" });
    refused(
        &mutate(&app, &owner, "updateBoard", "UpdateBoardInput", "board { name }", rename).await,
        "ConflictError",
        &["name"],
    );
    let stale = json!({ "id": board["id"], "name": "Third", "expectedVersion": 7 });
    refused(
        &mutate(&app, &owner, "updateBoard", "UpdateBoardInput", "board { name }", stale).await,
        "ConflictError",
        &["expectedVersion"],
    );
    let deleted =
        mutate(&app, &owner, "deleteBoard", "BoardInput", "boardId board { id }", json!({ "id": board["id"] })).await;
    assert_eq!((&done(&deleted)["boardId"], &deleted["board"]), (&board["id"], &Value::Null));
    let third = done(&create("Third").await)["board"]["id"].clone();
    for _ in 0..2 {
        let input = json!({ "id": third, "idempotencyKey": "delete the third" });
        let deleted = mutate(&app, &owner, "deleteBoard", "BoardInput", "boardId", input).await;
        assert_eq!(done(&deleted)["boardId"], third, "again under the same key");
    }
    let seen = "query ($id: ID!) { board(id: $id) { name version } }";
    assert_eq!(app.data(Some(&owner), seen, json!({ "id": board["id"] })).await["board"], Value::Null);
    let again = mutate(&app, &owner, "deleteBoard", "BoardInput", "boardId", json!({ "id": board["id"] })).await;
    refused(&again, "NotFoundError", &["id"]);
    let stranger = app.account("stranger@example.org").await;
    let theirs =
        mutate(&app, &stranger, "restoreBoard", "BoardInput", "board { name }", json!({ "id": board["id"] })).await;
    refused(&theirs, "NotFoundError", &["id"]);
    let back =
        mutate(&app, &owner, "restoreBoard", "BoardInput", "board { name version }", json!({ "id": board["id"] }))
            .await;
    assert_eq!(done(&back)["board"], json!({ "name": "First", "version": 3 }));
    assert_eq!(
        app.code(None, "mutation { createBoard(input: { name: \"x\" }) { board { id } } }", Value::Null).await,
        "UNAUTHENTICATED"
    );

    let template = BoardBuilder::new(owner.id, "Template").nodes(30).links(20).template().make(&app).await;
    let place = json!([{ "placeInFolder": { "id": template.nodes[2].to_string(), "place": { "folderId": template.nodes[0].to_string() } } },
        { "deleteNode": { "id": template.nodes[3].to_string() } }]);
    done(&batch(&app, &owner, &template, place).await);
    let input = json!({ "id": template.id.to_string(), "name": "Copy" });
    let copy = mutate(&app, &stranger, "duplicateBoard", "DuplicateBoardInput",
        "board { id isTemplate isPublic viewerPermission stats { nodeCount linkCount resourceCount chatCount folderCount } }", input).await;
    let copied = &done(&copy)["board"];
    let stats =
        "query ($id: ID!) { board(id: $id) { stats { nodeCount linkCount resourceCount chatCount folderCount } } }";
    let original = app.data(Some(&owner), stats, json!({ "id": template.id.to_string() })).await;
    assert_eq!(copied["stats"], original["board"]["stats"]);
    assert_eq!((&copied["isTemplate"], &copied["viewerPermission"]), (&json!(false), &json!("OWNER")));
    let content = "query ($id: ID!) { board(id: $id) { nodes(first: 100) { nodes { ... on ResourceNode { title content } \
        ... on FolderNode { name children(first: 5) { nodes { ... on ResourceNode { title } } } } } } } }";
    let of = async |who: &Account, id: &Value| app.data(Some(who), content, json!({ "id": id })).await;
    assert_eq!(of(&stranger, &copied["id"]).await, of(&owner, &json!(template.id.to_string())).await);
}
