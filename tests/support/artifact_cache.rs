//! Where fetched artifacts are kept: the user's own cache, so that tests and program share one download.

use std::path::PathBuf;

/// `$XDG_CACHE_HOME/ragboard`, else `$HOME/.cache/ragboard`, else a folder among the temporary ones.
pub(crate) fn cache_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("ragboard")
}
