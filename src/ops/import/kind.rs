//! What a file is, by its name. Whether it really is text is seen when it is read.

/// What is done with the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Markdown,
    Html,
    /// Source code or data in this language.
    Source(&'static str),
    /// Anything else that turns out to be text.
    Text,
}

impl FileKind {
    /// Whether texts of this kind can have links.
    pub(super) fn has_links(self) -> bool {
        matches!(self, FileKind::Markdown | FileKind::Html)
    }

    /// `None` for media and archives, which are never text. Unknown endings may be text.
    pub(super) fn of(name: &str) -> Option<FileKind> {
        let name = name.to_lowercase();
        if let Some((_, language)) = SOURCE_NAMES.iter().find(|(known, _)| *known == name) {
            return Some(FileKind::Source(language));
        }
        // ".." cannot be the whole of it, and a name that begins with its only dot is hidden.
        let Some((_, ending)) = name.rsplit_once('.') else { return Some(FileKind::Text) };
        match ending {
            "md" | "markdown" | "mdown" | "mkd" | "mkdn" => Some(FileKind::Markdown),
            "html" | "htm" | "xhtml" => Some(FileKind::Html),
            _ if MEDIA.contains(&ending) => None,
            _ => Some(
                SOURCES
                    .iter()
                    .find(|(known, _)| *known == ending)
                    .map_or(FileKind::Text, |(_, language)| FileKind::Source(language)),
            ),
        }
    }
}

/// Endings of images, documents, sound, video, fonts, archives and programs. (`ts` is TypeScript here.)
const MEDIA: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "webp", "avif", "bmp", "ico", "tif", "tiff", "heic", "psd", "svg", "svgz", "pdf",
    "ps", "eps", "djvu", "epub", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "mp3", "wav",
    "flac", "ogg", "oga", "opus", "m4a", "aac", "mp4", "m4v", "mkv", "webm", "mov", "avi", "wmv", "ogv", "mpg", "mpeg",
    "ttf", "otf", "woff", "woff2", "eot", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "tar", "jar", "war",
    "whl", "deb", "rpm", "iso", "dmg", "exe", "dll", "so", "dylib", "a", "o", "obj", "lib", "class", "pyc", "wasm",
    "sqlite", "db",
];

/// Endings of source files, and the language.
const SOURCES: &[(&str, &str)] = &[
    ("rs", "rust"),
    ("c", "c"),
    ("h", "c"),
    ("cc", "cpp"),
    ("cpp", "cpp"),
    ("cxx", "cpp"),
    ("hh", "cpp"),
    ("hpp", "cpp"),
    ("hxx", "cpp"),
    ("m", "objective-c"),
    ("mm", "objective-cpp"),
    ("s", "assembly"),
    ("asm", "assembly"),
    ("go", "go"),
    ("zig", "zig"),
    ("d", "d"),
    ("nim", "nim"),
    ("swift", "swift"),
    ("java", "java"),
    ("kt", "kotlin"),
    ("kts", "kotlin"),
    ("scala", "scala"),
    ("groovy", "groovy"),
    ("gradle", "groovy"),
    ("clj", "clojure"),
    ("cs", "csharp"),
    ("fs", "fsharp"),
    ("vb", "visual-basic"),
    ("py", "python"),
    ("pyi", "python"),
    ("rb", "ruby"),
    ("php", "php"),
    ("pl", "perl"),
    ("pm", "perl"),
    ("lua", "lua"),
    ("r", "r"),
    ("jl", "julia"),
    ("js", "javascript"),
    ("mjs", "javascript"),
    ("cjs", "javascript"),
    ("jsx", "javascript"),
    ("ts", "typescript"),
    ("mts", "typescript"),
    ("tsx", "typescript"),
    ("vue", "vue"),
    ("svelte", "svelte"),
    ("dart", "dart"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("erl", "erlang"),
    ("hrl", "erlang"),
    ("hs", "haskell"),
    ("ml", "ocaml"),
    ("mli", "ocaml"),
    ("elm", "elm"),
    ("lisp", "lisp"),
    ("el", "lisp"),
    ("scm", "scheme"),
    ("sh", "shell"),
    ("bash", "shell"),
    ("zsh", "shell"),
    ("fish", "shell"),
    ("ps1", "powershell"),
    ("bat", "batch"),
    ("sql", "sql"),
    ("graphql", "graphql"),
    ("gql", "graphql"),
    ("proto", "protobuf"),
    ("css", "css"),
    ("scss", "scss"),
    ("sass", "sass"),
    ("less", "less"),
    ("json", "json"),
    ("jsonl", "json"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
    ("toml", "toml"),
    ("ini", "ini"),
    ("cfg", "ini"),
    ("conf", "ini"),
    ("xml", "xml"),
    ("xsd", "xml"),
    ("xsl", "xml"),
    ("csv", "csv"),
    ("tsv", "csv"),
    ("tf", "terraform"),
    ("nix", "nix"),
    ("cmake", "cmake"),
    ("mk", "make"),
    ("ld", "linker-script"),
    ("diff", "diff"),
    ("patch", "diff"),
    ("tex", "tex"),
    ("bib", "bibtex"),
    ("vim", "vim"),
];

/// Whole names of source files without a telling ending.
const SOURCE_NAMES: &[(&str, &str)] = &[
    ("makefile", "make"),
    ("gnumakefile", "make"),
    ("dockerfile", "dockerfile"),
    ("containerfile", "dockerfile"),
    ("cmakelists.txt", "cmake"),
    ("rakefile", "ruby"),
    ("gemfile", "ruby"),
    ("jenkinsfile", "groovy"),
    ("justfile", "just"),
    ("cargo.lock", "toml"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        for (name, kind) in [
            ("README.md", Some(FileKind::Markdown)),
            ("INDEX.HTM", Some(FileKind::Html)),
            ("lib.rs", Some(FileKind::Source("rust"))),
            ("index.d.ts", Some(FileKind::Source("typescript"))),
            ("Makefile", Some(FileKind::Source("make"))),
            ("CMakeLists.txt", Some(FileKind::Source("cmake"))),
            ("LICENSE", Some(FileKind::Text)),
            ("notes.txt", Some(FileKind::Text)),
            ("v1.2", Some(FileKind::Text)),
            ("photo.JPEG", None),
            ("paper.pdf", None),
        ] {
            assert_eq!(FileKind::of(name), kind, "{name}");
        }
    }
}
