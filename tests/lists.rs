//! Lists: pages, orders, filters, the viewport; memory and database say the same.

use std::sync::Arc;

use ragboard::domain::{
    LinkDirection, LinkKind, LinkList, LinkPageKey, NodeFilter, NodeList, NodeOrder, NodeOrderKey, NodePageKey,
    NodeScope, NodeType, PageRequest, ProcessingStatus, Rect, ResourceType, Sealed,
    ports::{Boards, CacheSource, Links, Nodes, Views},
};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    fixture::{Board, BoardBuilder, place},
    patience::PATIENCE,
};

/// A board of 300 nodes with folders in folders and many links.
async fn busy_board(app: &TestApp) -> Board {
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Busy").nodes(300).links(700).make(app).await;
    let n = &board.nodes;
    place(app, &board, n[0], &n[20..60]).await;
    place(app, &board, n[20], &n[60..100]).await;
    place(app, &board, n[70], &n[100..120]).await;
    place(app, &board, n[10], &[n[5], n[3], n[4]]).await;
    app.sql.execute("UPDATE nodes SET is_locked = true WHERE z_index = 3", &[]).await.unwrap();
    app.sql
        .execute("UPDATE nodes SET deleted_at = now() WHERE (metadata->>'number')::int % 17 = 5", &[])
        .await
        .unwrap();
    app.sql.execute("UPDATE resource_nodes SET title = 'ÄÖ ' || title WHERE title LIKE '%7'", &[]).await.unwrap();
    board
}

