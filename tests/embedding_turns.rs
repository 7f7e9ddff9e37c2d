//! Making texts searchable takes turns between accounts: what one account uploads holds up nobody else. Counted in chunks, not in time.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ragboard::{
    domain::{Embedder, Provider, Purpose, Result},
    search::{embedder::pool::Pool, models::Models},
};
use serde_json::json;

use crate::support::{
    app::{Account, TestApp, new_database},
    fixture::{Board, BoardBuilder},
    patience::PATIENCE,
    sql::{until, value},
};

/// A word that only the innocent account writes.
const WORD: &str = "innocent";

/// An embedder with one thread, which embeds as many texts as it is let, and counts.
struct Counting {
    pool: Pool,
    let_go: Mutex<Sender<()>>,
    embedded: Arc<AtomicUsize>,
    /// Whether a text of the innocent account was asked for.
    asked: AtomicUsize,
}

impl Counting {
    fn new() -> Arc<Counting> {
        let (let_go, may_go) = channel::<()>();
        let may_go = Mutex::new(may_go);
        let embedded = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&embedded);
        let work = move |texts: &[String], _: Purpose| {
            for text in texts {
                // The end of the test drops the sender: then everything goes.
                let _ = may_go.lock().unwrap().recv();
                if !text.contains(WORD) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(texts.iter().map(|text| Ok(vec![1.0, text.len() as f32])).collect())
        };
        let pool = Pool::start(NonZeroUsize::MIN, 10_000, Arc::new(work)).unwrap();
        Arc::new(Counting { pool, let_go: Mutex::new(let_go), embedded, asked: AtomicUsize::new(0) })
    }

    /// Lets some texts through; whether all that it can take of them are embedded shows in the database.
    fn let_go(&self, texts: usize) {
        let sender = self.let_go.lock().unwrap();
        for _ in 0..texts {
            sender.send(()).unwrap();
        }
    }

    fn embedded(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Counting) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "never came true: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait]
impl Embedder for Counting {
    fn model(&self) -> &str {
        "counting"
    }

    fn dimensions(&self) -> usize {
        2
    }

    fn max_tokens(&self) -> usize {
        256
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        if texts.iter().any(|text| text.contains(WORD)) {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        self.pool.run(texts, purpose).await
    }
}

/// An application whose jobs run, with the account that uploads much and the one that writes a note.
struct Crowd {
    app: TestApp,
    model: Arc<Counting>,
    greedy: Account,
    innocent: Board,
    jobs: ragboard::jobs::Running,
}

impl Crowd {
    async fn new() -> Crowd {
        let model = Counting::new();
        let models = Models::default().with(Provider::Local, model.clone());
        let app = TestApp::asking(models, new_database().await, &[("RAGBOARD_JOBS_POLL", "0.05")]).await;
        app.app.prepare_search().await.unwrap();
        let greedy = app.account("greedy@example.org").await;
        let innocent = app.account("innocent@example.org").await;
        let innocent = BoardBuilder::new(innocent.id, "Innocent").make(&app).await;
        let jobs = app.app.start_jobs(&app.config, true);
        Crowd { app, model, greedy, innocent, jobs }
    }

    /// Has the greedy account upload texts, each to a board of its own, and waits until all of them are cut.
    async fn upload(&self, texts: usize, words: usize) -> Vec<Board> {
        let mut boards = Vec::new();
        for number in 0..texts {
            let board = BoardBuilder::new(self.greedy.id, &format!("Upload {number}")).make(&self.app).await;
            self.write(
                &board,
                &format!("SELECT string_agg('word{number} ' || i || '. ', '') FROM generate_series(1, {words}) i"),
            )
            .await;
            boards.push(board);
        }
        let cut = "SELECT count(*) = 0 FROM processing_jobs WHERE job_type = 'extract_text' AND status IN ('pending', 'running')";
        until(&self.app.sql, cut).await;
        boards
    }

    /// Adds a resource with the text that this query gives.
    async fn write(&self, board: &Board, text: &str) {
        self.app
            .sql
            .batch_execute(&format!(
                "WITH made AS (INSERT INTO nodes (board_id, type) VALUES ('{}', 'resource') RETURNING board_id, id) \
                 INSERT INTO resource_nodes (board_id, node_id, resource_type, content) SELECT board_id, id, 'text', ({text}) FROM made",
                board.id.0
            ))
            .await
            .unwrap();
    }

    async fn has_vector(&self) {
        until(&self.app.sql, &format!("SELECT count(*) > 0 FROM embeddings WHERE board_id = '{}'", self.innocent.id.0))
            .await;
    }

