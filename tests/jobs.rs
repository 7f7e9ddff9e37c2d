//! Background jobs: asked for by what is written, shared out fairly, done at once and not lost, seen by those who see the node.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use ragboard::{
    domain::{
        Code, Ending, Error, Job, JobClaim, JobStatus, JobType, NewJob, Result, Turns,
        ports::{JobReads, Jobs},
    },
    jobs::{Beat, Handler, Running},
    store::Store,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    follow::setup,
    support::{
        app::{Account, TestApp},
        cluster::connect,
        fixture::{Board, BoardBuilder, collaborator, place},
        patience::{self, PATIENCE},
        program::{client, command, free_port},
        socket::Socket,
        sql::{until, value, values},
    },
};

/// What a handler of a test does with a job.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Do,
    Fail(Code),
    Panic,
    /// Never ends.
    Hang,
}

/// Tells the test what it is given, and does what the test wants.
struct Tested {
    job_type: JobType,
    given: mpsc::UnboundedSender<Vec<Job>>,
    act: Box<dyn Fn(&Job) -> Act + Send + Sync>,
    /// What it asks for when it has done a job.
    then: Option<(Store, JobType)>,
}

#[async_trait]
impl Handler for Tested {
    fn job_type(&self) -> JobType {
        self.job_type
    }

    fn batch(&self) -> usize {
        8
    }

    fn parallel(&self) -> usize {
        1
    }

    fn is_slow(&self) -> bool {
        self.job_type == JobType::CreateEmbeddings
    }

    async fn run(&self, jobs: &[Job], beat: &Beat) -> Vec<Result<()>> {
        let _ = self.given.send(jobs.to_vec());
        let mut results = Vec::new();
        for job in jobs {
            beat.progress(job.id, 0.5);
            results.push(match (self.act)(job) {
                Act::Do => {
                    if let (Some((store, job_type)), Some(node)) = (&self.then, job.node_id) {
                        store.enqueue(&[NewJob::new(job.board_id, node, *job_type, job.priority)]).await.unwrap();
                    }
                    beat.result(job.id, json!({ "done": true }));
                    Ok(())
                }
                Act::Fail(code) => Err(Error::new(code, "it does not work")),
                Act::Panic => panic!("as the test wants it"),
                Act::Hang => std::future::pending().await,
            });
        }
        results
    }
}

pub(crate) struct Work {
    running: Running,
    given: mpsc::UnboundedReceiver<Vec<Job>>,
}

impl Work {
    /// The next batch.
    pub(crate) async fn given(&mut self) -> Vec<Job> {
        let batch = tokio::time::timeout(PATIENCE, self.given.recv()).await;
        batch.expect("a batch comes").expect("the handler lives")
    }
}

pub(crate) fn work(app: &TestApp, job_type: JobType, act: impl Fn(&Job) -> Act + Send + Sync + 'static) -> Work {
    let (sender, given) = mpsc::unbounded_channel();
    let handler = Tested { job_type, given: sender, act: Box::new(act), then: None };
    Work { running: app.app.start_jobs_with(&app.config, vec![Arc::new(handler)]), given }
}

pub(crate) async fn claim(store: &Store, most: usize, worker: &str, after: Option<&Turns>) -> Vec<Job> {
    let turns = after.cloned().unwrap_or_default();
    let claim = JobClaim { job_type: JobType::ExtractText, least_priority: 1, most, worker: worker.into(), turns };
    store.claim(&claim).await.unwrap()
}

pub(crate) async fn jobs_of(app: &TestApp, condition: &str) -> Vec<String> {
    values(
        &app.sql,
        &format!("SELECT job_type || ' ' || status || ' ' || attempts FROM processing_jobs WHERE {condition} ORDER BY created_at, id"),
    )
    .await
}

/// A board without jobs on which there is a resource, the node of number 2.
pub(crate) async fn quiet(variables: &[(&str, &str)]) -> (TestApp, Account, Board) {
    let app = TestApp::with(variables).await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(6).make(&app).await;
    app.sql.batch_execute("DELETE FROM processing_jobs").await.unwrap();
    (app, owner, board)
}

async fn write_title(app: &TestApp, who: &Account, node: &str, title: &str) {
    let document =
        "mutation ($input: UpdateResourceNodeInput!) { updateResourceNode(input: $input) { userErrors { message } } }";
    let input = json!({ "id": node, "title": title });
    let done = app.data(Some(who), document, json!({ "input": input })).await;
    assert_eq!(done["updateResourceNode"]["userErrors"], json!([]));
}