fn filters() -> Vec<NodeFilter> {
    let when = chrono::Utc::now() - chrono::Duration::seconds(100);
    vec![
        NodeFilter::default(),
        NodeFilter { types: vec![NodeType::Folder, NodeType::Chat], ..NodeFilter::default() },
        NodeFilter { resource_types: vec![ResourceType::Pdf], ..NodeFilter::default() },
        NodeFilter {
            processing_statuses: vec![ProcessingStatus::Pending],
            is_locked: Some(false),
            ..NodeFilter::default()
        },
        NodeFilter { updated_from: Some(when), created_until: Some(chrono::Utc::now()), ..NodeFilter::default() },
        NodeFilter {
            within: Some(Rect { x: 1000.0, y: 250.0, width: 8000.0, height: 400.0 }),
            ..NodeFilter::default()
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_database_say_the_same() {
    let app = TestApp::new().await;
    let board = busy_board(&app).await;
    let store = &app.app.store;
    let record = store.boards(&[board.id]).await.unwrap().remove(0).unwrap();
    assert!(app.app.cached.view(&record, &Sealed::default()).is_none(), "the first look starts the fill");
    app.app.cached.settled().await;
    let view = app.app.cached.view(&record, &Sealed::default()).expect("the board is in memory");
    let snapshot = store.snapshot(board.id, 10_000).await.unwrap().unwrap();
    assert_eq!(view.stats(), snapshot.stats);

    let n = &board.nodes;
    let scopes = [
        NodeScope::Board,
        NodeScope::Roots,
        NodeScope::ChildrenOf(n[0]),
        NodeScope::ChildrenOf(n[10]),
        NodeScope::ChildrenOf(n[1]),
        NodeScope::DescendantsOf(n[0], 64),
        NodeScope::DescendantsOf(n[0], 1),
        NodeScope::DescendantsOf(n[0], 2),
        NodeScope::LinkedWith(n[7], LinkDirection::Any),
        NodeScope::LinkedWith(n[7], LinkDirection::In),
        NodeScope::LinkedWith(n[7], LinkDirection::Out),
    ];
    let keys = [
        NodeOrderKey::Created,
        NodeOrderKey::Updated,
        NodeOrderKey::Name,
        NodeOrderKey::ZIndex,
        NodeOrderKey::Type,
        NodeOrderKey::Position,
    ];
    let mut compared = 0;
    for (scope, key, descending) in itertools(&scopes, &keys) {
        if key == NodeOrderKey::Position && !matches!(scope, NodeScope::ChildrenOf(_)) {
            continue;
        }
        for filter in filters() {
            let order = NodeOrder { key, descending };
            let link_kinds = if compared % 2 == 0 { Vec::new() } else { vec![LinkKind::Reference] };
            let list = NodeList { board_id: board.id, scope, link_kinds, filter, order, sealed: Sealed::default() };
            let count = store.node_counts(std::slice::from_ref(&list)).await.unwrap()[0];
            assert_eq!(view.node_count(&list), count, "{list:?}");
            let mut page = PageRequest::new(Some(7), None, None, None, order.name()).unwrap();
            for _ in 0..4 {
                let request = NodePageKey { list: list.clone(), page: page.clone() };
                let read = store.node_pages(std::slice::from_ref(&request)).await.unwrap().remove(0);
                let kept = view.node_page(&request);
                let ids = |page: &ragboard::domain::Page<Arc<ragboard::domain::Node>>| {
                    page.rows.iter().map(|node| node.id).collect::<Vec<_>>()
                };
                assert_eq!(ids(&read), ids(&kept), "{request:?}");
                assert_eq!((read.has_next, read.has_previous), (kept.has_next, kept.has_previous), "{request:?}");
                compared += 1;
                let Some(last) = read.rows.last() else { break };
                // Forwards twice, then back again.
                let cursor = last.place(key);
                page = if compared % 3 == 0 {
                    PageRequest { limit: 5, from_end: true, after: None, before: Some(cursor) }
                } else {
                    PageRequest { limit: 7, from_end: false, after: Some(cursor), before: None }
                };
            }
        }
    }
    assert!(compared > 1_000, "{compared}");

    for node in
        [None, Some((n[7], LinkDirection::Any)), Some((n[7], LinkDirection::In)), Some((n[8], LinkDirection::Out))]
    {
        for kinds in [vec![], vec![LinkKind::DataFlow, LinkKind::Hierarchy]] {
            let list = LinkList { board_id: board.id, node, kinds, sealed: Sealed::default() };
            assert_eq!(view.link_count(&list), store.link_counts(std::slice::from_ref(&list)).await.unwrap()[0]);
            for from_end in [false, true] {
                let key = LinkPageKey {
                    list: list.clone(),
                    page: PageRequest { limit: 20, from_end, after: None, before: None },
                };
                let read = store.link_pages(std::slice::from_ref(&key)).await.unwrap().remove(0);
                let kept = view.link_page(&key);
                assert_eq!(
                    read.rows.iter().map(|link| link.id).collect::<Vec<_>>(),
                    kept.rows.iter().map(|link| link.id).collect::<Vec<_>>()
                );
            }
        }
    }
    let keys: Vec<_> = n.iter().map(|id| ragboard::domain::NodeKey { board_id: board.id, node_id: *id }).collect();
    for (key, ancestors) in keys.iter().zip(store.ancestors(&keys).await.unwrap()) {
        if view.node(key.node_id).is_some() {
            let ids = |nodes: &[Arc<ragboard::domain::Node>]| nodes.iter().map(|node| node.id).collect::<Vec<_>>();
            assert_eq!(ids(&view.ancestors(key.node_id)), ids(&ancestors));
        }
    }
}

fn itertools<'a>(
    scopes: &'a [NodeScope],
    keys: &'a [NodeOrderKey],
) -> impl Iterator<Item = (NodeScope, NodeOrderKey, bool)> + 'a {
    scopes.iter().flat_map(move |scope| keys.iter().flat_map(move |key| [(*scope, *key, false), (*scope, *key, true)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cover_a_list_and_a_cursor_outlives_its_row() {
    for variables in [&[("RAGBOARD_CACHE_MODE", "off")][..], &[]] {
        let app = TestApp::with(variables).await;
        let owner = app.account("owner@example.org").await;
        let board = BoardBuilder::new(owner.id, "Board").nodes(250).make(&app).await;
        let document = "query ($id: ID!, $after: String) { board(id: $id) { nodes(first: 100, after: $after, orderBy: { field: NAME, direction: DESC }) \
            { nodes { id } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } } }";
        let mut seen = Vec::new();
        let mut after = Value::Null;
        loop {
            let data = app.data(Some(&owner), document, json!({ "id": board.id.to_string(), "after": after })).await;
            let page = &data["board"]["nodes"];
            seen.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()));
            assert_eq!(page["edges"][0]["cursor"], page["pageInfo"]["startCursor"]);
            assert_eq!(page["totalCount"], 250);
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(seen.len(), 250);
        assert_eq!(seen.iter().collect::<std::collections::HashSet<_>>().len(), 250);

        // The row that the cursor came from is deleted: the page after it is the same.
        let page = |after: Value| {
            let app = &app;
            let owner = &owner;
            let id = board.id.to_string();
            async move {
                app.data(Some(owner), document, json!({ "id": id, "after": after })).await["board"]["nodes"].take()
            }
        };
        let first = page(Value::Null).await;
        let cursor = first["edges"][49]["cursor"].clone();
        let before = page(cursor.clone()).await;
        let gone: ragboard::domain::NodeId = seen[49].parse().unwrap();
        app.sql
            .batch_execute(&format!(
                "UPDATE nodes SET deleted_at = now() WHERE id = '{}'; UPDATE boards SET version = version + 1",
                gone.0
            ))
            .await
            .unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let after = page(cursor.clone()).await;
            assert_eq!(after["nodes"], before["nodes"]);
            if after["totalCount"] == 249 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "the deletion never showed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewport_of_a_large_board_is_one_request() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Large").nodes(5_000).make(&app).await;
    let document = "query ($id: ID!) { board(id: $id) { nodes(first: 100, within: { x: 900, y: 500, width: 3000, height: 1500 }) \
        { totalCount nodes { position { x y } size { width height } } } } }";
    for _ in 0..2 {
        let before = app.statements();
        let data = app.data(Some(&owner), document, json!({ "id": board.id.to_string() })).await;
        let page = &data["board"]["nodes"];
        // Columns of 400 pixels from 2 (800 to 1100 touches 900) to 9; rows of 300 pixels from 1 to 6.
        assert_eq!(page["totalCount"], 8 * 6);
        assert_eq!(page["nodes"].as_array().unwrap().len(), 48);
        assert!(app.statements_since(&before).len() <= 4);
        app.app.cached.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_list_their_content_in_their_own_order() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(20).make(&app).await;
    let n = &board.nodes;
    let inside = [n[9], n[1], n[10], n[8], n[2]];
    place(&app, &board, n[0], &inside).await;
    let document =
        "query ($id: ID!) { node(id: $id) { ... on FolderNode { childCount children(first: 10) { nodes { id } } } } }";
    for (order, expected) in [
        ("manual", [n[9], n[1], n[10], n[8], n[2]]),
        ("name", [n[1], n[10], n[2], n[8], n[9]]),
        ("date", [n[10], n[9], n[8], n[2], n[1]]),
        ("type", [n[10], n[2], n[8], n[9], n[1]]),
    ] {
        app.sql.execute("UPDATE folder_nodes SET sort_order = $1::text::folder_sort_order", &[&order]).await.unwrap();
        let (_, answer) = app
            .ask(
                &[("authorization", &format!("Bearer {}", owner.token)), ("cache-control", "no-cache")],
                document,
                json!({ "id": n[0].to_string() }),
            )
            .await;
        let folder = &answer["data"]["node"];
        assert_eq!(folder["childCount"], 5);
        let ids: Vec<&str> =
            folder["children"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected.map(|id| id.to_string()), "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_are_filtered_and_sorted() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for name in ["Äpfel", "birnen", "Citronen", "apfelmus", "Zwetschgen"] {
        BoardBuilder::new(owner.id, name).make(&app).await;
    }
    BoardBuilder::new(owner.id, "Vorlage").template().make(&app).await;
    let names = |data: Value| -> Vec<String> {
        data["boards"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|board| board["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = |arguments: &str| format!("{{ boards(first: 10, {arguments}) {{ nodes {{ name }} totalCount }} }}");
    let data = app.data(Some(&owner), &list("orderBy: { field: NAME }"), Value::Null).await;
    assert_eq!(names(data), ["apfelmus", "birnen", "Citronen", "Vorlage", "Zwetschgen", "Äpfel"]);
    let data = app
        .data(Some(&owner), &list("filter: { nameContains: \"APFEL\" }, orderBy: { field: CREATED }"), Value::Null)
        .await;
    assert_eq!(names(data), ["Äpfel", "apfelmus"]);
    let data = app.data(Some(&owner), &list("filter: { isTemplate: true }"), Value::Null).await;
    assert_eq!(names(data), ["Vorlage"]);
    // Backwards through the list in pages of two.
    let mut seen = Vec::new();
    let mut before = Value::Null;
    loop {
        let document = "query ($before: String) { boards(last: 2, before: $before, orderBy: { field: NAME }) { nodes { name } \
            pageInfo { hasPreviousPage startCursor } } }";
        let data = app.data(Some(&owner), document, json!({ "before": before })).await;
        before = data["boards"]["pageInfo"]["startCursor"].clone();
        let more = data["boards"]["pageInfo"]["hasPreviousPage"] == true;
        seen.splice(0..0, names(data));
        if !more {
            break;
        }
    }
    assert_eq!(seen, ["apfelmus", "birnen", "Citronen", "Vorlage", "Zwetschgen", "Äpfel"]);
}
