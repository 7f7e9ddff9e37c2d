//! What a power cut leaves of small files in the data folder is made good at the next start, or told at once.

use std::{fs, path::Path};

use ragboard::ops::{
    Failure,
    local_pg::{LocalPg, Options, Purpose},
};
use secrecy::ExposeSecret;

use crate::support::{
    artifact_cache::cache_dir,
    cluster::{TestFolder, connect},
};

async fn start(data_dir: &Path) -> Result<LocalPg, Failure> {
    let options = Options { data_dir: data_dir.to_path_buf(), cache_dir: cache_dir(), purpose: Purpose::Durable };
    LocalPg::start(options).await
}

const FILES: &[&str] = &[
    "owner.lock",
    "postgres.password",
    "gateway.password",
    "postgres-startup.log",
    "postgres/PG_VERSION",
    "postgres/postmaster.pid",
    "postgres/postgresql.conf",
    "postgres/postgresql.auto.conf",
    "postgres/pg_hba.conf",
    "postgres/ragboard.conf",
];

#[tokio::test]
async fn small_files_are_made_good() {
    let folder = TestFolder::new("power-cut");
    let data = folder.path().join("data");
    let server = start(&data).await.unwrap();
    let client = connect(&server.endpoint().url("ragboard")).await;
    client.batch_execute("CREATE TABLE kept AS SELECT 42::bigint AS n").await.unwrap();
    drop(client);
    server.stop().await.unwrap();
    let is_there = |file: &&&str| **file == "postgres/postmaster.pid" || data.join(file).is_file();
    assert_eq!(FILES.iter().filter(is_there).count(), FILES.len(), "a file has another name now");
    // Empty, full of zeros, cut off; and then all of them once more, as if nothing had been learnt from the first time.
    for content in [&b""[..], &[0; 64], b"1"] {
        for file in FILES {
            // Cut off, these say something else, which is somebody's wish.
            if content != b"1" || !file.ends_with(".conf") {
                fs::write(data.join(file), content).unwrap();
            }
        }
        let server = start(&data).await.unwrap_or_else(|failure| panic!("{content:?}: {failure}"));
        for url in [server.endpoint().url("ragboard"), server.endpoint().admin_url("ragboard")] {
            let client = connect(&url).await;
            assert_eq!(client.query_one("SELECT n FROM kept", &[]).await.unwrap().get::<_, i64>(0), 42);
        }
        server.stop().await.unwrap();
    }
    for file in ["postgres.password", "gateway.password", "postgres/PG_VERSION", "postgres/pg_hba.conf"] {
        fs::remove_file(data.join(file)).unwrap();
    }
    start(&data).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_made_good_is_told_with_the_remedy() {
    let folder = TestFolder::new("power-cut");
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("postgres")).unwrap();
    let told = start(&data).await.unwrap_err().to_string();
    assert!(told.contains("PG_VERSION") && told.contains("backup"), "{told}");
    fs::remove_dir_all(&data).unwrap();

    start(&data).await.unwrap().stop().await.unwrap();
    let control = data.join("postgres/global/pg_control");
    let aside = data.join("pg_control.aside");
    fs::rename(&control, &aside).unwrap();
    let told = start(&data).await.unwrap_err().to_string();
    assert!(told.contains("pg_control") && told.contains("backup"), "{told}");
    fs::rename(&aside, &control).unwrap();

    // A password that looks like one and is another.
    let other = "abcdefghijklmnopqrstuvwxyz012345";
    fs::write(data.join("postgres.password"), other).unwrap();
    let told = start(&data).await.unwrap_err().to_string();
    assert!(told.contains("postgres.password") && !told.contains(other), "{told}");
    fs::remove_file(data.join("postgres.password")).unwrap();
    let server = start(&data).await.unwrap();
    assert!(server.endpoint().admin_url("x").expose_secret().starts_with("postgresql://ragboard:"));
    server.stop().await.unwrap();
}
