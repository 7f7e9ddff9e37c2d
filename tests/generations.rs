//! From one model to another while people search and write: nothing fails, no answer mixes the vectors of two models, what was
//! cut off goes on, and there is a way back.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ragboard::{
    domain::{Embedder, Embedders, Generation, GenerationState, Generations, Provider, Purpose, Result, SearchIndex},
    ops::{embedder, embeddings},
    search::{
        embedder::{LocalEmbedder, Threads},
        models::{Models, Opened},
    },
    service::reindexing::Reindexing,
    store::VectorIndexes,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    embedding::folder_with,
    support::{
        app::{TestApp, new_database},
        cluster::TestFolder,
        fixture::BoardBuilder,
        library::{Library, models, search_board, titles},
        model::{cosine, model},
        program,
        sql::value,
    },
};

const FIRST_TOKEN: &str = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;

/// A model with other vectors of the same length, in a folder of its own.
async fn other() -> (TestFolder, Opened) {
    let folder = folder_with("other-model", &[("1_Pooling/config.json", Some(FIRST_TOKEN))]).await;
    let (path, name) = (folder.path().to_owned(), folder.path().file_name().unwrap().to_str().unwrap().to_owned());
    let threads = Threads { count: NonZeroUsize::MIN, queue: 10_000 };
    let open = move || Arc::new(LocalEmbedder::open(&name, &path, threads).unwrap());
    let embedder = tokio::task::spawn_blocking(open).await.unwrap();
    let source = Some(folder.path().to_str().unwrap().to_owned());
    (folder, Opened { provider: Provider::Local, source, embedder })
}

/// How near a question is to what is embedded of a text, by a model.
async fn nearness(model: &dyn Embedder, question: &str, text: &str) -> f64 {
    let question = model.embed(&[question.to_owned()], Purpose::Query).await.unwrap().remove(0);
    cosine(&question, &model.embed(&[text.to_owned()], Purpose::Passage).await.unwrap()[0])
}

