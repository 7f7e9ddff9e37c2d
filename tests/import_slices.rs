//! Imports write in slices: the board is free while files are read and while the work is planned, what somebody does in
//! between is respected, and imports into one board take turns.

use std::{
    fs,
    time::{Duration, Instant},
};

use ragboard::ops::import::{ImportReport, ImportRequest, Source, import};
use tokio_postgres::Client;

use crate::{
    import::{Bench, request, sample},
    support::{
        cluster::connect,
        sql::{until, value},
    },
};

/// Imports while the board is locked by somebody else: until the first slice waits for it, nothing needs the lock. Then what
/// the other one does is done and committed.
async fn import_beside(bench: &Bench, statements: &str) -> Result<ImportReport, String> {
    let other = connect(&bench.app.url).await;
    other.batch_execute("SET ragboard.gateway = 'on'; BEGIN; SELECT * FROM boards FOR UPDATE").await.unwrap();
    let source = Source::Folder(bench.path(""));
    let (outcome, ()) = tokio::join!(import(bench.store(), request(source, bench.owner), false), async {
        until(
            &bench.app.sql,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND datname = current_database() AND query LIKE '%FOR NO KEY UPDATE%')",
        )
        .await;
        other.batch_execute(statements).await.unwrap();
        other.batch_execute("UPDATE boards SET version = version + 1; COMMIT").await.unwrap();
    });
    outcome.map_err(|failure| failure.to_string())
}

