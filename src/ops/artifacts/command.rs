//! `ragboard artifacts fetch|list|path`: what they do, without the parsing of the command line.

use std::io::Write;
use std::path::Path;

use super::{Artifact, all, cache_of, ensure, installed};
use crate::ops::Failure;

/// Fetches one artifact, or all, and writes `name<TAB>folder` for each.
///
/// # Errors
/// As [`ensure`], or the output is closed.
pub async fn fetch(which: Option<Artifact>, cache_dir: &Path, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    for artifact in all().iter().copied().filter(|artifact| which.is_none_or(|wanted| wanted == *artifact)) {
        let folder = ensure(artifact, cache_dir).await?;
        writeln!(out, "{}\t{}", artifact.name(), folder.display())
            .map_err(Failure::while_doing("writing the result"))?;
    }
    Ok(())
}

/// Writes one line for every artifact: name, version, state, and what it is.
///
/// # Errors
/// The output is closed.
pub fn list(cache_dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for artifact in all().iter().copied() {
        let state = match (installed(artifact, cache_dir), artifact.packages()) {
            (Some(_), _) => "fetched",
            (None, Some(_)) => "not fetched",
            (None, None) => "not for this platform",
        };
        writeln!(out, "{:<10} {:<8} {:<22} {}", artifact.name(), artifact.version(), state, artifact.title())
            .map_err(Failure::while_doing("writing the result"))?;
    }
    Ok(())
}

/// Writes the folder of a fetched artifact and nothing else.
///
/// # Errors
/// It has not been fetched, or the output is closed.
pub fn path(artifact: Artifact, cache_dir: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let folder = installed(artifact, cache_dir).ok_or_else(|| {
        let cache = cache_of(artifact, cache_dir);
        Failure::new(format!("{} has not been fetched into {}", artifact.title(), cache.display()))
            .hint(format!("Fetch it with `ragboard artifacts fetch {}`.", artifact.name()))
    })?;
    writeln!(out, "{}", folder.display()).map_err(Failure::while_doing("writing the result"))
}
