//! What the program refuses or says when it starts: secrets that are none, databases that will not do, tokens of others.

use std::fs;

use ragboard::store::surroundings;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    cluster::{OWNER, TestFolder, cluster, connect},
    program::{self, Server},
    sql::value,
};

/// What a start that must fail says.
fn refused(data: &std::path::Path, variables: &[(&str, &str)]) -> String {
    let address = format!("127.0.0.1:{}", program::free_port());
    let output = program::command(data).args(["serve", "--listen", &address]).envs(variables.iter().copied()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_secret_that_is_none_is_refused_with_the_remedy() {
    let folder = TestFolder::new("secret");
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for content in ["", "\n", "jwt_short", "                                                      "] {
        fs::write(data.join("jwt.secret"), content).unwrap();
        let said = refused(&data, &[]);
        assert!(said.contains("jwt.secret") && said.contains("Delete the file"), "{said}");
        assert!(!said.contains("jwt_short"), "{said}");
    }
    assert!(!data.join("postgres").exists(), "it was said before PostgreSQL was made");
    for secret in ["hunter2", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let said = refused(&data, &[("RAGBOARD_JWT_SECRET", secret)]);
        assert!(said.contains("RAGBOARD_JWT_SECRET") && !said.contains(secret), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn development_with_tokens_of_others_starts_and_its_page_has_relative_addresses() {
    let folder = TestFolder::new("issuer");
    let data = folder.path().join("data");
    let variables = [("RAGBOARD_JWKS_URL", "https://id.example.org/keys"), ("RAGBOARD_SEARCH_EMBEDDER", "none")];
    let server = Server::start_with(&data, &[], &variables).await;
    let log = server.log();
    assert!(log.contains("RAGBOARD_JWKS_URL") && !log.contains("token of demo@"), "{log}");
    assert!(!data.join("jwt.secret").exists());
    // Behind a proxy the page lies below a path, and asks for everything beside itself.
    for path in ["/", "/graphiql"] {
        let page = program::client().get(server.url(path)).send().await.unwrap().text().await.unwrap();
        assert!(page.contains("src=\"graphiql/page.js\"") && page.contains("href=\"graphiql/page.css\""), "{page}");
        assert!(!page.contains("=\"/"), "{page}");
    }
    let script = program::client().get(server.url("/graphiql/page.js")).send().await.unwrap().text().await.unwrap();
    assert!(!script.contains("\"/graphql\""), "{script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_where_no_tokens_are_signed() {
    let app = TestApp::with(&[("RAGBOARD_JWT_SECRET", ""), ("RAGBOARD_JWKS_URL", "https://id.example.org/keys")]).await;
    for document in [
        "mutation { signUp(input: { email: \"a@example.org\", password: \"correct horse battery\" }) { accessToken } }",
        "mutation { signIn(input: { email: \"a@example.org\", password: \"correct horse battery\" }) { accessToken } }",
        "mutation { refreshSession(input: { refreshToken: \"rt_1\" }) { accessToken } }",
    ] {
        assert_eq!(app.code(None, document, Value::Null).await, "INVALID_ARGUMENT", "{document}");
    }
    assert_eq!(value(&app.sql, "SELECT count(*) FROM users WHERE email = 'a@example.org'").await, "0");
    assert_eq!(app.data(None, "{ __typename }", json!({})).await["__typename"], "Query");
}

/// A database that differs from what the program makes itself.
async fn database(name: &str, options: &str) -> SecretString {
    let admin = connect(&cluster().admin_url("postgres")).await;
    let statement = format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 {options}");
    admin.batch_execute(&statement).await.unwrap();
    connect(&cluster().admin_url(name)).await.batch_execute("CREATE EXTENSION vector").await.unwrap();
    cluster().url(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_all_texts_is_refused_and_one_that_knows_few_letters_is_told() {
    let folder = TestFolder::new("surroundings");
    let data = folder.path().join("data");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let url = database(
            &format!("of_{}", encoding.to_lowercase()),
            &format!("ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"),
        )
        .await;
        let said = refused(&data, &[("DATABASE_URL", url.expose_secret()), ("DATABASE_MIGRATE", "true")]);
        assert!(said.contains(encoding) && said.contains("CREATE DATABASE"), "{said}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(value(&connect(&url).await, tables).await, "0", "nothing was written");
    }
    let plain = database("of_c", "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'").await;
    let found = surroundings(&plain).await.unwrap();
    assert!(!found.knows_letters && !found.is_superuser && found.encoding == "UTF8", "{found:?}");
    let good = surroundings(&cluster().url("postgres")).await.unwrap();
    assert!(good.knows_letters && !good.is_superuser, "{good:?}");
    assert!(surroundings(&cluster().admin_url("postgres")).await.unwrap().is_superuser);

    let variables = [
        ("DATABASE_URL", cluster().admin_url("of_c")),
        ("DATABASE_MIGRATE", SecretString::from("true")),
        ("RAGBOARD_SEARCH_EMBEDDER", SecretString::from("none")),
        ("RAGBOARD_GRAPHIQL", SecretString::from("false")),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.expose_secret())).collect();
    let server = Server::start_with(&data, &[], &variables).await;
    let log = server.log();
    assert!(log.contains("beyond ASCII") && log.contains("superuser"), "{log}");
}
