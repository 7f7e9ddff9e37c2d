//! The migrations: forth and back and forth again, the rules that every table keeps, dumps that restore, and programs
//! that migrate at the same time. What the triggers do is in `database_rules.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use ragboard::store::migrations::{Direction, Fit, fit, run, status};
use secrecy::{ExposeSecret, SecretString};
use uuid::{Uuid, Variant};

use crate::support::{
    app::new_database,
    cluster::{cluster, connect},
    sql::{until, value, values},
};

/// PostgreSQL's own programs, of the version that the server has.
async fn programs() -> PathBuf {
    // Where they are is told to superusers only.
    let admin = connect(&cluster().admin_url("postgres")).await;
    value(&admin, "SELECT setting FROM pg_config WHERE name = 'BINDIR'").await.into()
}

fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

fn dump(programs: &Path, url: &SecretString, options: &[&str]) -> String {
    let mut command = Command::new(programs.join("pg_dump"));
    let text = output_of(command.args(options).arg("--dbname").arg(url.expose_secret()));
    // These lines carry a random key.
    let kept = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    kept.map(|line| format!("{line}\n")).collect()
}

/// A column that was dropped and made again stands last; its place means nothing, for every statement names its columns.
fn assert_same(one: &str, other: &str, when: &str) {
    let sorted = |dump: &str| {
        let mut lines: Vec<String> = dump.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
        lines.sort_unstable();
        lines
    };
    let (one, other) = (sorted(one), sorted(other));
    let differing = one.iter().zip(&other).find(|(one, other)| one != other);
    assert!(one == other, "the schema differs {when}: {differing:?}");
}

#[tokio::test]
async fn up_down_and_up_again_make_the_same_schema() {
    let url = cluster().create_database("migrations_round", None).await;
    let programs = programs().await;
    let up = run(&url, Direction::Up).await.unwrap();
    assert!(up.len() >= 9 && up.is_sorted(), "{up:?}");
    let first = dump(&programs, &url, &["--schema-only", "--no-owner"]);
    assert!(first.contains("CREATE TABLE public.boards"));

    let mut down = run(&url, Direction::Down(up.len())).await.unwrap();
    down.reverse();
    assert_eq!(down, up);
    let empty = dump(&programs, &url, &["--schema-only", "--no-owner"]);
    let left: Vec<&str> = empty.lines().filter(|line| line.starts_with("CREATE ")).collect();
    assert_eq!(left, ["CREATE TABLE public.__diesel_schema_migrations ("]);

    assert_eq!(run(&url, Direction::Up).await.unwrap(), up);
    assert_same(&first, &dump(&programs, &url, &["--schema-only", "--no-owner"]), "after down and up");
    assert_eq!(run(&url, Direction::Up).await.unwrap(), [""; 0], "nothing is applied twice");
}

#[tokio::test]
async fn each_migration_can_be_redone() {
    // The first one makes the extension, and only its owner takes it away.
    let url = new_database().await;
    let name = url.expose_secret().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let url = cluster().admin_url(&name);
    let programs = programs().await;
    let mut left = status(&url).await.unwrap().into_iter().map(|migration| migration.name).collect::<Vec<_>>();
    while let Some(name) = left.pop() {
        // Partitions are made by the program: what a migration makes is compared without them.
        if name.ends_with("_create_logs") {
            assert_eq!(run(&url, Direction::Redo).await.unwrap(), [name.as_str()]);
        }
        let before = dump(&programs, &url, &["--schema-only", "--no-owner"]);
        assert_eq!(run(&url, Direction::Redo).await.unwrap(), [name.as_str()]);
        assert_same(
            &before,
            &dump(&programs, &url, &["--schema-only", "--no-owner"]),
            &format!("after redoing {name}"),
        );
        assert_eq!(run(&url, Direction::Down(1)).await.unwrap(), [name.as_str()]);
    }
    assert!(run(&url, Direction::Down(1)).await.is_err(), "there is nothing left to take back");
}

