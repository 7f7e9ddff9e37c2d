//! The gateway with the clients that frontends use: `graphql-ws` and `graphql-sse` from npm, in node, against the program.
//!
//! What they do and expect is in `tests/clients/`; each test there reports under a name of its own. Needs node 20 or later and npm;
//! where they or npm's packages cannot be had, the test says so.

use std::{
    io::ErrorKind,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{cluster::TestFolder, program::Server};

const FILES: [(&str, &str); 5] = [
    ("package.json", include_str!("clients/package.json")),
    ("package-lock.json", include_str!("clients/package-lock.json")),
    ("gateway.mjs", include_str!("clients/gateway.mjs")),
    ("follower.mjs", include_str!("clients/follower.mjs")),
    ("clients.test.mjs", include_str!("clients/clients.test.mjs")),
];
const OLDEST_NODE: u32 = 20;
/// What npm says when it cannot reach its registry.
const OFFLINE: [&str; 6] = ["EAI_AGAIN", "ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH"];

/// What a program says; nothing if it is not there.
fn output(folder: &Path, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

/// Puts the clients into a folder, or says why that cannot be.
fn install(folder: &Path) -> Result<(), &'static str> {
    let node = output(folder, "node", &["--version"], &[]).ok_or("no node found; install nodejs")?;
    let version = String::from_utf8_lossy(&node.stdout);
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST_NODE) {
        return Err("node is older than 20");
    }
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"];
    let npm = output(folder, "npm", &arguments, &[]).ok_or("no npm found; install npm")?;
    if npm.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&npm.stderr);
    assert!(OFFLINE.iter().any(|sign| said.contains(sign)), "npm ci: {said}");
    Err("npm cannot reach its registry")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_npm_hear_everything_once_and_nothing_more_when_they_may_not() {
    let folder = TestFolder::new("clients");
    if let Err(reason) = install(folder.path()) {
        eprintln!("SKIPPED clients: {reason}");
        return;
    }
    let server = Server::start(&folder.path().join("data"), &["--no-demo"]).await;
    let address = format!("127.0.0.1:{}", server.port);
    let arguments = ["--test", "--test-reporter=spec", "clients.test.mjs"];
    // In development mails are printed: from there the tests take the token that verifies an address.
    let log = server.log_path().to_str().unwrap();
    let variables = [("RAGBOARD_ADDRESS", address.as_str()), ("RAGBOARD_LOG_FILE", log)];
    let run = output(folder.path(), "node", &arguments, &variables).unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&run.stderr), server.log());
}