async fn mutate(app: &TestApp, who: &Account, name: &str, input: Value) -> Value {
    let input_type = if name == "reprocessResource" { "ReprocessResourceInput" } else { "JobInput" };
    let document = format!(
        "mutation ($input: {input_type}!) {{ {name}(input: $input) {{ clientMutationId userErrors {{ __typename message path }} \
         job {{ id status attempts priority resource {{ id }} error }} }} }}"
    );
    app.data(Some(who), &document, json!({ "input": input })).await[name].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_asks_for_its_text_once() {
    let (app, owner, board) = quiet(&[]).await;
    let node = board.nodes[2].to_string();
    // A change of the place is none of the text.
    let moved = "mutation ($input: MoveNodesInput!) { moveNodes(input: $input) { userErrors { message } } }";
    let input = json!({ "boardId": board.id.to_string(), "moves": [{ "id": node, "position": { "x": 1, "y": 2 } }] });
    app.data(Some(&owner), moved, json!({ "input": input })).await;
    assert_eq!(jobs_of(&app, "true").await, [""; 0]);
    for title in ["one", "two", "three"] {
        write_title(&app, &owner, &node, title).await;
    }
    assert_eq!(jobs_of(&app, "priority = 5").await, ["extract_text pending 0"]);
    // The same title again changes nothing.
    app.sql.batch_execute("DELETE FROM processing_jobs").await.unwrap();
    write_title(&app, &owner, &node, "three").await;
    assert_eq!(jobs_of(&app, "true").await, [""; 0]);
    // New resources, many in one statement, in the name of an import; what has nothing to read, and folders, are left out.
    let id = board.id.0;
    app.sql
        .batch_execute(&format!(
            "BEGIN; SET LOCAL ragboard.job_priority = '3'; \
             INSERT INTO nodes (board_id, type, metadata) SELECT '{id}', 'resource', '{{\"new\": 1}}' FROM generate_series(1, 50); \
             INSERT INTO resource_nodes (board_id, node_id, resource_type, title) \
             SELECT board_id, id, 'text', CASE WHEN row_number() OVER () > 10 THEN 'title' END FROM nodes WHERE metadata ? 'new'; COMMIT"
        ))
        .await
        .unwrap();
    assert_eq!(value(&app.sql, "SELECT count(*) FROM processing_jobs WHERE priority = 3").await, "40");
    // What somebody does by hand comes before that.
    app.sql
        .batch_execute("UPDATE resource_nodes SET content = 'by hand' WHERE title = 'title' AND node_id = (SELECT max(n.id::text)::uuid FROM nodes n JOIN processing_jobs j ON j.resource_id = n.id)")
        .await
        .unwrap();
    let priorities = "SELECT string_agg(DISTINCT priority::text, ' ' ORDER BY priority::text) || ' ' || count(*) FROM processing_jobs";
    assert_eq!(value(&app.sql, priorities).await, "3 5 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_works_on_a_text_that_is_being_written() {
    let (app, owner, board) = quiet(&[]).await;
    let (store, node) = (&app.app.store, board.nodes[2]);
    write_title(&app, &owner, &node.to_string(), "first").await;
    let writer = connect(&app.url).await;
    let change = format!("BEGIN; UPDATE resource_nodes SET content = 'second' WHERE node_id = '{}'", node.0);
    writer.batch_execute(&change).await.unwrap();
    assert_eq!(claim(store, 8, "one", None).await, [], "it would read the text from before");
    writer.batch_execute("COMMIT").await.unwrap();
    let claimed = claim(store, 8, "one", None).await;
    assert_eq!(claimed.iter().map(|job| job.node_id).collect::<Vec<_>>(), [Some(node)]);
    // What is written while it runs is another job, which waits for this one.
    write_title(&app, &owner, &node.to_string(), "third").await;
    assert_eq!(jobs_of(&app, "true").await, ["extract_text running 1", "extract_text pending 0"]);
    assert_eq!(claim(store, 8, "two", None).await, []);
    store.settle("one", &[(claimed[0].clone(), Ending::Done(None))]).await.unwrap();
    assert_eq!(claim(store, 8, "two", None).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_at_the_same_moment_share_nothing() {
    let app = TestApp::with(&[("DATABASE_POOL_SIZE", "8")]).await;
    let owner = app.account("owner@example.org").await;
    BoardBuilder::new(owner.id, "Board").nodes(250).make(&app).await;
    let workers = (0..6).map(|number| {
        let store = app.app.store.clone();
        tokio::spawn(async move {
            let (mut ids, mut round) = (Vec::new(), 0);
            loop {
                round += 1;
                let jobs = claim(&store, 7, &format!("{number}/{round}"), None).await;
                if jobs.is_empty() {
                    return ids;
                }
                ids.extend(jobs.iter().map(|job| job.id));
            }
        })
    });
    let claimed: Vec<_> = futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
    let claimed: Vec<_> = claimed.into_iter().flat_map(|ids| ids.unwrap()).collect();
    // Whoever found everything locked by others stopped before the end, so a last one looks.
    let rest = claim(&app.app.store, 1000, "last", None).await.len();
    assert_eq!((claimed.len() + rest, claimed.iter().collect::<HashSet<_>>().len()), (200, claimed.len()));
    assert_eq!(value(&app.sql, "SELECT count(*) FROM processing_jobs WHERE attempts <> 1").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_tried_again_until_its_attempts_are_used_up() {
    let (app, _, board) = quiet(&[("RAGBOARD_JOBS_POLL", "0.05")]).await;
    let (store, node) = (&app.app.store, board.nodes[2]);
    store.enqueue(&[NewJob::new(board.id, node, JobType::ExtractText, 5)]).await.unwrap();
    let mut work = work(&app, JobType::ExtractText, |job| {
        Act::Fail(if job.postponed < 2 { Code::Overloaded } else { Code::InvalidArgument })
    });
    // Put off twice, which is no attempt; then three attempts.
    for expected in [(1, 0), (1, 1), (1, 2), (2, 2), (3, 2)] {
        let batch = work.given().await;
        assert_eq!(batch.iter().map(|job| (job.attempts, job.postponed)).collect::<Vec<_>>(), [expected]);
        if expected != (3, 2) {
            let failed = "SELECT count(*) = 1 FROM processing_jobs WHERE status <> 'running' \
                          AND error_message = 'it does not work'";
            until(&app.sql, failed).await;
            app.sql.batch_execute("UPDATE processing_jobs SET scheduled_for = now()").await.unwrap();
        }
    }
    until(&app.sql, "SELECT status = 'failed' FROM processing_jobs").await;
    let row = "SELECT attempts || ' ' || postponed || ' ' || error_message || ' ' || (completed_at IS NOT NULL) || ' ' || (worker IS NULL) FROM processing_jobs";
    assert_eq!(value(&app.sql, row).await, "3 2 it does not work true true");
    // After a failure it waits.
    let again = "UPDATE processing_jobs SET status = 'pending', attempts = 0, postponed = 0, scheduled_for = now(), completed_at = NULL";
    drop(work);
    app.sql.batch_execute(again).await.unwrap();
    let claimed = claim(store, 1, "one", None).await;
    let (failed, before) = (Ending::Failed(Error::invalid("broken")), chrono::Utc::now());
    let ended = store.settle("one", &[(claimed[0].clone(), failed)]).await.unwrap();
    assert_eq!(ended[0].status, JobStatus::Pending);
    assert!((ended[0].scheduled_for - before).num_milliseconds() > 1_000, "{:?}", ended[0]);
    // However long it takes until somebody asks.
    app.sql.batch_execute("UPDATE processing_jobs SET scheduled_for = scheduled_for + interval '1 h'").await.unwrap();
    assert_eq!(claim(store, 1, "two", None).await, []);
    // What is never free is given up at last, too.
    app.sql.batch_execute(&again.replace("postponed = 0", "postponed = 12")).await.unwrap();
    let claimed = claim(store, 1, "mine", None).await;
    let overloaded = Ending::Failed(Error::new(Code::Overloaded, "busy"));
    let ended = store.settle("mine", &[(claimed[0].clone(), overloaded)]).await.unwrap();
    assert_eq!((ended[0].status, ended[0].error_message.as_deref()), (JobStatus::Failed, Some("busy")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_fails_its_jobs_and_no_others() {
    let (app, _, board) = quiet(&[("RAGBOARD_JOBS_POLL", "0.05")]).await;
    let (store, bad) = (&app.app.store, board.nodes[2]);
    let job = |node| NewJob::new(board.id, node, JobType::CreateEmbeddings, 5);
    // It is not tried again within the time of the test.
    app.sql
        .batch_execute(
            "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             NEW.scheduled_for := NEW.scheduled_for + interval '1 hour'; RETURN NEW; END $$; \
             CREATE TRIGGER later BEFORE UPDATE ON processing_jobs FOR EACH ROW \
             WHEN (OLD.status = 'running' AND NEW.status = 'pending') EXECUTE FUNCTION later()",
        )
        .await
        .unwrap();
    store.enqueue(&[job(bad)]).await.unwrap();
    let mut work =
        work(&app, JobType::CreateEmbeddings, move |job| if job.node_id == Some(bad) { Act::Panic } else { Act::Do });
    work.given().await;
    until(
        &app.sql,
        "SELECT status = 'pending' AND attempts = 1 AND error_message = 'Internal error' FROM processing_jobs",
    )
    .await;
    let good = store.enqueue(&[job(board.nodes[3])]).await.unwrap()[0];
    work.given().await;
    until(&app.sql, "SELECT count(*) = 1 FROM processing_jobs WHERE status = 'completed'").await;
    let done = store.jobs(&[good]).await.unwrap().remove(0).unwrap();
    assert_eq!((done.status, done.progress, &done.result), (JobStatus::Completed, 1.0, &Some(json!({ "done": true }))));
    let numbers = work.running.numbers();
    work.running.drain().await;
    let of_type = numbers().types["create_embeddings"];
    assert_eq!((of_type.completed, of_type.retried, of_type.failed, of_type.running), (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_lost_worker_come_back() {
    let (app, owner, board) = quiet(&[]).await;
    let store = &app.app.store;
    for node in &board.nodes[2..6] {
        store.enqueue(&[NewJob::new(board.id, *node, JobType::ExtractText, 5)]).await.unwrap();
    }
    let lost = claim(store, 10, "lost", None).await;
    assert_eq!(lost.len(), 4);
    let minute = Duration::from_secs(60);
    assert_eq!(store.recover(minute).await.unwrap(), [], "it was heard of just now");
    // One has used its attempts up, of one the text was written again meanwhile, one was cancelled.
    write_title(&app, &owner, &board.nodes[3].to_string(), "newer").await;
    app.sql
        .batch_execute(&format!(
            "UPDATE processing_jobs SET heartbeat_at = heartbeat_at - interval '61 seconds' WHERE worker = 'lost'; \
             UPDATE processing_jobs SET attempts = 3 WHERE resource_id = '{}'; \
             UPDATE processing_jobs SET status = 'cancelled' WHERE resource_id = '{}'",
            board.nodes[4].0, board.nodes[5].0
        ))
        .await
        .unwrap();
    assert_eq!(store.recover(minute).await.unwrap().len(), 4);
    let of = async |node: usize| jobs_of(&app, &format!("resource_id = '{}'", board.nodes[node].0)).await;
    assert_eq!(of(2).await, ["extract_text pending 1"]);
    assert_eq!(of(3).await, ["extract_text cancelled 1", "extract_text pending 0"]);
    assert_eq!(of(4).await, ["extract_text failed 3"]);
    assert_eq!(of(5).await, ["extract_text cancelled 1"]);
    // Another has it now; what the first one says of it, late, changes nothing.
    let again = claim(store, 10, "another", None).await;
    assert_eq!(again.len(), 2);
    let late: Vec<_> = lost.iter().map(|job| (job.clone(), Ending::Done(None))).collect();
    assert_eq!(store.settle("lost", &late).await.unwrap(), []);
    assert_eq!(store.beat("lost", &[]).await.unwrap(), []);
    assert_eq!(store.beat("another", &[(again[0].id, 0.25)]).await.unwrap().len(), 2);
    assert_eq!(of(2).await, ["extract_text running 2"]);
    assert_eq!(value(&app.sql, "SELECT max(progress) FROM processing_jobs").await, "0.25");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_gives_back_what_is_not_done() {
    let (app, _, board) = quiet(&[("RAGBOARD_JOBS_DRAIN", "0.2")]).await;
    let store = &app.app.store;
    let mut work = work(&app, JobType::ExtractText, |_| Act::Hang);
    store.enqueue(&[NewJob::new(board.id, board.nodes[2], JobType::ExtractText, 5)]).await.unwrap();
    work.running.wake();
    work.given().await;
    assert_eq!(jobs_of(&app, "true").await, ["extract_text running 1"]);
    let Work { running, mut given } = work;
    running.drain().await;
    assert_eq!(jobs_of(&app, "worker IS NULL AND scheduled_for <= now()").await, ["extract_text pending 0"]);
    assert!(given.recv().await.is_none(), "nothing new was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_begins_with_the_commit_here_and_elsewhere() {
    // Nobody would look by themselves within the time of the test.
    let (app, owner, board) = quiet(&[("RAGBOARD_JOBS_POLL", "3600")]).await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let mut work = work(&app, JobType::ExtractText, |_| Act::Do);
    let (here, there) = (board.nodes[2], board.nodes[3]);
    write_title(&app, &owner, &here.to_string(), "here").await;
    assert_eq!(work.given().await[0].node_id, Some(here));
    until(&app.sql, "SELECT count(*) = 1 FROM processing_jobs WHERE status = 'completed'").await;
    write_title(&other, &owner, &there.to_string(), "there").await;
    assert_eq!(work.given().await[0].node_id, Some(there));
    // What is written while it runs begins when that has ended.
    until(&app.sql, "SELECT count(*) = 2 FROM processing_jobs WHERE status = 'completed'").await;
    work.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_asks_for_begins_when_it_ends() {
    let (app, owner, board) = quiet(&[("RAGBOARD_JOBS_POLL", "3600")]).await;
    let (sender, mut given) = mpsc::unbounded_channel();
    let handler = |job_type, then| -> Arc<dyn Handler> {
        Arc::new(Tested { job_type, given: sender.clone(), act: Box::new(|_| Act::Do), then })
    };
    let then = Some((app.app.store.clone(), JobType::CreateEmbeddings));
    let handlers = vec![handler(JobType::CreateEmbeddings, None), handler(JobType::ExtractText, then)];
    let running = app.app.start_jobs_with(&app.config, handlers);
    write_title(&app, &owner, &board.nodes[2].to_string(), "new").await;
    for job_type in [JobType::ExtractText, JobType::CreateEmbeddings] {
        let batch = tokio::time::timeout(PATIENCE, given.recv()).await.expect("a batch comes").unwrap();
        assert_eq!(batch.iter().map(|job| job.job_type).collect::<Vec<_>>(), [job_type]);
    }
    running.drain().await;
    assert_eq!(jobs_of(&app, "status = 'completed'").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_cancel_and_retry_jobs() {
    let (app, owner, board) = quiet(&[("RAGBOARD_JOBS_HEARTBEAT", "0.05")]).await;
    let viewer = app.account("viewer@example.org").await;
    collaborator(&app, &board, viewer.id, "view", true).await;
    let node = board.nodes[2].to_string();
    let asked = mutate(
        &app,
        &owner,
        "reprocessResource",
        json!({ "id": node, "clientMutationId": "mine", "idempotencyKey": "k" }),
    )
    .await;
    assert_eq!((&asked["clientMutationId"], &asked["userErrors"]), (&json!("mine"), &json!([])));
    let job = asked["job"]["id"].clone();
    assert_eq!((&asked["job"]["status"], &asked["job"]["resource"]["id"]), (&json!("PENDING"), &json!(node)));
    let again = mutate(&app, &owner, "reprocessResource", json!({ "id": node })).await;
    assert_eq!(again["job"]["id"], job, "what is pending is not asked for twice");
    assert_eq!(value(&app.sql, "SELECT payload->>'force' FROM processing_jobs").await, "true");
    // It is found by its id and in the list of its board.
    let query = "query ($job: ID!, $board: ID!) { node(id: $job) { id ... on ProcessingJob { jobType status board { id } } } \
        board(id: $board) { jobs(statuses: [PENDING], first: 1) { totalCount nodes { id } pageInfo { hasNextPage } } \
        none: jobs(statuses: [FAILED, CANCELLED], first: 1) { totalCount } } }";
    let variables = json!({ "job": job, "board": board.id.to_string() });
    for who in [&owner, &viewer] {
        let seen = app.data(Some(who), query, variables.clone()).await;
        assert_eq!((&seen["node"]["id"], &seen["node"]["jobType"]), (&job, &json!("EXTRACT_TEXT")));
        let (jobs, none) = (&seen["board"]["jobs"], &seen["board"]["none"]);
        assert_eq!((&jobs["totalCount"], &jobs["nodes"][0]["id"], &none["totalCount"]), (&json!(1), &job, &json!(0)));
    }
    // Cancelled while it runs: the handler is cut off, and another can begin.
    let mut work = work(&app, JobType::ExtractText, |job| if job.is_forced() { Act::Hang } else { Act::Do });
    work.given().await;
    let refused = mutate(&app, &owner, "retryJob", json!({ "id": job })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "ConflictError");
    let cancelled = mutate(&app, &owner, "cancelJob", json!({ "id": job })).await;
    assert_eq!((&cancelled["job"]["status"], &cancelled["userErrors"]), (&json!("CANCELLED"), &json!([])));
    until(&app.sql, "SELECT worker IS NULL FROM processing_jobs").await;
    let refused = mutate(&app, &owner, "cancelJob", json!({ "id": job })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "ConflictError");
    app.sql.batch_execute("UPDATE processing_jobs SET payload = '{}'").await.unwrap();
    let retried = mutate(&app, &owner, "retryJob", json!({ "id": job })).await;
    assert_eq!((&retried["job"]["id"], &retried["userErrors"]), (&job, &json!([])));
    until(&app.sql, "SELECT status = 'completed' FROM processing_jobs").await;
    // Only resources have a text.
    let refused = mutate(&app, &owner, "reprocessResource", json!({ "id": board.nodes[0].to_string() })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "ValidationError");
    let refused = mutate(&app, &viewer, "retryJob", json!({ "id": job })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "PermissionError");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_hidden_nodes_are_not_there() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let guest = app.account("guest@example.org").await;
    let stranger = app.account("stranger@example.org").await;
    let board = BoardBuilder::new(owner.id, "House").nodes(6).make(&app).await;
    collaborator(&app, &board, guest.id, "edit", true).await;
    place(&app, &board, board.nodes[0], &[board.nodes[2], board.nodes[3]]).await;
    // A deleted node is not there for anybody.
    let deleted = format!("UPDATE nodes SET deleted_at = now() WHERE id = '{}'", board.nodes[5].0);
    app.sql.batch_execute(&deleted).await.unwrap();
    let lock =
        "mutation ($input: SetFolderPasswordInput!) { setFolderPassword(input: $input) { userErrors { message } } }";
    let input = json!({ "id": board.nodes[0].to_string(), "password": "behind the door" });
    let locked = app.data(Some(&owner), lock, json!({ "input": input })).await;
    assert_eq!(locked["setFolderPassword"]["userErrors"], json!([]));
    let job_of = async |node: usize| {
        let sql = format!("SELECT id FROM processing_jobs WHERE resource_id = '{}'", board.nodes[node].0);
        ragboard::domain::JobId(value(&app.sql, &sql).await.parse().unwrap()).to_string()
    };
    let (hidden, open, gone) = (job_of(2).await, job_of(4).await, job_of(5).await);
    let query = "query ($ids: [ID!]!, $board: ID!) { nodes(ids: $ids) { id } \
        board(id: $board) { jobs(first: 10) { totalCount nodes { id } } } }";
    let variables = json!({ "ids": [hidden, open, gone], "board": board.id.to_string() });
    for (who, ids, count) in
        [(&owner, json!([{ "id": hidden }, { "id": open }, null]), 3), (&guest, json!([null, { "id": open }, null]), 1)]
    {
        let seen = app.data(Some(who), query, variables.clone()).await;
        assert_eq!(seen["nodes"], ids);
        let jobs = &seen["board"]["jobs"];
        assert_eq!(
            (jobs["totalCount"].as_i64(), jobs["nodes"].as_array().map(Vec::len)),
            (Some(count), Some(count as usize))
        );
    }
    let seen = app.data(Some(&stranger), query, variables).await;
    assert_eq!((&seen["nodes"], &seen["board"]), (&json!([null, null, null]), &Value::Null));
    for (who, job) in [(&guest, &hidden), (&owner, &gone), (&stranger, &open)] {
        for name in ["cancelJob", "retryJob"] {
            let refused = mutate(&app, who, name, json!({ "id": job })).await;
            assert_eq!(refused["userErrors"][0]["__typename"], "NotFoundError", "{name} {refused}");
        }
    }
    let refused = mutate(&app, &guest, "reprocessResource", json!({ "id": board.nodes[2].to_string() })).await;
    assert_eq!(refused["userErrors"][0]["__typename"], "NotFoundError");
    // Nor does anybody hear of them.
    let mut socket = Socket::of(app.listen().await, &guest).await;
    let query = format!("subscription {{ jobs(boardId: \"{}\") {{ id status }} }}", board.id);
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
    assert_eq!(socket.next().await["payload"]["data"]["jobs"], json!({ "id": open, "status": "PENDING" }));
    for job in [&hidden, &open] {
        mutate(&app, &owner, "cancelJob", json!({ "id": job })).await;
    }
    assert_eq!(socket.next().await["payload"]["data"]["jobs"], json!({ "id": open, "status": "CANCELLED" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_hear_how_jobs_go_on_every_gateway() {
    let (app, owner, board, address) = setup().await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let pending = value(&app.sql, "SELECT count(*) FROM processing_jobs WHERE status = 'pending'").await;
    assert_eq!(pending, "1");
    let mut sockets = [Socket::of(address, &owner).await, Socket::of(other.listen().await, &owner).await];
    let query = format!("subscription {{ jobs(boardId: \"{}\") {{ id status progress }} }}", board.id);
    for socket in &mut sockets {
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
        let first = socket.next().await;
        assert_eq!(first["payload"]["data"]["jobs"]["status"], "PENDING", "{first}");
    }
    let work = work(&app, JobType::ExtractText, |_| Act::Do);
    for socket in &mut sockets {
        loop {
            let told = socket.next().await["payload"]["data"]["jobs"].take();
            if told["status"] == "COMPLETED" {
                assert_eq!(told["progress"], 1.0);
                break;
            }
            assert_eq!(told["status"], "RUNNING");
        }
    }
    // And of what is asked for from now on.
    write_title(&app, &owner, &board.nodes[2].to_string(), "new").await;
    for socket in &mut sockets {
        while socket.next().await["payload"]["data"]["jobs"]["status"] != "COMPLETED" {}
    }
    work.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_what_waits() {
    let (app, _, board) = quiet(&[]).await;
    let job = |node: usize| NewJob::new(board.id, board.nodes[node], JobType::CreateEmbeddings, 5);
    app.app.store.enqueue(&[job(2), job(3)]).await.unwrap();
    let running = app.app.start_jobs(&app.config, false);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let text = loop {
        let request = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let body = axum::body::to_bytes(app.send(request).await.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        if text.contains("ragboard_jobs{") {
            break text;
        }
        assert!(tokio::time::Instant::now() < deadline, "never told: {text}");
        tokio::task::yield_now().await;
    };
    assert!(text.contains("ragboard_jobs{type=\"create_embeddings\",status=\"pending\"} 2\n"), "{text}");
    assert!(text.contains("ragboard_jobs_oldest_pending_seconds{type=\"create_embeddings\"} "), "{text}");
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_its_own_looks_after_the_queue_until_it_is_stopped() {
    let (app, _, board) = quiet(&[]).await;
    app.app.store.enqueue(&[NewJob::new(board.id, board.nodes[2], JobType::ExtractText, 5)]).await.unwrap();
    claim(&app.app.store, 1, "lost", None).await;
    app.sql.batch_execute("UPDATE processing_jobs SET heartbeat_at = now() - interval '1 hour'").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = secrecy::ExposeSecret::expose_secret(&app.url).to_owned();
    let metrics = format!("127.0.0.1:{}", free_port());
    let mut command = command(&folder.path().join("data"));
    command.arg("worker").env("DATABASE_URL", url).env("RAGBOARD_METRICS_ADDRESS", &metrics);
    let mut child = command.spawn().unwrap();
    until(&app.sql, "SELECT worker IS DISTINCT FROM 'lost' FROM processing_jobs").await;
    patience::until("it tells of jobs", async || {
        let Ok(told) = client().get(format!("http://{metrics}/metrics")).send().await else { return false };
        let told = told.text().await.unwrap();
        told.contains("ragboard_chunks_embedded_total") && told.contains("ragboard_jobs_ended_total")
    })
    .await;
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status:?}");
}