#[tokio::test]
async fn a_database_is_told_apart_from_older_and_newer_ones() {
    let url = cluster().create_database("migrations_fit", None).await;
    let total = status(&url).await.unwrap().len();
    assert_eq!(fit(&url).await.unwrap(), Fit::Older(total));
    run(&url, Direction::Up).await.unwrap();
    assert_eq!(fit(&url).await.unwrap(), Fit::Exact);
    run(&url, Direction::Down(2)).await.unwrap();
    assert_eq!(fit(&url).await.unwrap(), Fit::Older(2));
    let applied: Vec<bool> = status(&url).await.unwrap().iter().map(|migration| migration.is_applied).collect();
    assert_eq!(applied, [vec![true; total - 2], vec![false; 2]].concat());
    run(&url, Direction::Up).await.unwrap();
    let client = connect(&url).await;
    client.batch_execute("INSERT INTO __diesel_schema_migrations VALUES ('29991231235959')").await.unwrap();
    assert_eq!(fit(&url).await.unwrap(), Fit::Newer(1));
    assert!(run(&url, Direction::Down(1)).await.is_err(), "what is not known cannot be taken back");
    assert_eq!(value(&client, "SELECT count(*) FROM boards").await, "0");
}

#[tokio::test]
async fn programs_that_start_together_migrate_once() {
    let url = cluster().create_database("migrations_race", None).await;
    let (one, two, three) = tokio::join!(run(&url, Direction::Up), run(&url, Direction::Up), run(&url, Direction::Up));
    let mut ran = [one.unwrap(), two.unwrap(), three.unwrap()];
    ran.sort_by_key(Vec::len);
    let all: Vec<String> = status(&url).await.unwrap().into_iter().map(|migration| migration.name).collect();
    assert_eq!(ran, [vec![], vec![], all]);
    assert_eq!(fit(&url).await.unwrap(), Fit::Exact);
}

#[tokio::test]
async fn who_waits_for_a_migration_holds_no_concurrent_index_back() {
    let url = cluster().create_database("migrations_wait", None).await;
    let migrating = connect(&url).await;
    // "ragboard" in ASCII.
    migrating.execute("SELECT pg_advisory_lock(x'726167626f617264'::bit(64)::bigint)", &[]).await.unwrap();
    let waiting = tokio::spawn({
        let url = url.clone();
        async move { run(&url, Direction::Up).await }
    });
    until(
        &migrating,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
            AND application_name = 'ragboard migrate' AND query LIKE '%advisory_lock%')",
    )
    .await;
    migrating.batch_execute("CREATE TABLE t AS SELECT 1 AS n").await.unwrap();
    let built = migrating.batch_execute("CREATE INDEX CONCURRENTLY i ON t (n)");
    tokio::time::timeout(Duration::from_secs(60), built).await.expect("the index waits for who waits").unwrap();
    assert_eq!(value(&migrating, "SELECT count(*) FROM pg_class WHERE relname = 'boards'").await, "0");
    drop(migrating);
    assert!(!waiting.await.unwrap().unwrap().is_empty());
}

/// A rule about the catalogue: the query names those who break it. Then a statement that breaks it, and whom that names.
const RULES: &[(&str, &str, &str, &str)] = &[
    (
        "every foreign key has an index that begins with its columns",
        "SELECT c.conrelid::regclass || ' ' || c.conname FROM pg_constraint c \
            WHERE c.contype = 'f' AND NOT EXISTS (SELECT FROM pg_index i \
                WHERE i.indrelid = c.conrelid AND i.indisvalid \
                AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$') \
                AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) k) \
                  = (SELECT array_agg(k ORDER BY k) FROM unnest(c.conkey) k))",
        "CREATE TABLE loose (other uuid, board_id uuid CONSTRAINT loose_board_exists REFERENCES boards); \
            CREATE INDEX ON loose (other, board_id); CREATE INDEX ON loose (board_id) WHERE other IS NULL",
        "loose loose_board_exists",
    ),
    (
        "every table has a comment",
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') \
            AND NOT relispartition AND relname <> '__diesel_schema_migrations' \
            AND coalesce(obj_description(oid, 'pg_class'), '') = ''",
        "COMMENT ON TABLE users IS NULL",
        "users",
    ),
    (
        "every column has a comment",
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') \
            AND NOT c.relispartition AND c.relname <> '__diesel_schema_migrations' \
            AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(col_description(c.oid, a.attnum), '') = ''",
        "COMMENT ON COLUMN nodes.x IS NULL",
        "nodes.x",
    ),
    (
        "every constraint has a name that tells what it is for",
        "SELECT DISTINCT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
            AND contype NOT IN ('p', 'n') AND conname ~ '_(check|key|fkey|pkey|excl)\\d*$'",
        "ALTER TABLE users ADD CHECK (name <> '')",
        "users_name_check",
    ),
    (
        "every function brings its search_path",
        "SELECT proname FROM pg_proc p WHERE pronamespace = 'public'::regnamespace \
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
            AND NOT EXISTS (SELECT FROM unnest(proconfig) s WHERE s LIKE 'search_path=%')",
        "CREATE FUNCTION loose() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "loose",
    ),
];

