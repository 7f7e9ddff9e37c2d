//! How many SQL statements answers take, cold and cached: counted, not timed.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    app::{Account, TestApp},
    fixture::{BoardBuilder, folder_tree},
    patience::PATIENCE,
};

/// A board with its first 50 nodes of all kinds, their type-specific fields, 100 links and the owner.
pub(crate) const BOARD_PAGE: &str = "query ($id: ID!) { board(id: $id) { id name version viewerPermission owner { id name } \
    nodes(first: 50) { nodes { __typename id position { x y } size { width height } zIndex isLocked metadata version createdAt \
        ... on ResourceNode { resourceType title content url processingStatus language wordCount readingTimeSeconds keyPoints } \
        ... on ChatNode { model systemPrompt temperature maxTokens topP stopSequences responseFormat } \
        ... on FolderNode { name description color icon isExpanded sortOrder maxItems isPasswordProtected } } \
        pageInfo { hasNextPage endCursor } } \
    links(first: 100) { nodes { id kind label style } pageInfo { hasNextPage } } } }";

/// Measures in a process that has nothing in memory, and in another one where that fails: while a look of the cache is
/// late, reads pass memory, and rightly.
async fn in_a_new_process<T>(app: &TestApp, measure: impl AsyncFn(&TestApp) -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let process = TestApp::on(app.url.clone(), &[]).await;
        process.current().await;
        match measure(&process).await {
            Ok(measured) => return measured,
            Err(ran) => assert!(Instant::now() < deadline, "{ran}"),
        }
    }
}

/// The answer of a request which takes exactly these statements where nothing is in memory.
async fn cold(app: &TestApp, who: &Account, document: &str, variables: Value, statements: &[&str]) -> Value {
    in_a_new_process(app, async |process: &TestApp| {
        let before = process.statements();
        let answer = process.data(Some(who), document, variables.clone()).await;
        let ran = process.statements_since(&before);
        if ran == statements { Ok(answer) } else { Err(format!("{ran:?} and not {statements:?}")) }
    })
    .await
}

