//! The program as an operator uses it: exit codes, what goes to stdout, serving from nothing, crashes, two at once.

use rustix::process::Signal;

use crate::support::{
    cluster::TestFolder,
    program::{self, Server},
};

const BOARDS: &str = "{ viewer { email } boards(first: 5) { nodes { name stats { nodeCount linkCount } } } }";

#[test]
fn results_go_to_stdout_and_exit_codes_tell() {
    let folder = TestFolder::new("commands");
    let data = folder.path().join("data");
    assert_eq!(program::result(&data, &["schema"]), ragboard::graphql::sdl());
    assert!(program::result(&data, &["--version"]).starts_with("ragboard "));
    let config = program::result(&data, &["config", "--database-url", "postgresql://me:hunter2@localhost/db"]);
    assert!(!config.contains("hunter2") && config.contains("pool_size"), "{config}");
    for wrong in [&["nonsense"][..], &["serve", "--nonsense"], &["token"], &["import", "."]] {
        let output = program::run(&data, wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty());
    }
    for failing in [
        &["schema", "--listen", "nowhere"][..],
        &["migrate", "status", "--database-url", "postgresql://nobody@127.0.0.1:1/none"],
        &["artifacts", "path", "nonsense"],
        &["healthcheck", "--listen", "127.0.0.1:1"],
    ] {
        let output = program::run(&data, failing);
        assert_eq!(output.status.code(), Some(1), "{failing:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty() && output.stderr.starts_with(b"error: "), "{failing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_board_and_again_after_a_crash() {
    let folder = TestFolder::new("serve");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]).await;
    let log = server.log();
    assert!(
        log.contains("/graphiql") && log.contains("demo@ragboard.example") && log.contains("boards(first: 5)"),
        "{log}"
    );
    let token = program::result(&data, &["token", "demo@ragboard.example"]);
    assert_eq!(token.trim().lines().count(), 1);
    let answer = server.ask(&token, BOARDS).await;
    assert_eq!(answer["data"]["viewer"]["email"], "demo@ragboard.example");
    let board = &answer["data"]["boards"]["nodes"][0];
    assert!(board["stats"]["nodeCount"].as_i64().unwrap() > 10, "{answer}");
    assert!(board["stats"]["linkCount"].as_i64().unwrap() > 3, "{answer}");

    // A second program on the same folder is refused by name, also on another port.
    let second = program::run(&data, &["serve", "--listen", &format!("127.0.0.1:{}", program::free_port())]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&server.pid().to_string()));
    // Commands work beside it, and another server with another folder and port does too.
    assert!(program::result(&data, &["migrate", "status"]).lines().all(|line| line.starts_with("applied")));
    let other = Server::start(&folder.path().join("other"), &["--no-demo"]).await;
    let guest = program::result(&folder.path().join("other"), &["token", "--create", "guest@example.org"]);
    assert_eq!(other.ask(&guest, BOARDS).await["data"]["boards"]["nodes"], serde_json::json!([]));

    server.signal(Signal::KILL);
    server.ended().await;
    let mut server = Server::start(&data, &[]).await;
    assert_eq!(server.ask(&token, BOARDS).await, answer, "the same boards, for the same token");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_fit_is_refused() {
    let url = crate::support::app::new_database().await;
    let folder = TestFolder::new("fit");
    let data = folder.path().join("data");
    let url = secrecy::ExposeSecret::expose_secret(&url).to_owned();
    let port = format!("127.0.0.1:{}", program::free_port());
    let down = program::result(&data, &["migrate", "down", "--steps", "2", "--database-url", &url]);
    assert_eq!(down.lines().count(), 2, "{down}");
    let refused = program::run(&data, &["serve", "--listen", &port, "--database-url", &url]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ragboard migrate up"));
    assert_eq!(program::result(&data, &["migrate", "up", "--database-url", &url]).lines().count(), 2);
    assert_eq!(program::result(&data, &["migrate", "up", "--database-url", &url]), "nothing to do\n");
    assert_eq!(program::result(&data, &["migrate", "redo", "--database-url", &url]).lines().count(), 1);
    let client = crate::support::cluster::connect(&url.clone().into()).await;
    client.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')", &[]).await.unwrap();
    let refused = program::run(&data, &["serve", "--listen", &port, "--database-url", &url]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("newer program"));
}