#[tokio::test]
async fn the_schema_keeps_its_rules() {
    let client = connect(&new_database().await).await;
    for (rule, query, breaking, named) in RULES {
        assert_eq!(values(&client, query).await, [""; 0], "{rule}");
        client.batch_execute(&format!("BEGIN; {breaking}")).await.unwrap();
        assert_eq!(values(&client, query).await, [*named], "{rule}: would go unnoticed");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn a_dump_restores_into_an_empty_database() {
    let url = new_database().await;
    let client = connect(&url).await;
    let programs = programs().await;
    // With nothing on the path, only what functions bring along is found.
    let fill = "SET search_path = ''; \
        INSERT INTO public.users (email, password_hash) VALUES ('a@b.example', 'x'); \
        INSERT INTO public.boards (user_id, name) SELECT id, 'Čapek' FROM public.users; \
        INSERT INTO public.nodes (board_id, type) SELECT id, t FROM public.boards, unnest('{folder,folder,resource}'::public.node_type[]) t; \
        INSERT INTO public.folder_nodes (board_id, node_id, name) SELECT board_id, id, 'Ordner' FROM public.nodes WHERE type = 'folder'; \
        INSERT INTO public.node_hierarchy (board_id, parent_id, child_id) SELECT board_id, min(id::text)::uuid, max(id::text)::uuid \
            FROM public.nodes WHERE type = 'folder' GROUP BY board_id; \
        INSERT INTO public.connections (board_id, from_node_id, to_node_id) SELECT board_id, child_id, parent_id FROM public.node_hierarchy; \
        INSERT INTO public.board_events (board_id, version) SELECT id, 1 FROM public.boards";
    client.batch_execute(fill).await.unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), dump(&programs, &url, &[])).unwrap();
    let copy = cluster().create_database("migrations_restored", None).await;
    let mut psql = Command::new(programs.join("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", copy.expose_secret(), "--file"]);
    output_of(psql.arg(file.path()));

    assert_eq!(fit(&copy).await.unwrap(), Fit::Exact);
    // The server writes conditions that it has read back with other parentheses.
    let plain = |url: &SecretString| dump(&programs, url, &[]).replace(['(', ')'], "");
    assert_same(&plain(&url), &plain(&copy), "after a restore");
    let restored = connect(&copy).await;
    assert_eq!(
        value(
            &restored,
            "SELECT name_key || ' ' || node_count || ' ' || connection_count FROM boards \
        JOIN board_stats ON board_id = id"
        )
        .await,
        "čapek 3 1"
    );
    let again = fill
        .replace("a@b.example", "c@d.example")
        .replace("FROM public.users;", "FROM public.users WHERE email LIKE 'c%';");
    restored.batch_execute("TRUNCATE public.boards CASCADE").await.unwrap();
    restored.batch_execute(&again).await.unwrap();
    assert_eq!(value(&restored, "SELECT node_count || ' ' || connection_count FROM public.board_stats").await, "3 1");
    assert_eq!(value(&restored, "SELECT public.create_month_partitions(1)").await, "0");
}

