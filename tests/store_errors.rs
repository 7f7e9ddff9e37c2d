//! What callers of the store see of a full pool, a slow statement, lost connections and a database that is gone.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ragboard::{
    access::Caller,
    config::{Config, DatabaseConfig, Sources},
    domain::{
        BoardId, Code, Error, UserId,
        ports::{Boards, Users},
    },
    store::Store,
};
use secrecy::SecretString;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{
    app::{TestApp, new_database},
    cluster::connect,
    fixture::BoardBuilder,
    proxy::Proxy,
    sql::{until, value},
};

/// Longer than anything takes that is not to take as long as this.
const LONG: Duration = Duration::from_secs(600);

fn settings(pool_size: u32, pool_timeout: Duration, statement_timeout: Duration) -> DatabaseConfig {
    let defaults = Config::load(&Sources::default()).unwrap().database;
    DatabaseConfig { pool_size, max_overflow: 0, pool_timeout, statement_timeout, ..defaults }
}

async fn open(url: &SecretString, config: &DatabaseConfig) -> Arc<Store> {
    Arc::new(Store::connect(url, config).await.unwrap())
}

/// A read that takes no lock on `users`.
async fn read(store: &Store) -> Result<(), Error> {
    store.board_stats(&[BoardId(Uuid::now_v7())]).await.map(drop)
}

/// A read that waits while `users` is locked.
async fn read_users(store: &Store) -> Result<(), Error> {
    store.users(&[UserId(Uuid::now_v7())]).await.map(drop)
}

/// Callers that are not the same: none of them has a share of all connections.
fn caller(number: usize) -> Caller {
    Caller::Address(IpAddr::from([192, 0, 2, number as u8]).into())
}

const LOCK: &str = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE";

