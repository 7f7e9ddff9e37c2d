//! Bad input of every kind gives a GraphQL error with a code, never a 500, and the server goes on.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::support::{
    app::{Account, TestApp},
    fixture::{Board, BoardBuilder, place},
    socket::Socket,
};

async fn board() -> (TestApp, Account, Board) {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(20).links(10).make(&app).await;
    place(&app, &board, board.nodes[0], &board.nodes[1..5]).await;
    (app, owner, board)
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none() {
    let (app, owner, board) = board().await;
    let long = "x".repeat(500_000);
    let node = board.nodes[0].to_string();
    let mangled = format!("board_{}", &node[5..]);
    let bad = [
        "",
        "x",
        "board",
        "board_",
        "_",
        "\u{0}",
        "board_\u{0}",
        "é",
        "board_0000000000000000000000000u",
        &long,
        "1",
        "null",
    ];
    for id in bad {
        for document in [
            "query ($id: ID!) { node(id: $id) { id } }",
            "query ($id: ID!) { nodes(ids: [$id]) { id } }",
            "query ($id: ID!) { board(id: $id) { id } }",
        ] {
            assert_eq!(
                app.code(Some(&owner), document, json!({ "id": id })).await,
                "INVALID_ARGUMENT",
                "{document} {:.40}",
                id
            );
        }
    }
    // The right form with the wrong prefix: no board of that id, and no id of a board.
    assert_eq!(
        app.code(Some(&owner), "query ($id: ID!) { board(id: $id) { id } }", json!({ "id": node })).await,
        "INVALID_ARGUMENT"
    );
    let data = app.data(Some(&owner), "query ($id: ID!) { board(id: $id) { id } }", json!({ "id": mangled })).await;
    assert_eq!(data["board"], Value::Null);
    let many: Vec<String> = vec![node; 101];
    assert_eq!(
        app.code(Some(&owner), "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": many })).await,
        "INVALID_ARGUMENT"
    );
}

