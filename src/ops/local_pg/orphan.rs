//! A server that outlived its program: recognised, and stopped in order before a new one is started.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::folder::DataFolder;
use crate::ops::Failure;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process id that no system hands out.
const NOBODY: &str = "2147483646";

/// Stops a server that still runs in the folder, whose lock the caller holds. A pid file that a crash left behind and
/// that names some other process by now is disarmed.
pub(super) async fn stop_orphan(folder: &DataFolder) -> Result<(), Failure> {
    let Ok(text) = fs::read_to_string(folder.pid_file()) else { return Ok(()) };
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(pid) = first.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    if !is_alive(pid) {
        // PostgreSQL recognises that by itself.
        return Ok(());
    }
    if !serves(pid, folder).await? {
        // The rest of the file stays: by it PostgreSQL sees whether children of the crashed server still hold its
        // shared memory.
        return folder
            .write_private(&folder.pid_file(), &format!("{NOBODY}\n{rest}"))
            .map_err(Failure::while_doing(format!("disarming {}", folder.pid_file().display())));
    }
    tracing::warn!(pid = pid.as_raw_pid(), "a PostgreSQL server outlived its program; stopping it");
    let failed = |what: &str| {
        Failure::new(format!("a PostgreSQL server (process {}) still runs in {} {what}", pid, folder.root.display()))
            .hint("Stop it, then start again.")
    };
    kill_process(pid, Signal::INT).map_err(|error| failed(&format!("and cannot be stopped: {error}")))?;
    let deadline = Instant::now() + PATIENCE;
    while is_alive(pid) && folder.pid_file().exists() {
        if Instant::now() > deadline {
            return Err(failed("and does not stop"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn is_alive(pid: Pid) -> bool {
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Whether the process is a server of this folder: its command line names the cluster.
async fn serves(pid: Pid, folder: &DataFolder) -> Result<bool, Failure> {
    let cluster = folder.cluster();
    let cluster = cluster.as_os_str().as_encoded_bytes();
    let proc = format!("/proc/{pid}/cmdline");
    if fs::exists("/proc/self/cmdline").unwrap_or(false) {
        // Gone or a zombie: nothing that serves.
        let line = fs::read(proc).unwrap_or_default();
        return Ok(line.split(|byte| *byte == 0).any(|argument| argument == cluster));
    }
    let output = tokio::process::Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .await
        .map_err(Failure::while_doing(format!("looking at process {pid}")))?;
    Ok(output.stdout.windows(cluster.len()).any(|part| part == cluster))
}
