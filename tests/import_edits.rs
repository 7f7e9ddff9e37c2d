//! Importing again after imported nodes were edited on the board: edits stay, and are said.
//!
//! What becomes of nodes whose files move or go is in `import_again.rs`.

use std::fs;

use ragboard::{domain::NodeId, ops::import::ImportOptions};
use serde_json::{Value, json};

use crate::{
    import::{Bench, sample},
    import_again::{by_hand, import_with, rename},
    writes::{done, mutate},
};

/// Edits a resource as a client does.
async fn edit(bench: &Bench, node: &Value, fields: Value) {
    let owner = bench.app.account("owner@example.org").await;
    let mut input = json!({ "id": NodeId(node["id"].as_str().unwrap().parse().unwrap()).to_string() });
    input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    done(&mutate(&bench.app, &owner, "updateResourceNode", "UpdateResourceNodeInput", "node { id }", input).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_edited_on_the_board_stays() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.write("plain.txt", "As it was imported.");
    bench.import().await;
    let imported = bench.board().await;
    let digests = &imported.node("plain.txt")["metadata"]["import"];
    assert_eq!((digests["text"].as_str().unwrap().len(), digests["title"].as_str().unwrap().len()), (64, 64));
    edit(&bench, imported.node("a/file1.md"), json!({ "content": "Written on the board." })).await;
    edit(&bench, imported.node("a/file2.md"), json!({ "title": "Named on the board" })).await;
    edit(&bench, imported.node("plain.txt"), json!({ "content": "The same in both." })).await;
    // Edited and brought back to what it was: no edit.
    edit(&bench, imported.node("a/file3.md"), json!({ "content": "Tried out.", "title": "Tried" })).await;
    let fields = json!({ "content": imported.node("a/file3.md")["content"], "title": "File 3" });
    edit(&bench, imported.node("a/file3.md"), fields).await;
    let edited = bench.board().await;
    // As long as the files stay as they are there is nothing to say.
    let report = bench.import().await;
    assert!(!report.has_changes() && report.edited == 0, "{report}");

    bench.write("a/file1.md", "# Later 1\n\n[five](file5.md)");
    bench.write("a/file2.md", "# Later 2\n\n[five](file5.md)");
    bench.write("a/file3.md", "# Later 3\n\n[five](file5.md)");
    bench.write("plain.txt", "The same in both.");
    let dry = import_with(&bench, ImportOptions { dry_run: true, ..ImportOptions::default() }).await;
    assert_eq!((dry.edited, dry.updated), (2, 3), "{dry}");
    assert_eq!(bench.board().await, edited);
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated, report.left), (2, 3, 0), "{report}");
    let shown = report.to_string();
    for line in ["edited on the board, kept (2):", "a/file1.md", "(text)", "a/file2.md", "(title)"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let after = bench.board().await;
    // A text stays with its title and its links, a title alone.
    assert_eq!(after.node("a/file1.md"), edited.node("a/file1.md"));
    let link = |from: &str, to: &str, label: &str| (from.to_owned(), to.to_owned(), Some(label.to_owned()));
    assert!(after.links.contains(&link("a/file1.md", "a/file2.md", "next")));
    assert!(!after.links.contains(&link("a/file1.md", "a/file5.md", "five")));
    assert!(after.links.contains(&link("a/file2.md", "a/file5.md", "five")));
    let named = after.node("a/file2.md");
    assert_eq!(named["title"], "Named on the board");
    assert_eq!(named["content"], "# Later 2\n\n[five](file5.md)");
    assert_eq!(after.node("a/file3.md")["title"], "Later 3");
    assert_eq!(after.node("plain.txt")["content"], "The same in both.");
    // It is said again as long as it is so, and nothing is written for it.
    let report = bench.import().await;
    assert!(!report.has_changes() && report.edited == 1, "{report}");
    assert_eq!(bench.board().await, after);

    // The imported text again: the file's is taken.
    edit(&bench, after.node("a/file1.md"), json!({ "content": imported.node("a/file1.md")["content"] })).await;
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated), (0, 1), "{report}");
    let last = bench.board().await;
    assert_eq!(last.node("a/file1.md")["title"], "Later 1");
    assert!(last.links.contains(&link("a/file1.md", "a/file5.md", "five")));
    assert!(!last.links.contains(&link("a/file1.md", "a/file2.md", "next")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_stays_where_its_file_moves_and_goes_with_its_node() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.write("plain.md", "As it was imported.");
    bench.write("other.txt", "Another one, as it was imported.");
    bench.import().await;
    let imported = bench.board().await;
    // A title that follows a rename is an imported one.
    rename(&bench, "plain.md", "simple.md");
    bench.import().await;
    assert_eq!(bench.board().await.node("simple.md")["title"], "simple.md");
    bench.write("simple.md", "# Of its own\n\nAs it was imported.");
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated), (0, 1), "{report}");
    let board = bench.board().await;
    assert_eq!(board.node("simple.md")["id"], imported.node("plain.md")["id"]);
    assert_eq!(board.node("simple.md")["title"], "Of its own");

    // Moved and changed at once: the node follows with the text that it has.
    edit(&bench, imported.node("other.txt"), json!({ "content": "Written on the board." })).await;
    rename(&bench, "other.txt", "b/other.txt");
    bench.write("b/other.txt", "The file has changed, too.");
    let report = bench.import().await;
    assert_eq!((report.edited, report.renamed, report.updated, report.deleted), (1, 1, 0, 0), "{report}");
    let board = bench.board().await;
    let moved = board.node("b/other.txt");
    assert_eq!(moved["id"], imported.node("other.txt")["id"]);
    assert_eq!(moved["content"], "Written on the board.");
    assert_eq!(board.parent_of("b/other.txt"), Some("b"));

    // Removed and back with another text: still edited. Deleted by hand and brought back: as the file is.
    let away = tempfile::tempdir().unwrap();
    fs::rename(bench.path("b/other.txt"), away.path().join("other.txt")).unwrap();
    assert_eq!(bench.import().await.deleted, 1);
    fs::rename(away.path().join("other.txt"), bench.path("b/other.txt")).unwrap();
    let report = bench.import().await;
    assert_eq!((report.edited, report.restored, report.updated), (1, 1, 0), "{report}");
    assert_eq!(bench.board().await.node("b/other.txt")["content"], "Written on the board.");
    by_hand(&bench, "deleteNodes", &[imported.node("other.txt")]).await;
    let restore = ImportOptions { restore_deleted: true, ..ImportOptions::default() };
    let report = import_with(&bench, restore).await;
    assert_eq!((report.edited, report.restored, report.updated), (0, 1, 1), "{report}");
    assert_eq!(bench.board().await.node("b/other.txt")["content"], "The file has changed, too.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_older_versions_imported_is_remembered_from_the_next_text_on() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let imported = bench.board().await;
    edit(&bench, imported.node("a/file1.md"), json!({ "content": "By hand.", "title": "By hand" })).await;
    let forget = "UPDATE nodes SET metadata = metadata #- '{import,text}' #- '{import,title}'";
    bench.app.sql.batch_execute(forget).await.unwrap();
    bench.write("a/file1.md", "# Later");
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated), (0, 1), "{report}");
    let board = bench.board().await;
    let later = board.node("a/file1.md");
    assert_eq!((later["title"].as_str(), later["content"].as_str()), (Some("Later"), Some("# Later")));
    edit(&bench, imported.node("a/file1.md"), json!({ "content": "By hand again." })).await;
    bench.write("a/file1.md", "# Even later");
    let report = bench.import().await;
    assert_eq!((report.edited, report.updated), (1, 0), "{report}");
    assert_eq!(bench.board().await.node("a/file1.md")["content"], "By hand again.");
}