/// Waits until so many connections of the store wait for the lock. The client that has it cannot be asked: what it sees
/// of others does not change within its transaction.
async fn until_waiting(client: &Client, count: usize) {
    until(
        client,
        &format!(
            "SELECT count(*) = {count} FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'ragboard' AND wait_event_type = 'Lock'"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_full_pool_says_so_after_its_timeout_and_recovers() {
    let url = new_database().await;
    let store = open(&url, &settings(1, Duration::from_millis(200), LONG)).await;
    let (admin, locker) = (connect(&url).await, connect(&url).await);
    locker.batch_execute(LOCK).await.unwrap();
    let holder = tokio::spawn({
        let store = Arc::clone(&store);
        async move { read_users(&store).await }
    });
    until_waiting(&admin, 1).await;
    for _ in 0..2 {
        let began = Instant::now();
        let error = read(&store).await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(error.code(), Code::Overloaded);
        assert!(took >= Duration::from_millis(200) && took < LONG / 2, "{took:?}");
    }
    locker.batch_execute("COMMIT").await.unwrap();
    holder.await.unwrap().unwrap();
    read(&store).await.unwrap();
    let pool = store.pool_use();
    assert_eq!((pool.within_size, pool.overflow, pool.idle), (1, 0, 1));
}

#[tokio::test]
async fn a_slow_statement_ends_with_its_timeout() {
    let url = new_database().await;
    let store = open(&url, &settings(1, LONG, Duration::from_secs(3))).await;
    let locker = connect(&url).await;
    locker.batch_execute(LOCK).await.unwrap();
    let began = Instant::now();
    assert_eq!(read_users(&store).await.unwrap_err().code(), Code::Timeout);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    // The connection is as good as before.
    read(&store).await.unwrap();
    locker.batch_execute("COMMIT").await.unwrap();
    read_users(&store).await.unwrap();
    let pool = store.pool_use();
    assert_eq!((pool.within_size, pool.overflow, pool.idle), (1, 0, 1));
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_told_at_once_and_found_again() {
    let url = new_database().await;
    let (proxy, along) = Proxy::to_database(&url).await;
    let store = open(&along, &settings(4, LONG, LONG)).await;
    let (admin, locker) = (connect(&url).await, connect(&url).await);
    for round in 0..3 {
        // One statement runs when it happens, others begin afterwards.
        locker.batch_execute(LOCK).await.unwrap();
        let caught = tokio::spawn({
            let store = Arc::clone(&store);
            async move { read_users(&store).await }
        });
        until_waiting(&admin, 1).await;
        proxy.cut();
        let began = Instant::now();
        let mut reads = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            reads.spawn(async move { read(&store).await });
        }
        for outcome in reads.join_all().await.into_iter().chain([caught.await.unwrap()]) {
            assert_eq!(outcome.unwrap_err().code(), Code::Overloaded, "round {round}");
        }
        assert!(began.elapsed() < LONG / 3, "round {round}: {:?}", began.elapsed());
        locker.batch_execute("COMMIT").await.unwrap();
        proxy.resume();
        read(&store).await.unwrap();
    }
}

#[tokio::test]
async fn who_holds_a_connection_keeps_it_while_no_new_one_can_be_had() {
    let url = new_database().await;
    let (proxy, along) = Proxy::to_database(&url).await;
    let store = open(&along, &settings(4, LONG, LONG)).await;
    let (admin, locker) = (connect(&url).await, connect(&url).await);
    locker.batch_execute(LOCK).await.unwrap();
    proxy.refuse();
    let mut reads = JoinSet::new();
    for _ in 0..6 {
        let store = Arc::clone(&store);
        reads.spawn(async move { read_users(&store).await });
    }
    // One has the connection, the others wait for it rather than give up.
    until_waiting(&admin, 1).await;
    locker.batch_execute("COMMIT").await.unwrap();
    for outcome in reads.join_all().await {
        outcome.unwrap();
    }
    proxy.resume();
}

#[tokio::test]
async fn no_database_at_the_start_is_told_at_once() {
    let (proxy, along) = Proxy::to_database(&new_database().await).await;
    proxy.cut();
    let began = Instant::now();
    let Err(error) = Store::connect(&along, &settings(4, LONG, LONG)).await else { panic!("connected to nothing") };
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.cause().is_some(), "the log learns why");
    assert!(began.elapsed() < LONG / 3, "{:?}", began.elapsed());
    proxy.resume();
    read(&*open(&along, &settings(4, LONG, LONG)).await).await.unwrap();
}

#[tokio::test]
async fn connections_that_are_not_needed_rest() {
    const CONNECTIONS: usize = 5;
    let url = new_database().await;
    let store = open(&url, &settings(CONNECTIONS as u32, LONG, LONG)).await;
    let (admin, locker) = (connect(&url).await, connect(&url).await);
    locker.batch_execute(LOCK).await.unwrap();
    let mut reads = JoinSet::new();
    for number in 0..CONNECTIONS {
        let store = Arc::clone(&store);
        reads.spawn(async move { caller(number).scope(read_users(&store)).await });
    }
    until_waiting(&admin, CONNECTIONS).await;
    locker.batch_execute("COMMIT").await.unwrap();
    for outcome in reads.join_all().await {
        outcome.unwrap();
    }
    let now = value(&admin, "SELECT clock_timestamp()").await;
    for _ in 0..2 * CONNECTIONS {
        read(&store).await.unwrap();
    }
    let used = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ragboard' \
         AND query_start > '{now}'"
    );
    assert_eq!(value(&admin, &used).await, "1");
}

/// Ends all connections of the store, and returns how many they were.
async fn terminate(admin: &Client) -> usize {
    let ended = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'ragboard'";
    value(admin, ended).await.parse().unwrap()
}

#[tokio::test]
async fn killed_connections_are_invisible_to_reads() {
    const CONNECTIONS: usize = 6;
    let url = new_database().await;
    let store = open(&url, &settings(CONNECTIONS as u32, LONG, LONG)).await;
    let (admin, locker) = (connect(&url).await, connect(&url).await);
    for _ in 0..3 {
        locker.batch_execute(LOCK).await.unwrap();
        let mut reads = JoinSet::new();
        for number in 0..CONNECTIONS {
            let store = Arc::clone(&store);
            reads.spawn(async move { caller(number).scope(read_users(&store)).await });
        }
        // In the middle of statements: they are read again.
        until_waiting(&admin, CONNECTIONS).await;
        assert_eq!(terminate(&admin).await, CONNECTIONS);
        until_waiting(&admin, CONNECTIONS).await;
        locker.batch_execute("COMMIT").await.unwrap();
        for outcome in reads.join_all().await {
            outcome.unwrap();
        }
        // While they idle: all of them are dead when the next reads come, one by one and together.
        assert_eq!(terminate(&admin).await, CONNECTIONS);
        read_users(&store).await.unwrap();
        let mut reads = JoinSet::new();
        for _ in 0..3 * CONNECTIONS {
            let store = Arc::clone(&store);
            reads.spawn(async move { read_users(&store).await });
        }
        for outcome in reads.join_all().await {
            outcome.unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_no_fault_of_the_program() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let full = "CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        RAISE EXCEPTION USING ERRCODE = '53100', HINT = 'Check free disk space.', \
        MESSAGE = 'could not extend file \"base/16384/16385\": No space left on device'; END $$; \
        CREATE TRIGGER disk_is_full BEFORE UPDATE ON boards FOR EACH ROW EXECUTE FUNCTION disk_is_full()";
    app.sql.batch_execute(full).await.unwrap();
    let rename = "mutation ($id: ID!) { updateBoard(input: { id: $id, name: \"New\" }) { userErrors { message } } }";
    let id = json!({ "id": board.id.to_string() });
    assert_eq!(app.code(Some(&owner), rename, id.clone()).await, "OVERLOADED");
    app.sql.batch_execute("DROP TRIGGER disk_is_full ON boards").await.unwrap();
    let renamed = app.data(Some(&owner), rename, id).await;
    assert_eq!(renamed["updateBoard"]["userErrors"], json!([]));
}
