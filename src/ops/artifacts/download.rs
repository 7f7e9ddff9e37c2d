//! Asks the ordinary clients of the registries, pip and npm, for files.
//!
//! They know the user's proxies, mirrors and certificates; what they bring is checked afterwards, not here.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::catalog::{Package, Registry};

/// Downloads the packages into `folder`.
///
/// # Errors
/// A sentence that says what is missing or what the client said last.
pub(super) async fn download(registry: &Registry, packages: &[Package], folder: &Path) -> Result<(), String> {
    match registry {
        Registry::PyPi(platform_tags) => pip(platform_tags, packages, folder).await,
        Registry::Npm => npm(packages, folder).await,
    }
}

async fn pip(platform_tags: &[&str], packages: &[Package], folder: &Path) -> Result<(), String> {
    let mut arguments: Vec<&OsStr> =
        ["download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"].map(OsStr::new).to_vec();
    arguments.extend(["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--dest"].map(OsStr::new));
    arguments.push(folder.as_os_str());
    for tag in platform_tags {
        arguments.extend([OsStr::new("--platform"), OsStr::new(*tag)]);
    }
    let wanted: Vec<String> = packages.iter().map(|package| format!("{}=={}", package.name, package.version)).collect();
    arguments.extend(wanted.iter().map(OsStr::new));

    let clients: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
    let mut no_pip = true;
    let mut last = String::new();
    for client in clients {
        match run(client, &arguments, folder).await {
            Outcome::Done => return Ok(()),
            Outcome::Missing => {}
            Outcome::Failed(said) if said.contains("No module named pip") => {}
            Outcome::Failed(said) => {
                no_pip = false;
                last = said;
                break;
            }
        }
    }
    if no_pip { Err("pip, which fetches it, was not found".to_owned()) } else { Err(format!("pip says: {last}")) }
}

async fn npm(packages: &[Package], folder: &Path) -> Result<(), String> {
    let mut arguments: Vec<&OsStr> =
        ["pack", "--silent", "--ignore-scripts", "--fetch-retries=1", "--pack-destination"].map(OsStr::new).to_vec();
    arguments.push(folder.as_os_str());
    let wanted: Vec<String> = packages.iter().map(|package| format!("{}@{}", package.name, package.version)).collect();
    arguments.extend(wanted.iter().map(OsStr::new));
    match run(&["npm"], &arguments, folder).await {
        Outcome::Done => Ok(()),
        Outcome::Missing => Err("npm, which fetches it, was not found".to_owned()),
        Outcome::Failed(said) => Err(format!("npm says: {said}")),
    }
}

enum Outcome {
    Done,
    Missing,
    /// With the line that tells most.
    Failed(String),
}

async fn run(client: &[&str], arguments: &[&OsStr], folder: &Path) -> Outcome {
    let Some((program, first)) = client.split_first() else { return Outcome::Missing };
    // In the download folder, so that no configuration of a project that happens to be around takes part.
    let output = Command::new(program)
        .args(first)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => Outcome::Done,
        Ok(output) => Outcome::Failed(telling_line(&String::from_utf8_lossy(&output.stderr))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Outcome::Missing,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// The first line that is an error, else the last that says anything: clients bury it in warnings.
fn telling_line(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| {
        let lower = line.to_lowercase();
        lower.starts_with("error") || lower.contains("no module named pip") || lower.starts_with("npm error ")
    };
    lines().find(is_error).or_else(|| lines().next_back()).unwrap_or("nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_that_tells_most() {
        let pip = "WARNING: Retrying\nERROR: No matching distribution found for x==1\nWARNING: upgrade";
        assert_eq!(telling_line(pip), "ERROR: No matching distribution found for x==1");
        assert_eq!(telling_line("something\nended badly\n\n"), "ended badly");
    }
}
