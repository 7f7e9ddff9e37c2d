//! What documents cost, and where they are refused.

use async_graphql::Variables;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Sources};

fn admitted(query: &str, variables: Value) -> Result<Request> {
    let config = Config::load(&Sources::from_variables(Vec::<(&str, String)>::new())).unwrap();
    admit(Request::new(query).variables(Variables::from_json(variables)), &config.limits)
}

fn code(query: &str, variables: Value) -> Code {
    match admitted(query, variables) {
        Ok(_) => panic!("admitted: {query:.200}"),
        Err(error) => error.code(),
    }
}

/// The cost that is told when it is too much; documents are made dearer by a factor to hear of it.
fn cost(selection: &str, variables: Value) -> u64 {
    let limits = LimitsConfig {
        max_query_cost: 0,
        ..Config::load(&Sources::from_variables(Vec::<(&str, String)>::new())).unwrap().limits
    };
    let error = admit(Request::new(selection).variables(Variables::from_json(variables)), &limits).unwrap_err();
    let text = error.to_string();
    let told = text.strip_prefix("The cost of the document is ").and_then(|rest| rest.split(',').next());
    told.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn a_list_counts_as_often_as_it_has_rows() {
    for (query, wanted) in [
        ("{ viewer { id } }", 2),
        ("{ boards(first: 10) { nodes { id name } totalCount } }", 1 + 10 * 4),
        // The default of an argument.
        ("{ viewer { recentBoards { id } } }", 1 + 1 + 10),
        ("{ nodes(ids: [\"a\", \"b\", \"c\"]) { id } }", 1 + 3),
        ("{ search(input: { query: \"x\" }) { nodes { score } } }", 200 + 10 * 2),
        // Lists without a page are taken at the size that is declared.
        ("{ node(id: \"x\") { ... on FolderNode { ancestors { id } } } }", 1 + 1 + 64),
        ("{ node(id: \"x\") { ... on FolderNode { ancestors { ancestors { id } } } } }", 1 + 1 + 64 * (1 + 64)),
        ("{ board(id: \"x\") { collaborators { id } shares { id } } }", 1 + 2 * (1 + 100)),
        // Fragments count where they are spread.
        ("{ viewer { ...f } } fragment f on User { id name }", 1 + 2),
        (
            "{ boards(first: 10) { nodes { ...f } } } fragment f on Board { links(first: 10) { totalCount } }",
            1 + 10 * 12,
        ),
    ] {
        assert_eq!(cost(query, json!({})), wanted, "{query}");
    }
}

#[test]
fn a_variable_counts_by_its_value_or_its_default() {
    let query = "query ($n: Int = 100) { boards(first: $n) { totalCount } }";
    assert_eq!(cost(query, json!({ "n": 5 })), 1 + 5);
    assert_eq!(cost(query, json!({})), 1 + 100);
    assert_eq!(cost("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": ["a", "b"] })), 1 + 2);
    assert_eq!(cost("query ($ids: [ID!] = [\"a\", \"b\"]) { nodes(ids: $ids) { id } }", json!({})), 1 + 2);
    let nested = "query ($n: Int = 100) { boards(first: $n) { nodes { nodes(first: $n) { nodes { links(first: $n) \
        { totalCount } } } } } }";
    assert_eq!(code(nested, json!({})), Code::CostExceeded);
    // With two operations, the dearer default.
    let two = "query a($n: Int = 1) { boards(first: $n) { totalCount } } query b($n: Int = 50) { boards(first: $n) { totalCount } }";
    assert_eq!(cost(two, json!({})), 1 + 50);
}

#[test]
fn what_a_mutation_answers_counts_by_what_it_is_given() {
    let query = "mutation ($ids: [ID!]!) { deleteNodes(boardId: \"b\", nodeIds: $ids) { nodes { id } } }";
    assert_eq!(cost(query, json!({ "ids": vec!["x"; 50] })), 1 + 1 + 50);
}

#[test]
fn arguments_count_for_every_row_that_reads_them() {
    let wide = "query ($x: String) { boards(first: 50) { nodes { nodes(first: 50, after: $x) { totalCount } } } }";
    assert!(admitted(wide, json!({ "x": "short" })).is_ok());
    assert_eq!(code(wide, json!({ "x": "x".repeat(900_000) })), Code::CostExceeded);
    // Once is fine.
    let once = "query ($x: String) { boards(first: 50, after: $x) { totalCount } }";
    assert!(admitted(once, json!({ "x": "x".repeat(900_000) })).is_ok());
}

#[test]
fn doubling_fragments_are_counted_and_not_followed() {
    let mut document = "{ ...f0 }".to_owned();
    for n in 0..60 {
        document += &format!(" fragment f{n} on Query {{ ...f{} ...f{} }}", n + 1, n + 1);
    }
    for leaf in ["viewer { id }", "nothing"] {
        assert_eq!(code(&format!("{document} fragment f60 on Query {{ {leaf} }}"), json!({})), Code::CostExceeded);
    }
    assert_eq!(code(&document, json!({})), Code::InvalidDocument, "the leaf is unknown");
}

