//! Importing again after files were renamed, moved, removed and brought back: nodes stay the same nodes, with their links,
//! their places and their ids.

use std::{collections::BTreeMap, fs};

use ragboard::{
    domain::NodeId,
    ops::import::{ImportOptions, ImportReport, ImportRequest, Source, import},
};
use serde_json::{Value, json};

use crate::{
    import::{Bench, Board, request, sample},
    support::sql::{value, values},
    writes::{done, mutate},
};

fn source(bench: &Bench) -> Source {
    Source::Folder(bench.path(""))
}

pub(crate) async fn import_with(bench: &Bench, options: ImportOptions) -> ImportReport {
    import(bench.store(), ImportRequest { options, ..request(source(bench), bench.owner) }, false).await.unwrap()
}

async fn emptying(bench: &Bench) -> ImportReport {
    import_with(bench, ImportOptions { allow_emptying: true, ..ImportOptions::default() }).await
}

/// Deletes or restores nodes as a client does.
pub(crate) async fn by_hand(bench: &Bench, mutation: &str, nodes: &[&Value]) {
    let owner = bench.app.account("owner@example.org").await;
    let ids = nodes.iter().map(|node| NodeId(node["id"].as_str().unwrap().parse().unwrap()).to_string());
    let board = value(&bench.app.sql, "SELECT id FROM boards").await;
    let board = ragboard::domain::BoardId(board.parse().unwrap()).to_string();
    let input = json!({ "boardId": board, "nodeIds": ids.collect::<Vec<_>>() });
    done(&mutate(&bench.app, &owner, mutation, "NodesInput", "nodeIds", input).await);
}

/// A link between two nodes that somebody drew.
async fn draw(bench: &Bench, from: &Value, to: &Value) {
    let statement = format!(
        "INSERT INTO connections (board_id, from_node_id, to_node_id, label) \
         SELECT id, '{}', '{}', 'drawn' FROM boards",
        from["id"].as_str().unwrap(),
        to["id"].as_str().unwrap()
    );
    bench.app.sql.batch_execute(&statement).await.unwrap();
}

/// Drawn links between living nodes, by the paths of their ends.
async fn drawn(bench: &Bench) -> Vec<String> {
    values(
        &bench.app.sql,
        "SELECT concat(f.metadata #>> '{import,path}', ' ', t.metadata #>> '{import,path}') FROM connections c \
         JOIN nodes f ON f.id = c.from_node_id AND f.deleted_at IS NULL \
         JOIN nodes t ON t.id = c.to_node_id AND t.deleted_at IS NULL WHERE c.label = 'drawn' ORDER BY 1",
    )
    .await
}

/// Ids by path.
fn ids(board: &Board) -> BTreeMap<&str, &Value> {
    board.nodes.iter().map(|(path, node)| (path.as_str(), &node["id"])).collect()
}

