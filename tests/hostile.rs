//! Documents that somebody sends to do harm: whatever they are made of, they get an answer with a code, of a bounded size,
//! and the server goes on answering others. How much time and memory they cost is measured by `bench/hostile.py`.

use axum::{body::Body, http::Request};
use ragboard::graphql::Api;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{app::TestApp, fixture::BoardBuilder};

/// The largest body that is taken.
const BODY: usize = 1 << 20;

/// One document of a kind, `size` large in whatever grows in it.
type Kind = (&'static str, fn(usize) -> String);

fn nested(open: &str, core: &str, close: &str, levels: usize) -> String {
    format!("{}{core}{}", open.repeat(levels), close.repeat(levels))
}

/// Every element of the grammar that nests or repeats.
const KINDS: &[Kind] = &[
    ("lists in an argument", |n| format!("{{node(id:{}){{id}}}}", nested("[", "1", "]", n))),
    ("objects in an argument", |n| format!("{{node(id:{}){{id}}}}", nested("{a:", "1", "}", n))),
    ("lists that do not end", |n| format!("{{node(id:{}", "[".repeat(n))),
    ("arguments of a directive", |n| format!("{{viewer @skip(if:{}){{id}}}}", nested("[", "true", "]", n))),
    ("default of a variable", |n| format!("query($a:ID={}){{node(id:$a){{id}}}}", nested("[", "1", "]", n))),
    ("objects in a default", |n| format!("query($a:ID={}){{node(id:$a){{id}}}}", nested("{a:", "1", "}", n))),
    ("list types", |n| format!("query($a:{}){{node(id:$a){{id}}}}", nested("[", "ID", "]", n))),
    ("selection sets", |n| format!("{{{}}}", nested("viewer{", "id", "}", n))),
    ("inline fragments", |n| format!("{{{}}}", nested("...{", "viewer{id}", "}", n))),
    ("typed inline fragments", |n| format!("{{{}}}", nested("... on Query{", "viewer{id}", "}", n))),
    ("a chain of fragments", |n| {
        let chain: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{}}}", i + 1)).collect();
        format!("{{...f0}}{chain}fragment f{n} on Query{{viewer{{id}}}}")
    }),
    ("a chain of fragments that is not used", |n| {
        let chain: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{}}}", i + 1)).collect();
        format!("{{viewer{{id}}}}{chain}fragment f{n} on Query{{viewer{{id}}}}")
    }),
    ("a circle of fragments", |n| {
        let chain: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{}}}", (i + 1) % n)).collect();
        format!("{{...f0}}{chain}")
    }),
    ("doubling fragments", |n| {
        let double: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{0} ...f{0}}}", i + 1)).collect();
        format!("{{...f0}}{double}fragment f{n} on Query{{viewer{{id}}}}")
    }),
    ("doubling fragments that end nowhere", |n| {
        let double: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{0} ...f{0}}}", i + 1)).collect();
        format!("{{...f0}}{double}")
    }),
    ("doubling fragments of unknown fields", |n| {
        let double: String = (0..n).map(|i| format!("fragment f{i} on Query{{...f{0} ...f{0}}}", i + 1)).collect();
        format!("{{...f0}}{double}fragment f{n} on Query{{nothing}}")
    }),
    ("a tree of fragments", |n| {
        let tree: String = (0..n)
            .map(|i| format!("fragment f{i} on Query{{a{i}:viewer{{id}} ...f{} ...f{}}}", 2 * i + 1, 2 * i + 2))
            .collect();
        let leaves: String = (n..2 * n + 1).map(|i| format!("fragment f{i} on Query{{viewer{{id}}}}")).collect();
        format!("{{...f0}}{tree}{leaves}")
    }),
    ("spreads of one fragment", |n| format!("{{{}}}fragment f on Query{{viewer{{id}}}}", "...f ".repeat(n))),
    ("operations", |n| (0..n).map(|i| format!("query q{i}{{__typename}}")).collect()),
    ("aliases", |n| format!("{{{}}}", (0..n).map(|i| format!("a{i}:viewer{{id}} ")).collect::<String>())),
    ("fields", |n| format!("{{viewer{{{}}}}}", "id ".repeat(n))),
    ("unknown fields", |n| format!("{{viewer{{{}}}}}", (0..n).map(|i| format!("emali{i} ")).collect::<String>())),
    ("directives", |n| format!("{{viewer{}{{id}}}}", "@skip(if:false)".repeat(n))),
    ("unknown directives", |n| format!("{{viewer{}{{id}}}}", "@a".repeat(n))),
    ("arguments", |n| format!("{{node({}){{id}}}}", (0..n).map(|i| format!("a{i}:1 ")).collect::<String>())),
    ("variables", |n| format!("query({}){{viewer{{id}}}}", (0..n).map(|i| format!("$a{i}:Int ")).collect::<String>())),
    ("ancestors", |n| format!("{{node(id:\"x\"){{{}}}}}", nested("... on FolderNode{ancestors{", "id", "}}", n))),
    ("introspection", |n| format!("{{__schema{{types{{{}}}}}}}", nested("fields{type{", "name", "}}", n))),
    ("of types", |n| format!("{{__schema{{types{{{}}}}}}}", nested("ofType{", "name", "}", n))),
    ("conflicts", |n| format!("{{viewer{{{}}}}}", "a:id a:name ".repeat(n))),
    ("one name for many", |n| format!("{{{}}}", "viewer{id} ".repeat(n))),
    ("a long name", |n| format!("{{{}}}", "a".repeat(n))),
    ("a long number", |n| format!("{{boards(first:{}){{totalCount}}}}", "1".repeat(n))),
    ("a long string", |n| format!("{{node(id:\"{}\"){{id}}}}", "x".repeat(n))),
    ("a long block string", |n| format!("{{node(id:\"\"\"{}\"\"\"){{id}}}}", "\\\"\"\"".repeat(n / 4))),
    ("escapes", |n| format!("{{node(id:\"{}\"){{id}}}}", "\\u0041".repeat(n / 6))),
    ("blanks", |n| format!("{{viewer{}{{id}}}}", " ".repeat(n))),
    ("comments", |n| format!("{{viewer{}{{id}}}}", "#\n".repeat(n / 2))),
    ("marks", |n| "\u{feff}".repeat(n / 3)),
    ("a block string that does not end", |n| format!("{{node(id:[\"\"\" \" {}", "[".repeat(n))),
    ("numbers without blanks", |n| format!("{{nodes(ids:[{}]){{id}}}}", "0".repeat(n))),
    ("spreads without blanks", |n| format!("{{a{}}}fragment f on Query{{viewer{{id}}}}", "...f".repeat(n / 4))),
    ("variables that nobody declares", |n| format!("{{nodes(ids:[{}]){{id}}}}", "$v ".repeat(n / 3))),
    ("declarations of one variable", |n| format!("query({}){{node(id:$v){{id}}}}", "$v:ID ".repeat(n / 6))),
    ("unknown types of variables", |n| format!("query($v:{}=1){{viewer{{id}}}}", nested("[", "Nope", "]", n))),
    ("operations without the variables of their fragment", |n| {
        let operations: String = (0..n.min(60)).map(|i| format!("query q{i}{{...f}}")).collect();
        format!("{operations}fragment f on Query{{{}}}", "node(id:$v){id} ".repeat(n / 16))
    }),
    ("conditions of unknown types", |n| {
        let conditions: String = (0..n / 30).map(|i| format!("...on T{i}{{id}}")).collect();
        format!("{{node(id:\"1\"){{{}{conditions}}}}}", "id ".repeat(n / 6))
    }),
    ("conditions of one type", |n| format!("{{node(id:\"1\"){{{}}}}}", "...on Board{id}".repeat(n / 15))),
    ("root fields of a subscription", |n| {
        format!("subscription{{{}}}", "boardEvents(boardId:\"b\"){__typename} ".repeat(n / 38))
    }),
    ("nonsense", |n| "@!&|".repeat(n / 4)),
];

