//! Indexes over vectors: built beside searches, measured against comparing all, replaced only by what finds as much, and built
//! by one process at a time. Vectors that no model made: of 32 numbers, around forty centres.

use ragboard::{
    domain::{Generation, IndexMethod, IndexSpec, Provider, SearchIndex},
    ops::index::{Built, Wanted, ensure, rebuild},
    store::VectorIndexes,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    cluster::{TestFolder, connect},
    fixture::BoardBuilder,
    library::{Library, models, titles},
    program,
    sql::{until, value, values},
};

const ROWS: i64 = 4_000;

/// An active generation with [`ROWS`] vectors.
async fn generation(app: &TestApp) -> Generation {
    let generation = app.app.store.begin_generation(Provider::Local, "none", 32, None).await.unwrap();
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Vectors").nodes(3).make(app).await;
    let (id, board, node) = (generation.id.0, board.id.0, board.nodes[2].0);
    app.sql
        .batch_execute(&format!(
            "INSERT INTO chunks (board_id, node_id, chunk_index, field, chunk_text, start_char, end_char, start_utf16, end_utf16, \
             token_count, content_digest, words) SELECT '{board}', '{node}', i, 'content', 'x', 0, 1, 0, 1, 1, '', '' \
             FROM generate_series(1, {ROWS}) i; \
             INSERT INTO embeddings (generation_id, chunk_id, board_id, node_id, embedding) \
             SELECT '{id}', c.id, c.board_id, c.node_id, (SELECT array_agg(sin(c.chunk_index % 40 * n) + random()) \
             FROM generate_series(1, 32) n)::vector FROM chunks c"
        ))
        .await
        .unwrap();
    generation
}

async fn indexes(app: &TestApp) -> VectorIndexes {
    VectorIndexes::new(app.app.store.clone(), &app.url).unwrap()
}

fn hnsw() -> IndexSpec {
    IndexSpec::hnsw(16, 200).unwrap()
}

fn lists(lists: u16) -> IndexSpec {
    IndexSpec::ivfflat(lists).unwrap()
}

fn wanted(spec: Option<IndexSpec>) -> Wanted {
    Wanted { spec, memory: 256 << 20, helpers: Some(0), samples: 50, is_forced: false }
}

