//! The built program, run as an operator runs it.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::artifact_cache::cache_dir;

/// A command of the program with a bare environment: what a test does not set is not set.
pub(crate) fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ragboard"));
    command.env_clear();
    for name in ["PATH", "HOME", "SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "PIP_CONFIG_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.current_dir(data_dir.parent().unwrap());
    command.env("RAGBOARD_DATA_DIR", data_dir).env("RAGBOARD_CACHE_DIR", cache_dir());
    command.stdin(Stdio::null());
    command
}

/// The same within limits of the system, which the words for `ulimit` tell.
pub(crate) fn limited(data_dir: &Path, limit: &str) -> Command {
    let plain = command(data_dir);
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(plain.get_program());
    limited.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(data_dir.parent().unwrap()).stdin(Stdio::null());
    limited
}

/// A client of HTTP that goes nowhere but where it is sent.
pub(crate) fn client() -> reqwest::Client {
    // Whoever comes second finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Runs a command to its end.
pub(crate) fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    command(data_dir).args(arguments).output().unwrap()
}

/// What a command printed as its result; it must succeed.
pub(crate) fn result(data_dir: &Path, arguments: &[&str]) -> String {
    let output = run(data_dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server; it is stopped when the test is over.
pub(crate) struct Server {
    child: std::process::Child,
    pub(crate) port: u16,
    log: std::path::PathBuf,
}

/// A loopback port that nobody listens on. It is handed out once, and from below the ports that the system hands out by
/// itself, so that neither a server of another test nor somebody's connection has it before it is used.
pub(crate) fn free_port() -> u16 {
    const MOST: u16 = 12_000;
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let handed_out_from: u16 = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768);
    let first = handed_out_from.saturating_sub(MOST).max(10_000);
    let most = handed_out_from.saturating_sub(first);
    // Another run of the tests begins elsewhere.
    let begin = u16::try_from(std::process::id() % u32::from(MOST)).unwrap();
    let mut own = (0..most).map(|_| first + (begin + NUMBER.fetch_add(1, Ordering::Relaxed) % MOST) % most);
    let of_system = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    own.find(is_free).unwrap_or_else(of_system)
}

impl Server {
    /// Starts `ragboard serve` and waits until it is ready.
    pub(crate) async fn start(data_dir: &Path, arguments: &[&str]) -> Server {
        Server::start_with(data_dir, arguments, &[]).await
    }

    /// The same with settings, given as the variables that an operator would set.
    pub(crate) async fn start_with(data_dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        Server::start_by(command(data_dir), data_dir, arguments, variables).await
    }

    /// The same by another command, such as one of [`limited`].
    pub(crate) async fn start_by(
        mut command: Command,
        data_dir: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Server {
        let port = free_port();
        let log = data_dir.with_extension(format!("{port}.log"));
        let child = command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .envs(variables.iter().copied())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Server { child, port, log };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !server.is_ready().await {
            assert_eq!(server.child.try_wait().unwrap(), None, "the server ended: {}", server.log());
            assert!(Instant::now() < deadline, "the server never became ready: {}", server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn is_ready(&self) -> bool {
        let answer = client().get(self.url("/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The file with its log.
    pub(crate) fn log_path(&self) -> &std::path::Path {
        &self.log
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end and returns the exit code, if it ended by itself.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server did not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the API with a token.
    pub(crate) async fn ask(&self, token: &str, document: &str) -> serde_json::Value {
        let body = serde_json::json!({ "query": document }).to_string();
        let request = client()
            .post(self.url("/graphql"))
            .header("authorization", format!("Bearer {}", token.trim()))
            .header("content-type", "application/json");
        let text = request.body(body).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
