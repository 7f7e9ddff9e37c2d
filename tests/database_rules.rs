//! What the database itself guarantees, whoever writes: exact counts, folders without cycles, boards that nothing
//! reaches across, also when two transactions write at the same moment.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use secrecy::SecretString;
use tokio_postgres::{Client, Error};

use crate::support::{
    app::new_database,
    cluster::connect,
    sql::{constraint_of, refused_by, until, value, values},
};

/// Boards whose counts are not what is there.
const WRONG_COUNTS: &str = "SELECT row_to_json(s) || ' but there are ' || row_to_json(t) \
    FROM board_stats s JOIN boards b ON b.id = s.board_id CROSS JOIN LATERAL ( \
        SELECT count(*) AS nodes, count(*) FILTER (WHERE type = 'resource') AS resources, \
            count(*) FILTER (WHERE type = 'chat') AS chats, count(*) FILTER (WHERE type = 'folder') AS folders, \
            (SELECT count(*) FROM connections c WHERE c.board_id = b.id AND NOT EXISTS (SELECT FROM nodes dead \
                WHERE dead.id IN (c.from_node_id, c.to_node_id) AND dead.deleted_at IS NOT NULL)) AS links \
        FROM nodes n WHERE n.board_id = b.id AND n.deleted_at IS NULL) AS t \
    WHERE (s.node_count, s.resource_count, s.chat_count, s.folder_count, s.connection_count) \
        <> (t.nodes, t.resources, t.chats, t.folders, t.links)";

/// A database with one account and so many boards, and their ids.
async fn boards(count: usize) -> (SecretString, Client, Vec<String>) {
    let url = new_database().await;
    let client = connect(&url).await;
    client.batch_execute("INSERT INTO users (email, password_hash) VALUES ('a@b.example', 'x')").await.unwrap();
    let insert = format!(
        "INSERT INTO boards (user_id, name) SELECT u.id, i::text FROM users u, generate_series(1, {count}) i RETURNING id"
    );
    let ids = values(&client, &insert).await;
    (url, client, ids)
}

async fn node(client: &Client, board: &str, kind: &str) -> String {
    value(client, &format!("INSERT INTO nodes (board_id, type) VALUES ('{board}', '{kind}') RETURNING id")).await
}

async fn folder(client: &Client, board: &str) -> String {
    let id = node(client, board, "folder").await;
    let insert = format!("INSERT INTO folder_nodes (board_id, node_id, name) VALUES ('{board}', '{id}', 'f')");
    client.batch_execute(&insert).await.unwrap();
    id
}

fn place(board: &str, child: &str, parent: &str) -> String {
    format!("INSERT INTO node_hierarchy (board_id, child_id, parent_id) VALUES ('{board}', '{child}', '{parent}')")
}

fn link(board: &str, from: &str, to: &str) -> String {
    format!("INSERT INTO connections (board_id, from_node_id, to_node_id) VALUES ('{board}', '{from}', '{to}')")
}

fn delete_softly(node: &str) -> String {
    format!("UPDATE nodes SET deleted_at = now() WHERE id = '{node}'")
}

/// Folders one in the other, outermost first.
async fn chain(client: &Client, board: &str, levels: usize) -> Vec<String> {
    let ids = values(
        client,
        &format!(
            "WITH made AS (INSERT INTO nodes (board_id, type) SELECT '{board}', 'folder' FROM generate_series(1, {levels}) \
                RETURNING board_id, id), \
            named AS (INSERT INTO folder_nodes (board_id, node_id, name) SELECT board_id, id, 'f' FROM made) \
            SELECT id FROM made"
        ),
    )
    .await;
    for pair in ids.windows(2) {
        client.batch_execute(&place(board, &pair[1], &pair[0])).await.unwrap();
    }
    ids
}

/// Runs `second` while a transaction is open that has done `first`, and `then` in that one when the other waits for it.
async fn meanwhile(
    url: &SecretString,
    first: &str,
    second: &str,
    then: &str,
) -> (Result<(), Error>, Result<(), Error>) {
    let (one, other) = (connect(url).await, connect(url).await);
    let pid = value(&other, "SELECT pg_backend_pid()").await;
    one.batch_execute(&format!("BEGIN; {first}")).await.unwrap();
    let second = second.to_owned();
    let waiting = tokio::spawn(async move { other.batch_execute(&second).await });
    until(&one, &format!("SELECT cardinality(pg_blocking_pids({pid})) > 0")).await;
    let first = one.batch_execute(&format!("{then}; COMMIT")).await;
    // Whatever became of it, it is over.
    drop(one);
    (first, waiting.await.unwrap())
}

