//! Imports that would empty a board are refused before anything is written, whatever made the files disappear.

use std::{fs, os::unix::fs::PermissionsExt};

use ragboard::ops::import::{ImportOptions, ImportRequest, SkipReason, Source, import};

use crate::{
    import::{Bench, embedded, reasons, request, sample},
    support::{app::new_database, cluster::TestFolder, program},
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
