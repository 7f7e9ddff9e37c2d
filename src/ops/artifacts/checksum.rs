//! SHA-256 of files, and the refusal of a file whose hash is not the pinned one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ops::Failure;

/// SHA-256 of a file in lower-case hex.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_of(file: &Path) -> std::io::Result<String> {
    let mut reader = File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Refuses a file whose SHA-256 is not `expected` (lower-case hex).
///
/// # Errors
/// The file cannot be read, or it is another one than was pinned.
pub fn check_sha256(file: &Path, expected: &str) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found = sha256_of(file).map_err(Failure::while_doing(format!("reading {name}")))?;
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{name} is not the file that was pinned: its SHA-256 is {found}, not {expected}")).hint(
        "Nothing of it was used. Try again; if it stays so, the registry or a proxy in between serves something else.",
    ))
}

/// Bytes as lower-case hex.
pub(in crate::ops) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a text in lower-case hex.
pub(in crate::ops) fn sha256_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_refused_and_both_hashes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("thing.whl");
        std::fs::write(&file, "abc").unwrap();
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_sha256(&file, right).unwrap();
        std::fs::write(&file, "abd").unwrap();
        let error = check_sha256(&file, right).unwrap_err().to_string();
        assert!(error.contains("thing.whl is not the file that was pinned") && error.contains(right), "{error}");
    }
}