#[tokio::test]
async fn counts_are_exact_after_every_change() {
    let (_, client, boards) = boards(3).await;
    let mut random = StdRng::seed_from_u64(20_261_121);
    let (mut most_links, mut changes) = (0, [0_u64; 7]);
    for step in 0..220 {
        let nodes = values(&client, "SELECT id FROM nodes ORDER BY id").await;
        let links = values(&client, "SELECT id FROM connections ORDER BY id").await;
        let some = |random: &mut StdRng, ids: &[String]| {
            let count = random.random_range(1..=4);
            let chosen: Vec<&str> = ids.sample(random, count).map(String::as_str).collect();
            format!("'{{{}}}'::uuid[]", chosen.join(","))
        };
        // Two in five add, or everything would soon be gone.
        let what = [0, 0, 0, 1, 2, 3, 4, 4, 4, 5, 6][random.random_range(0..11)];
        let statement = match what {
            0 => {
                let rows: Vec<String> =
                    (0..random.random_range(1..=6)).map(|_| new_node(&mut random, &boards)).collect();
                format!("INSERT INTO nodes (board_id, type, deleted_at) VALUES {}", rows.join(","))
            }
            1 => format!("UPDATE nodes SET deleted_at = now() WHERE id = ANY ({})", some(&mut random, &nodes)),
            2 => format!("UPDATE nodes SET deleted_at = NULL WHERE id = ANY ({})", some(&mut random, &nodes)),
            3 => format!("DELETE FROM nodes WHERE id = ANY ({})", some(&mut random, &nodes)),
            4 => format!(
                "INSERT INTO connections (board_id, from_node_id, to_node_id) \
                    SELECT a.board_id, a.id, b.id FROM nodes a JOIN nodes b ON b.board_id = a.board_id AND b.id <> a.id \
                    WHERE a.id = ANY ({}) AND b.id = ANY ({}) ON CONFLICT DO NOTHING",
                some(&mut random, &nodes),
                some(&mut random, &nodes)
            ),
            5 => format!("DELETE FROM connections WHERE id = ANY ({})", some(&mut random, &links)),
            _ => format!("UPDATE nodes SET x = x + 1, z_index = 2 WHERE id = ANY ({})", some(&mut random, &nodes)),
        };
        changes[what] += client.execute(&statement, &[]).await.unwrap();
        assert_eq!(values(&client, WRONG_COUNTS).await, [""; 0], "step {step}: {statement}");
        let links = value(&client, "SELECT max(connection_count) FROM board_stats").await;
        most_links = most_links.max(links.parse::<u64>().unwrap());
    }
    assert!(changes.iter().all(|rows| *rows > 10) && most_links > 5, "{changes:?} {most_links}");
    client.batch_execute("UPDATE board_stats SET node_count = node_count + 1").await.unwrap();
    assert_eq!(values(&client, WRONG_COUNTS).await.len(), 3, "a wrong count would go unnoticed");
}

fn new_node(random: &mut impl Rng, boards: &[String]) -> String {
    let board = boards.choose(random).unwrap();
    let kind = ["resource", "chat", "folder"].choose(random).unwrap();
    let deleted = if random.random_bool(0.2) { "now()" } else { "NULL" };
    format!("('{board}', '{kind}', {deleted})")
}

#[tokio::test]
async fn counts_are_exact_when_transactions_overlap() {
    let (url, client, boards) = boards(1).await;
    let board = &boards[0];
    let [a, b, c, d] = [
        node(&client, board, "resource").await,
        node(&client, board, "chat").await,
        node(&client, board, "resource").await,
        node(&client, board, "resource").await,
    ];
    client.batch_execute(&link(board, &a, &b)).await.unwrap();
    let new = format!("INSERT INTO nodes (board_id, type) VALUES ('{board}', 'chat')");
    for (first, second) in [
        (delete_softly(&a), delete_softly(&b)),
        // A link to what is being deleted.
        (delete_softly(&c), link(board, &c, &d)),
        (new.clone(), delete_softly(&d)),
        (format!("UPDATE nodes SET deleted_at = NULL WHERE id <> '{c}'"), new.clone()),
        (format!("DELETE FROM nodes WHERE id = '{a}'"), link(board, &b, &d)),
    ] {
        let (one, other) = meanwhile(&url, &first, &second, "").await;
        assert!(one.is_ok() && other.is_ok(), "{first} / {second}: {one:?} {other:?}");
        assert_eq!(values(&client, WRONG_COUNTS).await, [""; 0], "{first} / {second}");
    }
}

