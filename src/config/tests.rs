//! The settings as a whole: layers, problems, printing, and the example file.

use std::{fs, time::Duration};

use secrecy::ExposeSecret;

use super::*;

const EXAMPLE: &str = include_str!("../../ragboard.example.toml");

fn load(variables: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::load(&Sources::from_variables(variables.iter().copied()))
}

fn load_file(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ragboard.toml");
    fs::write(&path, text).unwrap();
    let mut sources = Sources::from_variables(variables.iter().copied());
    sources.set("RAGBOARD_CONFIG", path);
    Config::load(&sources)
}

fn problems(result: Result<Config, Problems>) -> Vec<String> {
    result.unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = load(&[("HOME", "/home/ann")]).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert!(config.database.url.is_none() && config.auth.jwt_secret.is_none());
    assert_eq!((config.database.pool_size, config.database.max_overflow), (10, 10));
    assert_eq!(config.database.pool_timeout, Duration::from_secs(30));
    assert_eq!(config.database.pool_recycle, Duration::from_secs(1800));
    assert_eq!(config.local.data_dir.to_str(), Some(".ragboard"));
    assert_eq!(config.local.cache_dir.to_str(), Some("/home/ann/.cache/ragboard"));
    assert_eq!(config.http.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.cache.bytes, 268_435_456);
    assert!(config.http.introspection && config.http.graphiql);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn later_layers_win() {
    let file = "[database]\npool_size = 3\nmax_overflow = 4\n[http]\nallowed_origins = ['https://a.example', 'https://b.example']\n";
    let config = load_file(file, &[("DATABASE_POOL_SIZE", "5"), ("DATABASE_POOL_TIMEOUT", "0.5")]).unwrap();
    assert_eq!((config.database.pool_size, config.database.max_overflow), (5, 4));
    assert_eq!(config.database.pool_timeout, Duration::from_millis(500));
    assert_eq!(config.http.allowed_origins, ["https://a.example", "https://b.example"]);

    let mut sources = Sources::from_variables([("RAGBOARD_LISTEN", "127.0.0.1:1"), ("APP_ENV", "qa")]);
    sources.set("RAGBOARD_LISTEN", "127.0.0.1:2");
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.http.address.port(), 2);
    assert_eq!(config.environment, Environment::Qa);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn the_first_name_of_a_variable_wins_and_empty_ones_do_not_count() {
    let variables =
        [("RAGBOARD_ENV", "qa"), ("APP_ENV", "production"), ("DATABASE_URL", ""), ("RAGBOARD_ADDRESS", "127.0.0.1:9")];
    let config = load(&variables).unwrap();
    assert_eq!(config.environment, Environment::Qa);
    assert!(config.database.url.is_none());
    assert_eq!(config.http.address.port(), 9);
}

#[test]
fn all_problems_are_told_at_once() {
    let file = "environment = 'qa'\nextra = 1\n[database]\npool_size = 'many'\npolo_size = 3\n[cahce]\nbytes = 1\n[limits]\nmax_depth = 0\n";
    let found = problems(load_file(
        file,
        &[
            ("DATABASE_MAX_OVERFLOW", "-1"),
            ("DATABASE_POOL_TIMEOUT", "NaN"),
            ("RAGBOARD_GRAPHIQL", "maybe"),
            ("RAGBOARD_TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.1/8"),
            ("RAGBOARD_CACHE_MODE", "fast"),
            ("RAGBOARD_LOG", "info,=nope="),
            ("RAGBOARD_JWKS_URL", "http://127.0.0.1:9000/keys"),
            ("DATABASE_URL", "postgres://u:hunter2@h/d?pool_size=20"),
        ],
    ));
    let expected = [
        "database.url (DATABASE_URL): pool_size does not belong into the URL, set DATABASE_POOL_SIZE",
        "database.pool_size (DATABASE_POOL_SIZE): must be a number",
        "database.max_overflow (DATABASE_MAX_OVERFLOW): \"-1\" is not accepted, give a whole number from 0 to 1000",
        "database.pool_timeout_seconds (DATABASE_POOL_TIMEOUT): \"NaN\" is not accepted",
        "http.graphiql (RAGBOARD_GRAPHIQL): \"maybe\" is not accepted, give true or false",
        "http.trusted_proxies (RAGBOARD_TRUSTED_PROXIES): \"10.0.0.1/8\" is not accepted",
        "auth.jwks_url (RAGBOARD_JWKS_URL): must be https, unless",
        "cache.mode (RAGBOARD_CACHE_MODE): \"fast\" is not accepted, give one of cached, strict, off",
        "log.filter (RAGBOARD_LOG): ",
        "limits.max_depth (RAGBOARD_MAX_DEPTH): \"0\" is not accepted, give a whole number from 1 to 64",
        "[cahce]: is not a section of ",
        "database.polo_size: is not a key of ",
        "extra: is not a key of ",
    ];
    for start in expected {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
    assert!(!found.join("\n").contains("hunter2"));
}

#[test]
fn a_broken_or_missing_file_is_a_problem_that_quotes_nothing() {
    let found = problems(load_file("[auth]\njwt_secret = \"hunter2\n", &[]));
    assert!(found[0].contains("ragboard.toml, line 2: ") && !found[0].contains("hunter2"), "{found:?}");
    let found = problems(load(&[("RAGBOARD_CONFIG", "/nonexistent/ragboard.toml")]));
    assert!(found[0].starts_with("/nonexistent/ragboard.toml: cannot be read"), "{found:?}");
}

#[test]
fn credentials_in_a_url_are_not_repeated() {
    let found = problems(load(&[("RAGBOARD_JWKS_URL", "https://ann:hunter2@id.example.org/keys")]));
    assert!(found[0].contains("without credentials") && !found[0].contains("hunter2"), "{found:?}");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_a_problem() {
    use std::os::unix::ffi::OsStringExt;
    let mut sources = Sources::default();
    sources.set("RAGBOARD_LOG", std::ffi::OsString::from_vec(vec![0xff]));
    assert_eq!(problems(Config::load(&sources)), ["log.filter (RAGBOARD_LOG): is not valid UTF-8"]);
}

#[test]
fn live_environments_insist() {
    for environment in ["preprod", "production"] {
        let found = problems(load(&[("RAGBOARD_ENVIRONMENT", environment)]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("database.url (DATABASE_URL): must be set"), "{found:?}");
        assert!(found[1].starts_with("auth.jwt_secret (RAGBOARD_JWT_SECRET): or auth.jwks_url"), "{found:?}");

        let weak = [
            ("RAGBOARD_ENV", environment),
            ("DATABASE_URL", "postgres://u:p@h/d?sslmode=prefer"),
            ("DATABASE_LISTEN_URL", "postgres://u:p@h/d"),
            ("RAGBOARD_JWT_SECRET", "please-change-me-please-change-me-please"),
        ];
        let found = problems(load(&weak));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(!found.join("\n").contains("please-change-me"), "{found:?}");

        let good = [
            ("RAGBOARD_ENV", environment),
            ("DATABASE_URL", "postgresql+asyncpg://u:p@h/d?ssl=require"),
            ("RAGBOARD_JWT_SECRET", "kX9v!Qm2#tLr7@Wz4&Np8*Jc5^Hb1(Yd"),
        ];
        let config = load(&good).unwrap();
        assert!(!config.http.introspection && !config.http.graphiql);
        let with_keys = [
            ("RAGBOARD_ENV", environment),
            ("DATABASE_URL", "postgres://u:p@h/d?sslmode=verify-full"),
            ("RAGBOARD_JWKS_URL", "https://id.example.org/keys"),
            ("RAGBOARD_GRAPHIQL", "on"),
        ];
        assert!(load(&with_keys).unwrap().http.graphiql);
    }
}

#[test]
fn an_allowed_key_server_may_speak_http() {
    let allowed = [("RAGBOARD_JWKS_URL", "http://127.0.0.1:9000/keys"), ("RAGBOARD_OUTBOUND_ALLOW", "127.0.0.1:9000")];
    assert!(load(&allowed).is_ok());
}

#[test]
fn printing_hides_secrets_and_reads_back() {
    let secret = "kX9v!Qm2#tLr7@Wz4&Np8*Jc5^Hb1(Yd";
    let variables = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d?sslmode=require"),
        ("RAGBOARD_JWT_SECRET", secret),
        ("RAGBOARD_ALLOWED_ORIGINS", "https://a.example,https://b.example"),
        ("DATABASE_POOL_TIMEOUT", "0.5"),
    ];
    let config = load(&variables).unwrap();
    assert_eq!(config.auth.jwt_secret.as_ref().map(|s| s.expose_secret()), Some(secret));
    let printed = config.to_string();
    for hidden in [secret, "hunter2"] {
        assert!(!printed.contains(hidden) && !format!("{config:?}").contains(hidden), "{printed}");
    }
    assert!(printed.contains("url = \"postgres://u:***@h:5432/d?sslmode=require\"  # DATABASE_URL\n"), "{printed}");
    assert!(printed.contains("pool_size = 10  # default\n"), "{printed}");
    // What is hidden is no secret that would do.
    let told =
        |line: &str| if line.starts_with("jwt_secret") { format!("jwt_secret = '{secret}'") } else { line.to_owned() };
    let readable = printed.lines().map(told).collect::<Vec<_>>().join("\n");
    assert_eq!(shown(&load_file(&readable, &[]).unwrap()), shown(&config));
}

/// Every setting with its printed value.
fn shown(config: &Config) -> Vec<((&'static str, &'static str), Option<String>)> {
    config.settings.iter().map(|setting| (setting.split(), setting.shown().map(str::to_owned))).collect()
}

#[test]
fn the_example_holds_the_defaults() {
    assert_eq!(shown(&load_file(EXAMPLE, &[]).unwrap()), shown(&load(&[]).unwrap()));
}

#[test]
fn the_example_names_every_key_and_variable() {
    let mut section = "";
    let mut named = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            named.push((section, key));
        }
    }
    let config = load(&[]).unwrap();
    let keys: Vec<_> = config.settings.iter().map(Setting::split).collect();
    assert_eq!(named, keys);
    for variable in config.settings.iter().flat_map(|setting| setting.variables()) {
        assert!(EXAMPLE.contains(variable), "{variable}");
    }
}

#[test]
fn the_example_works_without_its_comment_signs() {
    let everything: Vec<_> =
        EXAMPLE.lines().map(|line| if line.contains(" = ") { line.trim_start_matches("# ") } else { line }).collect();
    load_file(&everything.join("\n"), &[]).unwrap();
}