fn within_body(kind: fn(usize) -> String, mut size: usize) -> String {
    loop {
        let document = kind(size.max(1));
        if document.len() < BODY - 100 {
            return document;
        }
        size /= 2;
    }
}

async fn answered(app: &TestApp, document: &str) -> Value {
    let body = json!({ "query": document }).to_string();
    let request = Request::post("/graphql").header("content-type", "application/json").body(Body::from(body)).unwrap();
    let alive = app.send(Request::get("/livez").body(Body::empty()).unwrap());
    let (response, alive) = tokio::join!(app.send(request), alive);
    assert!(alive.status().is_success());
    // Escapes may make the JSON around a document larger than a body may be.
    let body = axum::body::to_bytes(response.into_body(), 17 << 20).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_hostile_document_gets_an_answer() {
    let app = TestApp::new().await;
    for (kind, make) in KINDS {
        for size in [1, 30, 99, 1_400, 20_000, BODY] {
            let document = within_body(*make, size);
            let answer = answered(&app, &document).await;
            if answer.get("data").is_none_or(Value::is_null) || answer.get("errors").is_some() {
                let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
                let expected = ["INVALID_DOCUMENT", "INVALID_ARGUMENT", "COST_EXCEEDED"];
                assert!(expected.contains(&code), "{kind} {size}: {answer:.300}");
                let text = answer.to_string();
                assert!(text.len() < 40_000, "{kind} {size}: an answer of {} bytes", text.len());
            }
        }
    }
}

/// Documents put together at random from all of it, refused or not: none may take the process down.
#[tokio::test(flavor = "multi_thread")]
async fn random_hostile_documents_are_judged() {
    let app = TestApp::new().await;
    let api = Api::new(app.config.limits.clone(), true);
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut parts = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let (_, make) = KINDS[random.random_range(0..KINDS.len())];
            let size = 1 << random.random_range(0..14);
            let mut document = within_body(make, size);
            if random.random_bool(0.3) && !document.is_empty() {
                let cut = random.random_range(0..document.len());
                document.truncate((0..=cut).rev().find(|at| document.is_char_boundary(*at)).unwrap());
            }
            parts.push(document);
        }
        let document = parts.concat();
        match api.check(async_graphql::Request::new(&document)) {
            Ok(()) => {
                answered(&app, &document).await;
            }
            Err(error) => {
                assert!(["INVALID_DOCUMENT", "COST_EXCEEDED"].contains(&error.code().as_str()), "seed {seed}: {error}");
                assert!(error.message().len() < 1_000, "seed {seed}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_larger_than_it_may_be() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(3).make(&app).await;
    let create = "mutation ($board: ID!, $text: String!) { createResourceNode(input: { boardId: $board, title: \"long\", \
        content: $text }) { node { id } userErrors { message } } }";
    let variables = json!({ "board": board.id.to_string(), "text": "x".repeat(1_000_000) });
    let data = app.data(Some(&owner), create, variables).await;
    let id = data["createResourceNode"]["node"]["id"].as_str().unwrap_or_else(|| panic!("{data}")).to_owned();
    let ids = vec![id; 50];
    let aliases: String = (0..20).map(|n| format!("a{n}: content ")).collect();
    let document = format!("query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on ResourceNode {{ {aliases} }} }} }}");
    assert_eq!(app.code(Some(&owner), &document, json!({ "ids": ids })).await, "COST_EXCEEDED");
    // What fits is answered whole.
    let few = app.data(Some(&owner), &document.replace(&aliases, "content"), json!({ "ids": ids[..10] })).await;
    let lengths: Vec<usize> =
        few["nodes"].as_array().unwrap().iter().map(|node| node["content"].as_str().unwrap().len()).collect();
    assert_eq!(lengths, [1_000_000; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_whose_answer_is_too_large_says_that_it_is_done() {
    let app = TestApp::with(&[("RAGBOARD_MAX_ANSWER_BYTES", "65536")]).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let create = "mutation ($board: ID!, $text: String!) { createResourceNode(input: { boardId: $board, title: \"long\", \
        content: $text }) { node { ... on ResourceNode { content } } } }";
    let variables = json!({ "board": board.id.to_string(), "text": "x".repeat(100_000) });
    let answer = app.answer(Some(&owner), create, variables).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "COST_EXCEEDED", "{answer:.500}");
    let count = "query ($id: ID!) { board(id: $id) { stats { nodeCount } } }";
    let data = app.data(Some(&owner), count, json!({ "id": board.id.to_string() })).await;
    assert_eq!(
        data["board"]["stats"]["nodeCount"], 1,
        "it was made, and that is told by where the error stands: {answer:.500}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_schema_are_not_suggested_where_it_may_not_be_asked_for() {
    let app = TestApp::with(&[("RAGBOARD_INTROSPECTION", "false")]).await;
    for document in
        ["{ viewr { id } }", "mutation { creatBoard { board { id } } }", "{ boards(frst: 1) { totalCount } }"]
    {
        let answer = app.answer(None, document, Value::Null).await;
        assert!(!answer.to_string().contains("Did you mean"), "{answer}");
    }
}