/// Searches anew and makes sure that all scores are those of the model of the generation that is told; which one it was.
async fn honest_search(library: &Library, app: &TestApp, models: [&dyn Embedder; 2], number: usize) -> String {
    let question = format!("baking bread in the kitchen, time {number}");
    let input = json!({ "query": question, "mode": "SEMANTIC" });
    let found = search_board(app, Some(&library.owner), &library.board, input).await;
    let name = found["plan"]["model"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned();
    let model = models.into_iter().find(|model| model.model() == name).unwrap();
    for edge in found["edges"].as_array().unwrap().iter().take(3) {
        let hit = &edge["node"];
        let text = format!("{}\n\n{}", hit["node"]["title"].as_str().unwrap(), hit["chunk"]["text"].as_str().unwrap());
        let (told, right) = (hit["vectorScore"].as_f64().unwrap(), nearness(model, &question, &text).await);
        assert!((told - right).abs() < 1e-4, "{name}: {told} and not {right} for {text}");
    }
    found["plan"]["generation"].as_str().unwrap().to_owned()
}

/// Waits until the model of a generation is open, or closed.
async fn until_open(models: &Models, generation: &Generation, is_open: bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while models.of(generation).is_some() != is_open {
        assert!(Instant::now() < deadline, "the model was never opened or closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_changes_while_people_search_and_write() {
    let here = models().await;
    let library = Library::with(here.clone(), &[]).await;
    let there = models().await;
    let second = TestApp::asking(there.clone(), library.app.url.clone(), &[]).await;
    let mut followers = tokio::task::JoinSet::new();
    for (app, models) in [(&library.app, &here), (&second, &there)] {
        followers.spawn(embedder::follow(app.config.clone(), models.clone(), app.app.store.clone()));
    }
    let ((_folder, opened), first) = (other().await, model().await);
    let (store, next) = (&library.app.app.store, Arc::clone(&opened.embedder));
    let indexes = VectorIndexes::new(store.clone(), &library.app.url).unwrap();
    let before = store.generations(&[GenerationState::Active]).await.unwrap().remove(0);

    let (stop, searches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let both: [&dyn Embedder; 2] = [&*first, &*next];
    let searching = async {
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = searches.fetch_add(1, Ordering::Relaxed);
            let app = if number % 2 == 0 { &library.app } else { &second };
            seen.push(honest_search(&library, app, both, number).await);
        }
        seen
    };
    let changing = async {
        let reindex = embeddings::reindex(store, &indexes, opened, 25_000, None, false);
        let write = library.write("Rolls", "Small breads for breakfast, baked in twenty minutes.", json!({}));
        let (made, _) = tokio::join!(reindex, write);
        let generation = made.unwrap().generation;
        assert_eq!(generation.state, GenerationState::Building);
        library.settle().await;
        until_open(&here, &generation, true).await;
        until_open(&there, &generation, true).await;
        let answer = embeddings::switch(store, &generation, Some(&*next), false).await.unwrap();
        assert!(answer.contains("100.0 %") && answer.contains(&before.id.to_string()), "{answer}");
        for (number, app) in [(1_000, &library.app), (1_001, &second)] {
            let searched = honest_search(&library, app, both, number).await;
            assert_eq!(searched, generation.id.to_string(), "by the first search after the switch");
        }
        // What is written now has no vector of the kept generation.
        library.write("Baguette", "A long bread with a crust, as they bake it in France.", json!({})).await;
        library.settle().await;
        generation
    };
    let stopping = async {
        let generation = changing.await;
        stop.store(true, Ordering::Relaxed);
        generation
    };
    let (seen, generation) = tokio::join!(searching, stopping);
    let (old, new) = (before.id.to_string(), generation.id.to_string());
    assert!(seen.contains(&old) && seen.contains(&new), "{seen:?}");
    let switched = seen.iter().position(|id| *id == new).unwrap();
    assert!(seen[..switched].iter().all(|id| *id == old) && seen[switched..].iter().all(|id| *id == new), "{seen:?}");

    let kept = store.generations(&[GenerationState::Kept]).await.unwrap().remove(0);
    assert_eq!(kept.id, before.id);
    assert_eq!(store.coverage(&kept).await.unwrap().chunks, 8);
    assert_eq!(store.coverage(&kept).await.unwrap().embedded, 7);
    let answer = embeddings::switch(store, &kept, Some(&*first), false).await.unwrap();
    assert!(answer.contains("8 of 8"), "{answer}");
    assert_eq!(honest_search(&library, &second, both, 2_000).await, old);
    let found = library.titles(json!({ "query": "crusty French bread", "mode": "SEMANTIC" })).await;
    assert_eq!(found[0], "Baguette");

    let active = store.generations(&[GenerationState::Active]).await.unwrap().remove(0);
    let refused = embeddings::drop_generation(store, &indexes, &active).await.unwrap_err();
    assert!(refused.to_string().contains("is searched"), "{refused}");
    let kept = store.generations(&[GenerationState::Kept]).await.unwrap().remove(0);
    embeddings::drop_generation(store, &indexes, &kept).await.unwrap();
    let table = format!("SELECT count(*) FROM pg_class WHERE relname = 'embeddings_{}'", kept.id.0.simple());
    assert_eq!(value(&library.app.sql, &table).await, "0");
    assert!(store.switch(&kept).await.unwrap_err().message().contains("gone"));
    // Its model takes no memory any more, that of the settings stays.
    until_open(&there, &kept, false).await;
    assert!(there.of(&active).is_some());
    // Whoever still makes its vectors is told, and does not go on for ever.
    let making = Reindexing::new(Arc::new(store.clone()), Arc::new(store.clone()));
    let told = making.catch_up(&kept, &*next, None, |_| {}).await.unwrap_err();
    assert!(told.message().contains("dropped"), "{told}");
    // A vector that was on its way to it is let go.
    let chunks = store.missing(&active, None, 1).await.unwrap();
    assert!(chunks.is_empty(), "{chunks:?}");
    assert_eq!(honest_search(&library, &library.app, both, 3_000).await, old);
}

/// Asks another model, and after some requests never answers again.
struct Halting {
    model: Arc<dyn Embedder>,
    requests_left: AtomicUsize,
    texts: AtomicUsize,
    halted: Notify,
}

#[async_trait]
impl Embedder for Halting {
    fn model(&self) -> &str {
        self.model.model()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }

    fn max_tokens(&self) -> usize {
        self.model.max_tokens()
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        if self.requests_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.halted.notify_one();
            std::future::pending::<()>().await;
        }
        self.texts.fetch_add(texts.len(), Ordering::Relaxed);
        self.model.embed(texts, purpose).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_goes_on_where_it_was() {
    let app = TestApp::asking(models().await, new_database().await, &[]).await;
    app.app.prepare_search().await.unwrap();
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Chunks").nodes(3).make(&app).await;
    app.sql
        .batch_execute(&format!(
            "INSERT INTO indexed_resources (board_id, node_id, node_version, config, chunk_count) \
             VALUES ('{0}', '{1}', 1, 'simple', 100); \
             INSERT INTO chunks (board_id, node_id, chunk_index, field, chunk_text, start_char, end_char, start_utf16, end_utf16, \
             token_count, content_digest, words, created_at) SELECT '{0}', '{1}', i, 'content', 'number ' || i, 0, 1, 0, 1, 1, '', '', \
             now() - interval '1 hour' FROM generate_series(1, 100) i",
            board.id.0, board.nodes[2].0
        ))
        .await
        .unwrap();
    let (_folder, opened) = other().await;
    let store = app.app.store.clone();
    let indexes = VectorIndexes::new(store.clone(), &app.url).unwrap();
    let model = |requests| {
        Arc::new(Halting {
            model: Arc::clone(&opened.embedder),
            requests_left: AtomicUsize::new(requests),
            texts: AtomicUsize::new(0),
            halted: Notify::new(),
        })
    };
    let asking = |embedder: &Arc<Halting>| Opened { embedder: Arc::clone(embedder) as _, ..opened.clone() };
    let mut done = 0;
    for requests in [2, 1] {
        let halting = model(requests);
        let (store, indexes, opened) = (store.clone(), indexes.clone(), asking(&halting));
        let work =
            tokio::spawn(
                async move { embeddings::reindex(&store, &indexes, opened, 25_000, None, false).await.map(drop) },
            );
        halting.halted.notified().await;
        work.abort();
        done += halting.texts.load(Ordering::Relaxed);
        let stored = "SELECT count(*) FROM embeddings e JOIN embedding_generations g ON g.id = e.generation_id \
                      WHERE g.state = 'building'";
        assert_eq!(value(&app.sql, stored).await, done.to_string());
    }
    let last = model(1_000);
    let made = embeddings::reindex(&store, &indexes, asking(&last), 25_000, Some(1e6), false).await.unwrap();
    assert_eq!(last.texts.load(Ordering::Relaxed), 100 - done, "nothing is made twice");
    assert_eq!((made.coverage.embedded, made.coverage.overdue), (100, 0));
    assert_eq!(value(&app.sql, "SELECT count(*) FROM embedding_generations").await, "2", "it is the same generation");

    // Too many to be switched to are missing.
    app.sql.batch_execute("DELETE FROM embeddings WHERE generation_id IN (SELECT id FROM embedding_generations WHERE state = 'building')").await.unwrap();
    let refused = embeddings::switch(&store, &made.generation, None, false).await.unwrap_err().to_string();
    assert!(refused.contains("0 of 100") && refused.contains("--force"), "{refused}");
    embeddings::switch(&store, &made.generation, None, true).await.unwrap();
    assert_eq!(store.generations(&[GenerationState::Active]).await.unwrap()[0].id, made.generation.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_change_the_model_by_commands() {
    let library = Library::new().await;
    let (folder, _) = other().await;
    let home = TestFolder::new("embeddings");
    let url = library.app.url.expose_secret();
    let run = |arguments: &[&str]| {
        let mut command = program::command(&home.path().join("data"));
        let output = command.env("DATABASE_URL", url).arg("embeddings").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let done = |arguments: &[&str]| {
        let (success, text) = run(arguments);
        assert!(success, "{arguments:?}: {text}");
        text
    };
    let id = |text: &str, word: &str| -> String {
        let line = text.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().find(|word| word.starts_with("gen_")).unwrap().trim_end_matches(':').to_owned()
    };
    let first = id(&done(&["status"]), "active");
    let model = folder.path().to_str().unwrap();
    let made = done(&["reindex", "--model", model, "--max-rate", "1000"]);
    assert!(
        made.contains("6 of 6 chunks (100.0 %)") && made.contains("overlap") && made.contains("not searched yet"),
        "{made}"
    );
    let next = id(&done(&["status"]), "building");
    assert!(done(&["reindex", "--model", model, "--switch"]).contains(&format!("searched {next}")));
    assert_eq!((id(&done(&["status"]), "active"), id(&done(&["status"]), "kept")), (next.clone(), first.clone()));
    let again = run(&["reindex", "--model", "all-MiniLM-L6-v2"]);
    assert!(!again.0 && again.1.contains(&format!("embeddings switch {first}")), "{}", again.1);
    // The kept one is brought up to date by the model that the program finds by itself.
    assert!(done(&["switch", &first]).contains("6 of 6"));
    assert!(!run(&["drop", &first]).0);
    done(&["drop", &next]);
    assert!(!done(&["status"]).contains(&next));
    let found: Value = library.search(json!({ "query": "how do I make a loaf at home", "mode": "SEMANTIC" })).await;
    assert_eq!((titles(&found)[0].as_str(), &found["plan"]["generation"]), ("Sourdough", &json!(first)));
    for wrong in [&["reindex", "--model", "/nowhere"][..], &["switch", "gen_00000000000000000000000000"]] {
        assert!(!run(wrong).0, "{wrong:?}");
    }
}
