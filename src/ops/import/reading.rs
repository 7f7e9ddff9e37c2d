//! Reading one file: never a pipe, never through a link, never more than is allowed.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::{
    skipped::SkipReason,
    tree::{File, MAX_FILE_BYTES, Place},
};

/// A file that is text.
pub(super) struct TextFile {
    /// Without a byte order mark, without NUL.
    pub(super) text: String,
    /// SHA-256 of the bytes of the file.
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
}

/// SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    pub(super) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads the file if it is one that can be imported.
pub(super) fn read(file: &File) -> Result<TextFile, SkipReason> {
    let bytes = match &file.place {
        Place::Disk(path) => read_disk(path)?,
        Place::Memory(bytes) => bytes.to_vec(),
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SkipReason::TooLarge);
    }
    let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
    // PostgreSQL cannot store NUL in text, and no text has it.
    if bytes.contains(&0) {
        return Err(SkipReason::Binary);
    }
    let mut text = String::from_utf8(bytes).map_err(|_| SkipReason::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(TextFile { text, digest, size_bytes })
}

fn read_disk(path: &Path) -> Result<Vec<u8>, SkipReason> {
    let unreadable = |error: io::Error| SkipReason::Unreadable(error.kind());
    let mut options = fs::File::options();
    options.read(true);
    // It may have become something else since it was found: opening must neither follow a link nor wait at a pipe.
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    let file = options.open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SkipReason::Special);
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(SkipReason::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    // It may be growing.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::import::kind::FileKind;

    fn file(place: Place) -> File {
        File { path: "f".to_owned(), parent: None, size_bytes: 0, kind: FileKind::Text, place }
    }

    fn reason(bytes: &'static [u8]) -> Option<SkipReason> {
        read(&file(Place::Memory(bytes))).err()
    }

    #[test]
    fn only_text_is_read() {
        assert_eq!(reason(b"a\0b"), Some(SkipReason::Binary));
        assert_eq!(reason(b"caf\xe9"), Some(SkipReason::NotUtf8));
        assert_eq!(reason(b""), None);
        let marked = read(&file(Place::Memory(b"\xef\xbb\xbfhello"))).unwrap_or_else(|_| panic!("is text"));
        assert_eq!((marked.text.as_str(), marked.size_bytes), ("hello", 8));
        // As sha256sum says.
        assert_eq!(marked.digest.hex(), "7489ebbcc2a00056ddaaaac190bce473e5c03696ea1bd8ed83cf59a174283862");
    }
}
