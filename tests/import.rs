//! Importing real folders into a real database: what becomes of every kind of file, and what a second import touches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink},
    path::{Path, PathBuf},
};

use ragboard::{
    domain::UserId,
    ops::import::{
        EmbeddedFile, HANDBOOK, ImportOptions, ImportReport, ImportRequest, SkipReason, Source, handbook, import,
    },
    store::Store,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::app::TestApp;

const BOARD: &str = "Notes";

/// A folder to import, and where to.
pub(super) struct Bench {
    pub(super) app: TestApp,
    pub(super) owner: UserId,
    folder: TempDir,
}

impl Bench {
    pub(super) async fn new() -> Bench {
        let app = TestApp::new().await;
        let owner = app.account("owner@example.org").await.id;
        Bench { app, owner, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn store(&self) -> &Store {
        &self.app.app.store
    }

    pub(super) async fn import(&self) -> ImportReport {
        self.import_from(Source::Folder(self.folder.path().to_owned())).await
    }

    pub(super) async fn import_from(&self, source: Source) -> ImportReport {
        import(self.store(), request(source, self.owner), false).await.unwrap()
    }

    pub(super) async fn board(&self) -> Board {
        Board::read(&self.app.sql).await
    }
}

pub(super) fn request(source: Source, owner: UserId) -> ImportRequest {
    ImportRequest { source, board_name: BOARD.into(), owner, is_public: false, options: ImportOptions::default() }
}

pub(super) fn embedded(files: &[(&str, &'static [u8])]) -> Source {
    Source::Embedded(files.iter().map(|(path, content)| ((*path).to_owned(), *content)).collect::<Vec<EmbeddedFile>>())
}

/// The one board of a test as it is in the database, by the paths of its files.
#[derive(Debug, PartialEq)]
pub(super) struct Board {
    pub(super) version: i64,
    /// Living nodes; those without path under their title.
    pub(super) nodes: BTreeMap<String, Value>,
    /// Paths of both ends with the label.
    pub(super) links: BTreeSet<(String, String, Option<String>)>,
    /// Ids of the links, and what a write of any kind would change in any row.
    rows: Value,
    pub(super) stats: Value,
}

impl Board {
    async fn read(sql: &Client) -> Board {
        let text = |query: &'static str| async move {
            let row = sql.query_one(query, &[]).await.unwrap();
            serde_json::from_str::<Value>(row.get(0)).unwrap()
        };
        let nodes = text(
            "SELECT coalesce(json_object_agg(coalesce(n.metadata #>> '{import,path}', r.title, f.name, n.id::text), json_build_object( \
                'id', n.id, 'type', n.type, 'rect', json_build_array(n.x, n.y, n.width, n.height), 'z', n.z_index, \
                'metadata', n.metadata, 'version', n.version, 'updated_at', n.updated_at, 'name', f.name, \
                'resource_type', r.resource_type, 'title', r.title, 'content', left(r.content, 1000), \
                'extracted', r.extracted_text, 'language', r.language, 'words', r.word_count, 'seconds', r.reading_time, \
                'status', r.processing_status, 'parent', h.parent_id, 'position', h.position)), '{}')::text \
             FROM nodes n LEFT JOIN resource_nodes r ON r.node_id = n.id LEFT JOIN folder_nodes f ON f.node_id = n.id \
             LEFT JOIN node_hierarchy h ON h.child_id = n.id WHERE n.deleted_at IS NULL",
        )
        .await;
        let links = text(
            "SELECT coalesce(json_agg(json_build_array(f.metadata #>> '{import,path}', t.metadata #>> '{import,path}', c.label)), \
             '[]')::text FROM connections c JOIN nodes f ON f.id = c.from_node_id JOIN nodes t ON t.id = c.to_node_id \
             WHERE c.connection_type = 'reference' AND f.deleted_at IS NULL AND t.deleted_at IS NULL",
        )
        .await;
        let rows = text(
            "SELECT json_build_array( \
                (SELECT json_agg(json_build_array(n.id, n.xmin::text, n.deleted_at) ORDER BY n.id) FROM nodes n), \
                (SELECT json_agg(json_build_array(r.node_id, r.xmin::text) ORDER BY r.node_id) FROM resource_nodes r), \
                (SELECT json_agg(json_build_array(h.child_id, h.xmin::text) ORDER BY h.child_id) FROM node_hierarchy h), \
                (SELECT json_agg(json_build_array(c.id, c.xmin::text) ORDER BY c.id) FROM connections c), \
                (SELECT json_agg(json_build_array(b.id, b.xmin::text) ORDER BY b.id) FROM boards b))::text",
        )
        .await;
        // Counted here, and as the triggers kept it.
        let stats = text(
            "SELECT json_build_array((SELECT json_build_array(node_count, connection_count, resource_count, folder_count) \
                FROM board_stats), (SELECT json_build_array(count(*), (SELECT count(*) FROM connections c \
                JOIN nodes f ON f.id = c.from_node_id AND f.deleted_at IS NULL \
                JOIN nodes t ON t.id = c.to_node_id AND t.deleted_at IS NULL), \
                count(*) FILTER (WHERE type = 'resource'), count(*) FILTER (WHERE type = 'folder')) \
                FROM nodes WHERE deleted_at IS NULL))::text",
        )
        .await;
        let version = text("SELECT coalesce(max(version), 0)::text FROM boards").await.as_i64().unwrap();
        Board {
            version,
            nodes: nodes.as_object().unwrap().clone().into_iter().collect(),
            links: links.as_array().unwrap().iter().map(|link| serde_json::from_value(link.clone()).unwrap()).collect(),
            rows,
            stats,
        }
    }

    pub(super) fn node(&self, path: &str) -> &Value {
        self.nodes.get(path).unwrap_or_else(|| panic!("no node for {path}: {:?}", self.nodes.keys()))
    }

    pub(super) fn parent_of(&self, path: &str) -> Option<&str> {
        let parent = &self.node(path)["parent"];
        self.nodes.iter().find(|(_, node)| node["id"] == *parent).map(|(path, _)| path.as_str())
    }

    pub(super) fn rect(&self, path: &str) -> [f64; 4] {
        serde_json::from_value(self.node(path)["rect"].clone()).unwrap()
    }

    /// No two siblings lie on each other, and whatever is in a folder lies within its frame. Counts are exact.
    pub(super) fn check(&self) {
        assert_eq!(self.stats[0], self.stats[1], "board_stats");
        let paths: Vec<&String> = self.nodes.keys().collect();
        for (place, path) in paths.iter().enumerate() {
            let [x, y, width, height] = self.rect(path);
            let parent = self.parent_of(path);
            if let Some(parent) = parent {
                let [left, top, frame_width, frame_height] = self.rect(parent);
                let inside =
                    x >= left && y >= top && x + width <= left + frame_width && y + height <= top + frame_height;
                assert!(inside, "{path} {:?} is not within {parent} {:?}", self.rect(path), self.rect(parent));
            }
            for other in paths[place + 1..].iter().filter(|other| self.parent_of(other) == parent) {
                let [ox, oy, other_width, other_height] = self.rect(other);
                let apart = x >= ox + other_width || ox >= x + width || y >= oy + other_height || oy >= y + height;
                assert!(apart, "{path} {:?} lies on {other} {:?}", self.rect(path), self.rect(other));
            }
        }
    }
}

pub(super) fn reasons(report: &ImportReport) -> BTreeMap<&str, SkipReason> {
    report.skipped.named().iter().map(|(path, reason)| (path.as_str(), *reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_becomes_a_board_and_nothing_awkward_stops_it() {
    let bench = Bench::new().await;
    let prose = "Every morning the old man walked along the river and counted the boats.";
    bench.write("guide/start.md", format!("Intro\n\n# Getting *started*\n\n{prose}"));
    bench.write(
        "guide/deep/er/page.html",
        "<html><title>A &amp; B</title><body><h1>Head</h1><p>Body text</body></html>",
    );
    bench.write("src/lib.rs", "fn main() {}\n");
    bench.write("notizen.txt", "Alle Menschen sind frei und gleich an Würde und Rechten geboren.");
    bench.write("empty.md", "");
    bench.write("marked.txt", b"\xef\xbb\xbfhello world");
    fs::create_dir(bench.path("hollow")).unwrap();
    let long = format!("{}.md", "ü".repeat(126));
    bench.write(&long, format!("# {}\n", "long ".repeat(200)));
    for name in [&b"caf\xe9.txt"[..], b"caf\xe8.txt"] {
        fs::write(bench.folder.path().join(std::ffi::OsStr::from_bytes(name)), "coffee").unwrap();
    }

    bench.write("binary.dat", b"a\0b");
    bench.write("latin1.txt", b"caf\xe9");
    bench.write("pixel.png", b"\x89PNG\r\n");
    bench.write("paper.pdf", b"%PDF-1.7");
    fs::File::create(bench.path("huge.txt")).unwrap().set_len(200 << 20).unwrap();
    symlink("notizen.txt", bench.path("link.txt")).unwrap();
    symlink("..", bench.path("guide/loop")).unwrap();
    symlink("nowhere", bench.path("dangling")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(bench.path("pipe.txt")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    bench.write(".git/config", "[core]");
    bench.write(".hidden.md", "# Hidden");
    bench.write("node_modules/x/index.js", "1");
    bench.write("target/debug/x.d", "x");
    bench.write(&format!("{}bottom.md", "d/".repeat(64)), "# Bottom");
    bench.write(&format!("{}below.md", "d/".repeat(65)), "# Below");
    bench.write("locked/secret.md", "# Secret");
    bench.write("closed.md", "# Closed");
    for path in ["locked", "closed.md"] {
        fs::set_permissions(bench.path(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Nothing is unreadable to root.
    let is_root = fs::read(bench.path("closed.md")).is_ok();

    let report = bench.import().await;
    fs::set_permissions(bench.path("locked"), fs::Permissions::from_mode(0o755)).unwrap();
    let board = bench.board().await;
    board.check();

    let mut expected = BTreeMap::from([
        ("binary.dat", SkipReason::Binary),
        ("latin1.txt", SkipReason::NotUtf8),
        ("pixel.png", SkipReason::Media),
        ("paper.pdf", SkipReason::Media),
        ("huge.txt", SkipReason::TooLarge),
        ("link.txt", SkipReason::Symlink),
        ("guide/loop", SkipReason::Symlink),
        ("dangling", SkipReason::Symlink),
        ("pipe.txt", SkipReason::Special),
        ("socket", SkipReason::Special),
    ]);
    let too_deep = format!("{}d", "d/".repeat(64));
    expected.insert(&too_deep, SkipReason::TooDeep);
    let denied = SkipReason::Unreadable(std::io::ErrorKind::PermissionDenied);
    if !is_root {
        expected.extend([("locked", denied), ("closed.md", denied)]);
    }
    assert_eq!(reasons(&report), expected);
    assert_eq!(report.skipped.counts().get(&SkipReason::Hidden), Some(&2));
    assert_eq!(report.skipped.counts().get(&SkipReason::BuildFolder), Some(&2));
    let readable = if is_root { (1, 2) } else { (0, 0) };
    // guide, deep, er, src, hollow, 64 × d; and ten files.
    assert_eq!((report.folders, report.files), (5 + 64 + readable.0, 10 + readable.1));
    assert_eq!(board.nodes.len(), report.folders + report.files);
    assert_eq!((report.inserted, report.updated, report.deleted, report.unchanged), (board.nodes.len(), 0, 0, 0));
    assert!(board.nodes.values().all(|node| node["version"] == 1) && board.version == 1);

    let start = board.node("guide/start.md");
    assert_eq!(start["title"], "Getting started");
    assert_eq!(start["content"], format!("Intro\n\n# Getting *started*\n\n{prose}"));
    assert_eq!((&start["resource_type"], &start["language"]), (&json!("text"), &json!("en")));
    assert_eq!((&start["words"], &start["seconds"], &start["status"]), (&json!(16), &json!(5), &json!("completed")));
    assert_eq!(start["metadata"]["import"]["size_bytes"], fs::metadata(bench.path("guide/start.md")).unwrap().len());
    assert_eq!(start["metadata"]["import"]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(board.parent_of("guide/start.md"), Some("guide"));
    assert_eq!(board.parent_of("guide/deep/er/page.html"), Some("guide/deep/er"));
    assert_eq!(board.parent_of("guide/deep/er"), Some("guide/deep"));
    assert_eq!((board.parent_of("guide"), &board.node("guide")["name"]), (None, &json!("guide")));
    assert_eq!((&board.node("guide")["z"], &board.node("guide/deep/er/page.html")["z"]), (&json!(0), &json!(3)));
    let page = board.node("guide/deep/er/page.html");
    assert_eq!((&page["resource_type"], &page["title"]), (&json!("document"), &json!("A & B")));
    assert_eq!((&page["extracted"], &page["words"]), (&json!("Head\nBody text"), &json!(3)));
    let source = board.node("src/lib.rs");
    assert_eq!((&source["title"], &source["language"]), (&json!("lib.rs"), &Value::Null));
    assert_eq!(source["metadata"]["sourceLanguage"], "rust");
    assert_eq!(board.node("notizen.txt")["language"], "de");
    assert_eq!((&board.node("empty.md")["content"], &board.node("empty.md")["words"]), (&json!(""), &json!(0)));
    assert_eq!(board.node("marked.txt")["content"], "hello world");
    assert_eq!(board.node("hollow")["type"], "folder");
    assert_eq!(board.node(&long)["title"].as_str().unwrap().chars().count(), 500);
    assert_eq!(board.node("caf\u{fffd}.txt")["content"], "coffee");
    assert_eq!(board.node("caf\u{fffd}.txt\u{fffd}")["title"], "caf\u{fffd}.txt\u{fffd}");

    let shown = report.to_string();
    assert!(shown.contains("3 symbolic link") && shown.contains("huge.txt  (larger than 10 MB)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_links_become_links() {
    let bench = Bench::new().await;
    let long_label = "ß".repeat(300);
    bench.write(
        "index.md",
        format!(
            "[First](guide/a.md) [again](guide/a.md#part) [self](index.md) [folder](guide/) [page](p%C3%A4ge.html?x=1) \
             [{long_label}](code.rs) [out](../x.md) [web](https://example.org/a.md) [gone](gone.md) [media](pic.png) [root](.)"
        ),
    );
    bench.write("guide/a.md", "[up](../index.md) ![image](../index.md)");
    bench.write("guide/plain.txt", "[no](a.md)");
    bench.write("päge.html", "<a href='guide/a.md'>The <b>A</b></a><a href=\"guide\"></a>");
    bench.write("code.rs", "");
    bench.write("pic.png", "");
    let report = bench.import().await;
    let board = bench.board().await;
    board.check();
    let cut = format!("{}…", "ß".repeat(254));
    let expected = [
        ("index.md", "guide/a.md", Some("First")),
        ("index.md", "guide", Some("folder")),
        ("index.md", "päge.html", Some("page")),
        ("index.md", "code.rs", Some(&*cut)),
        ("guide/a.md", "index.md", Some("up")),
        ("päge.html", "guide/a.md", Some("The A")),
        ("päge.html", "guide", None),
    ];
    let expected = expected.map(|(from, to, label)| (from.to_owned(), to.to_owned(), label.map(str::to_owned)));
    assert_eq!(board.links, BTreeSet::from(expected));
    assert_eq!((report.links, report.links_changed), (7, 7));
}

/// A tree with everything that a second import could wrongly touch.
pub(super) fn sample(bench: &Bench) {
    for number in 0..7 {
        bench.write(&format!("a/file{number}.md"), format!("# File {number}\n\n[next](file{}.md)", number + 1));
        bench.write(
            &format!("b/c/page{number}.html"),
            format!("<title>{number}</title><a href='../../a/file0.md'>zero</a>"),
        );
    }
    bench.write("README.md", "[a](a) [file](a/file3.md) [b](b/c/)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tree_again_writes_nothing() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let statements = bench.app.statements();
    let report = bench.import().await;
    let ran: BTreeSet<_> = bench.app.statements_since(&statements).into_iter().collect();
    assert_eq!(
        ran,
        BTreeSet::from(["import.board", "import.end_turn", "import.links", "import.nodes", "import.take_turn"])
    );
    assert!(!report.has_changes());
    assert_eq!((report.unchanged, report.links), (before.nodes.len(), before.links.len()));
    assert_eq!(bench.board().await, before);
    assert!(report.to_string().contains("nothing has changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_changes_only_what_changed() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;

    bench.write("a/file3.md", "# Another\n\n[five](file5.md) [new](new.md)");
    fs::remove_file(bench.path("a/file1.md")).unwrap();
    bench.write("a/new.md", "# New");
    let report = bench.import().await;
    let after = bench.board().await;
    after.check();
    assert_eq!((report.inserted, report.updated, report.deleted, report.moved), (1, 1, 1, 0));
    assert_eq!(report.unchanged, before.nodes.len() - 2);
    assert_eq!(after.version, before.version + 1);

    for (path, node) in &after.nodes {
        match path.as_str() {
            "a/new.md" => assert_eq!(node["version"], after.version),
            "a/file3.md" => {
                assert_eq!((&node["id"], &node["rect"]), (&before.node(path)["id"], &before.node(path)["rect"]));
                assert_eq!((&node["title"], &node["version"]), (&json!("Another"), &json!(after.version)));
                assert_ne!(node["updated_at"], before.node(path)["updated_at"]);
                assert_ne!(node["metadata"], before.node(path)["metadata"]);
            }
            _ => assert_eq!(node, before.node(path), "{path}"),
        }
    }
    assert!(!after.nodes.contains_key("a/file1.md"));
    let deleted =
        bench.app.sql.query_one("SELECT count(*) FROM nodes WHERE deleted_at IS NOT NULL", &[]).await.unwrap();
    assert_eq!(deleted.get::<_, i64>(0), 1);
    let position = |path: &str| after.node(path)["position"].as_f64().unwrap();
    assert!(position("a/new.md") > position("a/file6.md"));

    let link = |from: &str, to: &str, label: &str| (from.to_owned(), to.to_owned(), Some(label.to_owned()));
    let mut links = before.links.clone();
    for gone in [link("a/file0.md", "a/file1.md", "next"), link("a/file1.md", "a/file2.md", "next")] {
        assert!(links.remove(&gone));
    }
    assert!(links.remove(&link("a/file3.md", "a/file4.md", "next")));
    links.extend([link("a/file3.md", "a/file5.md", "five"), link("a/file3.md", "a/new.md", "new")]);
    assert_eq!(after.links, links);

    // A whole folder goes, a file takes the place of another, and a label changes.
    fs::remove_dir_all(bench.path("b")).unwrap();
    bench.write("b", "now a file");
    bench.write("README.md", "[file, renamed](a/file3.md)");
    let report = bench.import().await;
    let last = bench.board().await;
    last.check();
    assert_eq!((report.inserted, report.updated, report.deleted), (1, 1, 9));
    assert_eq!(last.version, after.version + 1);
    assert_eq!(last.node("b")["type"], "resource");
    assert!(last.links.contains(&link("README.md", "a/file3.md", "file, renamed")));
    assert!(last.links.iter().all(|(from, to, _)| last.nodes.contains_key(from) && last.nodes.contains_key(to)));
    assert_eq!(bench.import().await.unchanged, last.nodes.len());
    assert_eq!(bench.board().await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_made_on_the_board_is_left_alone() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let sql = &bench.app.sql;
    sql.batch_execute(
        "WITH folder AS (SELECT id, board_id, x, y FROM nodes WHERE metadata #>> '{import,path}' = 'b/c'), \
            mine AS (INSERT INTO nodes (board_id, type, x, y, width, height) \
                SELECT board_id, 'resource', x + 40, y + 700, 10, 10 FROM folder RETURNING id, board_id), \
            text AS (INSERT INTO resource_nodes (board_id, node_id, resource_type, title) \
                SELECT board_id, id, 'text', 'mine' FROM mine) \
         INSERT INTO connections (board_id, from_node_id, to_node_id, connection_type, label) \
            SELECT f.board_id, f.id, t.id, 'reference', 'drawn' FROM nodes f, nodes t \
            WHERE f.metadata #>> '{import,path}' = 'a/file0.md' AND t.metadata #>> '{import,path}' = 'a/file5.md'; \
         INSERT INTO node_hierarchy (board_id, child_id, parent_id) SELECT r.board_id, r.node_id, f.id \
            FROM resource_nodes r, nodes f WHERE r.title = 'mine' AND f.metadata #>> '{import,path}' = 'b/c'; \
         UPDATE nodes SET x = -5000.3, metadata = metadata || '{\"color\": \"red\"}' \
            WHERE metadata #>> '{import,path}' = 'README.md'; \
         UPDATE folder_nodes SET name = 'renamed' WHERE name = 'a'",
    )
    .await
    .unwrap();
    let before = bench.board().await;
    bench.write("a/file0.md", "[next](file1.md) [five](file5.md)");
    bench.write("README.md", "other text");
    fs::remove_dir_all(bench.path("b")).unwrap();
    let report = bench.import().await;
    let after = bench.board().await;
    assert_eq!((report.updated, report.deleted), (2, 7));
    assert_eq!(after.node("mine"), before.node("mine"));
    for folder in ["b", "b/c", "a"] {
        assert_eq!(after.node(folder), before.node(folder), "{folder} holds something that is not from disk");
    }
    let drawn = ("a/file0.md".to_owned(), "a/file5.md".to_owned(), Some("drawn".to_owned()));
    assert!(after.links.contains(&drawn));
    assert_eq!(after.rect("README.md"), before.rect("README.md"));
    assert_eq!(
        (&after.node("README.md")["metadata"]["color"], &after.node("README.md")["content"]),
        (&json!("red"), &json!("other text"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_grows_stays_readable() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    for round in 0..6 {
        for number in 0..5 {
            bench.write(&format!("a/round{round}/{number}.txt"), "x");
            bench.write(&format!("b/c/more{round}-{number}.txt"), "x");
            bench.write(&format!("a/more{round}-{number}.md"), "x");
        }
        let known = bench.board().await;
        let report = bench.import().await;
        let board = bench.board().await;
        board.check();
        assert_eq!((report.inserted, report.updated, report.deleted), (16, 0, 0));
        assert_eq!(board.version, known.version + 1);
        let moved = known.nodes.iter().filter(|(path, node)| board.node(path)["rect"] != node["rect"]);
        assert_eq!(moved.count(), report.moved);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_at_once_make_one_board() {
    let bench = Bench::new().await;
    sample(&bench);
    let (one, two) = tokio::join!(bench.import(), bench.import());
    assert_eq!(one.board_id, two.board_id);
    assert_eq!(one.inserted + two.inserted, one.folders + one.files);
    assert_eq!(one.unchanged + two.unchanged, one.folders + one.files);
    let board = bench.board().await;
    board.check();
    assert_eq!((board.version, board.nodes.len()), (1, one.folders + one.files));
    let boards = bench.app.sql.query_one("SELECT count(*) FROM boards", &[]).await.unwrap();
    assert_eq!(boards.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_files_are_imported_like_a_folder() {
    let bench = Bench::new().await;
    let name = "ü".repeat(300);
    let paths = [format!("{name}/{name}.txt"), "top.md".to_owned()];
    let files = |content: &'static [u8]| {
        embedded(&[(&paths[0], content), (&paths[1], b"# Top"), (".gitkeep", b""), ("x/data.bin", b"\0")])
    };
    let report = bench.import_from(files(b"text")).await;
    let board = bench.board().await;
    board.check();
    assert_eq!((report.folders, report.files), (2, 2));
    assert_eq!(board.node(&name)["name"].as_str().unwrap().chars().count(), 255);
    assert_eq!(board.node(&paths[0])["title"].as_str().unwrap().chars().count(), 304);
    assert_eq!(reasons(&report), BTreeMap::from([("x/data.bin", SkipReason::Binary)]));
    assert_eq!(bench.import_from(files(b"other")).await.updated, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handbook_is_there_with_its_links() {
    let bench = Bench::new().await;
    let request = ImportRequest { board_name: HANDBOOK.into(), is_public: true, ..request(handbook(), bench.owner) };
    let report = import(bench.store(), request.clone(), false).await.unwrap();
    let board = bench.board().await;
    board.check();
    assert_eq!(board.parent_of("docs/decisions/import.md"), Some("docs/decisions"));
    assert!(board.links.iter().any(|(from, ..)| from == "README.md") && report.skipped.named().is_empty());
    assert!(!import(bench.store(), request, false).await.unwrap().has_changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_refused_and_makes_no_board() {
    let bench = Bench::new().await;
    bench.write("file.md", "x");
    for path in ["missing", "file.md"] {
        let source = Source::Folder(bench.path(path));
        let failure = import(bench.store(), request(source, bench.owner), false).await.unwrap_err().to_string();
        assert!(failure.contains(path), "{failure}");
    }
    for name in ["", "a\0b", &"x".repeat(256)] {
        let request = ImportRequest { board_name: name.into(), ..request(embedded(&[]), bench.owner) };
        assert!(import(bench.store(), request, false).await.is_err(), "{name:?}");
    }
    assert_eq!(bench.board().await.version, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_this_time_stays() {
    let bench = Bench::new().await;
    sample(&bench);
    bench.import().await;
    let before = bench.board().await;
    let lock = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let (folder, file) = (bench.path("b"), bench.path("a/file2.md"));
    lock(&folder, 0o000);
    lock(&file, 0o000);
    let is_root = fs::read(&file).is_ok();
    let report = bench.import().await;
    lock(&folder, 0o755);
    assert_eq!(bench.board().await, before);
    let unreadable = SkipReason::Unreadable(std::io::ErrorKind::PermissionDenied);
    assert_eq!(report.skipped.counts().get(&unreadable).copied().unwrap_or_default(), if is_root { 0 } else { 2 });
}
