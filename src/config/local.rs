//! Folders on this machine.
//!
//! | key in `[local]` | variable             | default                                                   |
//! |------------------|----------------------|-----------------------------------------------------------|
//! | `data_dir`       | `RAGBOARD_DATA_DIR`  | `.ragboard`                                               |
//! | `cache_dir`      | `RAGBOARD_CACHE_DIR` | `$XDG_CACHE_HOME/ragboard`, else `$HOME/.cache/ragboard`  |

use std::path::{Path, PathBuf};

use super::{Sources, reader::Reader, values::Folder};

/// Folders on this machine. They are made when they are needed.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// What must not be lost: the own PostgreSQL, generated secrets.
    pub data_dir: PathBuf,
    /// What can be fetched again.
    pub cache_dir: PathBuf,
}

impl LocalConfig {
    pub(super) fn read(reader: &mut Reader<'_>, sources: &Sources) -> Self {
        let data_dir = reader.value("local.data_dir", &["RAGBOARD_DATA_DIR"], &Folder, PathBuf::from(".ragboard"));
        let folder = |variable| sources.variable(variable).map(Path::new).filter(|path| path.is_absolute());
        let cache_dir = folder("XDG_CACHE_HOME")
            .map(|cache| cache.join("ragboard"))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/ragboard")))
            .unwrap_or_else(|| data_dir.join("cache"));
        let cache_dir = reader.value("local.cache_dir", &["RAGBOARD_CACHE_DIR"], &Folder, cache_dir);
        LocalConfig { data_dir, cache_dir }
    }
}