pub(crate) fn rename(bench: &Bench, from: &str, to: &str) {
    fs::create_dir_all(bench.path(to).parent().unwrap()).unwrap();
    fs::rename(bench.path(from), bench.path(to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_or_moved_keeps_its_node() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.write("plain.txt", "A text without a title of its own.");
    bench.import().await;
    let before = bench.board().await;
    draw(&bench, before.node("a/file6.md"), before.node("a/file2.md")).await;
    // Somebody has put one of them elsewhere, on the canvas and among the folders.
    let statement = format!(
        "UPDATE nodes SET x = 5000, y = 5000 WHERE id = '{0}'; DELETE FROM node_hierarchy WHERE child_id = '{0}'; \
         UPDATE resource_nodes SET title = 'my title' WHERE node_id = '{1}'",
        before.node("a/file6.md")["id"].as_str().unwrap(),
        before.node("a/file2.md")["id"].as_str().unwrap(),
    );
    bench.app.sql.batch_execute(&statement).await.unwrap();

    rename(&bench, "a/file6.md", "b/c/moved.md");
    rename(&bench, "a/file2.md", "a/two.md");
    rename(&bench, "plain.txt", "new/folder/simple.txt");
    let report = bench.import().await;
    assert_eq!((report.inserted, report.deleted, report.renamed, report.restored), (2, 0, 3, 0), "{report}");
    assert_eq!(report.updated, 0);
    let shown = report.to_string();
    assert!(shown.contains("a/file6.md -> b/c/moved.md") && shown.contains("3 renamed"), "{shown}");

    let after = bench.board().await;
    for (old, new) in
        [("a/file6.md", "b/c/moved.md"), ("a/file2.md", "a/two.md"), ("plain.txt", "new/folder/simple.txt")]
    {
        assert_eq!(after.node(new)["id"], before.node(old)["id"], "{old}");
        assert!(!after.nodes.contains_key(old));
    }
    assert_eq!(drawn(&bench).await, ["b/c/moved.md a/two.md"]);
    // By hand: stays. By the import: follows.
    let moved = after.node("b/c/moved.md");
    assert_eq!((&moved["parent"], after.rect("b/c/moved.md")[..2].to_vec()), (&Value::Null, vec![5000.0, 5000.0]));
    assert_eq!(
        (after.node("a/two.md")["title"].as_str(), after.rect("a/two.md")),
        (Some("my title"), before.rect("a/file2.md"))
    );
    assert_eq!(after.parent_of("new/folder/simple.txt"), Some("new/folder"));
    assert_eq!(after.node("new/folder/simple.txt")["title"], "simple.txt");
    after.check();
    assert!(!bench.import().await.has_changes());
    assert_eq!(bench.board().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_renamed_keeps_its_node() {
    let bench = Bench::new().await;
    sample(&bench);
    for number in 0..3 {
        bench.write(&format!("b/c/deep/empty{number}.txt"), "");
        bench.write(&format!("b/c/deep/x{number}.txt"), format!("deep {number}"));
    }
    bench.import().await;
    let before = bench.board().await;
    // Renamed; renamed and moved into another; and with an edited file in it.
    rename(&bench, "a", "alpha");
    rename(&bench, "b/c", "alpha/gamma");
    bench.write("alpha/gamma/deep/x1.txt", "edited at once");
    let report = bench.import().await;
    let after = bench.board().await;
    assert_eq!((report.inserted, report.deleted, report.updated), (0, 0, 1), "{report}");
    let name = |path: &str| path.replacen("b/c", "alpha/gamma", 1);
    for (path, id) in ids(&before) {
        let path = if path == "a" || path.starts_with("a/") { path.replacen('a', "alpha", 1) } else { name(path) };
        assert_eq!(after.node(&path)["id"], *id, "{path}");
    }
    assert_eq!(after.node("alpha")["name"], "alpha");
    assert_eq!(after.node("alpha/gamma")["name"], "gamma");
    assert_eq!(after.parent_of("alpha/gamma"), Some("alpha"));
    assert_eq!(after.parent_of("alpha/gamma/deep/empty2.txt"), Some("alpha/gamma/deep"));
    after.check();
    assert!(!bench.import().await.has_changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_names_chains_and_capital_letters() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        bench.write(&format!("{name}.md"), format!("# The text of {name}"));
    }
    bench.write("x/one.md", "one");
    bench.write("x/two.md", "two");
    bench.write("y/three.md", "three");
    bench.import().await;
    let before = bench.board().await;
    // a <-> b, c -> d -> e, and e is gone; folders exchange their names.
    rename(&bench, "a.md", "t.md");
    rename(&bench, "b.md", "a.md");
    rename(&bench, "t.md", "b.md");
    fs::remove_file(bench.path("e.md")).unwrap();
    rename(&bench, "d.md", "e.md");
    rename(&bench, "c.md", "d.md");
    rename(&bench, "x", "t");
    rename(&bench, "y", "x");
    rename(&bench, "t", "y");
    let report = bench.import().await;
    let after = bench.board().await;
    assert_eq!((report.inserted, report.updated, report.deleted), (0, 0, 1), "{report}");
    for (old, new) in [
        ("a.md", "b.md"),
        ("b.md", "a.md"),
        ("c.md", "d.md"),
        ("d.md", "e.md"),
        ("x", "y"),
        ("y", "x"),
        ("x/one.md", "y/one.md"),
        ("y/three.md", "x/three.md"),
    ] {
        assert_eq!(after.node(new)["id"], before.node(old)["id"], "{old}");
    }
    assert_eq!((after.parent_of("y/two.md"), after.rect("y")), (Some("y"), before.rect("x")));

    // Capital letters, with and without an edit; also of a folder.
    rename(&bench, "a.md", "A.md");
    rename(&bench, "b.md", "B.MD");
    bench.write("B.MD", "# Another text");
    rename(&bench, "x", "X");
    let report = bench.import().await;
    let last = bench.board().await;
    assert_eq!((report.inserted, report.updated, report.deleted), (0, 1, 0), "{report}");
    for (old, new) in [("a.md", "A.md"), ("b.md", "B.MD"), ("x", "X"), ("x/three.md", "X/three.md")] {
        assert_eq!(last.node(new)["id"], after.node(old)["id"], "{old}");
    }
    assert_eq!(last.node("B.MD")["title"], "Another text");
    last.check();
    assert!(!bench.import().await.has_changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_texts_are_told_apart_by_their_names() {
    let bench = Bench::new().await;
    for folder in ["one", "two", "three"] {
        bench.write(&format!("{folder}/license.txt"), "The same everywhere");
        bench.write(&format!("{folder}/own.txt"), format!("Of {folder}"));
    }
    bench.write("copied.md", "# Original");
    bench.import().await;
    let before = bench.board().await;
    rename(&bench, "one", "uno");
    rename(&bench, "three", "tres");
    // A copy under a new name, and the original is edited: the node stays with its path.
    bench.write("copy.md", "# Original");
    bench.write("copied.md", "# Edited");
    let report = bench.import().await;
    let after = bench.board().await;
    assert_eq!((report.inserted, report.updated, report.deleted), (1, 1, 0), "{report}");
    for (old, new) in [
        ("one/license.txt", "uno/license.txt"),
        ("two/license.txt", "two/license.txt"),
        ("three/license.txt", "tres/license.txt"),
        ("three", "tres"),
        ("copied.md", "copied.md"),
    ] {
        assert_eq!(after.node(new)["id"], before.node(old)["id"], "{old}");
    }
    // Moved and edited at once: known by a name that nothing else has, else new.
    rename(&bench, "uno/own.txt", "elsewhere/own.txt");
    rename(&bench, "copied.md", "elsewhere/copied.md");
    bench.write("elsewhere/own.txt", "edited");
    bench.write("elsewhere/copied.md", "# Edited again");
    bench.import().await;
    let last = bench.board().await;
    assert_eq!(last.node("elsewhere/copied.md")["id"], after.node("copied.md")["id"]);
    assert_ne!(last.node("elsewhere/own.txt")["id"], after.node("uno/own.txt")["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_removed_comes_back_as_itself() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let imported = bench.board().await;
    draw(&bench, imported.node("a/file1.md"), imported.node("b/c/page3.html")).await;
    let statement =
        format!("UPDATE nodes SET x = 5000 WHERE id = '{}'", imported.node("README.md")["id"].as_str().unwrap());
    bench.app.sql.batch_execute(&statement).await.unwrap();
    let before = bench.board().await;

    // The whole folder is away, and is told to be.
    let away = tempfile::tempdir().unwrap();
    for name in ["a", "b", "README.md"] {
        fs::rename(bench.path(name), away.path().join(name)).unwrap();
    }
    let report = emptying(&bench).await;
    assert_eq!(report.deleted, 18);
    assert!(report.to_string().contains("restoreNodes"), "{report}");
    assert!(bench.board().await.nodes.is_empty());
    bench.app.sql.batch_execute("DELETE FROM processing_jobs").await.unwrap();
    for name in ["a", "b", "README.md"] {
        fs::rename(away.path().join(name), bench.path(name)).unwrap();
    }
    let report = bench.import().await;
    assert_eq!((report.restored, report.inserted, report.updated, report.deleted), (18, 0, 0, 0), "{report}");
    let priorities = "SELECT string_agg(DISTINCT priority::text, ' ') FROM processing_jobs";
    assert_eq!(value(&bench.app.sql, priorities).await, "3", "behind what is written by hand");
    let after = bench.board().await;
    after.check();
    for (path, node) in &before.nodes {
        for field in ["id", "rect", "parent", "position", "title", "content", "metadata"] {
            assert_eq!(after.node(path)[field], node[field], "{path}: {field}");
        }
    }
    assert_eq!(after.links, before.links);
    assert_eq!(drawn(&bench).await, ["a/file1.md b/c/page3.html"]);
    assert!(!bench.import().await.has_changes());

    // A text comes back under another name; a file comes back with another text.
    fs::remove_file(bench.path("a/file0.md")).unwrap();
    fs::remove_file(bench.path("a/file1.md")).unwrap();
    let text = fs::read(bench.path("a/file2.md")).unwrap();
    fs::remove_file(bench.path("a/file2.md")).unwrap();
    assert_eq!(bench.import().await.deleted, 3);
    bench.write("a/returned.md", text);
    bench.write("a/file1.md", "# Rewritten");
    let report = bench.import().await;
    assert_eq!((report.restored, report.inserted, report.updated, report.renamed), (2, 0, 1, 1), "{report}");
    let last = bench.board().await;
    assert_eq!(last.node("a/returned.md")["id"], before.node("a/file2.md")["id"]);
    assert_eq!(last.node("a/file1.md")["id"], before.node("a/file1.md")["id"]);
    assert_eq!(last.node("a/file1.md")["title"], "Rewritten");
    assert_eq!(drawn(&bench).await, ["a/file1.md b/c/page3.html"]);
    last.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_stays_deleted() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    by_hand(&bench, "deleteNodes", &[before.node("a/file1.md"), before.node("b/c")]).await;
    // Edited meanwhile, and with something new below.
    bench.write("a/file1.md", "# Edited");
    bench.write("b/c/new.md", "# New");
    bench.write("b/beside.md", "# Beside");
    let report = bench.import().await;
    assert_eq!((report.inserted, report.updated, report.deleted), (1, 0, 0), "{report}");
    // The file, the folder, its seven pages and the new one.
    assert_eq!(report.left_deleted, 10);
    assert!(report.to_string().contains("--restore-deleted"), "{report}");
    let after = bench.board().await;
    assert!(!after.nodes.contains_key("b/c") && !after.nodes.contains_key("a/file1.md"));
    assert!(after.nodes.contains_key("b/beside.md"));
    assert!(!bench.import().await.has_changes());

    // Removed by an import, brought back by hand, and deleted by hand: the last word counts.
    fs::remove_file(bench.path("a/file3.md")).unwrap();
    bench.import().await;
    by_hand(&bench, "restoreNodes", &[before.node("a/file3.md")]).await;
    by_hand(&bench, "deleteNodes", &[before.node("a/file3.md")]).await;
    bench.write("a/file3.md", "# Back");
    assert_eq!(bench.import().await.left_deleted, 11);

    let restore = ImportOptions { restore_deleted: true, ..ImportOptions::default() };
    let report = import_with(&bench, restore).await;
    assert_eq!((report.restored, report.inserted, report.left_deleted), (10, 1, 0), "{report}");
    let last = bench.board().await;
    for path in ["a/file1.md", "a/file3.md", "b/c", "b/c/page0.html"] {
        assert_eq!(last.node(path)["id"], before.node(path)["id"], "{path}");
    }
    assert_eq!(
        (last.node("a/file1.md")["title"].as_str(), last.parent_of("b/c/new.md")),
        (Some("Edited"), Some("b/c"))
    );
    last.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_by_hand_leaves_no_second_node_behind() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    // As imports were before: the path came back, and another node was made for it.
    fs::remove_file(bench.path("a/file1.md")).unwrap();
    bench.import().await;
    bench
        .app
        .sql
        .batch_execute("UPDATE nodes SET metadata = metadata #- '{import,gone}' WHERE deleted_at IS NOT NULL")
        .await
        .unwrap();
    // Such a deletion is known from the log as one that nobody made by hand.
    bench.write("a/file1.md", "# Again");
    let report = bench.import().await;
    assert_eq!((report.restored, report.inserted), (1, 0), "{report}");
    assert_eq!(bench.board().await.node("a/file1.md")["id"], before.node("a/file1.md")["id"]);

    // Two nodes with one path: the older one is the file's, the other goes.
    bench
        .app
        .sql
        .batch_execute(
            "WITH twin AS (INSERT INTO nodes (board_id, type, x, y, width, height, metadata) \
             SELECT board_id, type, x, y - 5000, width, height, metadata FROM nodes \
             WHERE metadata #>> '{import,path}' = 'a/file1.md' RETURNING id, board_id) \
             INSERT INTO resource_nodes (board_id, node_id, resource_type, title) SELECT board_id, id, 'text', 'twin' FROM twin",
        )
        .await
        .unwrap();
    let report = bench.import().await;
    assert_eq!((report.deleted, report.inserted, report.updated), (1, 0, 0), "{report}");
    assert_eq!(bench.board().await.node("a/file1.md")["id"], before.node("a/file1.md")["id"]);

    // A folder in the place of a file, and the file's node restored by hand: it is not taken for the folder's.
    fs::remove_file(bench.path("a/file2.md")).unwrap();
    bench.write("a/file2.md/inside.md", "# Inside");
    bench.import().await;
    by_hand(&bench, "restoreNodes", &[before.node("a/file2.md")]).await;
    let report = bench.import().await;
    assert_eq!((report.deleted, report.inserted), (1, 0), "{report}");
    let last = bench.board().await;
    assert_eq!(
        (last.node("a/file2.md")["type"].as_str(), last.parent_of("a/file2.md/inside.md")),
        (Some("folder"), Some("a/file2.md"))
    );
    assert!(!bench.import().await.has_changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_all_and_writes_nothing() {
    let bench = Bench::new().await;
    sample(&bench);
    let dry = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let report = import_with(&bench, dry).await;
    assert_eq!((report.inserted, report.links, report.is_dry_run), (18, 16, true), "{report}");
    assert_eq!(value(&bench.app.sql, "SELECT count(*) FROM boards").await, "0");
    bench.import().await;

    rename(&bench, "a/file1.md", "a/uno.md");
    bench.write("a/file2.md", "# Edited");
    bench.write("more/new.md", "# New");
    fs::remove_file(bench.path("README.md")).unwrap();
    bench.write("a/file4.md", b"\0");
    let before = bench.board().await;
    let rows = value(&bench.app.sql, "SELECT count(*) FROM board_events").await;
    let report = import_with(&bench, dry).await;
    assert_eq!(bench.board().await, before);
    assert_eq!(value(&bench.app.sql, "SELECT count(*) FROM board_events").await, rows);
    let shown = report.to_string();
    for line in [
        "a dry run, nothing was written",
        "new (2):",
        "more/new.md",
        "changed (1):",
        "a/file1.md -> a/uno.md",
        "gone (1):",
        "README.md",
        "kept (1):",
        "a/file4.md",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let real = bench.import().await;
    let numbers = |report: &ImportReport| {
        (
            report.inserted,
            report.updated,
            report.renamed,
            report.deleted,
            report.kept,
            report.links,
            report.links_changed,
        )
    };
    assert_eq!(numbers(&real), numbers(&report));
    // The guard speaks first.
    fs::remove_dir_all(bench.path("a")).unwrap();
    fs::remove_dir_all(bench.path("b")).unwrap();
    let options = ImportRequest { options: dry, ..request(source(&bench), bench.owner) };
    assert!(import(bench.store(), options, false).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_that_went_comes_back_as_a_whole() {
    let bench = Bench::new().await;
    for number in 0..600 {
        bench.write(&format!("large/{}/{number}.txt", number % 3), format!("text {number}"));
    }
    bench.write("stays.md", "# Stays");
    bench.import().await;
    let before = bench.board().await;
    assert_eq!(before.nodes.len(), 605);
    let away = tempfile::tempdir().unwrap();
    fs::rename(bench.path("large"), away.path().join("large")).unwrap();
    let report = emptying(&bench).await;
    assert_eq!(report.deleted, 604, "{report}");
    assert!(report.slices > 2, "{report}");
    assert_eq!(bench.board().await.nodes.len(), 1);
    // However many slices it took, it is one removal, and known as one of an import.
    let moments = "SELECT count(DISTINCT deleted_at) FROM nodes WHERE deleted_at IS NOT NULL";
    assert_eq!(value(&bench.app.sql, moments).await, "1");

    by_hand(&bench, "restoreNodes", &[before.node("large")]).await;
    let after = bench.board().await;
    assert_eq!(ids(&after), ids(&before));
    after.check();
    fs::rename(away.path().join("large"), bench.path("large")).unwrap();
    assert!(!bench.import().await.has_changes());

    // A later removal has a moment of its own, and the next import brings it back.
    fs::rename(bench.path("large"), away.path().join("large")).unwrap();
    emptying(&bench).await;
    assert_eq!(value(&bench.app.sql, moments).await, "1");
    fs::rename(away.path().join("large"), bench.path("large")).unwrap();
    let report = bench.import().await;
    assert_eq!((report.restored, report.inserted), (604, 0), "{report}");
    assert_eq!(ids(&bench.board().await), ids(&before));
}