async fn count(sql: &Client, what: &str) -> i64 {
    value(sql, &format!("SELECT count(*) FROM {what}")).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_import_is_many_versions_and_each_is_told() {
    let bench = Bench::new().await;
    for number in 0..2_100 {
        bench.write(&format!("{}/{number}.md", number % 7), format!("# {number}\n\n[next]({}.md)", number + 7));
    }
    let report = bench.import().await;
    // 2,107 nodes and 2,093 links, at most 250 together.
    assert_eq!(report.slices, 17, "{report}");
    let board = bench.board().await;
    assert_eq!((board.version, board.nodes.len(), board.links.len()), (17, 2_107, 2_093));
    assert_eq!(count(&bench.app.sql, "board_events").await, 16);
    let versions =
        "SELECT bool_and(n = 250) FROM (SELECT count(*) AS n FROM nodes WHERE version < 9 GROUP BY version) AS v";
    assert_eq!(value(&bench.app.sql, versions).await, "t");
    // However it is cut, an import is worked on after what is written by hand.
    let priorities = "(SELECT DISTINCT priority FROM processing_jobs) AS p";
    assert_eq!(count(&bench.app.sql, priorities).await, 1);
    assert_eq!(value(&bench.app.sql, "SELECT max(priority) FROM processing_jobs").await, "3");
    assert_eq!(count(&bench.app.sql, "board_imports").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_plan_and_slice_is_respected() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let id = |path: &str| before.node(path)["id"].as_str().unwrap().to_owned();

    // Planned: texts change, a file comes into b/c, one file goes, one leaves its folder.
    bench.write("a/file0.md", "# Edited");
    bench.write("a/file1.md", "# Edited too");
    bench.write("b/c/new.md", "# New");
    fs::rename(bench.path("a/file3.md"), bench.path("file3.md")).unwrap();
    fs::remove_file(bench.path("a/file4.md")).unwrap();
    let meanwhile = format!(
        "UPDATE nodes SET deleted_at = now() WHERE id = '{}' OR metadata #>> '{{import,path}}' LIKE 'b/c%'; \
         UPDATE node_hierarchy SET parent_id = '{}' WHERE child_id = '{}'",
        id("a/file0.md"),
        id("b"),
        id("a/file3.md")
    );
    let report = import_beside(&bench, &meanwhile).await.unwrap();
    // The text of the deleted node, the file for the deleted folder, and the place of what was placed by hand.
    assert_eq!(report.left, 3, "{report}");
    assert!(report.to_string().contains("3 left for the next import"), "{report}");
    let after = bench.board().await;
    assert!(!after.nodes.contains_key("a/file0.md") && !after.nodes.contains_key("b/c/new.md"));
    assert_eq!(after.node("a/file1.md")["title"], "Edited too");
    assert_eq!(after.parent_of("file3.md"), Some("b"));
    assert!(!after.nodes.contains_key("a/file4.md"));
    assert_eq!(after.version, before.version + 2);
    let title = format!("SELECT title FROM resource_nodes WHERE node_id = '{}'", id("a/file0.md"));
    assert_eq!(value(&bench.app.sql, &title).await, "File 0");
    // The next one has nothing left to do: what somebody deleted stays deleted.
    assert!(!bench.import().await.has_changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_edited_between_plan_and_slice_stays() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let id = |path: &str| before.node(path)["id"].as_str().unwrap().to_owned();
    for number in 0..3 {
        bench.write(&format!("a/file{number}.md"), format!("# Later {number}"));
    }
    let meanwhile = format!(
        "UPDATE resource_nodes SET content = 'By hand' WHERE node_id = '{}'; \
         UPDATE resource_nodes SET title = 'By hand' WHERE node_id = '{}'",
        id("a/file0.md"),
        id("a/file1.md")
    );
    let report = import_beside(&bench, &meanwhile).await.unwrap();
    assert_eq!(report.left, 2, "{report}");
    let after = bench.board().await;
    assert_eq!(after.node("a/file0.md")["content"], "By hand");
    assert_eq!(after.node("a/file0.md")["metadata"], before.node("a/file0.md")["metadata"]);
    assert_eq!(after.node("a/file1.md")["title"], "By hand");
    assert_eq!(after.node("a/file2.md")["title"], "Later 2");
    // The next one knows them as edits: of a title alone, the text is taken.
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated, report.left), (2, 1, 0), "{report}");
    let last = bench.board().await;
    assert_eq!(last.node("a/file0.md"), after.node("a/file0.md"));
    let named = last.node("a/file1.md");
    assert_eq!((named["title"].as_str(), named["content"].as_str()), (Some("By hand"), Some("# Later 1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_into_which_something_was_put_meanwhile_stays() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let id = |path: &str| before.node(path)["id"].as_str().unwrap().to_owned();
    fs::remove_dir_all(bench.path("b")).unwrap();
    let meanwhile = format!(
        "INSERT INTO node_hierarchy (board_id, child_id, parent_id) SELECT id, '{}', '{}' FROM boards",
        id("README.md"),
        id("b/c")
    );
    let report = import_beside(&bench, &meanwhile).await.unwrap();
    assert_eq!(report.left, 2, "the folder and the one around it");
    let after = bench.board().await;
    assert_eq!((after.parent_of("README.md"), after.parent_of("b/c")), (Some("b/c"), Some("b")));
    assert!(!after.nodes.contains_key("b/c/page0.html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_is_deleted_and_a_turn_that_is_lost_end_the_import() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    bench.write("a/file0.md", "# Edited");
    let before = bench.board().await;
    let lost = import_beside(&bench, "UPDATE board_imports SET holder = gen_random_uuid()").await.unwrap_err();
    assert!(lost.contains("taken over"), "{lost}");
    assert_eq!(bench.board().await.nodes, before.nodes);
    bench.app.sql.batch_execute("DELETE FROM board_imports").await.unwrap();
    let gone = import_beside(&bench, "UPDATE boards SET deleted_at = now()").await.unwrap_err();
    assert!(gone.contains("deleted"), "{gone}");
    assert_eq!(bench.board().await.nodes, before.nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_take_turns_and_wait_without_a_lock() {
    let bench = Bench::new().await;
    sample(&bench);
    let turn =
        "INSERT INTO board_imports (user_id, board_name, holder, expires_at) SELECT id, 'Notes', gen_random_uuid(), ";
    // A turn of an import that died is over.
    bench.app.sql.batch_execute(&format!("{turn} now() - interval '1 s' FROM users")).await.unwrap();
    bench.import().await;
    // That of one that lives is waited for, by asking now and then.
    bench.app.sql.batch_execute(&format!("{turn} now() + interval '1 day' FROM users")).await.unwrap();
    bench.write("a/new.md", "# New");
    let asked = || bench.app.statements().get("import.take_turn").copied().unwrap_or_default();
    let before = asked();
    let (report, ()) = tokio::join!(bench.import(), async {
        let deadline = Instant::now() + Duration::from_secs(60);
        while asked() < before + 2 {
            assert!(Instant::now() < deadline, "the import does not ask for its turn");
            tokio::task::yield_now().await;
        }
        assert_eq!(
            count(&bench.app.sql, "pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")
                .await,
            0
        );
        assert_eq!(count(&bench.app.sql, "nodes WHERE metadata #>> '{import,path}' = 'a/new.md'").await, 0);
        bench.app.sql.batch_execute("DELETE FROM board_imports").await.unwrap();
    });
    assert_eq!(report.inserted, 1);
    // Another board of the same owner is no business of theirs.
    bench.app.sql.batch_execute(&format!("{turn} now() + interval '1 day' FROM users")).await.unwrap();
    let source = Source::Folder(bench.path(""));
    let other = ImportRequest { board_name: "Other".into(), ..request(source, bench.owner) };
    assert_eq!(import(bench.store(), other, false).await.unwrap().inserted, 19);
}

/// Drops an import as soon as this statement has run once more.
async fn cancel_after(bench: &Bench, statement: &str) {
    let ran = || bench.app.statements().get(statement).copied().unwrap_or_default();
    let before = ran();
    let deadline = Instant::now() + Duration::from_secs(300);
    let cut = async {
        while ran() == before {
            assert!(Instant::now() < deadline, "{statement} did not run");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = cut => {}
        report = bench.import() => panic!("the import was over before {statement}: {report}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_broken_off_is_finished_by_the_next() {
    let bench = Bench::new().await;
    for number in 0..2_400 {
        bench.write(&format!("{}/{number}.md", number % 13), format!("# {number}\n\n[next]({}.md)", number + 13));
    }
    for statement in ["import.create", "import.insert_nodes", "import.insert_texts", "import.insert_links"] {
        cancel_after(&bench, statement).await;
        let board = bench.board().await;
        assert!(board.nodes.keys().all(|path| bench.path(path).exists()), "after {statement}");
    }
    bench.import().await;
    let before = bench.board().await;
    assert_eq!((before.nodes.len(), before.links.len()), (2_413, 2_387));
    assert_eq!(before.stats[1][0], 2_413, "no path has two nodes");
    assert!(!bench.import().await.has_changes());

    fs::remove_dir_all(bench.path("5")).unwrap();
    for number in 0..2_400 {
        bench.write(&format!("{}/{number}.md", number % 13 + 20), format!("# {number}, another"));
        bench.write(&format!("{}/{number}.md", number % 4), format!("# {number}, changed"));
    }
    for statement in ["import.insert_nodes", "import.touch", "import.delete_links", "import.delete"] {
        cancel_after(&bench, statement).await;
        let board = bench.board().await;
        assert_eq!(board.stats[0], board.stats[1], "after {statement}");
        assert_eq!(board.node("7/7.md")["id"], before.node("7/7.md")["id"]);
    }
    bench.import().await;
    let board = bench.board().await;
    assert!(board.nodes.keys().all(|path| bench.path(path).exists()));
    assert_eq!(board.stats[1][0], board.nodes.len());
    assert_eq!(board.node("3/3.md")["title"], "3, changed");
    assert_eq!(board.node("23/3.md")["title"], "3, another");
    assert!(!bench.import().await.has_changes());
}
