//! The text-search configurations that texts are read with, held against those that PostgreSQL has, and what they do to a search.

use std::collections::BTreeSet;

use ragboard::{domain::language::text_search_config, search::models::Models};
use serde_json::json;

use crate::support::{
    app::new_database,
    cluster::connect,
    library::Library,
    sql::{value, values},
};

#[tokio::test]
async fn every_configuration_of_postgresql_is_used_and_no_other() {
    let client = connect(&new_database().await).await;
    let mut there: BTreeSet<String> =
        values(&client, "SELECT cfgname::text FROM pg_ts_config").await.into_iter().collect();
    there.remove("estonian"); // in PostgreSQL 18 only
    let letters = 'a'..='z';
    let tags = letters.clone().flat_map(|first| letters.clone().map(move |second| format!("{first}{second}")));
    let used: BTreeSet<String> = tags.map(|tag| text_search_config(Some(&tag)).to_owned()).collect();
    assert_eq!(used, there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_words_are_read_in_the_language_of_their_board() {
    let library = Library::with(Models::default(), &[]).await;
    library.write("Ships", "red keepers", json!({})).await;
    library.settle().await;
    assert_eq!(library.titles(json!({ "query": "keeper", "mode": "KEYWORD" })).await, ["Ships"]);
    let read = "SELECT i.config || ' ' || coalesce(i.language, 'unknown') FROM indexed_resources i \
        JOIN resource_nodes r USING (node_id) WHERE r.title = 'Ships'";
    assert_eq!(value(&library.app.sql, read).await, "english unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_words_of_others_find_nothing_better() {
    let library = Library::with(Models::default(), &[]).await;
    // PostgreSQL knows no stop words of this language.
    library.write("Scraps", "the and of the and of", json!({ "language": "zh" })).await;
    library.settle().await;
    let found = library.titles(json!({ "query": "the locks of rows", "mode": "KEYWORD" })).await;
    assert_eq!(found[0], "Deadlocks", "{found:?}");
}
