//! What a power cut leaves of small files: empty, cut off or full of zeros. Here they are made good, where nothing else can know
//! better, by the owner of the folder and while no server runs in it.
//!
//! What PostgreSQL recovers by itself, which is all data, is not touched. The pid file is `orphan.rs`.

use std::{fs, io, io::ErrorKind, path::Path, process::Stdio};

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;

use super::{
    binaries::Binaries,
    endpoint::ADMIN,
    folder::{DataFolder, is_password},
    initialise::INCLUDE,
};
use crate::ops::Failure;

/// Who may sign in, as `initdb` writes it.
const HBA: &str = "# Written by ragboard, because the file was empty.\n\
    local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";

/// Makes good what can be. The cluster is there, and no server runs in it.
pub(super) async fn recover(folder: &DataFolder, binaries: &Binaries) -> Result<(), Failure> {
    let cluster = folder.cluster();
    if !cluster.join("global/pg_control").is_file() {
        return Err(Failure::new(format!(
            "{} is no data of PostgreSQL: global/pg_control is missing",
            cluster.display()
        ))
        .hint(format!(
            "Put a backup in its place, or move {} away: the next start begins with an empty database.",
            cluster.display()
        )));
    }
    recover_settings(folder)
        .map_err(Failure::while_doing(format!("looking at the settings in {}", cluster.display())))?;
    recover_password(folder, binaries).await
}

/// Makes good the files that PostgreSQL reads before it does anything.
fn recover_settings(folder: &DataFolder) -> io::Result<()> {
    let cluster = folder.cluster();
    let main = cluster.join("postgresql.conf");
    let text = text_of(&main)?.unwrap_or_default();
    if !text.contains(INCLUDE) {
        tracing::warn!("{} did not include the settings of this program; now it does", main.display());
        folder.write_private(&main, &format!("{text}\n{INCLUDE}\n"))?;
    }
    let hba = cluster.join("pg_hba.conf");
    if text_of(&hba)?.is_none_or(|text| text.trim().is_empty()) {
        tracing::warn!("{} was empty; it is written anew", hba.display());
        folder.write_private(&hba, HBA)?;
    }
    // The first is written anew at every start, but another server reads it before.
    for file in [folder.settings_file(&cluster), cluster.join("postgresql.auto.conf")] {
        if text_of(&file)?.is_none() {
            tracing::warn!("{} was damaged; it is written anew, and empty", file.display());
            folder.write_private(&file, "")?;
        }
    }
    Ok(())
}

/// What a file holds; `None` where it is missing or no text: zeros are what a power cut leaves.
fn text_of(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) if bytes.contains(&0) => Ok(None),
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the superuser another password if the file with his is none: whoever may write this folder may read all of it anyway.
async fn recover_password(folder: &DataFolder, binaries: &Binaries) -> Result<(), Failure> {
    let path = folder.password_file();
    let text = text_of(&path).map_err(Failure::while_doing(format!("reading {}", path.display())))?;
    if text.is_some_and(|text| is_password(&text)) {
        return Ok(());
    }
    tracing::warn!("{} is missing or damaged; the superuser of the data gets another password", path.display());
    let password = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), 32));
    set_password(folder, binaries, &password).await?;
    // Afterwards: a start that is cut off before finds the file as it was, and does the same again.
    folder
        .write_private(&path, password.expose_secret())
        .map_err(Failure::while_doing(format!("writing {}", path.display())))
}

/// Sets it past all signing in: in the mode of the server for one user, which nobody can connect to.
async fn set_password(folder: &DataFolder, binaries: &Binaries, password: &SecretString) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(format!("Another password for the data could not be set: {what}"));
    let mut postgres = binaries
        .command("postgres", folder.user)
        .arg("--single")
        .arg("-D")
        .arg(folder.cluster())
        .args(["-c", "log_statement=none", "-c", "log_min_error_statement=panic", "postgres"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = postgres.stdin.take() {
        let statement = format!("ALTER ROLE {ADMIN} PASSWORD '{}'\n", password.expose_secret());
        // A server that ended says why below.
        let _ = input.write_all(statement.as_bytes()).await;
    }
    let output = postgres.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !said.contains("ERROR:") {
        return Ok(());
    }
    Err(failed(format!("{} {}", output.status, said.trim())))
}
