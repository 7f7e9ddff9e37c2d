//! Running PostgreSQL without privileges when the program has them, and finding folders that user can reach.
//!
//! PostgreSQL refuses to run as root. Started as root, the program stays root and runs every PostgreSQL program as an
//! unprivileged user; started as anybody else, everything here does nothing.

use std::path::{Path, PathBuf};

use crate::ops::Failure;
use crate::ops::artifacts::checksum;

/// The user that PostgreSQL runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprivileged {
    /// User id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

#[cfg(unix)]
const SYSTEM_CACHE: &str = "/var/cache/ragboard";
const SYSTEM_DATA: &str = "/var/lib/ragboard";

/// The user to run PostgreSQL as; `None` unless this process is root.
#[cfg(unix)]
#[must_use]
pub fn user() -> Option<Unprivileged> {
    rustix::process::geteuid().is_root().then(|| choose(&std::fs::read_to_string("/etc/passwd").unwrap_or_default()))
}

/// The user to run PostgreSQL as; such a distinction is not made on this platform.
#[cfg(not(unix))]
#[must_use]
pub fn user() -> Option<Unprivileged> {
    None
}

#[cfg(unix)]
fn choose(passwd: &str) -> Unprivileged {
    let find = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(wanted) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then_some(Unprivileged { uid, gid })
        })
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or(Unprivileged { uid: 65534, gid: 65534 })
}

/// The cache folder to keep PostgreSQL's binaries in: `cache_dir`, unless its user could not reach them there.
#[must_use]
pub fn reachable_cache(cache_dir: &Path) -> PathBuf {
    #[cfg(unix)]
    if let Some(user) = user()
        && !can_traverse(user, cache_dir)
    {
        return PathBuf::from(SYSTEM_CACHE);
    }
    cache_dir.to_path_buf()
}

/// Where the data of `data_dir` lies: there, unless PostgreSQL's user could not reach it, then in a system folder of
/// its own. Data that exists decides first, so that changed permissions never make a board look empty.
///
/// # Errors
/// Data exists in `data_dir` and the user can no longer reach it.
pub(super) fn reachable_data(data_dir: &Path) -> Result<PathBuf, Failure> {
    let absolute = absolute(data_dir)?;
    #[cfg(unix)]
    if let Some(user) = user() {
        let digest: String = checksum::sha256_of_text(&absolute.to_string_lossy()).chars().take(12).collect();
        let elsewhere = Path::new(SYSTEM_DATA).join(digest);
        let reachable = can_traverse(user, &absolute);
        return match (super::folder::has_data(&absolute), super::folder::has_data(&elsewhere)) {
            (true, _) if reachable => Ok(absolute),
            (true, _) => Err(Failure::new(format!(
                "PostgreSQL runs as user {}, who cannot reach its data in {}",
                user.uid,
                absolute.display()
            ))
            .hint("Give that user the right to pass (chmod o+x) on every folder above it.")),
            (false, true) => Ok(elsewhere),
            (false, false) => Ok(if reachable { absolute } else { elsewhere }),
        };
    }
    Ok(absolute)
}

/// The path from the root, symbolic links resolved as far as it exists: one folder must have one name.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("finding {}: {error}", path.display()));
    let plain = std::path::absolute(path).map_err(failed)?;
    for existing in plain.ancestors() {
        if let Ok(resolved) = existing.canonicalize() {
            let rest = plain.strip_prefix(existing).unwrap_or(Path::new(""));
            return Ok(if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) });
        }
    }
    Ok(plain)
}

/// Whether the user may pass every existing folder on the way to `path`, itself included.
#[cfg(unix)]
fn can_traverse(user: Unprivileged, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(path) = absolute(path) else { return false };
    path.ancestors().all(|folder| match std::fs::metadata(folder) {
        Ok(found) => {
            let shift = match () {
                () if found.uid() == user.uid => 6,
                () if found.gid() == user.gid => 3,
                () => 0,
            };
            found.mode() >> shift & 1 == 1
        }
        // It will be made with the right mode.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    })
}

/// Makes a folder and those above it. When PostgreSQL runs as another user, the new ones let everybody pass, whatever
/// the umask; what is secret inside has modes of its own.
pub(in crate::ops) fn create_open_dir(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if user().is_some() {
        use std::os::unix::fs::PermissionsExt;
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(path)?;
        for folder in missing.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        }
        return Ok(());
    }
    std::fs::create_dir_all(path)
}

/// Gives an open file or folder to PostgreSQL's user. By its path it might be another one by now: that user owns
/// folders on the way, and can put a link in its place.
#[cfg(unix)]
pub(super) fn give(file: &std::fs::File, user: Option<Unprivileged>) -> std::io::Result<()> {
    match user {
        Some(user) => std::os::unix::fs::fchown(file, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Opens a folder to be given away. Where it is given to another user, it must be a folder and no link to one.
#[cfg(unix)]
pub(super) fn open_folder(path: &Path, user: Option<Unprivileged>) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let links = if user.is_some() { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn prefers_postgres_then_nobody_and_never_root() {
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:99:98::/:/bin/false\n";
        assert_eq!(choose(nobody), Unprivileged { uid: 99, gid: 98 });
        assert_eq!(choose(&format!("{nobody}postgres:x:70:71::/:/bin/sh\n")), Unprivileged { uid: 70, gid: 71 });
        assert_eq!(choose("postgres:x:0:0::/:/bin/sh\n"), Unprivileged { uid: 65534, gid: 65534 });
        assert_eq!(choose(""), Unprivileged { uid: 65534, gid: 65534 });
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_given_away() {
        let base = tempfile::tempdir().unwrap();
        let (folder, link) = (base.path().join("folder"), base.path().join("link"));
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let user = Some(Unprivileged { uid, gid });
        assert!(open_folder(&link, user).is_err());
        assert!(open_folder(&base.path().join("none"), user).is_err());
        give(&open_folder(&folder, user).unwrap(), user).unwrap();
        // Whoever gives nothing away may have put the link there.
        assert!(open_folder(&link, None).unwrap().metadata().unwrap().is_dir());
    }

    #[test]
    fn a_closed_folder_on_the_way_is_seen() {
        let stranger = Unprivileged { uid: 4_000_001, gid: 4_000_001 };
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let inner = base.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        assert!(can_traverse(stranger, &inner.join("not/there/yet")));
        fs::set_permissions(base.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!can_traverse(stranger, &inner));
    }
}