    /// Embeds what is left and ends.
    async fn end(self) {
        self.model.let_go(100_000);
        self.jobs.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_does_not_wait_behind_long_texts_of_another_account() {
    let crowd = Crowd::new().await;
    // Each of more than 64 KiB.
    crowd.upload(8, 6_000).await;
    let chunks: usize = value(&crowd.app.sql, "SELECT count(*) FROM chunks").await.parse().unwrap();
    assert!(chunks > 8 * 40, "{chunks}");
    until(
        &crowd.app.sql,
        "SELECT count(*) > 0 FROM processing_jobs WHERE job_type = 'create_embeddings' AND status = 'running'",
    )
    .await;
    assert_eq!(
        value(&crowd.app.sql, "SELECT count(*) FROM processing_jobs WHERE status = 'pending' AND priority > 3").await,
        "0"
    );
    crowd.model.let_go(40);
    crowd.model.until("40 chunks", |model| model.embedded() == 40).await;
    crowd.write(&crowd.innocent, &format!("'an {WORD} note'")).await;
    crowd.model.until("the note is at the model", |model| model.asked.load(Ordering::SeqCst) > 0).await;
    assert_eq!(crowd.model.embedded(), 40, "it got there while nothing of the long texts was embedded");
    // A lot that had begun, and one turn of the other account.
    crowd.model.let_go(40);
    crowd.has_vector().await;
    crowd.model.until("80 texts", |model| model.embedded() >= 79).await;
    crowd.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_waits_for_a_slice_of_short_texts_and_no_more() {
    let crowd = Crowd::new().await;
    // Too short to be bulk work, and longer than a slice: they fill both lanes, or are all under way.
    crowd.upload(8, 3_000).await;
    let chunks: usize = value(&crowd.app.sql, "SELECT count(*) FROM chunks").await.parse().unwrap();
    assert!(chunks > 8 * 20, "{chunks}");
    until(
        &crowd.app.sql,
        "SELECT count(DISTINCT worker) = 4 OR bool_and(status = 'running') FROM processing_jobs WHERE job_type = 'create_embeddings'",
    )
    .await;
    crowd.write(&crowd.innocent, &format!("'an {WORD} note'")).await;
    let waits = format!(
        "SELECT count(*) = 1 FROM processing_jobs WHERE job_type = 'create_embeddings' AND board_id = '{}'",
        crowd.innocent.id.0
    );
    until(&crowd.app.sql, &waits).await;
    // Four batches of one slice are under way.
    crowd.model.let_go(4 * 16);
    crowd.model.until("the note is at the model", |model| model.asked.load(Ordering::SeqCst) > 0).await;
    assert!(crowd.model.embedded() <= 4 * 16, "{}", crowd.model.embedded());
    crowd.model.let_go(40);
    crowd.has_vector().await;
    crowd.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_is_embedded_in_slices_until_it_is_whole() {
    let crowd = Crowd::new().await;
    let board = crowd.upload(1, 6_000).await.remove(0).id;
    crowd.model.let_go(20);
    let sliced = "SELECT count(*) = 1 FROM processing_jobs WHERE job_type = 'create_embeddings' AND progress > 0 \
        AND progress < 1 AND attempts <= 1 AND postponed = 0 AND error_message IS NULL";
    until(&crowd.app.sql, sliced).await;
    crowd.model.let_go(100_000);
    until(&crowd.app.sql, "SELECT bool_and(status = 'completed') FROM processing_jobs").await;
    let missing = "SELECT count(*) FROM chunks c WHERE NOT EXISTS (SELECT FROM embeddings e WHERE e.chunk_id = c.id)";
    assert_eq!(value(&crowd.app.sql, missing).await, "0");
    let document =
        "query ($id: ID!) { board(id: $id) { nodes(first: 1) { nodes { ... on ResourceNode { embeddingStatus } } } } }";
    let found = crowd.app.data(Some(&crowd.greedy), document, json!({ "id": board.to_string() })).await;
    assert_eq!(found["board"]["nodes"]["nodes"][0]["embeddingStatus"], "READY");
    crowd.jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cutting_long_texts_leaves_a_lane_to_short_ones() {
    let crowd = Crowd::new().await;
    let board = BoardBuilder::new(crowd.greedy.id, "Upload").make(&crowd.app).await;
    for _ in 0..6 {
        crowd.write(&board, "SELECT string_agg('word ' || i || '. ', '') FROM generate_series(1, 8000) i").await;
    }
    crowd.write(&crowd.innocent, &format!("'an {WORD} note'")).await;
    let cut = format!("SELECT count(*) = 1 FROM indexed_resources WHERE board_id = '{}'", crowd.innocent.id.0);
    until(&crowd.app.sql, &cut).await;
    until(&crowd.app.sql, "SELECT count(*) = 7 FROM indexed_resources").await;
    let priorities = "SELECT string_agg(DISTINCT priority::text, ' ') FROM processing_jobs WHERE job_type = 'extract_text' \
        AND status = 'completed' AND board_id = '";
    assert_eq!(
        value(&crowd.app.sql, &format!("{priorities}{}'", board.id.0)).await,
        "3",
        "bulk work, although written by hand"
    );
    assert_eq!(value(&crowd.app.sql, &format!("{priorities}{}'", crowd.innocent.id.0)).await, "5");
    crowd.end().await;
}
