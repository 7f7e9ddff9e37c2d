//! Who waits behind whom in background work. What jobs are, and that none is lost, is in `jobs.rs`.

use std::collections::HashSet;

use ragboard::domain::{
    BoardId, Ending, Job, JobStatus, JobType, NewJob, Turns, UserId, job::IMPORT_PRIORITY, ports::Jobs,
};

use crate::{
    jobs::{Act, claim, jobs_of, quiet, work},
    support::{
        app::TestApp,
        cluster::connect,
        fixture::BoardBuilder,
        sql::{until, value},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_does_not_wait_behind_an_import() {
    let (app, _, board) = quiet(&[("RAGBOARD_JOBS_POLL", "0.05")]).await;
    let store = &app.app.store;
    let job = |node: usize, priority| NewJob::new(board.id, board.nodes[node], JobType::CreateEmbeddings, priority);
    store.enqueue(&[job(2, IMPORT_PRIORITY)]).await.unwrap();
    let mut work = work(&app, JobType::CreateEmbeddings, |job| match job.priority {
        IMPORT_PRIORITY => Act::Hang,
        _ => Act::Do,
    });
    let import = work.given().await;
    assert_eq!(import[0].node_id, Some(board.nodes[2]));
    // The lane is full, and yet somebody is served.
    store.enqueue(&[job(3, IMPORT_PRIORITY), job(4, IMPORT_PRIORITY + 1)]).await.unwrap();
    let edit = work.given().await;
    assert_eq!(edit.iter().map(|job| job.node_id).collect::<Vec<_>>(), [Some(board.nodes[4])]);
    until(&app.sql, "SELECT count(*) = 1 FROM processing_jobs WHERE status = 'completed' AND priority > 3").await;
    assert_eq!(jobs_of(&app, "status = 'pending'").await, ["create_embeddings pending 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_take_turns_and_priority_comes_first() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let large = BoardBuilder::new(owner.id, "Large").nodes(400).make(&app).await;
    let mut small = Vec::new();
    for number in 0..5 {
        small.push(BoardBuilder::new(owner.id, &format!("Small {number}")).nodes(4).make(&app).await);
    }
    // What was made by one statement would be left for later.
    app.sql.batch_execute("UPDATE processing_jobs SET priority = 5").await.unwrap();
    let store = &app.app.store;
    // 320 jobs asked for before the others, and three boards' worth of places: everybody gets their share.
    let boards = |jobs: &[Job]| jobs.iter().map(|job| job.board_id).collect::<HashSet<_>>();
    let first = claim(store, 12, "one", None).await;
    assert_eq!((first.len(), boards(&first).len()), (12, 6), "two of each of six boards");
    // Fewer places than boards: the turn goes on where it was, and around.
    let mut all: Vec<BoardId> = small.iter().map(|board| board.id).chain([large.id]).collect();
    all.sort();
    app.sql.batch_execute("UPDATE processing_jobs SET status = 'pending', worker = NULL").await.unwrap();
    let of = |jobs: &[Job]| {
        let mut boards: Vec<BoardId> = jobs.iter().map(|job| job.board_id).collect();
        boards.sort();
        boards
    };
    let two = claim(store, 4, "two", None).await;
    assert_eq!(of(&two), all[..4]);
    let mut turns = Turns::default();
    turns.served(&two);
    assert_eq!(of(&claim(store, 4, "three", Some(&turns)).await), [all[0], all[1], all[4], all[5]]);
    app.sql.batch_execute("UPDATE processing_jobs SET status = 'pending', worker = NULL").await.unwrap();
    // One job of a higher priority comes before all others; what is not due yet does not.
    let urgent = NewJob::new(small[2].id, small[2].nodes[3], JobType::ExtractText, 9);
    store.enqueue(&[urgent.clone(), urgent]).await.unwrap();
    let later = NewJob::new(large.id, large.nodes[398], JobType::ExtractText, 10);
    store.enqueue(&[later]).await.unwrap();
    app.sql
        .batch_execute("UPDATE processing_jobs SET scheduled_for = now() + interval '1 hour' WHERE priority = 10")
        .await
        .unwrap();
    let claimed = claim(store, 8, "four", None).await;
    assert_eq!(claimed.iter().map(|job| job.priority).collect::<Vec<_>>(), [9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_new_resources_at_once_are_left_for_later() {
    let (app, _, board) = quiet(&[]).await;
    let id = board.id.0;
    for (count, priorities) in [(20, "5: 20"), (21, "3: 21, 5: 20")] {
        app.sql
            .batch_execute(&format!(
                "WITH made AS (INSERT INTO nodes (board_id, type) SELECT '{id}', 'resource' FROM generate_series(1, {count}) \
                 RETURNING id) INSERT INTO resource_nodes (board_id, node_id, resource_type, title) \
                 SELECT '{id}', id, 'text', 'title' FROM made"
            ))
            .await
            .unwrap();
        let counts = "SELECT string_agg(priority || ': ' || count, ', ' ORDER BY priority) FROM (\
            SELECT priority, count(*) FROM processing_jobs GROUP BY priority) p";
        assert_eq!(value(&app.sql, counts).await, priorities);
    }
    // What somebody does by hand with one of them comes before the rest.
    app.sql
        .batch_execute("UPDATE resource_nodes SET content = 'by hand' WHERE node_id = (SELECT resource_id FROM processing_jobs WHERE priority = 3 LIMIT 1)")
        .await
        .unwrap();
    assert_eq!(value(&app.sql, "SELECT count(*) FROM processing_jobs WHERE priority = 5").await, "21");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_works_on_a_resource_that_is_being_restored() {
    let (app, _, board) = quiet(&[]).await;
    let (store, node) = (&app.app.store, board.nodes[2]);
    store.enqueue(&[NewJob::new(board.id, node, JobType::ExtractText, 5)]).await.unwrap();
    let delete = format!("UPDATE nodes SET deleted_at = now() WHERE id = '{}'", node.0);
    app.sql.batch_execute(&delete).await.unwrap();
    let writer = connect(&app.url).await;
    writer.batch_execute(&format!("BEGIN; {}", delete.replace("now()", "NULL"))).await.unwrap();
    assert_eq!(claim(store, 8, "one", None).await, [], "it would see a resource that is deleted");
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(claim(store, 8, "one", None).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_many_boards_is_one_account() {
    let app = TestApp::new().await;
    let (many, few) = (app.account("many@example.org").await, app.account("few@example.org").await);
    for number in 0..30 {
        BoardBuilder::new(many.id, &format!("Board {number}")).nodes(10).make(&app).await;
    }
    let board = BoardBuilder::new(few.id, "Only").nodes(20).make(&app).await;
    app.sql.batch_execute("UPDATE processing_jobs SET priority = 5").await.unwrap();
    let store = &app.app.store;
    let owners = |jobs: &[Job]| jobs.iter().filter_map(|job| job.owner_id).collect::<Vec<UserId>>();
    let of = |jobs: &[Job], owner: UserId| owners(jobs).iter().filter(|one| **one == owner).count();
    let first = claim(store, 16, "one", None).await;
    assert_eq!((of(&first, many.id), of(&first, few.id)), (8, 8), "half of a batch for each");
    // One place: everybody has every second turn, and of the many boards each has one after the other.
    let (mut turns, mut boards, mut served) = (Turns::default(), HashSet::new(), Vec::new());
    for number in 0..12 {
        let jobs = claim(store, 1, &format!("turn {number}"), Some(&turns)).await;
        turns.served(&jobs);
        served.extend(owners(&jobs));
        boards.extend(jobs.iter().map(|job| job.board_id));
    }
    assert_eq!(served.iter().filter(|owner| **owner == few.id).count(), 6, "{served:?}");
    assert_eq!(boards.len(), 7, "six boards of the one, and the one of the other");
    // Priority orders the work of an account: nobody comes before others by asking for more.
    app.sql
        .batch_execute(&format!(
            "UPDATE processing_jobs SET priority = 10 WHERE owner_id = '{}' AND status = 'pending'",
            many.id.0
        ))
        .await
        .unwrap();
    let jobs = claim(store, 4, "urgent", None).await;
    assert_eq!((of(&jobs, many.id), of(&jobs, few.id)), (2, 2));
    assert!(jobs.iter().any(|job| job.board_id == board.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_ends_a_turn_and_keeps_what_was_done() {
    let (app, _, board) = quiet(&[]).await;
    let (store, node) = (&app.app.store, board.nodes[2]);
    store.enqueue(&[NewJob::new(board.id, node, JobType::ExtractText, 5)]).await.unwrap();
    let asked = value(&app.sql, "SELECT scheduled_for FROM processing_jobs").await;
    for (number, part) in [0.25, 0.5].into_iter().enumerate() {
        let claimed = claim(store, 8, &format!("{number}"), None).await;
        assert_eq!((claimed.len(), claimed[0].attempts), (1, 1));
        let ended = store.settle(&format!("{number}"), &[(claimed[0].clone(), Ending::Sliced(part))]).await.unwrap();
        let state = (ended[0].status, ended[0].progress, ended[0].attempts, ended[0].postponed, ended[0].priority);
        assert_eq!(state, (JobStatus::Pending, part, 0, 0, IMPORT_PRIORITY));
        assert_eq!(value(&app.sql, "SELECT scheduled_for FROM processing_jobs").await, asked, "it keeps its place");
    }
    // While the third slice runs, what the first two did is still to be seen.
    let claimed = claim(store, 8, "three", None).await;
    assert_eq!((claimed[0].progress, claimed[0].status), (0.5, JobStatus::Running));
    store.settle("three", &[(claimed[0].clone(), Ending::GivenBack)]).await.unwrap();
    assert_eq!(claim(store, 8, "four", None).await.len(), 1, "what was given back comes again at once");
}
