//! Search as clients have it: by words and by meaning, with scores, spans and the truth about how it was done.

use std::time::Instant;

use ragboard::{
    domain::{GenerationState, IndexSpec, NodeId, SearchIndex},
    ops::index::{Wanted, rebuild},
    search::models::Models,
    store::VectorIndexes,
};
use serde_json::{Value, json};

use crate::{
    support::{
        app::{Account, TestApp},
        fixture::{Board, BoardBuilder, collaborator},
        library::{FOUND, Library, TEXTS, models, search_board, titles},
        patience::PATIENCE,
        sql::{value, values},
    },
    writes::{done, mutate},
};

#[tokio::test(flavor = "multi_thread")]
async fn questions_in_other_words_find_the_text() {
    let library = Library::new().await;
    for (question, title) in [
        ("why does my database kill one of two sessions that block each other", "Deadlocks"),
        ("getting my data back after a disk crash", "Backups"),
        ("how do I make a loaf at home", "Sourdough"),
        ("growing vegetables on the balcony", "Tomatoes"),
        ("speeding up a lookup in a large table", "Indexes"),
        ("what to do in the first moves of a game", "Chess openings"),
    ] {
        let found = library.titles(json!({ "query": question, "mode": "SEMANTIC" })).await;
        assert_eq!(found[0], title, "{question}: {found:?}");
        // A word that stands in another text by chance weighs as much in a board of six texts.
        let found = library.titles(json!({ "query": question })).await;
        assert!(found[..2].contains(&title.to_owned()), "{question}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_says_what_was_found_where_and_how_surely() {
    let library = Library::new().await;
    let found = library.search(json!({ "query": "waiting for row locks" })).await;
    let plan = &found["plan"];
    assert_eq!(
        (&plan["strategy"], &plan["scopeRows"], &plan["isExact"], &plan["complete"], &plan["model"], &plan["note"]),
        (&json!("EXACT"), &json!(6), &json!(true), &json!(true), &json!("all-MiniLM-L6-v2"), &Value::Null)
    );
    assert!(plan["generation"].as_str().unwrap().starts_with("gen_"), "{plan}");
    // Who sends vectors of their own has to know which.
    let service = "{ service { embedding { generation provider model dimensions } } }";
    let in_use =
        json!({ "generation": plan["generation"], "provider": "LOCAL", "model": plan["model"], "dimensions": 384 });
    assert_eq!(library.app.data(None, service, Value::Null).await["service"]["embedding"], in_use);
    let first = &found["edges"][0]["node"];
    assert_eq!(first["node"]["title"], "Deadlocks");
    assert_eq!(first["score"], 1.0, "first by words and by meaning");
    assert!(first["vectorScore"].as_f64().unwrap() > 0.3 && first["textScore"].as_f64().unwrap() > 0.0, "{first}");
    let html = first["highlight"].as_str().unwrap();
    assert!(html.contains("<mark>wait</mark>") && html.contains("<mark>row</mark> <mark>locks</mark>"), "{html}");
    assert!(html.contains("other&#39;s"), "{html}");
    let (chunk, content) = (&first["chunk"], first["node"]["content"].as_str().unwrap());
    let place = |name: &str| chunk[name].as_u64().unwrap() as usize;
    let cut: String = content.chars().skip(place("startChar")).take(place("endChar") - place("startChar")).collect();
    assert_eq!(chunk["text"], cut);
    let utf16: Vec<u16> = content.encode_utf16().collect();
    assert_eq!(chunk["text"], String::from_utf16(&utf16[place("startUtf16")..place("endUtf16")]).unwrap());
    assert_eq!((&chunk["field"], &chunk["index"]), (&json!("CONTENT"), &json!(0)));
    // What a search cites can be fetched again.
    let document = "query ($id: ID!) { node(id: $id) { ... on Chunk { text node { title } } } }";
    let again = library.app.data(Some(&library.owner), document, json!({ "id": chunk["id"] })).await;
    assert_eq!(again["node"], json!({ "text": chunk["text"], "node": { "title": "Deadlocks" } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_search_goes_by_words_and_says_so() {
    let library = Library::with(Models::default(), &[]).await;
    let found = library.search(json!({ "query": "locks" })).await;
    assert_eq!(titles(&found), ["Deadlocks"]);
    let service = "{ service { embedding { model } } }";
    assert_eq!(library.app.data(None, service, Value::Null).await["service"]["embedding"], Value::Null);
    let plan = &found["plan"];
    assert_eq!(
        (&plan["strategy"], &plan["complete"], &plan["model"], &plan["note"]),
        (&json!("WORDS"), &json!(false), &Value::Null, &json!("There is no model: found by words only"))
    );
    let found = library.search(json!({ "query": "locks", "mode": "KEYWORD" })).await;
    assert_eq!((&found["plan"]["complete"], &found["plan"]["note"]), (&json!(true), &Value::Null));
    let document = "query ($id: ID!) { board(id: $id) { search(input: { query: \"x\", mode: SEMANTIC }) { nodes { score } } \
        nodes(first: 10) { nodes { ... on ResourceNode { embeddingStatus } } } } }";
    let id = json!({ "id": library.board.id.to_string() });
    assert_eq!(library.app.code(Some(&library.owner), document, id.clone()).await, "INVALID_ARGUMENT");
    let document =
        "query ($id: ID!) { board(id: $id) { nodes(first: 1) { nodes { ... on ResourceNode { embeddingStatus } } } } }";
    let status = library.app.data(Some(&library.owner), document, id).await;
    assert_eq!(status["board"]["nodes"]["nodes"][0]["embeddingStatus"], "WORDS_ONLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_title_is_no_reason_to_have_no_text() {
    let library = Library::with(Models::default(), &[]).await;
    let create = "mutation ($input: CreateResourceNodeInput!) { it: createResourceNode(input: $input) { \
        node { id } userErrors { message } } }";
    let document = "query ($id: ID!) { node(id: $id) { ... on ResourceNode { embeddingStatus } } }";
    for (title, content, expected) in [
        (json!(""), json!("hello world"), "WORDS_ONLY"),
        (json!(" \t"), json!("hello world"), "WORDS_ONLY"),
        (json!("hello"), json!(""), "WORDS_ONLY"),
        (json!("hello"), json!(" "), "WORDS_ONLY"),
        (Value::Null, json!("hello"), "WORDS_ONLY"),
        (json!(""), json!(""), "NONE"),
        (Value::Null, Value::Null, "NONE"),
        (json!(" "), json!("\n "), "NONE"),
    ] {
        let input = json!({ "boardId": library.board.id.to_string(), "title": title, "content": content });
        let made = library.app.data(Some(&library.owner), create, json!({ "input": input })).await;
        let id = json!({ "id": made["it"]["node"]["id"] });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status =
                library.app.data(Some(&library.owner), document, id.clone()).await["node"]["embeddingStatus"].take();
            if status == expected {
                break;
            }
            assert_eq!(status, "PENDING", "{title} {content}");
            assert!(Instant::now() < deadline, "{title} {content}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phrases_must_be_there_and_exclusions_must_not() {
    let library = Library::new().await;
    let by_words = |query: &str| json!({ "query": query, "mode": "KEYWORD" });
    assert_eq!(library.titles(by_words("\"row locks\"")).await, ["Deadlocks"]);
    assert_eq!(library.titles(by_words("\"locks row\"")).await, Vec::<String>::new());
    assert_eq!(library.titles(by_words("rows -lock")).await, ["Indexes"]);
    assert_eq!(library.titles(by_words("query -\"slow queries\"")).await, Vec::<String>::new());
    // They hold for what is found by meaning too.
    let found = library.titles(json!({ "query": "database \"pg_basebackup\"" })).await;
    assert_eq!(found, ["Backups"]);
    let found = library.titles(json!({ "query": "database -locks -backup" })).await;
    assert!(
        !found.is_empty() && !found.contains(&"Deadlocks".to_owned()) && !found.contains(&"Backups".to_owned()),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_part_of_the_scope() {
    let library = Library::new().await;
    library
        .write(
            "Fragen",
            "Wie oft soll man die Datenbank sichern, und wohin mit den Kopien? Jede Nacht, sagt man.",
            json!({}),
        )
        .await;
    let tagged = library
        .write(
            "Salt",
            "A pinch of salt belongs into the dough of every bread.",
            json!({ "metadata": { "tags": ["food", "short"] } }),
        )
        .await;
    library.settle().await;
    let search =
        |filter: Value| library.search(json!({ "query": "bread and backups of the database", "filter": filter }));
    let found = search(json!({ "languages": ["de-AT"] })).await;
    assert_eq!((titles(&found), &found["plan"]["scopeRows"]), (vec!["Fragen".to_owned()], &json!(1)));
    let found = search(json!({ "tags": ["short", "food"] })).await;
    assert_eq!(found["edges"][0]["node"]["node"]["id"], tagged.as_str());
    assert_eq!((found["edges"].as_array().unwrap().len(), &found["plan"]["complete"]), (1, &json!(true)));
    assert_eq!(search(json!({ "tags": ["food", "long"] })).await["plan"]["scopeRows"], 0);
    assert_eq!(search(json!({ "resourceTypes": ["URL"] })).await["plan"]["scopeRows"], 0);
    assert_eq!(search(json!({ "resourceTypes": ["TEXT"] })).await["plan"]["scopeRows"], 8);
    let made = value(
        &library.app.sql,
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
         FROM nodes WHERE id = (SELECT node_id FROM resource_nodes WHERE title = 'Salt')",
    )
    .await;
    assert_eq!(search(json!({ "createdFrom": made })).await["plan"]["scopeRows"], 1);
    assert_eq!(search(json!({ "createdBefore": made })).await["plan"]["scopeRows"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_what_they_may_not_see() {
    let library = Library::new().await;
    let (app, board) = (&library.app, &library.board);
    let stranger = app.account("stranger@example.org").await;
    let guest = app.account("guest@example.org").await;
    collaborator(app, board, guest.id, "view", true).await;
    let document = format!(
        "query ($scope: SearchScope!) {{ search(input: {{ query: \"locks\", scope: $scope }}) {{ {FOUND} }} }}"
    );
    let named = json!({ "scope": { "boardId": board.id.to_string() } });
    for who in [None, Some(&stranger)] {
        assert_eq!(app.code(who, &document, named.clone()).await, "INVALID_ARGUMENT");
        for scope in ["mine", "public"] {
            let found = app.data(who, &document, json!({ "scope": { scope: true } })).await;
            assert_eq!((&found["search"]["edges"], &found["search"]["plan"]["scopeRows"]), (&json!([]), &json!(0)));
        }
    }
    seen(app, &guest, board).await;
    for scope in [named["scope"].clone(), json!({ "boardIds": [board.id.to_string()] }), json!({ "mine": true })] {
        let found = app.data(Some(&guest), &document, json!({ "scope": scope })).await;
        assert_eq!(titles(&found["search"])[0], "Deadlocks");
    }
    // A right that is taken away is gone with the next search, also from answers in memory.
    app.sql.execute("DELETE FROM board_collaborators", &[]).await.unwrap();
    let found = app.data(Some(&guest), &document, json!({ "scope": { "mine": true } })).await;
    assert_eq!(found["search"]["edges"], json!([]));
    let public = BoardBuilder::new(library.owner.id, "Public").public().make(app).await;
    let input =
        json!({ "boardId": public.id.to_string(), "title": "Open", "content": "Locks and keys for everybody." });
    done(&mutate(app, &library.owner, "createResourceNode", "CreateResourceNodeInput", "node { id }", input).await);
    library.settle().await;
    let found = app.data(None, &document, json!({ "scope": { "public": true } })).await;
    assert_eq!(titles(&found["search"]), ["Open"]);
}

/// Waits until somebody who was let in past the gateway sees the board.
async fn seen(app: &TestApp, who: &Account, board: &Board) {
    let deadline = Instant::now() + PATIENCE;
    let document = "query ($id: ID!) { board(id: $id) { id } }";
    while app.data(Some(who), document, json!({ "id": board.id.to_string() })).await["board"].is_null() {
        assert!(Instant::now() < deadline, "never saw the board");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_locked_folder_leaves_no_trace() {
    let library = Library::new().await;
    let (app, board) = (&library.app, &library.board);
    let guest = app.account("guest@example.org").await;
    collaborator(app, board, guest.id, "edit", true).await;
    seen(app, &guest, board).await;
    let before = search_board(app, Some(&guest), board, json!({ "query": "secret dough locks" })).await;
    let input = json!({ "boardId": board.id.to_string(), "name": "Private" });
    let folder = mutate(app, &library.owner, "createFolderNode", "CreateFolderNodeInput", "node { id }", input).await;
    let folder = folder["node"]["id"].as_str().unwrap();
    let hidden = library
        .write(
            "Secret",
            "The secret of the dough is the locks on the cellar.",
            json!({ "place": { "folderId": folder } }),
        )
        .await;
    let document =
        "mutation ($input: SetFolderPasswordInput!) { setFolderPassword(input: $input) { userErrors { __typename } } }";
    let input = json!({ "id": folder, "password": "behind the door" });
    app.data(Some(&library.owner), document, json!({ "input": input })).await;
    library.settle().await;
    let inside = json!({ "query": "secret dough locks", "folderId": folder });
    let mut after = search_board(app, Some(&guest), board, json!({ "query": "secret dough locks" })).await;
    // The same to the last digit: not even how common a word is tells of it. Cursors name the state of the board.
    let mut before = before;
    for found in [&mut before, &mut after] {
        found["pageInfo"].take();
        found["edges"].as_array_mut().unwrap().iter_mut().for_each(|edge| drop(edge["cursor"].take()));
    }
    assert_eq!(before, after);
    let found = search_board(app, Some(&guest), board, inside.clone()).await;
    assert_eq!((&found["edges"], &found["plan"]["scopeRows"]), (&json!([]), &json!(0)));
    let chunk = value(&app.sql, "SELECT id::text FROM chunks WHERE chunk_text LIKE 'The secret%'").await;
    let chunk = ragboard::domain::ChunkId(chunk.parse().unwrap()).to_string();
    let document = "query ($id: ID!) { node(id: $id) { id } }";
    assert_eq!(app.data(Some(&guest), document, json!({ "id": chunk })).await["node"], Value::Null);
    let document = "query ($id: ID!) { search(input: { similarTo: $id, scope: { mine: true } }) { nodes { score } } }";
    assert_eq!(app.code(Some(&guest), document, json!({ "id": hidden })).await, "INVALID_ARGUMENT");
    assert_eq!(titles(&search_board(app, Some(&library.owner), board, inside).await), ["Secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_at_once_and_comes_back() {
    let library = Library::new().await;
    let (app, owner) = (&library.app, &library.owner);
    let query = json!({ "query": "row locks" });
    let first = library.search(query.clone()).await["edges"][0]["node"]["node"]["id"].clone();
    let input = json!({ "boardId": library.board.id.to_string(), "nodeIds": [first] });
    done(&mutate(app, owner, "deleteNodes", "NodesInput", "nodes { id }", input.clone()).await);
    let found = library.search(query.clone()).await;
    assert!(!titles(&found).contains(&"Deadlocks".to_owned()));
    assert_eq!(found["plan"]["scopeRows"], 5);
    done(&mutate(app, owner, "restoreNodes", "NodesInput", "nodes { id }", input).await);
    assert_eq!(titles(&library.search(query).await)[0], "Deadlocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_found_and_embeds_only_what_changed() {
    let library = Library::new().await;
    let (app, owner) = (&library.app, &library.owner);
    let paragraph =
        |number: usize| format!("## Part {number}\n\n{}\n\n", format!("Sentence about subject {number}. ").repeat(36));
    let text: String = (0..8).map(paragraph).collect();
    let id = library.write("Long", &text, json!({})).await;
    library.settle().await;
    let rows = "SELECT c.id::text || ' ' || e.created_at FROM chunks c JOIN embeddings e ON e.chunk_id = c.id \
        JOIN resource_nodes r ON r.node_id = c.node_id WHERE r.title = 'Long' ORDER BY c.chunk_index";
    let before = values(&app.sql, rows).await;
    assert!(before.len() >= 8, "{before:?}");
    let edited = text.replace("## Part 5\n", "## Part 5\n\nA paragraph about submarines and whales.\n");
    let input = json!({ "id": id, "content": edited });
    done(&mutate(app, owner, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await);
    library.settle().await;
    let after = values(&app.sql, rows).await;
    let kept = after.iter().filter(|row| before.contains(row)).count();
    assert!(
        kept + 3 >= before.len() && after.len() - kept <= 3,
        "{kept} of {} kept, {} now",
        before.len(),
        after.len()
    );
    let found = library.search(json!({ "query": "underwater animals and boats" })).await;
    assert_eq!(titles(&found)[0], "Long");
    assert!(found["edges"][0]["node"]["chunk"]["text"].as_str().unwrap().contains("submarines"));
    let document = "query ($id: ID!) { node(id: $id) { ... on ResourceNode { embeddingStatus \
        chunks(first: 100) { totalCount nodes { index text } } } } }";
    let node = app.data(Some(owner), document, json!({ "id": id })).await["node"].take();
    assert_eq!((&node["embeddingStatus"], &node["chunks"]["totalCount"]), (&json!("READY"), &json!(after.len())));
    let indexes: Vec<i64> =
        node["chunks"]["nodes"].as_array().unwrap().iter().map(|chunk| chunk["index"].as_i64().unwrap()).collect();
    assert_eq!(indexes, (0..after.len() as i64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_goes_with_each_chunk_as_far_as_there_is_room() {
    let library = Library::new().await;
    let title = format!("  Lighthouses {}", "and ships ".repeat(40));
    let id = library.write(&title, "The keeper trims the lamp.", json!({})).await;
    library.settle().await;
    let (app, ..) = library.stop().await;
    let node: NodeId = id.parse().unwrap();
    let short: String = title.trim().chars().take(200).collect();
    // The title that it was cut with, whatever it is now.
    app.sql.batch_execute("DELETE FROM embeddings; UPDATE resource_nodes SET title = 'Another'").await.unwrap();
    let store = &app.app.store;
    let generation = store.generations(&[GenerationState::Active]).await.unwrap().remove(0);
    let chunks = store.unembedded(&[node], &generation, 10).await.unwrap();
    let texts: Vec<&str> = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(texts, [format!("{short}\n\nThe keeper trims the lamp.")]);
    // By that text a chunk is known when it is cut again.
    let known = format!(
        "SELECT content_digest = sha256(convert_to('{}', 'UTF8')) FROM chunks WHERE node_id = '{}'",
        texts[0], node.0
    );
    assert_eq!(value(&app.sql, &known).await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_indexed_makes_an_answer_incomplete() {
    let library = Library::new().await;
    let (app, owner, board) = library.stop().await;
    let search = || search_board(&app, Some(&owner), &board, json!({ "query": "locks" }));
    assert_eq!(search().await["plan"]["complete"], true);
    let input = json!({ "boardId": board.id.to_string(), "title": "New", "content": "More about locks." });
    let made = mutate(&app, &owner, "createResourceNode", "CreateResourceNodeInput", "node { id }", input).await;
    assert_eq!(search().await["plan"]["complete"], false);
    let node: NodeId = made["node"]["id"].as_str().unwrap().parse().unwrap();
    app.app.indexing.cut(node, 5).await.unwrap();
    app.sql
        .execute(
            "UPDATE processing_jobs SET status = 'completed', completed_at = now() WHERE job_type = 'extract_text'",
            &[],
        )
        .await
        .unwrap();
    let found = search().await;
    assert!(titles(&found).contains(&"New".to_owned()), "by its words already");
    assert_eq!((&found["plan"]["rowsWithoutVector"], &found["plan"]["complete"]), (&json!(1), &json!(false)));
    app.app.indexing.embed(&[node]).await.unwrap();
    assert_eq!(search().await["plan"]["complete"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_in_the_same_list_while_others_write() {
    let library = Library::new().await;
    let (app, owner) = (&library.app, &library.owner);
    let document = format!(
        "query ($id: ID!, $after: String) {{ board(id: $id) {{ search(input: {{ query: \"the bread, the plants and the rows\" }}, \
         first: 2, after: $after) {{ {FOUND} }} }} }}"
    );
    let page = |after: Value| {
        let variables = json!({ "id": library.board.id.to_string(), "after": after });
        let document = &document;
        async move { app.data(Some(owner), document, variables).await["board"]["search"].take() }
    };
    let whole = library.search(json!({ "query": "the bread, the plants and the rows" })).await;
    let first = page(Value::Null).await;
    library.write("Bread", "The bread, the plants and the rows: all of it, and first in every list.", json!({})).await;
    library.settle().await;
    let gone = whole["edges"][3]["node"]["node"]["id"].clone();
    let input = json!({ "boardId": library.board.id.to_string(), "nodeIds": [gone] });
    done(&mutate(app, owner, "deleteNodes", "NodesInput", "nodes { id }", input).await);
    let (mut seen, mut after) = (titles(&first), first["pageInfo"]["endCursor"].clone());
    loop {
        let next = page(after).await;
        seen.extend(titles(&next));
        after = next["pageInfo"]["endCursor"].clone();
        if next["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let mut expected = titles(&whole);
    expected.remove(3);
    assert_eq!(seen, expected, "neither what is new nor what is gone");
    assert_eq!(library.titles(json!({ "query": "the bread, the plants and the rows" })).await[0], "Bread");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_before_costs_one_look_and_one_that_is_new_a_fixed_number() {
    let library = Library::new().await;
    let app = &library.app;
    library.search(json!({ "query": "warm up" })).await;
    app.app.cached.settled().await;
    library.search(json!({ "query": "warm up again" })).await;
    let deadline = Instant::now() + PATIENCE;
    for again in 0.. {
        // Asked once more, the same words are another question.
        let question = json!({ "query": format!("row locks{}", " again".repeat(again)) });
        app.current().await;
        let before = app.statements();
        library.search(question.clone()).await;
        let new = app.statements_since(&before);
        let before = app.statements();
        library.search(question).await;
        let known = app.statements_since(&before);
        if new
            == ["chunks.by_id", "search.ground", "search.ground", "search.meant_words", "search.rank", "search.terms"]
            && known == ["chunks.by_id", "search.ground", "search.meant_words"]
        {
            break;
        }
        // While a look of the cache is late, reads pass memory, and rightly.
        assert!(Instant::now() < deadline, "{new:?}, then {known:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_scopes_walk_an_index_and_do_not_claim_to_be_complete() {
    let library =
        Library::with(models().await, &[("RAGBOARD_SEARCH_SCAN_VECTORS", "0"), ("RAGBOARD_SEARCH_SCAN_WORDS", "0")])
            .await;
    let app = &library.app;
    let generation = app.app.store.generations(GenerationState::ALL).await.unwrap().remove(0);
    let spec = Some(IndexSpec::hnsw(16, 200).unwrap());
    let wanted = Wanted { spec, memory: 256 << 20, helpers: Some(0), samples: 0, is_forced: true };
    let indexes = VectorIndexes::new(app.app.store.clone(), &app.url).unwrap();
    rebuild(&indexes, &generation, wanted, |_| {}).await.unwrap();
    let question = json!({ "query": "how do I make a loaf of bread" });
    let found = library.search(question.clone()).await;
    assert_eq!(titles(&found)[0], "Sourdough");
    assert_eq!(
        (&found["plan"]["strategy"], &found["plan"]["complete"], &found["plan"]["isExact"]),
        (&json!("INDEX"), &json!(false), &json!(false))
    );
    let mut exact = question;
    exact["recall"] = json!("EXACT");
    let exact = library.search(exact).await;
    assert_eq!((&exact["plan"]["strategy"], &exact["plan"]["complete"]), (&json!("EXACT"), &json!(true)));
    assert_eq!(titles(&exact), titles(&found));
    // By words the index of words gives the same as weighing every chunk.
    let by_words = library.search(json!({ "query": "bread rows locks", "mode": "KEYWORD" })).await;
    assert_eq!(by_words["plan"]["complete"], true);
    let scanned = Library::with(Models::default(), &[]).await;
    let scanned = scanned.search(json!({ "query": "bread rows locks", "mode": "KEYWORD" })).await;
    assert_eq!(titles(&by_words), titles(&scanned));
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_have_relatives_and_chunks_can_be_hits() {
    let library = Library::new().await;
    library
        .write(
            "Rye",
            "Rye bread needs a sour starter, more water than wheat, and a whole day of patience before it is baked.",
            json!({}),
        )
        .await;
    library.settle().await;
    let found = library.search(json!({ "query": "sour bread" })).await;
    let id = found["edges"][0]["node"]["node"]["id"].clone();
    let document = "query ($id: ID!) { node(id: $id) { ... on ResourceNode { title related(first: 3) { nodes { node { title } } plan { strategy } } } } }";
    let node = library.app.data(Some(&library.owner), document, json!({ "id": id })).await["node"].take();
    let bread = ["Rye", "Sourdough"];
    let (title, first) =
        (node["title"].as_str().unwrap(), node["related"]["nodes"][0]["node"]["title"].as_str().unwrap());
    assert!(bread.contains(&title) && bread.contains(&first) && title != first, "{node}");
    let long = (0..3)
        .map(|part| format!("# Part {part}\n\n{}\n\n", "Bees live in hives and make honey. ".repeat(22)))
        .collect::<String>();
    library.write("Bees", &long, json!({})).await;
    library.settle().await;
    let chunks = library.titles(json!({ "query": "honey from hives", "groupBy": "CHUNK" })).await;
    assert!(chunks.iter().filter(|title| *title == "Bees").count() >= 3, "{chunks:?}");
    let nodes = library.titles(json!({ "query": "honey from hives" })).await;
    assert_eq!(nodes.iter().filter(|title| *title == "Bees").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_stemmed_by_the_language_of_a_text_and_accents_do_not_matter() {
    let library = Library::with(Models::default(), &[]).await;
    library
        .write(
            "Città",
            "Le città italiane sono antiche e bellissime, e nelle loro piazze la gente si incontra perché fa caldo.",
            json!({}),
        )
        .await;
    library
        .write(
            "Häuser",
            "Die alten Häuser am Fluss wurden im letzten Jahrhundert gebaut, und ihre Straßen sind eng und dunkel.",
            json!({}),
        )
        .await;
    library.write("東京", "東京は日本の首都であり、世界最大の都市の一つです。", json!({})).await;
    library.settle().await;
    for (query, title) in [
        ("citta italiana", "Città"),
        ("PIAZZA", "Città"),
        ("haus strasse", "Häuser"),
        ("gebauten", "Häuser"),
        ("首都", "東京"),
    ] {
        let found = library.titles(json!({ "query": query, "mode": "KEYWORD" })).await;
        assert_eq!(found.first().map(String::as_str), Some(title), "{query}");
    }
    let html =
        library.search(json!({ "query": "haus", "mode": "KEYWORD" })).await["edges"][0]["node"]["highlight"].take();
    assert!(html.as_str().unwrap().contains("<mark>Häuser</mark>"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_refused() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let scope = json!({ "boardId": board.id.to_string() });
    let document = "query ($input: SearchInput!, $first: Int, $after: String) { search(input: $input, first: $first, after: $after) { nodes { score } } }";
    for input in [
        json!({ "scope": scope }),
        json!({ "scope": scope, "query": "a", "vector": [1.0] }),
        json!({ "scope": scope, "query": "" }),
        json!({ "scope": scope, "query": "x".repeat(10_001) }),
        json!({ "scope": scope, "query": "a", "filter": { "tags": vec!["x"; 51] } }),
        json!({ "scope": { "mine": false }, "query": "a" }),
        json!({ "scope": { "folderId": board.id.to_string() }, "query": "a" }),
        json!({ "scope": { "boardIds": vec![board.id.to_string(); 101] }, "query": "a" }),
        json!({ "scope": scope, "vector": [0.0, 0.0] }),
        json!({ "scope": scope, "vector": [1.0, 2.0] }),
        json!({ "scope": scope, "similarTo": "node_01h455vb4pex5vsknk084sn02q" }),
    ] {
        assert_eq!(app.code(Some(&owner), document, json!({ "input": input })).await, "INVALID_ARGUMENT", "{input}");
    }
    let input = json!({ "scope": scope, "query": "a" });
    for more in [json!({ "first": 0 }), json!({ "first": 101 }), json!({ "after": "x" })] {
        let mut variables = json!({ "input": input });
        variables.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(app.code(Some(&owner), document, variables).await, "INVALID_ARGUMENT", "{more}");
    }
    assert_eq!(TEXTS.len(), 6);
}