#[tokio::test]
async fn no_folder_contains_itself_at_any_depth() {
    let (_, client, boards) = boards(1).await;
    let board = &boards[0];
    let alone = folder(&client, board).await;
    assert_eq!(refused_by(&client, &place(board, &alone, &alone)).await, "node_hierarchy_not_itself");
    for levels in [2, 3, 10, 64] {
        let folders = chain(&client, board, levels).await;
        let (outermost, innermost) = (&folders[0], &folders[levels - 1]);
        assert_eq!(refused_by(&client, &place(board, outermost, innermost)).await, "node_hierarchy_no_cycle");
        // By a move as well: the outermost lies somewhere already.
        if levels < 64 {
            client.batch_execute(&place(board, outermost, &alone)).await.unwrap();
            let into = format!("UPDATE node_hierarchy SET parent_id = '{innermost}' WHERE child_id = '{outermost}'");
            assert_eq!(refused_by(&client, &into).await, "node_hierarchy_no_cycle");
        }
    }
    // Both halves in one statement, and something below them.
    let [a, b, below] = [folder(&client, board).await, folder(&client, board).await, folder(&client, board).await];
    client.batch_execute(&place(board, &below, &a)).await.unwrap();
    let both = format!("{}, ('{board}', '{b}', '{a}')", place(board, &a, &b));
    assert_eq!(refused_by(&client, &both).await, "node_hierarchy_no_cycle");
}

#[tokio::test]
async fn two_halves_of_a_cycle_do_not_meet() {
    let (url, client, boards) = boards(1).await;
    let board = &boards[0];
    let (one, other) = (chain(&client, board, 3).await, chain(&client, board, 4).await);
    let (half, rest) = (place(board, &one[0], &other[3]), place(board, &other[0], &one[2]));
    let (first, second) = meanwhile(&url, &half, &rest, "").await;
    first.unwrap();
    assert_eq!(constraint_of(&second.unwrap_err()), "node_hierarchy_no_cycle");
}

