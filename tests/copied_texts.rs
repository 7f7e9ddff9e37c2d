//! Copies of boards are searchable as their originals are, and no model is asked for what it has embedded before.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use ragboard::{
    domain::{BoardId, Embedder, Provider, Purpose, Result},
    jobs::Running,
    search::models::Models,
};
use serde_json::{Value, json};

use crate::{
    support::{
        app::{Account, TestApp, new_database},
        fixture::{Board, BoardBuilder},
        library::{search_board, titles},
        patience::PATIENCE,
        sql::{until, value},
    },
    writes::{done, mutate},
};

const OPEN_JOBS: &str = "SELECT count(*) = 0 FROM processing_jobs WHERE status IN ('pending', 'running')";

/// A model that costs nothing and counts what it is asked for.
#[derive(Default)]
struct Counting {
    passages: AtomicUsize,
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
        if purpose == Purpose::Passage {
            self.passages.fetch_add(texts.len(), Ordering::SeqCst);
        }
        Ok(texts.iter().map(|text| vec![1.0, 1.0 / (1 + text.len()) as f32]).collect())
    }
}

struct Copies {
    app: TestApp,
    model: Arc<Counting>,
    owner: Account,
    board: Board,
    jobs: Running,
}

impl Copies {
    /// A board whose resources are searchable: three short ones, and one of so many words.
    async fn new(words: usize) -> Copies {
        let model = Arc::new(Counting::default());
        let models = Models::default().with(Provider::Local, model.clone());
        let app = TestApp::asking(models, new_database().await, &[("RAGBOARD_JOBS_POLL", "0.05")]).await;
        app.app.prepare_search().await.unwrap();
        let owner = app.account("owner@example.org").await;
        let board = BoardBuilder::new(owner.id, "Original").nodes(5).make(&app).await;
        let long = format!(
            "UPDATE resource_nodes SET content = (SELECT string_agg('word ' || i || '. ', '') FROM generate_series(1, {words}) i) \
             WHERE node_id = '{}'",
            board.nodes[4].0
        );
        app.sql.batch_execute(&long).await.unwrap();
        let jobs = app.app.start_jobs(&app.config, true);
        until(&app.sql, OPEN_JOBS).await;
        Copies { app, model, owner, board, jobs }
    }

    fn asked(&self) -> usize {
        self.model.passages.load(Ordering::SeqCst)
    }

    async fn copy(&self, who: &Account) -> Board {
        let input = json!({ "id": self.board.id.to_string(), "name": "Copy" });
        let copy = mutate(&self.app, who, "duplicateBoard", "DuplicateBoardInput", "board { id }", input).await;
        let id: BoardId = done(&copy)["board"]["id"].as_str().unwrap().parse().unwrap();
        Board { id, nodes: Vec::new() }
    }

    async fn by_meaning(&self, who: &Account, board: &Board) -> Value {
        search_board(&self.app, Some(who), board, json!({ "query": "anything", "mode": "SEMANTIC" })).await
    }

