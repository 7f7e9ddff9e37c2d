//! Boards for tests, made by set-based SQL: only what matters to a test is said there.

use ragboard::domain::{BoardId, LinkId, NodeId, UserId};
use uuid::Uuid;

use super::app::TestApp;

/// A board in the making.
pub(crate) struct BoardBuilder {
    owner: UserId,
    name: String,
    nodes: i32,
    links: i32,
    is_public: bool,
    is_template: bool,
}

/// A board of a test.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) id: BoardId,
    /// In the order of their making. Of every ten the first is a folder, the second a chat, the others resources.
    pub(crate) nodes: Vec<NodeId>,
}

impl BoardBuilder {
    pub(crate) fn new(owner: UserId, name: &str) -> Self {
        BoardBuilder { owner, name: name.into(), nodes: 0, links: 0, is_public: false, is_template: false }
    }

    /// This many nodes, a grid of 100 columns with 400 × 300 pixels each.
    pub(crate) fn nodes(self, nodes: i32) -> Self {
        BoardBuilder { nodes, ..self }
    }

    /// This many links, each between neighbours.
    pub(crate) fn links(self, links: i32) -> Self {
        BoardBuilder { links, ..self }
    }

    pub(crate) fn public(self) -> Self {
        BoardBuilder { is_public: true, ..self }
    }

    pub(crate) fn template(self) -> Self {
        BoardBuilder { is_template: true, ..self }
    }

    pub(crate) async fn make(self, app: &TestApp) -> Board {
        let id = BoardId::generate();
        let sql = &app.sql;
        sql.execute(
            "INSERT INTO boards (id, user_id, name, is_public, is_template) VALUES ($1::text::uuid, $2::text::uuid, $3, $4, $5)",
            &[&id.0.to_string(), &self.owner.0.to_string(), &self.name, &self.is_public, &self.is_template],
        )
        .await
        .unwrap();
        let board = id.0.to_string();
        sql.execute(
            "INSERT INTO nodes (board_id, type, x, y, z_index, created_at, updated_at, metadata) \
             SELECT $1::text::uuid, (CASE i % 10 WHEN 0 THEN 'folder' WHEN 1 THEN 'chat' ELSE 'resource' END)::node_type, \
                    (i % 100) * 400, (i / 100) * 300, i % 7, now() + i * interval '1 ms', now() - i * interval '1 s', \
                    jsonb_build_object('number', i) \
             FROM generate_series(0, $2 - 1) i",
            &[&board, &self.nodes],
        )
        .await
        .unwrap();
        let kinds = "INSERT INTO resource_nodes (board_id, node_id, resource_type, title, content, word_count, processing_status) \
             SELECT board_id, id, (ARRAY['text', 'url', 'pdf'])[1 + (metadata->>'number')::int % 3]::resource_type, \
                    'Title ' || (metadata->>'number'), 'Content of ' || (metadata->>'number'), 3, \
                    (ARRAY['completed', 'pending'])[1 + (metadata->>'number')::int % 2]::processing_status \
             FROM nodes WHERE board_id = '{}' AND type = 'resource'; \
             INSERT INTO chat_nodes (board_id, node_id, system_prompt) \
             SELECT board_id, id, 'Be brief' FROM nodes WHERE board_id = '{}' AND type = 'chat'; \
             INSERT INTO folder_nodes (board_id, node_id, name) \
             SELECT board_id, id, 'Folder ' || (metadata->>'number') FROM nodes WHERE board_id = '{}' AND type = 'folder';";
        sql.batch_execute(&kinds.replace("{}", &board)).await.unwrap();
        sql.execute(
            "WITH numbered AS (SELECT id, (metadata->>'number')::int AS number FROM nodes WHERE board_id = $1::text::uuid) \
             INSERT INTO connections (board_id, from_node_id, to_node_id, connection_type) \
             SELECT $1::text::uuid, a.id, b.id, (ARRAY['data_flow', 'reference', 'hierarchy'])[1 + i % 3]::connection_type \
             FROM generate_series(0, $2 - 1) i \
             JOIN numbered a ON a.number = i % $3 JOIN numbered b ON b.number = (i + 1 + i / $3) % $3",
            &[&board, &self.links, &self.nodes.max(1)],
        )
        .await
        .unwrap();
        let rows = sql
            .query("SELECT id::text FROM nodes WHERE board_id = $1::text::uuid ORDER BY created_at, id", &[&board])
            .await
            .unwrap();
        Board { id, nodes: rows.iter().map(|row| NodeId(uuid(row.get(0)))).collect() }
    }
}

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