/// Every list of the API as a document with `PAGE` for its arguments.
fn lists(board: &Board) -> Vec<String> {
    let on_board = |list: &str| format!("{{ board(id: \"{}\") {{ {list} }} }}", board.id);
    let on_folder = |list: &str| format!("{{ node(id: \"{}\") {{ ... on FolderNode {{ {list} }} }} }}", board.nodes[0]);
    vec![
        "{ boards(PAGE) { nodes { id } } }".into(),
        "{ viewer { boards(PAGE) { nodes { id } } } }".into(),
        on_board("nodes(PAGE) { nodes { id } }"),
        on_board("roots(PAGE) { nodes { id } }"),
        on_board("links(PAGE) { nodes { id } }"),
        on_folder("children(PAGE) { nodes { id } }"),
        on_folder("descendants(PAGE) { nodes { id } }"),
        on_folder("links(PAGE) { nodes { id } }"),
        on_folder("linkedNodes(PAGE) { nodes { id } }"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_none() {
    let (app, owner, board) = board().await;
    let foreign = {
        let document = format!(
            "{{ board(id: \"{}\") {{ nodes(first: 1, orderBy: {{ field: NAME }}) {{ pageInfo {{ endCursor }} }} }} }}",
            board.id
        );
        app.data(Some(&owner), &document, Value::Null).await["board"]["nodes"]["pageInfo"]["endCursor"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let long = "A".repeat(150_000);
    for list in lists(&board) {
        for page in [
            "first: 0",
            "first: -1",
            "first: 101",
            "last: 0",
            "last: 101",
            "first: 1, last: 1",
            "first: 2147483647",
            "first: -2147483648",
        ] {
            assert_eq!(
                app.code(Some(&owner), &list.replace("PAGE", page), Value::Null).await,
                "INVALID_ARGUMENT",
                "{list} {page}"
            );
        }
        for cursor in ["", "x", "\\u0000", "bnVsbA", &foreign, &long] {
            for page in [format!("first: 1, after: \"{cursor}\""), format!("last: 1, before: \"{cursor}\"")] {
                let code = app.code(Some(&owner), &list.replace("PAGE", &page), Value::Null).await;
                assert_eq!(code, "INVALID_ARGUMENT", "{list} {:.40}", page);
            }
        }
        let without = list.replace("(PAGE)", "");
        assert_eq!(app.code(Some(&owner), &without, Value::Null).await, "INVALID_ARGUMENT", "{without}");
        for page in ["first: 99999999999", "first: \"1\"", "first: 1.5"] {
            let code = app.code(Some(&owner), &list.replace("PAGE", page), Value::Null).await;
            assert!(["INVALID_DOCUMENT", "INVALID_ARGUMENT"].contains(&code.as_str()), "{list} {page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_none() {
    let (app, owner, board) = board().await;
    let on_board = |arguments: &str| {
        format!("{{ board(id: \"{}\") {{ nodes(first: 5, {arguments}) {{ nodes {{ id }} }} }} }}", board.id)
    };
    for arguments in ["within: { x: 0, y: 0, width: -1, height: 1 }", "within: { x: 1e300, y: 0, width: 1, height: 1 }"]
    {
        assert_eq!(app.code(Some(&owner), &on_board(arguments), Value::Null).await, "INVALID_ARGUMENT", "{arguments}");
    }
    for arguments in [
        "types: [PLANET]",
        "orderBy: { field: COLOR }",
        "within: { x: 0 }",
        "filter: { createdFrom: \"yesterday\" }",
        "filter: { color: 1 }",
    ] {
        let code = app.code(Some(&owner), &on_board(arguments), Value::Null).await;
        assert!(["INVALID_DOCUMENT", "INVALID_ARGUMENT"].contains(&code.as_str()), "{arguments}: {code}");
    }
    let depth = format!(
        "{{ node(id: \"{}\") {{ ... on FolderNode {{ descendants(first: 5, maxDepth: 0) {{ nodes {{ id }} }} }} }} }}",
        board.nodes[0]
    );
    assert_eq!(app.code(Some(&owner), &depth, Value::Null).await, "INVALID_ARGUMENT");
    for part in ["x".repeat(201), "\u{0}".into()] {
        let document = "query ($part: String!) { boards(first: 5, filter: { nameContains: $part }) { nodes { id } } }";
        assert_eq!(app.code(Some(&owner), document, json!({ "part": part })).await, "INVALID_ARGUMENT");
    }
    for token in ["\u{0}".into(), "x".repeat(900_000)] {
        let data = app
            .data(None, "query ($token: String!) { sharedBoard(token: $token) { id } }", json!({ "token": token }))
            .await;
        assert_eq!(data["sharedBoard"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_none_or_too_much() {
    let (app, owner, _) = board().await;
    let deep = format!("{{ viewer {{ {} }} }}", "recentBoards { owner { ".repeat(20) + "id" + &" } }".repeat(20));
    let wide =
        "{ boards(first: 100) { nodes { nodes(first: 100) { nodes { links(first: 100) { nodes { id } } } } } } }";
    let aliases = format!("{{ {} }}", (0..200).map(|n| format!("a{n}: viewer {{ id }} ")).collect::<String>());
    let large = format!("{{ viewer {{ {} }} }}", "id ".repeat(20_000));
    let recursive = "query { ...a } fragment a on Query { viewer { id } ...b } fragment b on Query { ...a }";
    for (document, code) in [
        ("", "INVALID_DOCUMENT"),
        ("{", "INVALID_DOCUMENT"),
        ("{ nothing }", "INVALID_DOCUMENT"),
        ("mutation { deleteEverything }", "INVALID_DOCUMENT"),
        ("query a { viewer { id } } query b { viewer { id } }", "INVALID_DOCUMENT"),
        (recursive, "INVALID_DOCUMENT"),
        (deep.as_str(), "COST_EXCEEDED"),
        (wide, "COST_EXCEEDED"),
        (aliases.as_str(), "COST_EXCEEDED"),
        (large.as_str(), "COST_EXCEEDED"),
    ] {
        assert_eq!(app.code(Some(&owner), document, Value::Null).await, code, "{:.60}", document);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none() {
    let (app, ..) = board().await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        Request::post("/graphql").header("content-type", content_type).body(Body::from(body)).unwrap()
    };
    let document = |bytes: usize| {
        json!({ "query": format!("{{ viewer {{ id }} }} #{}", "x".repeat(bytes)) }).to_string().into_bytes()
    };
    let nested =
        format!("{{\"query\":\"{{ viewer {{ id }} }}\",\"variables\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let batch = serde_json::to_vec(&vec![json!({ "query": "{ viewer { id } }" }); 11]).unwrap();
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut writer, bytes).unwrap();
        writer.finish().unwrap()
    };
    let bomb = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::from(gzip(&document(50_000_000))))
        .unwrap();
    let cases = [
        (post("text/plain", document(0)), 400),
        (post("application/json", document(10_000_000)), 413),
        (bomb, 413),
        (post("application/json", b"".to_vec()), 400),
        (post("application/json", b"{".to_vec()), 400),
        (post("application/json", b"[]".to_vec()), 400),
        (post("application/json", b"\xff\xfe".to_vec()), 400),
        (post("application/json", batch), 400),
        (post("application/json", nested.into_bytes()), 400),
        (Request::get("/graphql").body(Body::empty()).unwrap(), 400),
        (Request::get("/graphql?query=%7Bviewer%7Bid%7D%7D&variables=%7B").body(Body::empty()).unwrap(), 400),
    ];
    for (number, (request, status)) in cases.into_iter().enumerate() {
        let response = app.send(request).await;
        assert_eq!(response.status().as_u16(), status, "case {number}");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["errors"][0]["extensions"]["code"].is_string(), "case {number}: {answer}");
    }
    let compressed = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::from(gzip(&document(1_000))))
        .unwrap();
    assert_eq!(app.send(compressed).await.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_what_they_seem() {
    let (app, owner, board) = board().await;
    let id = board.id.to_string();
    let node = board.nodes[2].to_string();
    let run = async |name: &str, kind: &str, input: Value| {
        let document = format!(
            "mutation ($input: {kind}!) {{ it: {name}(input: $input) {{ userErrors {{ __typename path }} }} }}"
        );
        app.data(Some(&owner), &document, json!({ "input": input })).await["it"]["userErrors"].take()
    };
    for address in [
        "https://user:password@example.org/",
        "https://user@example.org/",
        "https://example.org/\n",
        "https://example.org/a b",
        " https://example.org/",
        "java\tscript:alert(1)",
        "javascript:alert(1)",
        "ftp://example.org/",
        "https://exa%0ample.org/",
        "https://exa\u{200b}mple.org/",
        "https://\u{202e}gro.elpmaxe/",
        &format!("https://example.org/{}", "x".repeat(2_000)),
    ] {
        for (name, kind, field, mut input) in [
            ("createResourceNode", "CreateResourceNodeInput", "url", json!({ "boardId": id, "title": "x" })),
            ("updateResourceNode", "UpdateResourceNodeInput", "url", json!({ "id": node })),
            (
                "createChatNode",
                "CreateChatNodeInput",
                "customModelEndpoint",
                json!({ "boardId": id, "model": "custom" }),
            ),
            ("createBoard", "CreateBoardInput", "thumbnailUrl", json!({ "name": "x" })),
            ("updateBoard", "UpdateBoardInput", "thumbnailUrl", json!({ "id": id })),
            ("updateViewer", "UpdateViewerInput", "avatarUrl", json!({})),
        ] {
            input[field] = json!(address);
            let errors = run(name, kind, input).await;
            assert_eq!(errors, json!([{ "__typename": "ValidationError", "path": [field] }]), "{name} {address:?}");
        }
    }
    // One that is stored since a time when more was taken is in nobody's way.
    app.sql
        .batch_execute(
            "UPDATE resource_nodes SET url = 'https://user:password@example.org/'; \
            UPDATE boards SET thumbnail_url = 'ftp://example.org/'; UPDATE users SET avatar_url = 'ftp://example.org/'",
        )
        .await
        .unwrap();
    let moved = json!({ "id": node, "title": "new", "position": { "x": 1, "y": 1 } });
    assert_eq!(run("updateResourceNode", "UpdateResourceNodeInput", moved).await, json!([]));
    assert_eq!(run("updateBoard", "UpdateBoardInput", json!({ "id": id, "name": "new" })).await, json!([]));
    assert_eq!(run("duplicateBoard", "DuplicateBoardInput", json!({ "id": id, "name": "copy" })).await, json!([]));
    assert_eq!(run("updateViewer", "UpdateViewerInput", json!({ "name": "new" })).await, json!([]));
    let fine = json!({ "id": node, "url": "https://example.org/@a?b=%0a" });
    assert_eq!(run("updateResourceNode", "UpdateResourceNodeInput", fine).await, json!([]));
}

/// Sends a body as it is: JSON of a test would round its numbers. The answer comes as text for the same reason.
async fn raw(app: &TestApp, who: &Account, headers: &[(&str, &str)], body: String) -> String {
    let mut request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", who.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.send(request.body(Body::from(body)).unwrap()).await;
    String::from_utf8(axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_free_data_keep_their_digits_or_are_refused() {
    let (app, owner, board) = board().await;
    let (id, node) = (board.id.to_string(), board.nodes[2].to_string());
    let errors = "userErrors { __typename path message }";
    let read = json!({ "query": "query ($id: ID!) { node(id: $id) { ... on ResourceNode { metadata } } }", "variables": { "id": node } });
    let kept = [
        "0",
        "-7",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "0.1",
        "-2.5",
        "0.30000000000000004",
        "123456789012345680",
        "5e-324",
        "1.5e-7",
    ];
    let lost = [
        "12345678901234567890123",
        "123456789012345678.25",
        "-9223372036854775809",
        "0.1234567890123456789",
        "-0.0",
        "-0",
        "1e-400",
        "18446744073709551616",
        "0.10000000000000001",
    ];
    for in_document in [false, true] {
        let update = |number: &str| {
            let input = format!(r#"id: "{node}", metadata: {{ a: [{{ b: {number} }}] }}"#);
            if in_document {
                json!({ "query": format!("mutation {{ it: updateResourceNode(input: {{ {input} }}) {{ {errors} }} }}") }).to_string()
            } else {
                let query = format!(
                    "mutation ($input: UpdateResourceNodeInput!) {{ it: updateResourceNode(input: $input) {{ {errors} }} }}"
                );
                format!(
                    r#"{{"query":{},"variables":{{"input":{{"id":"{node}","metadata":{{"a":[{{"b":{number}}}]}}}}}}}}"#,
                    json!(query)
                )
            }
        };
        for number in kept {
            let answer = raw(&app, &owner, &[], update(number)).await;
            assert_eq!(answer, r#"{"data":{"it":{"userErrors":[]}}}"#, "{number}");
            app.app.cached.settled().await;
            let answers = [
                raw(&app, &owner, &[], read.to_string()).await,
                raw(&app, &owner, &[("cache-control", "no-cache")], read.to_string()).await,
            ];
            for answer in answers {
                let (_, rest) = answer.split_once(r#"{"b":"#).unwrap();
                let (told, _) = rest.split_once('}').unwrap();
                // A double may be spelled in another way, with the same digits.
                assert!(
                    told == number || (told.parse::<f64>() == number.parse::<f64>() && number.contains('e')),
                    "{told} {number}"
                );
            }
        }
        let before = raw(&app, &owner, &[], read.to_string()).await;
        for number in lost {
            let answer: Value = serde_json::from_str(&raw(&app, &owner, &[], update(number)).await).unwrap();
            let error = &answer["data"]["it"]["userErrors"][0];
            assert_eq!(
                (&error["__typename"], &error["path"]),
                (&json!("ValidationError"), &json!(["metadata"])),
                "{answer}"
            );
            assert!(error["message"].as_str().unwrap().contains("a.0.b"), "{answer}");
        }
        assert_eq!(raw(&app, &owner, &[], read.to_string()).await, before);
        let huge: Value = serde_json::from_str(&raw(&app, &owner, &[], update("1e400")).await).unwrap();
        assert_eq!(huge["errors"][0]["extensions"]["code"], "INVALID_DOCUMENT", "{huge}");
    }
    // Everything that takes free data, in batches of requests and of changes as well.
    let long = "12345678901234567890123";
    let input = |name: &str, kind: &str, input: String| {
        let query = format!("mutation ($input: {kind}!) {{ it: {name}(input: $input) {{ {errors} }} }}");
        format!(r#"{{"query":{},"variables":{{"input":{input}}}}}"#, json!(query))
    };
    let (from, to) = (board.nodes[2].to_string(), board.nodes[3].to_string());
    let link = |field: &str| {
        format!(r#"{{"boardId":"{id}","fromId":"{from}","toId":"{to}","kind":"HIERARCHY","{field}":{{"x":{long}}}}}"#)
    };
    let changes = format!(
        r#"{{"boardId":"{id}","changes":[{{"deleteNode":{{"id":"{to}"}}}},{{"updateResource":{{"id":"{from}","metadata":{{"x":{long}}}}}}}]}}"#
    );
    for (name, kind, fields, path) in [
        ("linkNodes", "LinkNodesInput", link("style"), json!(["style"])),
        ("linkNodes", "LinkNodesInput", link("metadata"), json!(["metadata"])),
        ("updateViewer", "UpdateViewerInput", format!(r#"{{"settings":{{"x":{long}}}}}"#), json!(["settings"])),
        (
            "setPresence",
            "SetPresenceInput",
            format!(r#"{{"boardId":"{id}","state":{{"x":{long}}}}}"#),
            json!(["state"]),
        ),
        ("setPresence", "SetPresenceInput", format!(r#"{{"boardId":"{id}","state":{long}}}"#), json!(["state"])),
        ("applyBoardChanges", "ApplyBoardChangesInput", changes, json!(["changes", "1", "updateResource", "metadata"])),
    ] {
        let body = input(name, kind, fields);
        for batch in [false, true] {
            let body = if batch { format!("[{body}]") } else { body.clone() };
            let answer: Value = serde_json::from_str(&raw(&app, &owner, &[], body).await).unwrap();
            let answer = if batch { &answer[0] } else { &answer };
            assert_eq!(answer["data"]["it"]["userErrors"][0]["path"], path, "{name} {answer}");
        }
    }
    let mut socket = Socket::of(app.listen().await, &owner).await;
    let body = input("updateViewer", "UpdateViewerInput", format!(r#"{{"settings":{{"x":{long}}}}}"#));
    let message = format!(r#"{{"id":"1","type":"subscribe","payload":{body}}}"#);
    futures_util::SinkExt::send(&mut socket.0, tokio_tungstenite::tungstenite::Message::text(message)).await.unwrap();
    let answer = socket.next().await;
    assert_eq!(answer["payload"]["data"]["it"]["userErrors"][0]["path"], json!(["settings"]), "{answer}");
    // A coordinate is a double, which rounds.
    let moved = input(
        "updateResourceNode",
        "UpdateResourceNodeInput",
        format!(r#"{{"id":"{node}","position":{{"x":0.1234567890123456789,"y":-0.0}}}}"#),
    );
    assert_eq!(raw(&app, &owner, &[], moved).await, r#"{"data":{"it":{"userErrors":[]}}}"#);
}