async fn built(indexes: &VectorIndexes, generation: &Generation, spec: Option<IndexSpec>) -> Built {
    rebuild(indexes, generation, wanted(spec), |_| {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_takes_the_place_of_another_only_if_it_finds_as_much() {
    let app = TestApp::new().await;
    let (generation, indexes) = (generation(&app).await, indexes(&app).await);
    let first = built(&indexes, &generation, Some(hnsw())).await;
    let found = first.after.unwrap();
    assert!(found.share > 0.95 && found.error < 0.05 && found.samples == 50, "{first}");
    assert_eq!((first.before, first.dropped.len()), (None, 0));

    let second = built(&indexes, &generation, Some(lists(10))).await;
    // Both were measured while both were there.
    assert!(second.before.unwrap().share > 0.95 && second.after.unwrap().share > 0.9, "{second}");
    assert_eq!(second.dropped, [first.name.unwrap()]);
    let there = indexes.of(&generation).await.unwrap();
    assert_eq!(there.len(), 1);
    assert!(there[0].is(lists(10)) && there[0].is_valid && there[0].method == IndexMethod::IvfFlat, "{there:?}");

    // A graph in which hardly anything is a neighbour.
    let poor = Some(IndexSpec::hnsw(2, 4).unwrap());
    let refused = rebuild(&indexes, &generation, wanted(poor), |_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("finds less") && refused.contains("--force"), "{refused}");
    let left = indexes.of(&generation).await.unwrap();
    assert!(left.len() == 1 && left[0].name == there[0].name && left[0].is_valid, "the old one stays alone: {left:?}");
    let forced = Wanted { is_forced: true, ..wanted(poor) };
    let forced = rebuild(&indexes, &generation, forced, |_| {}).await.unwrap();
    assert!(forced.after.unwrap().share < forced.before.unwrap().share, "{forced}");

    let none = built(&indexes, &generation, None).await;
    assert_eq!((none.name, none.dropped.len()), (None, 1));
    assert!(indexes.of(&generation).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_processes_cannot_share_so_much_one_builds_alone() {
    let app = TestApp::new().await;
    let (generation, indexes) = (generation(&app).await, indexes(&app).await);
    let name = value(&app.sql, "SELECT current_database()::text").await;
    // So that helpers are wanted for few rows; and more memory than any machine has to share.
    app.sql.batch_execute(&format!("ALTER DATABASE {name} SET min_parallel_table_scan_size = 0")).await.unwrap();
    let wanted = Wanted { memory: 1 << 40, helpers: None, ..wanted(Some(hnsw())) };
    let built = rebuild(&indexes, &generation, wanted, |_| {}).await.unwrap();
    assert_eq!(built.dropped.len(), 1, "the half of the first attempt: {built}");
    let left = indexes.of(&generation).await.unwrap();
    assert!(left.len() == 1 && left[0].is_valid && Some(&left[0].name) == built.name.as_ref(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_cut_off_leaves_nothing_behind_for_long() {
    let app = TestApp::new().await;
    let (generation, indexes) = (generation(&app).await, indexes(&app).await);
    // A build ends only after everybody who began to read before.
    let reader = connect(&app.url).await;
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM embeddings").await.unwrap();
    let building = {
        let (indexes, generation) = (indexes.clone(), generation.clone());
        tokio::spawn(async move { rebuild(&indexes, &generation, wanted(Some(hnsw())), |_| {}).await.map(drop) })
    };
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots' \
                 AND datname = current_database())";
    until(&app.sql, waits).await;
    assert!(indexes.lock(&generation).await.unwrap().is_none(), "it is alone");
    assert_eq!(ensure(&indexes, &generation, 10).await.unwrap(), None);
    let second = rebuild(&indexes, &generation, wanted(Some(hnsw())), |_| {}).await.unwrap_err();
    assert!(second.to_string().contains("Somebody else works"), "{second}");
    assert_eq!(indexes.builds().await.unwrap()[&generation.id.0].len(), 1);

    building.abort();
    // Nobody waits for the reader: the server notices that the builder is gone.
    until(&app.sql, &waits.replace("SELECT EXISTS", "SELECT NOT EXISTS")).await;
    reader.batch_execute("ROLLBACK").await.unwrap();
    let left = indexes.of(&generation).await.unwrap();
    assert_eq!((left.len(), left[0].is_valid), (1, false));
    let is_free = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    until(&app.sql, is_free).await;
    let built = built(&indexes, &generation, Some(hnsw())).await;
    assert_eq!(built.dropped, [left[0].name.clone()]);
    assert_eq!(indexes.of(&generation).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_builds_an_index_when_there_are_too_many_vectors_to_compare() {
    let app = TestApp::new().await;
    let (generation, indexes) = (generation(&app).await, indexes(&app).await);
    assert_eq!(ensure(&indexes, &generation, ROWS).await.unwrap(), None);
    let name = ensure(&indexes, &generation, ROWS - 1).await.unwrap().unwrap();
    let there = indexes.of(&generation).await.unwrap();
    assert!(there.len() == 1 && there[0].name == name && there[0].is_valid && there[0].is(hnsw()), "{there:?}");
    assert_eq!(ensure(&indexes, &generation, ROWS - 1).await.unwrap(), None, "it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_walk_the_index_and_find_the_same() {
    let settings = [("RAGBOARD_SEARCH_SCAN_VECTORS", "0")];
    let library = Library::with(models().await, &settings).await;
    let (app, indexes) = (&library.app, indexes(&library.app).await);
    let generation = app.app.store.generations(ragboard::domain::GenerationState::ALL).await.unwrap().remove(0);
    // More generations, whose vectors no index has.
    for model in ["one", "two", "three"] {
        app.app.store.begin_generation(Provider::Local, model, 384, None).await.unwrap();
    }
    // The same again would be answered from memory.
    let ask = async |spaces: usize, recall: &str| {
        let query = format!("how do I make a loaf{}", " at home".repeat(spaces));
        library.search(json!({ "query": query, "mode": "SEMANTIC", "recall": recall })).await
    };
    for (number, spec) in [None, Some(hnsw()), Some(lists(2))].into_iter().enumerate() {
        built(&indexes, &generation, spec).await;
        let (found, exact) = (ask(number, "HIGH").await, ask(number, "EXACT").await);
        // Without an index nothing is walked, and nobody is told so.
        let strategy = if spec.is_some() { "INDEX" } else { "EXACT" };
        assert_eq!(found["plan"]["strategy"], strategy, "{spec:?}");
        assert_eq!(titles(&found), titles(&exact), "{spec:?}");
        if spec.is_some() {
            until(&app.sql, "SELECT sum(idx_scan) > 0 FROM pg_stat_user_indexes WHERE indexrelname ~ 'hnsw|ivfflat'")
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_what_there_is_and_have_it_built() {
    let app = TestApp::new().await;
    let generation = generation(&app).await;
    let folder = TestFolder::new("index");
    let run = |arguments: &[&str]| {
        let mut command = program::command(&folder.path().join("data"));
        command.env("DATABASE_URL", app.url.expose_secret()).env("RAGBOARD_SEARCH_SCAN_VECTORS", "1000");
        let output = command.arg("index").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let done = |arguments: &[&str]| {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    };
    assert!(done(&["status"]).contains("none: searches compare all vectors"));
    assert!(done(&["tune"]).contains("hnsw (m=16, ef_construction=200); finds most"));
    assert!(done(&["tune", "--priority", "build"]).contains("ivfflat (lists=4)"));
    assert!(
        values(&app.sql, "SELECT indexrelname FROM pg_stat_user_indexes WHERE indexrelname ~ 'hnsw'").await.is_empty()
    );

    let applied = done(&["tune", "--apply"]);
    assert!(applied.contains("built ") && applied.contains("recall@10"), "{applied}");
    assert!(!done(&["tune", "--apply"]).contains("built "), "it is there");
    let status = done(&["status"]);
    assert!(status.contains(", valid, used ") && status.contains("recall@10 "), "{status}");
    let status: Value = serde_json::from_str(&done(&["status", "--json", "--samples", "20"])).unwrap();
    let told = &status["generations"][0];
    assert_eq!((&told["generation"], &told["rows"]), (&json!(generation.id.to_string()), &json!(ROWS)));
    assert_eq!(told["indexes"][0]["parameters"], "m=16, ef_construction=200");
    assert_eq!(told["indexes"][0]["recallAt10"]["samples"], 20);
    assert_eq!(told["recommended"]["index"], "hnsw (m=16, ef_construction=200)");

    let rebuilt = done(&["rebuild", "--method", "ivfflat", "--lists", "20", "--samples", "0"]);
    assert!(rebuilt.contains("_ivfflat_2") && rebuilt.contains("dropped "), "{rebuilt}");
    let none = done(&["rebuild", "--method", "none", "--generation", &generation.id.to_string()]);
    assert!(none.contains("no index is left") && none.contains("RAGBOARD_SEARCH_BUILD_INDEX"), "{none}");
    let left = "SELECT count(*) FROM pg_stat_user_indexes WHERE indexrelname ~ 'hnsw|ivfflat'";
    assert_eq!(value(&app.sql, left).await, "0");

    for (arguments, why) in [
        (&["rebuild", "--method", "hnsw", "--m", "16", "--ef-construction", "20"][..], "twice m"),
        (&["rebuild", "--generation", "gen_00000000000000000000000000"], "There is no generation"),
    ] {
        let (code, text) = run(arguments);
        assert!(code == Some(1) && text.contains(why), "{arguments:?}: {text}");
    }
    assert_eq!(run(&["rebuild", "--generation", "x"]).0, Some(2));
}