#[tokio::test]
async fn months_have_their_partitions_ahead() {
    let url = cluster().create_database("migrations_months", None).await;
    run(&url, Direction::Up).await.unwrap();
    let (client, reader) = (connect(&url).await, connect(&url).await);
    // Months are those of UTC in every session, and made once by however many programs.
    client.batch_execute("SET timezone = 'Pacific/Auckland'").await.unwrap();
    reader.batch_execute("SET timezone = 'America/Los_Angeles'").await.unwrap();
    let make = "SELECT create_month_partitions(3)";
    let (one, other) = tokio::join!(value(&client, make), value(&reader, make));
    let mut made = [one, other];
    made.sort();
    assert_eq!(made, ["0", "10"]);
    assert_eq!(value(&client, make).await, "0");
    for table in ["board_events", "activity_logs"] {
        let bounds = format!(
            "SELECT relname || ' ' || pg_get_expr(relpartbound, oid) FROM pg_class \
                WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{table}'::regclass) ORDER BY relname"
        );
        client.batch_execute("SET timezone = 'UTC'").await.unwrap();
        let expected = format!(
            "SELECT '{table}' || to_char(m, '_YYYY_MM') || ' FOR VALUES FROM (''' || m || ''') TO (''' || m + interval '1 month' || ''')' \
                FROM generate_series(-1, 3) AS i, LATERAL (SELECT date_trunc('month', now()) + make_interval(months => i)) AS t (m) \
                ORDER BY i"
        );
        assert_eq!(values(&client, &bounds).await, values(&client, &expected).await);
    }
    // Neither who reads the log nor who has written to it is waited for.
    let event = "INSERT INTO users (email, password_hash) VALUES ('a@b.example', 'x'); \
        INSERT INTO activity_logs (user_id, activity_type) SELECT id, 'board_created' FROM users";
    client.batch_execute(event).await.unwrap();
    reader.batch_execute("BEGIN; SELECT * FROM activity_logs; SELECT * FROM board_events").await.unwrap();
    client.batch_execute("SET lock_timeout = '5s'").await.unwrap();
    assert_eq!(value(&client, "SELECT create_month_partitions(5)").await, "4");
    reader.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn ids_are_version_7_and_sort_by_time() {
    let client = connect(&new_database().await).await;
    let ids = "SELECT id FROM generate_series(1, 300) AS i CROSS JOIN LATERAL (SELECT uuid_v7() AS id, pg_sleep(0.0001 * (i % 2))) AS t";
    let clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let before: u64 = value(&client, clock).await.parse().unwrap();
    let ids: Vec<Uuid> = values(&client, ids).await.iter().map(|id| id.parse().unwrap()).collect();
    let after: u64 = value(&client, clock).await.parse().unwrap();
    let milliseconds = |id: &Uuid| {
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        seconds * 1000 + u64::from(nanoseconds) / 1_000_000
    };
    assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122));
    assert!(ids.iter().map(milliseconds).is_sorted());
    assert!(milliseconds(&ids[0]) >= before && milliseconds(&ids[299]) <= after + 1, "{before} {ids:?} {after}");
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 300);
    assert!(sorted.iter().map(milliseconds).eq(ids.iter().map(milliseconds)), "ids sort as their times do");
}

#[tokio::test]
async fn text_is_folded_beyond_ascii() {
    let client = connect(&new_database().await).await;
    let one = |function: &'static str, text: &'static str| {
        let client = &client;
        async move { client.query_one(&format!("SELECT {function}($1)"), &[&text]).await.unwrap().get::<_, String>(0) }
    };
    for (text, key, folded) in [
        ("ÀÉÎ", "àéî", "aei"),
        // Composed and decomposed are the same name.
        ("A\u{300}E\u{301}I\u{302}", "àéî", "aei"),
        ("Straße", "straße", "strasse"),
        ("STRASSE", "strasse", "strasse"),
        ("Σίσυφος", "σίσυφος", "σισυφοσ"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ", "σισυφοσ"),
        ("ﬁne Å", "fine å", "fine a"),
        ("Ёлка", "ёлка", "елка"),
        ("日本", "日本", "日本"),
        ("", "", ""),
    ] {
        assert_eq!((one("name_key", text).await, one("fold_text", text).await), (key.to_owned(), folded.to_owned()));
    }
    assert_eq!(one("fold_text", "İSTANBUL").await, "istanbul");
    assert_eq!(
        value(&client, "SELECT name_key(NULL) || fold_text(NULL) || length(name_key(repeat('ǅ', 9999)))").await,
        "200"
    );
    // Sorted by code points, not by what the database thinks of languages.
    let names = "INSERT INTO users (email, password_hash) VALUES ('a@b.example', 'x'); \
        INSERT INTO boards (user_id, name) SELECT id, n FROM users, unnest('{zebra,Émile,apple,eagle,Zoo}'::text[]) AS n";
    client.batch_execute(names).await.unwrap();
    let sorted = values(&client, "SELECT name FROM boards ORDER BY name_key").await;
    assert_eq!(sorted, ["apple", "eagle", "zebra", "Zoo", "Émile"]);
}
