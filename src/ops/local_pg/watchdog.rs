//! Stops the server when this program dies in a way that leaves it no say.
//!
//! A shell waits for the end of a pipe whose other end only this program holds. The pipe carries the process id of
//! every server that is started; when it ends, the last one is stopped, if it still is the server of the folder.

use std::io::{self, PipeWriter};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use super::Purpose;
use super::folder::DataFolder;
use crate::ops::Failure;

/// Arguments: the cluster, the signal to stop it with, the folder to remove afterwards (or nothing), and the server
/// that runs already (or nothing).
///
/// The pid is trusted only while `postmaster.pid` names it too: ids are reused, and another program may have started
/// a server in the folder by then. A server that was only just started has not written its file yet.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
cluster=$1 signal=$2 remove=$3 pid=$4
while read -r line; do pid=$line; done
alive() { [ -n "$pid" ] && kill -0 "$pid"; } 2>/dev/null
serves() { read -r first < "$cluster/postmaster.pid" && [ "$first" = "$pid" ] && alive; } 2>/dev/null
pause() { sleep 0.02 2>/dev/null || sleep 1; }
tries=0
while alive && ! serves && [ "$tries" -lt 250 ]; do tries=$((tries + 1)); pause; done
if serves; then
    kill -s "$signal" "$pid"
    tries=0
    while serves; do
        tries=$((tries + 1))
        [ "$tries" -eq 3000 ] && kill -s QUIT "$pid"
        pause
    done
fi
[ -z "$remove" ] || rm -rf -- "$remove" || { sleep 1; rm -rf -- "$remove"; }
"#;

/// The running shell and our end of its pipe.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    pipe: PipeWriter,
}

impl Watchdog {
    /// Starts watching over the servers of `folder`, one of which may run already; a throwaway folder is removed at
    /// the end.
    pub(super) fn start(folder: &DataFolder, purpose: Purpose, running: Option<u32>) -> Result<Watchdog, Failure> {
        let start = || -> io::Result<Watchdog> {
            let (reader, pipe) = io::pipe()?;
            let (signal, remove) = match purpose {
                Purpose::Durable => ("INT", Path::new("")),
                Purpose::Throwaway => ("QUIT", folder.root.as_path()),
            };
            let shell = Command::new("/bin/sh")
                .args(["-c", SCRIPT, "ragboard-watchdog"])
                .args([folder.cluster().as_path(), Path::new(signal), remove])
                .arg(running.map(|pid| pid.to_string()).unwrap_or_default())
                .current_dir("/")
                .stdin(reader)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // A group of its own: Ctrl-C is for this program, which then stops the server in order.
                .process_group(0)
                .spawn()?;
            Ok(Watchdog { shell, pipe })
        };
        start().map_err(Failure::while_doing("starting the watchdog of the server"))
    }

    /// An end of the pipe for a server to announce itself with.
    pub(super) fn announcements(&self) -> io::Result<PipeWriter> {
        self.pipe.try_clone()
    }

    /// Waits until the shell ends, which it should not do while we live.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.shell.wait().await
    }

    /// Lets go: the shell finds the server stopped, removes a throwaway folder, and ends.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        let Watchdog { mut shell, pipe } = self;
        drop(pipe);
        shell.wait().await.map_err(Failure::while_doing("waiting for the watchdog of the server"))?;
        Ok(())
    }
}
