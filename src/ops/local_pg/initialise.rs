//! Makes a new cluster. It is made beside its place and renamed, so a killed start leaves nothing half made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::Purpose;
use super::binaries::Binaries;
use super::endpoint::ADMIN;
use super::folder::{DataFolder, has_data};
use crate::ops::Failure;

/// The line of `postgresql.conf` by which the server gets its settings.
pub(super) const INCLUDE: &str = "include = 'ragboard.conf'";

/// Makes the cluster unless there is one.
pub(super) async fn initialise(folder: &DataFolder, binaries: &Binaries, purpose: Purpose) -> Result<(), Failure> {
    folder.remove_unfinished();
    if has_data(&folder.root) {
        return Ok(());
    }
    let unfinished = folder.unfinished_cluster();
    let making = || Failure::while_doing(format!("making {}", unfinished.display()));
    folder.create_private_dir(&unfinished).map_err(making())?;
    // The password of before belongs to no data any more.
    folder.renew_password()?;

    let mut initdb = binaries.command("initdb", folder.user);
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .arg("--pwfile")
        .arg(folder.password_file())
        .args(["--username", ADMIN, "--encoding=UTF8", "--auth=scram-sha-256", "--data-checksums", "--no-instructions"])
        .args(locale(binaries.major));
    if purpose == Purpose::Throwaway {
        initdb.arg("--no-sync");
    }
    let output = initdb.kill_on_drop(true).output().await.map_err(Failure::while_doing("running initdb"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("initdb failed: {}", said.trim())));
    }

    let finish = || -> io::Result<()> {
        include_settings(&unfinished)?;
        folder.write_private(&folder.settings_file(&unfinished), "")?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, folder.cluster())?;
        File::open(&folder.root)?.sync_all()
    };
    finish().map_err(making())
}

/// Locale of new databases: compared by code point, with the character classes and case mapping of Unicode. The
/// server's own provider does it the same everywhere; before version 17 the C library must do.
fn locale(major: u32) -> &'static [&'static str] {
    match () {
        () if major < 17 => &["--locale=C.UTF-8"],
        // Its C library knows no C.UTF-8.
        () if cfg!(target_os = "macos") => {
            &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--lc-ctype=UTF-8"]
        }
        () => &["--locale-provider=builtin", "--locale=C.UTF-8"],
    }
}

fn include_settings(cluster: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(cluster.join("postgresql.conf"))?;
    writeln!(file, "\n{INCLUDE}   # written by ragboard; settings of your own go below")?;
    file.sync_all()
}
