//! Keeps the folders of `src/` pointing one way.
//!
//! A single crate has no crate boundaries to enforce its layers, so this test reads the sources:
//! every folder may name only the folders listed for it, a few libraries belong to one folder each,
//! every file begins with what it is for, and stays small enough to read in one sitting.

use std::{fs, path::Path};

/// Folder (or root file) and the sibling modules it may name through `crate::`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("access", &["domain"]),
    ("store", &["domain", "access", "config"]),
    ("cache", &["domain", "config"]),
    // For whom texts are embedded: callers take turns.
    ("search", &["domain", "access", "config"]),
    ("chat", &["domain", "config"]),
    ("media", &["domain", "config"]),
    ("events", &["domain", "config"]),
    ("service", &["domain", "access", "config"]),
    ("loaders", &["domain", "access"]),
    ("jobs", &["domain", "service", "config"]),
    ("graphql", &["domain", "access", "service", "loaders", "config", "telemetry"]),
    ("http", &["domain", "access", "service", "graphql", "loaders", "config", "telemetry"]),
    ("mail", &["domain", "config"]),
    ("outbound", &["domain", "config"]),
    ("telemetry", &["config"]),
    // `app`, `ops`, `main` and `lib` put everything together and may name anything.
];

/// A library, or a module of the standard one, and the only folders that may name it.
const BELONGS_TO: &[(&str, &[&str])] = &[
    ("diesel", &["store", "ops"]),
    ("diesel_async", &["store", "ops"]),
    ("async_graphql", &["graphql", "http"]),
    ("async_graphql_value", &["graphql"]),
    ("axum", &["http", "app", "ops"]),
    ("dataloader", &["loaders"]),
    ("moka", &["cache"]),
    ("reqwest", &["outbound"]),
    ("lettre", &["mail"]),
    ("tokenizers", &["search"]),
    ("safetensors", &["search"]),
    ("rten_gemm", &["search"]),
    ("rten_simd", &["search"]),
    ("rten_tensor", &["search"]),
    ("rten_vecmath", &["search"]),
    ("rayon", &["search"]),
    ("std::env", &["config"]),
];

const MAX_LINES: usize = 600;
/// Written by a program, which knows neither of a length nor of an introduction.
const GENERATED: &[&str] = &["store/schema.rs"];

/// First path segments named after `prefix::`, braces included: `crate::{a::B, c}` gives `a`, `c`.
fn named_after(source: &str, prefix: &str) -> Vec<String> {
    let needle = format!("{prefix}::");
    let mut found = Vec::new();
    for (at, _) in source.match_indices(&needle) {
        if source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &source[at + needle.len()..];
        let word =
            |s: &str| -> String { s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut item) = (0usize, String::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(word(&std::mem::take(&mut item))),
                    _ => {}
                }
                if !(c == ',' && depth == 0) {
                    item.push(c);
                }
            }
            found.push(word(&item));
        } else {
            found.push(word(rest));
        }
    }
    found.retain(|w| !w.is_empty());
    found
}

fn names_library(source: &str, library: &str) -> bool {
    if let Some((parent, module)) = library.split_once("::") {
        return named_after(source, parent).iter().any(|name| name == module);
    }
    !named_after(source, library).is_empty() || source.lines().any(|l| l.trim() == format!("use {library};"))
}

fn visit(dir: &Path, root: &Path, problems: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("src is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            visit(&path, root, problems);
            continue;
        }
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let relative = path.strip_prefix(root).expect("under src").to_string_lossy().into_owned();
        let folder = relative.split(['/', '.']).next().unwrap_or_default();
        let text = fs::read_to_string(&path).expect("source is readable");
        let source: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");

        if let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) {
            for name in named_after(&source, "crate") {
                let is_layer = MAY_USE.iter().any(|(n, _)| *n == name) || name == "app" || name == "ops";
                if is_layer && name != folder && !allowed.contains(&name.as_str()) {
                    problems.push(format!("{relative}: `{folder}` may not name `crate::{name}`"));
                }
            }
        }
        for (library, homes) in BELONGS_TO {
            if !homes.contains(&folder) && names_library(&source, library) {
                problems.push(format!("{relative}: `{library}` belongs to {homes:?}"));
            }
        }
        if GENERATED.contains(&relative.as_str()) {
            continue;
        }
        if !text.starts_with("//!") {
            problems.push(format!("{relative}: begins without `//!`: what is the file for?"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{relative}: {lines} lines; split it (limit {MAX_LINES})"));
        }
    }
}

#[test]
fn folders_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut problems = Vec::new();
    visit(&root, &root, &mut problems);
    problems.sort();
    assert!(problems.is_empty(), "layering broken:\n{}", problems.join("\n"));
}

#[test]
fn reads_grouped_imports() {
    let source = "use crate::{domain::{Board, Node}, store::Store, access};\nlet x = crate::http::run();";
    assert_eq!(named_after(source, "crate"), ["domain", "store", "access", "http"]);
}

#[test]
fn finds_libraries_and_modules_however_they_are_named() {
    assert!(names_library("use reqwest::Client;", "reqwest"));
    assert!(names_library("fn f() { std::env::var(\"X\") }", "std::env"));
    assert!(names_library("use std::{collections::HashMap, env, fs};", "std::env"));
    assert!(!names_library("use std::fs;\nlet x = my_std::env::y(); let e = env!(\"X\");", "std::env"));
}