/// Puts nodes into a folder, in this order.
pub(crate) async fn place(app: &TestApp, board: &Board, folder: NodeId, nodes: &[NodeId]) {
    let nodes: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    app.sql
        .execute(
            "INSERT INTO node_hierarchy (board_id, parent_id, child_id, position) \
             SELECT $1::text::uuid, $2::text::uuid, c.id::uuid, c.place FROM unnest($3::text[]) WITH ORDINALITY AS c (id, place)",
            &[&board.id.0.to_string(), &folder.0.to_string(), &nodes],
        )
        .await
        .unwrap();
}

/// A board of folders only: `width` folders in each, `depth` levels deep below one root folder, which is returned.
pub(crate) async fn folder_tree(app: &TestApp, owner: UserId, width: usize, depth: usize) -> (Board, NodeId) {
    let total: usize = (0..=depth).map(|level| width.pow(level as u32)).sum();
    let board = BoardBuilder::new(owner, "Tree").make(app).await;
    let ids: Vec<NodeId> = (0..total).map(|_| NodeId::generate()).collect();
    let texts: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    let id = board.id.0.to_string();
    app.sql
        .execute(
            "WITH made AS (INSERT INTO nodes (board_id, id, type) \
                SELECT $1::text::uuid, u::uuid, 'folder' FROM unnest($2::text[]) u RETURNING board_id, id) \
             SELECT count(*) FROM made",
            &[&id, &texts],
        )
        .await
        .unwrap();
    app.sql
        .execute(
            "INSERT INTO folder_nodes (board_id, node_id, name) \
             SELECT $1::text::uuid, u.id::uuid, 'Folder ' || u.n FROM unnest($2::text[]) WITH ORDINALITY AS u (id, n)",
            &[&id, &texts],
        )
        .await
        .unwrap();
    for (number, parent) in ids.iter().enumerate() {
        let first = number * width + 1;
        if first >= ids.len() {
            break;
        }
        place(app, &board, *parent, &ids[first..(first + width).min(ids.len())]).await;
    }
    (Board { id: board.id, nodes: ids.clone() }, ids[0])
}

/// Adds a collaborator; not accepted means only invited.
pub(crate) async fn collaborator(app: &TestApp, board: &Board, user: UserId, role: &str, accepted: bool) {
    app.sql
        .execute(
            "INSERT INTO board_collaborators (board_id, user_id, role, accepted_at) \
             VALUES ($1::text::uuid, $2::text::uuid, $3::text::share_permission, CASE WHEN $4 THEN now() END)",
            &[&board.id.0.to_string(), &user.0.to_string(), &role, &accepted],
        )
        .await
        .unwrap();
}

/// A share link of a board; what is not said has the default of the table.
pub(crate) async fn share(app: &TestApp, board: &Board, by: UserId, token: &str, columns: &[(&str, &str)]) {
    let names: String = columns.iter().map(|(name, _)| format!(", {name}")).collect();
    let values: String = columns.iter().map(|(_, value)| format!(", {value}")).collect();
    let digest = ragboard::access::token_digest(token).to_vec();
    let statement = format!(
        "INSERT INTO board_shares (board_id, shared_by, token_digest{names}) \
         VALUES ($1::text::uuid, $2::text::uuid, $3{values})"
    );
    app.sql.execute(&statement, &[&board.id.0.to_string(), &by.0.to_string(), &digest]).await.unwrap();
}

/// Links of a board in the order of lists.
pub(crate) async fn link_ids(app: &TestApp, board: &Board) -> Vec<LinkId> {
    let rows = app
        .sql
        .query(
            "SELECT id::text FROM connections WHERE board_id = $1::text::uuid ORDER BY id",
            &[&board.id.0.to_string()],
        )
        .await
        .unwrap();
    rows.iter().map(|row| LinkId(uuid(row.get(0)))).collect()
}

/// An API key of an account; `scopes` is an array of the database.
pub(crate) async fn api_key(app: &TestApp, of: UserId, key: &str, scopes: &str) {
    let statement = format!(
        "INSERT INTO api_keys (user_id, name, key_digest, key_prefix, scopes) VALUES ($1::text::uuid, $2, $3, 'rbk_', {scopes})"
    );
    let digest = ragboard::access::token_digest(key).to_vec();
    app.sql.execute(&statement, &[&of.0.to_string(), &key, &digest]).await.unwrap();
}