    /// What is searchable of a board: text and place of each chunk, its words, and whether it has a vector.
    async fn searchable(&self, board: &Board) -> String {
        value(
            &self.app.sql,
            &format!(
                "SELECT string_agg(concat_ws('|', c.chunk_index, c.chunk_text, c.start_char, c.end_utf16, c.words, c.weights, i.title, \
                 i.config, e.embedding), E'\\n' ORDER BY r.title, c.chunk_index) FROM chunks c JOIN indexed_resources i USING (node_id) \
                 JOIN resource_nodes r USING (node_id) LEFT JOIN embeddings e ON e.chunk_id = c.id WHERE c.board_id = '{}'",
                board.id.0
            ),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_found_at_once_and_embeds_nothing() {
    let copies = Copies::new(900).await;
    let asked = copies.asked();
    assert!(asked > 5, "{asked}");
    let copy = copies.copy(&copies.owner).await;
    // Nobody has waited for a job.
    let found = copies.by_meaning(&copies.owner, &copy).await;
    let mut names = titles(&found);
    names.sort();
    assert_eq!(names, ["Title 2", "Title 3", "Title 4"]);
    assert!(found["edges"][0]["node"]["vectorScore"].is_number(), "{found}");
    assert_eq!((&found["plan"]["complete"], &found["plan"]["rowsWithoutVector"]), (&json!(true), &json!(0)));
    let by_words =
        search_board(&copies.app, Some(&copies.owner), &copy, json!({ "query": "content", "mode": "KEYWORD" })).await;
    assert_eq!((titles(&by_words).len(), &by_words["plan"]["complete"]), (2, &json!(true)));
    assert_eq!(copies.searchable(&copy).await, copies.searchable(&copies.board).await);
    until(&copies.app.sql, OPEN_JOBS).await;
    assert_eq!(copies.asked(), asked, "the model was asked for nothing");
    // The copy lives its own life.
    copies.app.sql.batch_execute(&format!("DELETE FROM boards WHERE id = '{}'", copies.board.id.0)).await.unwrap();
    assert_eq!(titles(&copies.by_meaning(&copies.owner, &copy).await).len(), 3);
    copies.jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_board_is_copied_by_jobs_and_embeds_nothing() {
    // More chunks than are copied with the board itself.
    let copies = Copies::new(40_000).await;
    let asked = copies.asked();
    assert!(asked > 500, "{asked}");
    let copy = copies.copy(&copies.owner).await;
    until(&copies.app.sql, OPEN_JOBS).await;
    assert_eq!(copies.searchable(&copy).await, copies.searchable(&copies.board).await);
    assert_eq!(copies.asked(), asked, "the model was asked for nothing");
    assert_eq!(copies.by_meaning(&copies.owner, &copy).await["plan"]["complete"], true);
    copies.jobs.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_searchable_yet_asks_for_itself_in_the_copy() {
    let copies = Copies::new(100).await;
    let Copies { app, model, owner, board, jobs } = copies;
    jobs.drain().await;
    // One text is written anew and not cut yet, of another the vectors are missing.
    app.sql
        .batch_execute(&format!(
            "UPDATE resource_nodes SET content = 'Written a moment ago' WHERE node_id = '{}'; \
             DELETE FROM embeddings WHERE node_id = '{}'",
            board.nodes[2].0, board.nodes[3].0
        ))
        .await
        .unwrap();
    let jobs = app.app.start_jobs_with(&app.config, Vec::new());
    let copies = Copies { app, model, owner, board, jobs };
    let copy = copies.copy(&copies.owner).await;
    let (app, asked) = (&copies.app, copies.asked());
    let open = format!(
        "SELECT string_agg(job_type || ' ' || r.title, ', ' ORDER BY r.title) FROM processing_jobs j \
         JOIN resource_nodes r ON r.node_id = j.resource_id WHERE j.status = 'pending' AND j.board_id = '{}'",
        copy.id.0
    );
    assert_eq!(value(&app.sql, &open).await, "extract_text Title 2, create_embeddings Title 3");
    let found = copies.by_meaning(&copies.owner, &copy).await;
    assert_eq!((titles(&found), &found["plan"]["complete"]), (vec!["Title 4".to_owned()], &json!(false)));
    // And then it is made, for the copy as for the original.
    let working = app.app.start_jobs(&app.config, true);
    until(&app.sql, OPEN_JOBS).await;
    assert_eq!(titles(&copies.by_meaning(&copies.owner, &copy).await).len(), 3);
    assert!(copies.asked() > asked);
    let old =
        format!("SELECT count(*) FROM chunks WHERE board_id = '{}' AND chunk_text LIKE 'Content of 2%'", copy.id.0);
    assert_eq!(value(&app.sql, &old).await, "0", "never the chunks of a text that was not copied");
    working.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_a_password_is_copied_for_nobody_who_is_shut_out() {
    let copies = Copies::new(100).await;
    let app = &copies.app;
    let guest = app.account("guest@example.org").await;
    app.sql
        .batch_execute(&format!(
            "UPDATE boards SET is_public = true; UPDATE folder_nodes SET password_hash = 'x' WHERE node_id = '{folder}'; \
             INSERT INTO node_hierarchy (board_id, parent_id, child_id) VALUES ('{board}', '{folder}', '{hidden}')",
            folder = copies.board.nodes[0].0,
            board = copies.board.id.0,
            hidden = copies.board.nodes[2].0
        ))
        .await
        .unwrap();
    app.sql.batch_execute("UPDATE boards SET version = version + 1").await.unwrap();
    until_public(app, &guest, &copies.board).await;
    let asked = copies.asked();
    let copy = copies.copy(&guest).await;
    let mut names = titles(&copies.by_meaning(&guest, &copy).await);
    names.sort();
    assert_eq!(names, ["Title 3", "Title 4"]);
    until(&app.sql, OPEN_JOBS).await;
    let hidden =
        format!("SELECT count(*) FROM chunks WHERE board_id = '{}' AND chunk_text LIKE 'Content of 2%'", copy.id.0);
    assert_eq!((value(&app.sql, &hidden).await.as_str(), copies.asked()), ("0", asked));
    copies.jobs.drain().await;
}

/// Waits until memory has heard that the board is public.
async fn until_public(app: &TestApp, guest: &Account, board: &Board) {
    let deadline = std::time::Instant::now() + PATIENCE;
    let document = "query ($id: ID!) { board(id: $id) { isPublic } }";
    while app.data(Some(guest), document, json!({ "id": board.id.to_string() })).await["board"].is_null() {
        assert!(std::time::Instant::now() < deadline, "never became public");
    }
}
