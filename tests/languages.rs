//! The text-search configurations that texts are read with, held against those that PostgreSQL has.

use std::collections::BTreeSet;

use ragboard::domain::language::text_search_config;

use crate::support::{app::new_database, cluster::connect, sql::values};

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