#[tokio::test]
async fn who_makes_and_places_nodes_is_not_in_the_way_of_others() {
    let (url, client, boards) = boards(1).await;
    let board = &boards[0];
    let (outer, inner) = (folder(&client, board).await, folder(&client, board).await);
    let make = format!("INSERT INTO nodes (board_id, type) VALUES ('{board}', 'chat')");
    // The second refers to the board row and waits for the first, which then locks that row.
    let (one, other) = meanwhile(&url, &make, &make, &place(board, &inner, &outer)).await;
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn folders_nest_64_levels_and_no_deeper() {
    let (_, client, boards) = boards(1).await;
    let board = &boards[0];
    let deepest = chain(&client, board, 64).await;
    let another = folder(&client, board).await;
    assert_eq!(refused_by(&client, &place(board, &another, &deepest[63])).await, "node_hierarchy_depth");
    let resource = node(&client, board, "resource").await;
    client.batch_execute(&place(board, &resource, &deepest[63])).await.unwrap();
    // What moves takes along what is in it.
    let (upper, lower) = (chain(&client, board, 40).await, chain(&client, board, 25).await);
    assert_eq!(refused_by(&client, &place(board, &lower[0], &upper[39])).await, "node_hierarchy_depth");
    client.batch_execute(&place(board, &lower[0], &upper[38])).await.unwrap();
}

#[tokio::test]
async fn nothing_reaches_across_boards() {
    let (_, client, boards) = boards(2).await;
    let (here, there) = (&boards[0], &boards[1]);
    let [folder_here, folder_there] = [folder(&client, here).await, folder(&client, there).await];
    let [a, b, foreign] = [
        node(&client, here, "resource").await,
        node(&client, here, "chat").await,
        node(&client, there, "resource").await,
    ];
    let foreign_chat = node(&client, there, "chat").await;
    client
        .batch_execute(&format!(
            "INSERT INTO chat_nodes (board_id, node_id) VALUES ('{here}', '{b}'), ('{there}', '{foreign_chat}')"
        ))
        .await
        .unwrap();
    let session = |board: &str, chat: &str| {
        format!("INSERT INTO chat_sessions (board_id, chat_node_id, user_id) SELECT '{board}', '{chat}', id FROM users")
    };
    let chunk = |board: &str, node: &str| {
        format!(
            "INSERT INTO chunks (board_id, node_id, chunk_index, chunk_text, start_char, end_char, start_utf16, end_utf16, \
                token_count, content_digest, field, words) VALUES ('{board}', '{node}', 0, 'x', 0, 1, 0, 1, 1, '', 'content', '')"
        )
    };
    client
        .batch_execute(
            "INSERT INTO embedding_generations (model, dimensions) VALUES ('m', 2); \
                CREATE TABLE embeddings_all PARTITION OF embeddings DEFAULT",
        )
        .await
        .unwrap();
    let foreign_session = value(&client, &format!("{} RETURNING id", session(there, &foreign_chat))).await;
    let foreign_chunk = value(&client, &format!("{} RETURNING id", chunk(there, &foreign))).await;
    let another_chunk =
        value(&client, &format!("{} RETURNING id", chunk(there, &foreign).replace(", 0, 'x'", ", 1, 'x'"))).await;
    let message = |board: &str, session: &str| {
        format!(
            "INSERT INTO chat_messages (board_id, session_id, role, content) VALUES ('{board}', '{session}', 'user', '')"
        )
    };
    let embedding = |board: &str, chunk: &str| {
        format!(
            "INSERT INTO embeddings (generation_id, board_id, node_id, chunk_id, embedding) \
                SELECT id, '{board}', '{a}', '{chunk}', '[1,2]' FROM embedding_generations"
        )
    };
    let resource = |board: &str, node: &str| {
        format!("INSERT INTO resource_nodes (board_id, node_id, resource_type) VALUES ('{board}', '{node}', 'text')")
    };
    let chat =
        |board: &str, node: &str| format!("INSERT INTO chat_nodes (board_id, node_id) VALUES ('{board}', '{node}')");
    let job = |board: &str, node: &str| {
        format!(
            "INSERT INTO processing_jobs (board_id, job_type, resource_id) VALUES ('{board}', 'virus_scan', '{node}')"
        )
    };
    let named = |board: &str, node: &str| {
        format!("INSERT INTO folder_nodes (board_id, node_id, name) VALUES ('{board}', '{node}', 'f')")
    };
    // What works within a board, so that a refusal is about the board and nothing else.
    for statement in
        [link(here, &a, &b), place(here, &a, &folder_here), resource(here, &a), job(here, &a), chunk(here, &a)]
            .into_iter()
            .chain([session(here, &b), message(there, &foreign_session), embedding(there, &foreign_chunk)])
    {
        client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    for (statement, constraint) in [
        (link(here, &a, &foreign), "connections_end_exists"),
        (link(here, &foreign, &a), "connections_start_exists"),
        (link(there, &a, &b), "connections_start_exists"),
        (place(here, &foreign, &folder_here), "node_hierarchy_child_exists"),
        (place(here, &b, &folder_there), "node_hierarchy_parent_is_folder"),
        (place(here, &b, &a), "node_hierarchy_parent_is_folder"),
        (resource(here, &foreign), "resource_nodes_node_exists"),
        (chat(there, &a), "chat_nodes_node_exists"),
        (named(there, &a), "folder_nodes_node_exists"),
        (job(here, &foreign), "processing_jobs_node_exists"),
        (chunk(here, &foreign).replace(", 0, 'x'", ", 2, 'x'"), "chunks_node_exists"),
        (session(here, &foreign_chat), "chat_sessions_chat_exists"),
        (message(here, &foreign_session), "chat_messages_session_exists"),
        (embedding(here, &another_chunk), "embeddings_chunk_exists"),
        (
            format!("UPDATE node_hierarchy SET parent_id = '{folder_there}' WHERE child_id = '{a}'"),
            "node_hierarchy_parent_is_folder",
        ),
        (format!("UPDATE nodes SET board_id = '{there}' WHERE id = '{b}'"), "nodes_board_and_type_fixed"),
        (format!("UPDATE nodes SET type = 'chat' WHERE id = '{a}'"), "nodes_board_and_type_fixed"),
        (
            format!("UPDATE connections SET to_node_id = '{folder_here}' WHERE to_node_id = '{b}'"),
            "connections_ends_fixed",
        ),
        (format!("UPDATE connections SET board_id = '{there}' WHERE to_node_id = '{b}'"), "connections_ends_fixed"),
    ] {
        assert_eq!(refused_by(&client, &statement).await, constraint, "{statement}");
    }
}
