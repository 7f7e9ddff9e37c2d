//! A board with texts that can be searched, and waiting until they can be.

use std::time::{Duration, Instant};

use ragboard::search::models::Models;
use serde_json::{Value, json};

use super::{
    app::{Account, TestApp, new_database},
    fixture::{Board, BoardBuilder},
    model::model,
    patience::PATIENCE,
    sql::value,
};

/// Texts of different subjects: what is asked about them uses other words than they do.
pub(crate) const TEXTS: [(&str, &str); 6] = [
    (
        "Deadlocks",
        "Two transactions can wait for each other's row locks for ever. PostgreSQL finds such a circle and cancels one \
        of them. Take locks in the same order everywhere, and it never happens.",
    ),
    (
        "Backups",
        "Copy the data directory with pg_basebackup every night, keep the write-ahead log, and restore to any moment. \
        A backup that was never restored is a hope.",
    ),
    (
        "Sourdough",
        "Mix flour, water and salt with the starter, let the dough rise overnight, fold it, and bake the bread in a hot \
        iron pot for forty minutes.",
    ),
    (
        "Tomatoes",
        "Water the plants in the morning at the root, tie them to a stick, and break off side shoots. They like warmth \
        and sun and no rain on their leaves.",
    ),
    (
        "Indexes",
        "A B-tree helps to find rows by value and to sort them. Too many of them make every insert slower. Look at the \
        plan of a slow query before you add one.",
    ),
    (
        "Chess openings",
        "Bring out your knights and bishops, castle early, and fight for the centre of the board before you move \
        the queen.",
    ),
];

/// An application with the model and background jobs, and a board with [`TEXTS`] of its owner.
pub(crate) struct Library {
    pub(crate) app: TestApp,
    pub(crate) owner: Account,
    pub(crate) board: Board,
    jobs: ragboard::jobs::Running,
}

/// The model as a process has it.
pub(crate) async fn models() -> Models {
    let model = model().await;
    let tokenizer = model.tokenizer();
    Models::default().with(ragboard::domain::Provider::Local, model).cutting_by(tokenizer)
}

impl Library {
    pub(crate) async fn new() -> Library {
        Library::with(models().await, &[]).await
    }

    /// With these models and settings, searchable.
    pub(crate) async fn with(models: Models, variables: &[(&str, &str)]) -> Library {
        let app = TestApp::asking(models, new_database().await, variables).await;
        app.app.prepare_search().await.unwrap();
        let owner = app.account("owner@example.org").await;
        let board = BoardBuilder::new(owner.id, "Library").make(&app).await;
        let jobs = app.app.start_jobs(&app.config, true);
        let library = Library { app, owner, board, jobs };
        for (title, content) in TEXTS {
            library.write(title, content, json!({})).await;
        }
        library.settle().await;
        library
    }

    /// Makes a resource and gives its id.
    pub(crate) async fn write(&self, title: &str, content: &str, more: Value) -> String {
        let mut input = json!({ "boardId": self.board.id.to_string(), "title": title, "content": content });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let document =
            "mutation ($input: CreateResourceNodeInput!) { createResourceNode(input: $input) { node { id } } }";
        let made = self.app.data(Some(&self.owner), document, json!({ "input": input })).await;
        made["createResourceNode"]["node"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    /// Waits until nothing is left to be done, and makes sure that all of it went well.
    pub(crate) async fn settle(&self) {
        self.settle_but_failed().await;
        assert_eq!(value(&self.app.sql, "SELECT count(*) FROM processing_jobs WHERE status = 'failed'").await, "0");
    }

    /// Waits until nothing is left to be done.
    pub(crate) async fn settle_but_failed(&self) {
        // A development build takes seconds for a long text, and other tests want theirs.
        let deadline = Instant::now() + Duration::from_secs(240);
        let waiting = "SELECT count(*) FROM processing_jobs WHERE status IN ('pending', 'running')";
        while value(&self.app.sql, waiting).await != "0" {
            assert!(Instant::now() < deadline, "never became searchable");
        }
    }

    /// Ends background work, so that what is written now is not made searchable.
    pub(crate) async fn stop(self) -> (TestApp, Account, Board) {
        self.jobs.drain().await;
        (self.app, self.owner, self.board)
    }

    /// Searches the board and gives the connection.
    pub(crate) async fn search(&self, input: Value) -> Value {
        search_board(&self.app, Some(&self.owner), &self.board, input).await
    }

    /// Titles of what is found, best first.
    pub(crate) async fn titles(&self, input: Value) -> Vec<String> {
        titles(&self.search(input).await)
    }
}

/// What is said where words are all of an answer because the model took too long.
pub(crate) const TOO_LATE: &str = "The model did not answer in time: found by words only";

/// What is asked of a search.
pub(crate) const FOUND: &str = "edges { cursor node { score vectorScore textScore highlight node { id title content } \
    chunk { id index field text startChar endChar startUtf16 endUtf16 tokenCount } path { name } } } \
    pageInfo { hasNextPage endCursor } \
    plan { strategy scopeRows rowsWithoutVector candidates isExact complete model generation note }";

/// Searches a board, again where the model did not answer in time: it is one for all tests, and may be at a long text
/// of another.
pub(crate) async fn search_board(app: &TestApp, who: Option<&Account>, board: &Board, input: Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut answer = search_board_once(app, who, board, &input).await;
        let is_late = answer["data"]["board"]["search"]["plan"]["note"] == TOO_LATE
            || answer["errors"][0]["extensions"]["code"] == "TIMEOUT";
        if is_late && Instant::now() < deadline {
            continue;
        }
        assert_eq!(answer.get("errors"), None, "{input}");
        return answer["data"]["board"]["search"].take();
    }
}

/// The answer to a search of a board as it is.
pub(crate) async fn search_board_once(app: &TestApp, who: Option<&Account>, board: &Board, input: &Value) -> Value {
    let document = format!(
        "query ($id: ID!, $input: BoardSearchInput!) {{ board(id: $id) {{ search(input: $input, first: 10) {{ {FOUND} }} }} }}"
    );
    app.answer(who, &document, json!({ "id": board.id.to_string(), "input": input })).await
}

pub(crate) fn titles(found: &Value) -> Vec<String> {
    let edges = found["edges"].as_array().unwrap_or_else(|| panic!("{found}"));
    edges.iter().map(|edge| edge["node"]["node"]["title"].as_str().unwrap().to_owned()).collect()
}
