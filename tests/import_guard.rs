//! Imports that would empty a board are refused before anything is written, whatever made the files disappear.

use std::{fs, os::unix::fs::PermissionsExt};

use ragboard::ops::import::{ImportOptions, ImportRequest, SkipReason, Source, import};

use crate::{
    import::{Bench, embedded, reasons, request, sample},
    support::{
        app::new_database,
        cluster::{TestFolder, connect},
        program,
        sql::value,
    },
};

/// The message of an import of this folder, which is refused and changes nothing.
async fn refused(bench: &Bench, source: Source) -> String {
    let before = bench.board().await;
    let failure = import(bench.store(), request(source, bench.owner), false).await.unwrap_err().to_string();
    assert_eq!(bench.board().await, before, "{failure}");
    failure
}

async fn emptying(bench: &Bench, source: Source) -> ragboard::ops::import::ImportReport {
    let options = ImportOptions { allow_emptying: true, ..ImportOptions::default() };
    import(bench.store(), ImportRequest { options, ..request(source, bench.owner) }, false).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_its_files_does_not_empty_the_board() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let other = tempfile::tempdir().unwrap();
    let source = || Source::Folder(other.path().to_owned());

    let empty = refused(&bench, source()).await;
    assert!(empty.contains("nothing that can be imported") && empty.contains("18 nodes"), "{empty}");
    assert!(empty.contains("--allow-emptying") && empty.contains("Nothing was changed"), "{empty}");
    // Only what an import never takes.
    fs::write(other.path().join("photo.png"), "").unwrap();
    fs::write(other.path().join(".hidden"), "").unwrap();
    assert!(refused(&bench, source()).await.contains("nothing that can be imported"));
    // Another folder than last time.
    fs::write(other.path().join("else.md"), "# Else").unwrap();
    assert!(refused(&bench, source()).await.contains("nothing in common"));
    // The right folder, with most of it missing.
    fs::create_dir(other.path().join("a")).unwrap();
    fs::write(other.path().join("a/file0.md"), "# File 0").unwrap();
    let most = refused(&bench, source()).await;
    assert!(
        most.contains("16 of the 18 nodes") && most.contains("more than half") && most.contains("and 11 more"),
        "{most}"
    );

    let report = emptying(&bench, source()).await;
    assert_eq!((report.inserted, report.deleted), (1, 16));
    fs::remove_dir_all(other.path().join("a")).unwrap();
    fs::remove_file(other.path().join("else.md")).unwrap();
    // However few there are: nothing at all is a mistake.
    assert!(refused(&bench, source()).await.contains("3 nodes of earlier imports, of which 3"));
    assert_eq!(emptying(&bench, source()).await.deleted, 3);
    // Also on a board of a new name.
    let new = ImportRequest { board_name: "New".into(), ..request(source(), bench.owner) };
    assert!(import(bench.store(), new, false).await.is_err());
    let boards = bench.app.sql.query_one("SELECT count(*) FROM boards", &[]).await.unwrap();
    assert_eq!(boards.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_files_may_always_go() {
    let bench = Bench::new().await;
    for name in ["one", "two", "three", "four", "five", "six"] {
        bench.write(&format!("{name}.md"), name);
    }
    bench.import().await;
    for name in ["one", "two", "three", "four", "five"] {
        fs::remove_file(bench.path(&format!("{name}.md"))).unwrap();
    }
    assert_eq!(bench.import().await.deleted, 5);
    // A board of one file changes as a whole.
    fs::remove_file(bench.path("six.md")).unwrap();
    bench.write("seven.txt", "something else");
    let report = bench.import().await;
    assert_eq!((report.inserted, report.deleted), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_and_cannot_be_taken_keeps_its_node() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    bench.write("a/file0.md", b"now\0binary");
    bench.write("a/file1.md", b"caf\xe9");
    fs::File::create(bench.path("a/file2.md")).unwrap().set_len(11 << 20).unwrap();
    fs::remove_file(bench.path("a/file3.md")).unwrap();
    std::os::unix::fs::symlink("file4.md", bench.path("a/file3.md")).unwrap();
    // The folder's files are elsewhere, and a link is left in its place.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(bench.path("b"), elsewhere.path().join("b")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("b"), bench.path("b")).unwrap();
    let report = bench.import().await;
    assert_eq!((report.inserted, report.updated, report.deleted), (0, 0, 0));
    assert_eq!(bench.board().await.nodes, before.nodes);
    let reasons = reasons(&report);
    assert_eq!(reasons.get("a/file0.md"), Some(&SkipReason::Binary));
    assert_eq!(reasons.get("b"), Some(&SkipReason::Symlink));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_read_at_all_is_refused() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let lock = |path: &str, mode| fs::set_permissions(bench.path(path), fs::Permissions::from_mode(mode)).unwrap();
    let inside = ["a", "b", "README.md"];
    for path in inside {
        lock(path, 0o000);
    }
    let is_root = fs::read(bench.path("README.md")).is_ok();
    let outcome = import(bench.store(), request(Source::Folder(bench.path("")), bench.owner), false).await;
    for path in inside {
        lock(path, 0o755);
    }
    assert_eq!(bench.board().await.nodes, before.nodes);
    // Nothing is unreadable to root.
    if !is_root {
        let failure = outcome.unwrap_err().to_string();
        assert!(failure.contains("3 files or folders cannot be read"), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_files_are_guarded_alike() {
    let bench = Bench::new().await;
    bench.import_from(embedded(&[("a.md", b"# A"), ("b.md", b"# B")])).await;
    assert!(refused(&bench, embedded(&[])).await.contains("of which 2"));
    assert!(refused(&bench, embedded(&[("c.md", b"# C")])).await.contains("nothing in common"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_fails_with_the_remedy() {
    let url = new_database().await;
    let url = secrecy::ExposeSecret::expose_secret(&url).to_owned();
    let folder = TestFolder::new("guard");
    let (data, notes) = (folder.path().join("data"), folder.path().join("notes"));
    fs::create_dir(&notes).unwrap();
    for number in 0..7 {
        fs::write(notes.join(format!("n{number}.md")), format!("# Note {number}")).unwrap();
    }
    let notes = notes.to_str().unwrap();
    let arguments = ["import", notes, "--board", "V", "--database-url", &url];
    assert!(program::result(&data, &arguments).contains("7 new"));
    for number in 0..7 {
        fs::remove_file(format!("{notes}/n{number}.md")).unwrap();
    }
    let refused = program::run(&data, &arguments);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.stdout.is_empty() && message.contains("of which 7") && message.contains("--allow-emptying"),
        "{message}"
    );
    let allowed = [&arguments[..], &["--allow-emptying"]].concat();
    assert!(program::result(&data, &allowed).contains("7 gone"));
}

/// So many notes, each with some sentences about herons.
fn herons(bench: &Bench, count: usize) {
    for number in 0..count {
        let text = "The heron stands in shallow water and waits for small fish until evening comes.";
        bench.write(&format!("n{number}.md"), format!("# Note {number}\n\n{text}\n"));
    }
}

/// The note of another vault, which has the same names.
fn revenue(bench: &Bench, number: usize) {
    let text = "Quarterly revenue grew because customers renewed contracts earlier than planned.";
    bench.write(&format!("n{number}.md"), format!("# Page {number}\n\n{text}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_lost_their_content_do_not_empty_the_texts() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let source = || Source::Folder(bench.path(""));
    let before = bench.board().await;
    let paths: Vec<&String> = before.nodes.keys().filter(|path| path.contains('.')).collect();
    assert_eq!(paths.len(), 15);

    // One after the other, up to less than half: the report names them.
    for path in &paths[..7] {
        bench.write(path, "");
    }
    let report = bench.import().await;
    assert_eq!((report.updated, report.emptied, report.deleted), (7, 7, 0), "{report}");
    assert!(report.to_string().contains("emptied (7):"), "{report}");
    // What was empty before loses nothing.
    for path in &paths[..7] {
        bench.write(path, " \n");
    }
    assert_eq!(bench.import().await.emptied, 0);
    // All that is left, at once: more than half. A page without text is as empty as a file without bytes.
    for path in &paths[7..] {
        bench.write(path, if path.ends_with(".html") { "<html><body></body></html>" } else { "" });
    }
    let refused = refused(&bench, source()).await;
    assert!(refused.contains("remove 0 of the 18 nodes") && refused.contains("empty the texts of 8"), "{refused}");
    assert!(refused.contains("--allow-emptying") && refused.contains("and 3 more"), "{refused}");
    // Neither does a dry run pass, unless it is told to.
    let dry = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let dry_run = |options| import(bench.store(), ImportRequest { options, ..request(source(), bench.owner) }, false);
    assert!(dry_run(dry).await.unwrap_err().to_string().contains("empty the texts of 8"));
    let told = dry_run(ImportOptions { allow_emptying: true, ..dry }).await.unwrap();
    assert!(told.emptied == 8 && told.to_string().contains("emptied (8):"), "{told}");
    let report = emptying(&bench, source()).await;
    assert_eq!((report.emptied, report.deleted), (8, 0), "{report}");
    assert_eq!(bench.board().await.node(paths[8])["words"], 0);

    // Few texts are no excuse: several do not become empty at once.
    let few = Bench::new().await;
    herons(&few, 3);
    few.import().await;
    few.write("n0.md", "");
    few.write("n1.md", "\n");
    let source = Source::Folder(few.path(""));
    let failure = import(few.store(), request(source, few.owner), false).await.unwrap_err().to_string();
    assert!(failure.contains("empty the texts of 2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_with_the_same_names_does_not_replace_the_texts() {
    let bench = Bench::new().await;
    herons(&bench, 12);
    bench.import().await;
    let source = || Source::Folder(bench.path(""));
    // What touches every file, and leaves what they say: a footer, other line breaks, another word.
    for number in 0..12 {
        let path = bench.path(&format!("n{number}.md"));
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("heron stands", "heron\nstands").replace("evening", "night");
        fs::write(&path, format!("{text}\n---\nLast looked through in May.\n")).unwrap();
    }
    let report = bench.import().await;
    assert_eq!((report.updated, report.replaced), (12, 0), "{report}");

    // Half of them are about something else: that passes.
    for number in 0..6 {
        revenue(&bench, number);
    }
    let dry = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let told = import(bench.store(), ImportRequest { options: dry, ..request(source(), bench.owner) }, false).await;
    let told = told.unwrap();
    assert!(told.replaced == 6 && told.to_string().contains("replaced (6):"), "{told}");
    assert_eq!(bench.import().await.updated, 6);

    // Of all of them there is another text, and one file is gone as well.
    for number in 0..6 {
        let text = "Mix flour, salt and starter, let the dough rise overnight, and bake it in a hot iron pot.";
        bench.write(&format!("n{number}.md"), text);
        revenue(&bench, number + 6);
    }
    fs::remove_file(bench.path("n11.md")).unwrap();
    let failure = refused(&bench, source()).await;
    assert!(failure.contains("remove 1 of the 12 nodes") && failure.contains("replace those of 11"), "{failure}");
    assert!(failure.contains("no text of it would stay") && failure.contains("--allow-emptying"), "{failure}");
    assert_eq!(emptying(&bench, source()).await.updated, 11);

    // Where there are only two, too.
    let few = Bench::new().await;
    few.write("README.md", "# Herons\n\nWhere they stand and what they eat.");
    few.write("index.md", "# All birds\n\nHerons, storks and cranes.");
    few.import().await;
    few.write("README.md", "# Accounts\n\nHow invoices become paid.");
    let passes = ImportRequest { options: dry, ..request(Source::Folder(few.path("")), few.owner) };
    assert_eq!(import(few.store(), passes, false).await.unwrap().replaced, 1);
    few.write("index.md", "# Contents\n\nInvoices, taxes, salaries.");
    let failure = import(few.store(), request(Source::Folder(few.path("")), few.owner), false).await.unwrap_err();
    assert!(failure.to_string().contains("replace those of 2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_does_not_empty_texts() {
    let secret = new_database().await;
    let url = secrecy::ExposeSecret::expose_secret(&secret).to_owned();
    let folder = TestFolder::new("emptied");
    let (data, notes) = (folder.path().join("data"), folder.path().join("notes"));
    fs::create_dir(&notes).unwrap();
    for number in 0..7 {
        fs::write(notes.join(format!("n{number}.md")), format!("# Note {number}")).unwrap();
    }
    let notes = notes.to_str().unwrap();
    let arguments = ["import", notes, "--board", "V", "--database-url", &url];
    program::result(&data, &arguments);
    for number in 0..7 {
        fs::write(format!("{notes}/n{number}.md"), "").unwrap();
    }
    let refused = program::run(&data, &arguments);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("empty the texts of 7") && message.contains("--allow-emptying"), "{message}");
    let sql = connect(&secret).await;
    let texts = "SELECT count(*) FROM resource_nodes WHERE content LIKE '# Note _'";
    assert_eq!(value(&sql, texts).await, "7");
    // A text that somebody edited on the board is no failure.
    let edit = "SET ragboard.gateway = 'on'; UPDATE resource_nodes SET content = 'by hand' WHERE title = 'Note 3'";
    sql.batch_execute(edit).await.unwrap();
    let allowed = [&arguments[..], &["--allow-emptying"]].concat();
    let report = program::result(&data, &allowed);
    assert!(report.contains("edited on the board, kept (1):") && report.contains("n3.md"), "{report}");
    assert!(report.contains("emptied (6):"), "{report}");
    assert_eq!(value(&sql, "SELECT content FROM resource_nodes WHERE title = 'Note 3'").await, "by hand");
}
