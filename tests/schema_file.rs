//! `schema.graphql` is what the program serves, and every word in it is described.

use std::{fs, path::Path};

use crate::support::app::TestApp;

/// Set to rewrite `schema.graphql`: `UPDATE_SCHEMA=1 cargo test schema_file`.
const UPDATE: &str = "UPDATE_SCHEMA";

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let current = ragboard::graphql::sdl();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "schema.graphql is not current; {UPDATE}=1 cargo test schema_file rewrites it");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_the_schema_is_described() {
    let app = TestApp::new().await;
    let document = "{ __schema { types { name description kind \
        fields(includeDeprecated: true) { name description args { name description } } \
        inputFields { name description } enumValues(includeDeprecated: true) { name description } } } }";
    let data = app.data(None, document, serde_json::Value::Null).await;
    let mut missing = Vec::new();
    let mut look = |what: String, described: &serde_json::Value| {
        if described["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            missing.push(what);
        }
    };
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    for of_type in list(&data["__schema"]["types"]) {
        let name = of_type["name"].as_str().unwrap().to_owned();
        if name.starts_with("__") {
            continue;
        }
        // `ID` is of the GraphQL specification and described there.
        if name != "ID" {
            look(name.clone(), &of_type);
        }
        for kind in ["fields", "inputFields", "enumValues"] {
            for member in list(&of_type[kind]) {
                let member_name = format!("{name}.{}", member["name"].as_str().unwrap());
                look(member_name.clone(), &member);
                for argument in list(&member["args"]) {
                    look(format!("{member_name}({})", argument["name"].as_str().unwrap()), &argument);
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a description:\n{}", missing.join("\n"));
}
