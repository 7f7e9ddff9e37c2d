//! The project's own documentation as something to import: the demo content of a first start.

use include_dir::{Dir, DirEntry, include_dir};

use super::Source;

/// Name of the board.
pub const HANDBOOK: &str = "RAGBOARD handbook";

static DOCS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/docs");
static README: &[u8] = include_bytes!("../../../README.md");

/// README and `docs/`, as they were when the program was built, in the places that their links expect.
#[must_use]
pub fn handbook() -> Source {
    let mut files = vec![("README.md".to_owned(), README)];
    collect(&DOCS, &mut files);
    Source::Embedded(files)
}

fn collect(folder: &'static Dir<'static>, files: &mut Vec<(String, &'static [u8])>) {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(folder) => collect(folder, files),
            // Pictures of the pages are no documents.
            DirEntry::File(file) if file.path().extension().is_some_and(|kind| kind == "png") => {}
            DirEntry::File(file) => {
                let names = file.path().components().map(|name| name.as_os_str().to_string_lossy());
                let path = names.fold("docs".to_owned(), |path, name| format!("{path}/{name}"));
                files.push((path, file.contents()));
            }
        }
    }
}