#[test]
fn introspection_is_counted_and_does_not_nest_without_end() {
    let standard = "query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name } \
        types { ...FullType } directives { name description locations args { ...InputValue } } } } \
        fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description \
        args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } inputFields { ...InputValue } \
        interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } \
        possibleTypes { ...TypeRef } } fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue } \
        fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
        ofType { kind name ofType { kind name ofType { kind name } } } } } } } }";
    assert!(admitted(standard, json!({})).is_ok(), "{:?}", admitted(standard, json!({})).map(drop));
    let nested = |levels: usize| {
        format!(
            "{{ __schema {{ queryType {{ {}name{} }} }} }}",
            "fields { type { ".repeat(levels),
            " } }".repeat(levels)
        )
    };
    assert!(admitted(&nested(2), json!({})).is_ok());
    assert_eq!(code(&nested(4), json!({})), Code::CostExceeded);
    let wide =
        (0..60).map(|n| format!("a{n}: types {{ fields {{ args {{ type {{ name }} }} }} }} ")).collect::<String>();
    assert_eq!(code(&format!("{{ __schema {{ {wide} }} }}"), json!({})), Code::CostExceeded);
}

#[test]
fn an_error_of_the_parser_does_not_repeat_the_document() {
    let error = admitted(&format!("{{ a(b: \"{}\") ! }}", "x".repeat(150_000)), json!({})).map(drop).unwrap_err();
    assert!(error.message().len() < 400 && error.message().starts_with("Line 1, column"), "{error}");
}

#[test]
fn variables_are_counted_wherever_they_are_used() {
    let value = json!({ "v": "x".repeat(900_000) });
    let many = "$v ".repeat(1_000);
    for query in [
        format!("query ($v: Boolean) {{ viewer @skip(if: [{many}]) {{ id }} }}"),
        format!("query ($v: ID) {{ node(id: [{many}]) {{ id }} }}"),
        format!("query ($v: Boolean) @a(b: [{many}]) {{ viewer {{ id }} }}"),
        format!("query ($v: Boolean, $w: Boolean @a(b: [{many}])) {{ viewer @skip(if: $w) {{ id }} }}"),
        format!("query ($v: Boolean) {{ ... @skip(if: [{many}]) {{ viewer {{ id }} }} }}"),
        format!("query ($v: Boolean) {{ ...f @skip(if: [{many}]) }} fragment f on Query {{ viewer {{ id }} }}"),
        format!("query ($v: Boolean) {{ ...f }} fragment f on Query @a(b: [{many}]) {{ viewer {{ id }} }}"),
    ] {
        assert_eq!(code(&query, value.clone()), Code::CostExceeded, "{query:.100}");
        assert!(admitted(&query, json!({ "v": "short" })).is_ok(), "{query:.100}");
    }
    // A small number takes as much memory as a large one.
    let numbers = json!({ "v": vec![1; 400_000] });
    assert_eq!(code("query ($v: [ID!]) { nodes(ids: $v) { id } }", numbers), Code::CostExceeded);
}

#[test]
fn variables_that_nobody_declares_are_refused_or_dropped() {
    for (query, why) in [
        ("{ node(id: $v) { id } }", "\"$v\" is used and not declared"),
        ("{ viewer @skip(if: $v) { id } }", "\"$v\" is used and not declared"),
        ("{ ...f } fragment f on Query { node(id: [{ a: $v }]) { id } }", "\"$v\" is used and not declared"),
        (
            "query a($v: ID!) { ...f } query b { ...f } fragment f on Query { node(id: $v) { id } }",
            "\"$v\" is used and not declared",
        ),
        ("query ($v: ID! $v: ID!) { node(id: $v) { id } }", "\"$v\" is declared twice"),
        ("query ($v: [Nope] = 1) { node(id: $v) { id } }", "none of inputs"),
        ("query ($v: [[Board!]!] = 1) { node(id: $v) { id } }", "none of inputs"),
        ("{ node(id: \"1\") { ... on Nope { id } } }", "Unknown type \"Nope\""),
        ("{ ...f } fragment f on String { id }", "Unknown type \"String\""),
    ] {
        let error = admitted(query, json!({ "v": "1" })).map(drop).unwrap_err();
        assert!(error.code() == Code::InvalidDocument && error.message().contains(why), "{query}: {error}");
    }
    let kept = admitted("query ($v: ID!) { node(id: $v) { id } }", json!({ "v": "1", "w": "2" })).unwrap();
    assert_eq!(kept.variables.keys().map(async_graphql::Name::as_str).collect::<Vec<_>>(), ["v"]);
}

#[test]
fn a_subscription_has_one_root_field() {
    let follow = "boardEvents(boardId: \"b\") { __typename }";
    assert!(admitted(&format!("subscription {{ {follow} }}"), json!({})).is_ok());
    assert!(admitted(&format!("subscription {{ ...f }} fragment f on Subscription {{ {follow} }}"), json!({})).is_ok());
    for query in [
        format!("subscription {{ {follow} {follow} }}"),
        format!("subscription {{ a: {follow} ... {{ {follow} }} }}"),
        format!("subscription {{ ...f ...f }} fragment f on Subscription {{ {follow} }}"),
        format!("query a {{ viewer {{ id }} }} subscription b {{ {follow} b: {follow} }}"),
    ] {
        assert_eq!(code(&query, json!({})), Code::InvalidDocument, "{query}");
    }
}