/// The statements of a request where nothing is in memory; right after it the same one takes none.
async fn cold_and_cached(
    app: &TestApp,
    who: &Account,
    document: &str,
    variables: Value,
    is_right: impl Fn(&[&str]) -> bool,
) {
    in_a_new_process(app, async |process: &TestApp| {
        let before = process.statements();
        let cold_answer = process.data(Some(who), document, variables.clone()).await;
        let cold = process.statements_since(&before);
        process.app.cached.settled().await;
        process.current().await;
        // Texts are read with the second answer where the first could not keep them.
        let before = process.statements();
        let cached_answer = process.data(Some(who), document, variables.clone()).await;
        assert_eq!(cold_answer, cached_answer, "memory and database must say the same");
        let cached = process.statements_since(&before);
        if is_right(&cold) && cached.is_empty() { Ok(()) } else { Err(format!("cold: {cold:?}, cached: {cached:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_page_takes_five_statements_cold_and_none_cached_whatever_its_size() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for (nodes, links) in [(5, 4), (50, 100), (5_000, 6_000)] {
        let board = BoardBuilder::new(owner.id, &format!("{nodes} nodes")).nodes(nodes).links(links).make(&app).await;
        let id = json!({ "id": board.id.to_string() });
        cold_and_cached(&app, &owner, BOARD_PAGE, id, |cold| {
            let of_board = cold.iter().filter(|name| **name != "users.by_id");
            of_board.eq(&["boards.by_id", "links.page", "nodes.page", "nodes.texts"])
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_process_reads_the_account_as_well() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(50).links(100).make(&app).await;
    let five = ["boards.by_id", "links.page", "nodes.page", "nodes.texts", "users.by_id"];
    cold(&app, &owner, BOARD_PAGE, json!({ "id": board.id.to_string() }), &five).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_levels_of_folders_take_one_statement_each() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let (board, root) = folder_tree(&app, owner.id, 20, 3).await;
    let document = "query ($id: ID!) { node(id: $id) { ... on FolderNode { name children(first: 20) { nodes { id \
        ... on FolderNode { name children(first: 20) { nodes { id \
        ... on FolderNode { name children(first: 20) { nodes { id ... on FolderNode { name } } } } } } } } } } } }";
    assert_eq!(board.nodes.len(), 1 + 20 + 400 + 8_000);
    cold_and_cached(&app, &owner, document, json!({ "id": root.to_string() }), |cold| {
        let lists = cold.iter().filter(|name| name.starts_with("nodes.children")).count();
        // One a level. Besides: where the node lies, its board, itself, the account.
        (lists, cold.len()) == (3, 3 + 4)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_boards_with_stats_and_owner_take_at_most_four() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for number in 0..20 {
        BoardBuilder::new(owner.id, &format!("Board {number}")).nodes(12).links(5).make(&app).await;
    }
    let document = "{ boards(first: 20) { nodes { name stats { nodeCount linkCount resourceCount chatCount folderCount } \
        owner { name } } pageInfo { hasNextPage } } }";
    let data = cold(&app, &owner, document, Value::Null, &["boards.page", "boards.stats", "users.by_id"]).await;
    let boards = data["boards"]["nodes"].as_array().unwrap();
    assert_eq!(boards.len(), 20);
    assert!(boards.iter().all(|board| board["stats"]
        == json!({ "nodeCount": 12, "linkCount": 5, "resourceCount": 8, "chatCount": 2, "folderCount": 2 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_ancestors_links_and_counts_of_many_nodes_are_read_together() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let (board, _) = folder_tree(&app, owner.id, 3, 3).await;
    let document = "query ($id: ID!) { board(id: $id) { nodes(first: 40) { totalCount nodes { parent { name } \
        ancestors { name } links(first: 5) { nodes { id } } linkedNodes(first: 5) { nodes { id } } \
        ... on FolderNode { childCount } } } } }";
    let expected = [
        "boards.by_id",
        "links.of_nodes",
        "nodes.ancestors",
        "nodes.by_id",
        "nodes.count",
        "nodes.count",
        "nodes.linked",
        "nodes.page",
        "users.by_id",
    ];
    cold(&app, &owner, document, json!({ "id": board.id.to_string() }), &expected).await;
}

/// Statements for the lists of boards that change beside them, with how often each ran.
async fn of_lists(app: &TestApp, who: &Account, document: &str, variables: Value) -> Vec<&'static str> {
    let before = app.statements();
    app.data(Some(who), document, variables).await;
    let ran = app.statements_since(&before);
    ran.into_iter()
        .filter(|name| ["activity.", "events.", "jobs.", "sharing."].iter().any(|of| name.starts_with(of)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_a_hundred_boards_take_one_statement_each() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for number in 0..100 {
        BoardBuilder::new(owner.id, &format!("Board {number}")).nodes(3).make(&app).await;
    }
    let lists = "events(first: 2) { totalCount nodes { __typename } } shares { id } collaborators { invitedAt } \
                 jobs(first: 2) { totalCount nodes { id } } activity(first: 2) { totalCount nodes { kind } }";
    let document = format!("{{ boards(first: 100, filter: {{ relation: OWNED }}) {{ nodes {{ id {lists} }} }} }}");
    let ran = of_lists(&app, &owner, &document, Value::Null).await;
    let once = [
        "activity.counts",
        "activity.pages",
        "events.counts",
        "events.lists",
        "jobs.counts",
        "jobs.pages",
        "sharing.collaborator_lists",
        "sharing.share_lists",
    ];
    assert_eq!(ran, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_list_under_many_names_is_read_once() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let board = BoardBuilder::new(owner.id, &format!("Board {number}")).make(&app).await;
        ids.push(board.id.to_string());
    }
    let many = |field: &str| {
        let fields: String = (0..99).map(|number| format!("a{number}: {field} ")).collect();
        format!("query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Board {{ {fields} }} }} }}")
    };
    let ran = of_lists(&app, &owner, &many("events(first: 1) { totalCount }"), json!({ "ids": ids })).await;
    assert_eq!(ran, ["events.counts", "events.lists"]);
    let ran = of_lists(&app, &owner, &many("jobs(first: 1) { totalCount }"), json!({ "ids": ids })).await;
    assert_eq!(ran, ["jobs.counts", "jobs.pages"]);
    let ran = of_lists(&app, &owner, &many("activity(first: 1) { totalCount }"), json!({ "ids": ids })).await;
    assert_eq!(ran, ["activity.counts", "activity.pages"]);
}
