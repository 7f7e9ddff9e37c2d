//! The roles of the own PostgreSQL: gateways work without the rights of a superuser, also on data of earlier versions.

use std::{fs, path::Path};

use ragboard::{
    ops::local_pg::{LocalPg, Options, Purpose},
    store::migrations::{self, Direction},
};

use crate::support::{
    artifact_cache::cache_dir,
    cluster::{OWNER, TestFolder, connect},
    sql::{value, values},
};

async fn start(data_dir: &Path) -> LocalPg {
    let options = Options { data_dir: data_dir.to_path_buf(), cache_dir: cache_dir(), purpose: Purpose::Durable };
    LocalPg::start(options).await.unwrap()
}

/// What the superuser owns outside the system's schemas and extensions.
const OF_ADMIN: &str = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relowner = 'ragboard'::regrole AND n.nspname !~ '^(pg_|information_schema)' \
    UNION ALL SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
        WHERE p.proowner = 'ragboard'::regrole AND n.nspname !~ '^(pg_|information_schema)' \
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
    UNION ALL SELECT t.typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
        WHERE t.typowner = 'ragboard'::regrole AND n.nspname !~ '^(pg_|information_schema)' \
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid IN (t.oid, t.typelem) AND d.deptype = 'e')";

#[tokio::test]
async fn gateways_are_no_superusers_and_data_of_before_is_moved_over() {
    let folder = TestFolder::new("roles");
    let data = folder.path().join("data");
    let server = start(&data).await;
    let gateway = connect(&server.endpoint().url("ragboard")).await;
    let rights = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles \
                  WHERE rolname = current_user";
    assert_eq!(value(&gateway, rights).await, "f");
    assert_eq!(value(&gateway, "SELECT current_user::text").await, OWNER);
    drop(gateway);

    // As it was before: there is only the superuser, and everything is his.
    let admin = connect(&server.endpoint().admin_url("postgres")).await;
    admin.batch_execute("ALTER DATABASE ragboard OWNER TO ragboard").await.unwrap();
    admin.batch_execute(&format!("DROP ROLE {OWNER}")).await.unwrap();
    migrations::run(&server.endpoint().admin_url("ragboard"), Direction::Up).await.unwrap();
    let admin = connect(&server.endpoint().admin_url("ragboard")).await;
    admin
        .batch_execute(
            "CREATE SCHEMA \"An operator's\"; CREATE TABLE \"An operator's\".\"Table\" (id bigint GENERATED ALWAYS AS IDENTITY, n serial); \
             CREATE VIEW seen AS SELECT 1; CREATE MATERIALIZED VIEW kept AS SELECT 1; CREATE SEQUENCE counted; \
             CREATE DOMAIN short AS text; CREATE TYPE pair AS (a int, b int); \
             CREATE FUNCTION twice(text, VARIADIC int[]) RETURNS int LANGUAGE sql AS 'SELECT 2'; \
             CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)",
        )
        .await
        .unwrap();
    assert!(!values(&admin, OF_ADMIN).await.is_empty());
    drop(admin);
    server.stop().await.unwrap();
    fs::remove_file(data.join("gateway.password")).unwrap();

    // Twice: the second time there is nothing to do.
    for _ in 0..2 {
        let server = start(&data).await;
        let admin = connect(&server.endpoint().admin_url("ragboard")).await;
        let left = values(&admin, OF_ADMIN).await;
        assert!(left.is_empty(), "{left:?}");
        let gateway = connect(&server.endpoint().url("ragboard")).await;
        let works = "ALTER TABLE boards ADD COLUMN IF NOT EXISTS more int; INSERT INTO \"An operator's\".\"Table\" DEFAULT VALUES; \
                     SELECT nextval('counted'); SELECT twice('', 1); SELECT create_month_partitions(1)";
        gateway.batch_execute(works).await.unwrap();
        assert_eq!(migrations::run(&server.endpoint().url("ragboard"), Direction::Up).await.unwrap().len(), 0);
        for forbidden in ["CREATE ROLE other", "COPY boards TO PROGRAM 'true'", "CREATE DATABASE other"] {
            assert!(gateway.batch_execute(forbidden).await.is_err(), "{forbidden}");
        }
        server.stop().await.unwrap();
    }
}
