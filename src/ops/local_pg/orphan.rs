//! A server that outlived its program: recognised, and stopped in order before a new one is started.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::folder::DataFolder;
use crate::ops::Failure;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process id that no system hands out.
const NOBODY: &str = "2147483646";

/// Stops a server that still runs in the folder, whose lock the caller holds. A pid file that a crash left behind and
/// that names some other process by now is disarmed; one that says nothing, as after a power cut, is removed.
pub(super) async fn stop_orphan(folder: &DataFolder) -> Result<(), Failure> {
    let text = match fs::read(folder.pid_file()) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return stop_unnamed(folder).await,
        Err(error) => return Err(Failure::while_doing(format!("reading {}", folder.pid_file().display()))(error)),
    };
    // A number that no line follows may be the beginning of another one.
    // PostgreSQL without a postmaster writes a negative one; nothing of it is left but the file.
    let pid_of = |first: &str| first.trim().parse().ok().filter(|pid: &i32| *pid > 0).and_then(Pid::from_raw);
    let named = text.split_once('\n').and_then(|(first, rest)| Some((pid_of(first)?, rest)));
    let Some((pid, rest)) = named else {
        stop_unnamed(folder).await?;
        tracing::warn!("{} named no process and was removed: no server runs there", folder.pid_file().display());
        return match fs::remove_file(folder.pid_file()) {
            // The server that was stopped has done it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
        .map_err(Failure::while_doing(format!("removing {}", folder.pid_file().display())));
    };
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
    stop(pid, folder).await
}

/// Stops a server that no pid file names, and waits until its last process has ended: without that file, PostgreSQL would not see that
/// somebody works on the data.
async fn stop_unnamed(folder: &DataFolder) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let workers = workers(folder);
        let Some(first) = workers.first().copied() else { return Ok(()) };
        for pid in workers {
            if serves(pid, folder).await? {
                stop(pid, folder).await?;
            }
        }
        if Instant::now() > deadline {
            let message = format!("process {first} of PostgreSQL still works on the data in {}", folder.root.display());
            return Err(Failure::new(message).hint("Stop it, then start again."));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Processes of PostgreSQL that work in the cluster, children included: all of them have it as their folder. Only Linux tells that
/// without further programs; elsewhere there is no such list.
fn workers(folder: &DataFolder) -> Vec<Pid> {
    let cluster = folder.cluster();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let works = |pid: &Pid| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == cluster)
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"))
    };
    pids.filter(works).collect()
}

/// Stops a server in order.
async fn stop(pid: Pid, folder: &DataFolder) -> Result<(), Failure> {
    tracing::warn!(pid = pid.as_raw_pid(), "a PostgreSQL server outlived its program; stopping it");
    let failed = |what: &str| {
        Failure::new(format!("a PostgreSQL server (process {}) still runs in {} {what}", pid, folder.root.display()))
            .hint("Stop it, then start again.")
    };
    kill_process(pid, Signal::INT).map_err(|error| failed(&format!("and cannot be stopped: {error}")))?;
    let deadline = Instant::now() + PATIENCE;
    // It has ended for us once it no longer works in the folder, even if nobody has collected it.
    while is_alive(pid) && (folder.pid_file().exists() || workers(folder).contains(&pid)) {
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
