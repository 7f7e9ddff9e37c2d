//! How long the change log is kept: whole months go, nobody waits for it, and whose place is gone with them is told so.

use ragboard::domain::{Code, EVENT_ORDER, event_place};
use serde_json::json;

use crate::{
    follow::{create, setup},
    support::{
        cluster::connect,
        socket::{Socket, start},
        sql::{value, values},
    },
};

const MONTHS: &str = "SELECT relname FROM pg_class WHERE relname ~ '^board_events_\\d{4}_\\d{2}$' ORDER BY relname";

#[tokio::test(flavor = "multi_thread")]
async fn old_months_of_the_log_go_and_readers_are_told() {
    let (app, owner, board, address) = setup().await;
    let store = &app.app.store;
    // Nothing goes of a month that goes on, or was over less than a day ago.
    while store.drop_event_partition(1).await.unwrap().is_some() {}
    let kept = values(&app.sql, MONTHS).await;
    assert_eq!(
        kept[0],
        value(&app.sql, "SELECT to_char((now() - interval '1 day') AT TIME ZONE 'UTC', '\"board_events_\"YYYY_MM')")
            .await
    );
    app.sql
        .batch_execute(
            "SET timezone = 'UTC'; \
             CREATE TABLE board_events_2020_01 PARTITION OF board_events FOR VALUES FROM ('2020-01-01') TO ('2020-02-01'); \
             CREATE TABLE board_events_2020_02 PARTITION OF board_events FOR VALUES FROM ('2020-02-01') TO ('2020-03-01'); \
             INSERT INTO board_events (board_id, version, at, changes) \
             SELECT b.id, v, CASE v WHEN 2 THEN '2020-01-31 23:59:59' WHEN 3 THEN '2020-02-01' ELSE now() END, \
             '[{\"type\": \"board_updated\"}]' FROM boards b, generate_series(2, 4) v; \
             UPDATE boards SET version = 4",
        )
        .await
        .unwrap();
    // Long enough for both to be kept.
    assert_eq!(store.drop_event_partition(36_500).await.unwrap(), None);

    // Somebody reads the log: nobody is kept waiting, and it is tried again.
    let reader = connect(&app.url).await;
    reader.batch_execute("BEGIN; SELECT * FROM board_events").await.unwrap();
    assert_eq!(store.drop_event_partition(90).await.unwrap_err().code(), Code::Timeout);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.drop_event_partition(90).await.unwrap().as_deref(), Some("board_events_2020_01"));
    assert_eq!(store.drop_event_partition(90).await.unwrap().as_deref(), Some("board_events_2020_02"));
    assert_eq!(store.drop_event_partition(90).await.unwrap(), None);
    assert_eq!(values(&app.sql, MONTHS).await, kept);
    assert_eq!(value(&app.sql, "SELECT string_agg(version::text, ' ') FROM board_events").await, "4");

    let read = "query ($id: ID!, $after: String) { board(id: $id) { events(first: 10, after: $after) { nodes { \
        __typename ... on ResyncRequired { version } ... on BoardChanged { version } } } } }";
    let variables = |after| json!({ "id": board.id.to_string(), "after": after });
    let data = app.data(Some(&owner), read, variables(start(&board))).await;
    let resync = json!({ "__typename": "ResyncRequired", "version": 4 });
    assert_eq!(data["board"]["events"]["nodes"], json!([resync]));
    let mut socket = Socket::of(address, &owner).await;
    socket.follow("1", &board, start(&board)).await;
    assert_eq!(socket.event().await, resync);
    create(&app, &owner, &board, "next").await;
    assert_eq!(socket.event().await["version"], 5);
    // Whose place is where the log begins has missed nothing.
    let after = json!(event_place(board.id, 3).encode(EVENT_ORDER));
    let data = app.data(Some(&owner), read, variables(after)).await;
    let versions: Vec<_> =
        data["board"]["events"]["nodes"].as_array().unwrap().iter().map(|node| &node["version"]).collect();
    assert_eq!(versions, [4, 5]);
}
