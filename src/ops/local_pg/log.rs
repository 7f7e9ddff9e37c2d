//! The server's own log files: the last lines for an error message, and a bound on what is kept.

use std::fs;
use std::path::{Path, PathBuf};

use super::folder::DataFolder;

/// Files kept; the server begins a new one at 10 MB, after a day and at every start.
const KEPT_FILES: usize = 5;
const TAIL_LINES: usize = 15;
const TAIL_BYTES: usize = 16 * 1024;

/// What the server said in the current start, last lines only.
pub(super) fn tail(folder: &DataFolder) -> String {
    let mut files = vec![folder.startup_log()];
    files.extend(files_of(&folder.cluster().join("log")).pop());
    let texts: Vec<String> = files.iter().filter_map(|path| last_lines(path)).collect();
    texts.join("\n")
}

/// What was said before the server's own log began.
pub(super) fn startup(folder: &DataFolder) -> String {
    last_lines(&folder.startup_log()).unwrap_or_default()
}

/// Removes all but the newest files.
pub(super) fn prune(folder: &DataFolder) {
    let files = files_of(&folder.cluster().join("log"));
    let surplus = files.len().saturating_sub(KEPT_FILES);
    for path in files.iter().take(surplus) {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(file = %path.display(), %error, "an old log of PostgreSQL could not be removed");
        }
    }
}

/// Log files, oldest first: their names are their times.
fn files_of(logs: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(logs).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

fn last_lines(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let from = bytes.len().saturating_sub(TAIL_BYTES);
    let text = String::from_utf8_lossy(bytes.get(from..)?).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    Some(lines.get(from..)?.join("\n"))
}
