//! API keys: told once, bounded by their scope, dead at once when they are revoked, and noted when they are used.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    mail::{PASSWORD, sign_up},
    support::{
        app::{Account, TestApp},
        cluster::connect,
        fixture::{BoardBuilder, api_key},
        patience::PATIENCE,
        socket::Socket,
        sql::{until, value, waiting},
    },
};

const CREATE: &str = "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret \
    apiKey { id name keyPrefix scopes expiresAt lastUsedAt revokedAt } edge { cursor node { id } } userErrors { __typename path message } } }";
const REVOKE: &str = "mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { apiKey { id revokedAt } \
    userErrors { __typename path } } }";
const LIST: &str = "query ($first: Int, $after: String, $last: Int, $before: String) { viewer { \
    apiKeys(first: $first, after: $after, last: $last, before: $before) { \
        totalCount nodes { id name } edges { cursor } pageInfo { hasNextPage hasPreviousPage } } } }";

async fn create(app: &TestApp, who: &Account, input: Value) -> Value {
    app.data(Some(who), CREATE, json!({ "input": input })).await["createApiKey"].take()
}

/// Who holds a key, as one who asks.
fn holder(owner: &Account, key: &str) -> Account {
    Account { id: owner.id, token: key.to_owned() }
}

async fn is_good(app: &TestApp, key: &Account) -> bool {
    let bearer = format!("Bearer {}", key.token);
    let (status, answer) = app.ask(&[("authorization", &bearer)], "{ viewer { id } }", Value::Null).await;
    match status.as_u16() {
        200 => {
            assert_eq!(answer["data"]["viewer"]["id"], key.id.to_string());
            true
        }
        401 => {
            assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
            false
        }
        other => panic!("{other}: {answer}"),
    }
}

async fn dies(app: &TestApp, key: &Account) {
    let began = tokio::time::Instant::now();
    while is_good(app, key).await {
        assert!(began.elapsed() < PATIENCE, "a dead key went on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refusal(payload: &Value) -> &str {
    payload["userErrors"][0]["__typename"].as_str().unwrap_or_else(|| panic!("{payload}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_once_and_acts_in_the_name_of_its_account() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let made = create(&app, &owner, json!({ "name": "Reporting", "scopes": ["WRITE"] })).await;
    assert_eq!(made["userErrors"], json!([]));
    let (secret, key) = (made["secret"].as_str().unwrap(), &made["apiKey"]);
    assert!(secret.starts_with("rbk_") && secret.len() == 47, "256 random bits");
    assert!(key["id"].as_str().unwrap().starts_with("key_"));
    assert_eq!((&key["keyPrefix"], &key["scopes"]), (&json!(secret[..12]), &json!(["READ", "WRITE"])));
    assert_eq!((&key["expiresAt"], &key["revokedAt"]), (&Value::Null, &Value::Null));
    assert_eq!(made["edge"]["node"]["id"], key["id"]);
    assert!(is_good(&app, &holder(&owner, secret)).await);
    let stored = value(&app.sql, "SELECT encode(key_digest, 'hex') FROM api_keys").await;
    let digest: String = ragboard::access::token_digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(stored, digest);
    let row = value(&app.sql, "SELECT k::text FROM api_keys k").await;
    assert!(!row.contains(&secret[12..]), "the key is stored nowhere: {row}");

    for (input, path) in [
        (json!({ "name": " ", "scopes": ["READ"] }), "name"),
        (json!({ "name": "x".repeat(256), "scopes": ["READ"] }), "name"),
        (json!({ "name": "nul \u{0}", "scopes": ["READ"] }), "name"),
        (json!({ "name": "none", "scopes": [] }), "scopes"),
        (json!({ "name": "late", "scopes": ["READ"], "expiresAt": "2001-01-01T00:00:00Z" }), "expiresAt"),
    ] {
        let refused = create(&app, &owner, input).await;
        assert_eq!((refusal(&refused), &refused["userErrors"][0]["path"]), ("ValidationError", &json!([path])));
        assert_eq!((&refused["secret"], &refused["apiKey"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(
        app.code(None, CREATE, json!({ "input": { "name": "x", "scopes": ["READ"] } })).await,
        "UNAUTHENTICATED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lists_its_keys_and_nobody_else_does() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let other = app.account("other@example.org").await;
    let mut cursors = Vec::new();
    for name in ["one", "two", "three"] {
        cursors.push(create(&app, &owner, json!({ "name": name, "scopes": ["READ"] })).await["edge"]["cursor"].take());
    }
    let names = |page: &Value| -> Vec<String> {
        let nodes = page["viewer"]["apiKeys"]["nodes"].as_array().unwrap();
        nodes.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = app.data(Some(&owner), LIST, json!({ "first": 10 })).await;
    assert_eq!(
        (names(&all), &all["viewer"]["apiKeys"]["totalCount"]),
        (vec!["three".into(), "two".into(), "one".into()], &json!(3))
    );
    let after = app.data(Some(&owner), LIST, json!({ "first": 1, "after": cursors[2] })).await;
    assert_eq!(
        (names(&after), &after["viewer"]["apiKeys"]["pageInfo"]["hasNextPage"]),
        (vec!["two".into()], &json!(true))
    );
    let before = app.data(Some(&owner), LIST, json!({ "last": 1, "before": cursors[0] })).await;
    assert_eq!(
        (names(&before), &before["viewer"]["apiKeys"]["pageInfo"]["hasPreviousPage"]),
        (vec!["two".into()], &json!(true))
    );
    assert_eq!(app.code(Some(&owner), LIST, json!({})).await, "INVALID_ARGUMENT");

    let board = BoardBuilder::new(owner.id, "Public").public().make(&app).await;
    let of_owner = "query ($id: ID!) { board(id: $id) { owner { apiKeys(first: 10) { totalCount nodes { id } } } } }";
    for who in [Some(&other), None] {
        let seen = app.data(who, of_owner, json!({ "id": board.id.to_string() })).await;
        assert_eq!(seen["board"]["owner"]["apiKeys"], json!({ "totalCount": 0, "nodes": [] }));
    }
    for (scope, listed) in [("read", 0), ("write", 0), ("admin", 6)] {
        api_key(&app, owner.id, &format!("rbk_{scope}"), &format!("'{{{scope}}}'")).await;
        let of_key = app.data(Some(&holder(&owner, &format!("rbk_{scope}"))), LIST, json!({ "first": 10 })).await;
        assert_eq!(names(&of_key).len(), listed, "a key of the scope {scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn saying_who_sees_a_board_takes_more_than_writing() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let update =
        "mutation ($input: UpdateBoardInput!) { it: updateBoard(input: $input) { userErrors { __typename path } } }";
    let make =
        "mutation ($input: CreateBoardInput!) { it: createBoard(input: $input) { userErrors { __typename path } } }";
    let apply = "mutation ($input: ApplyBoardChangesInput!) { it: applyBoardChanges(input: $input) { userErrors { __typename path } } }";
    let id = board.id.to_string();
    for (scope, is_allowed) in [("write", false), ("admin", true)] {
        let key = holder(&owner, &format!("rbk_{scope}"));
        api_key(&app, owner.id, &key.token, &format!("'{{{scope}}}'")).await;
        for (document, input) in [
            (update, json!({ "id": id, "isPublic": true })),
            (make, json!({ "name": "Made public", "isPublic": true })),
            (make, json!({ "name": "Made a template", "isTemplate": true })),
            (apply, json!({ "boardId": id, "changes": [{ "updateBoard": { "isTemplate": true } }] })),
        ] {
            let answer = app.data(Some(&key), document, json!({ "input": input })).await;
            if is_allowed {
                assert_eq!(answer["it"]["userErrors"], json!([]), "{input}");
            } else {
                assert_eq!(refusal(&answer["it"]), "PermissionError", "{input}");
            }
        }
        let answer = app.data(Some(&key), update, json!({ "input": { "id": id, "description": scope } })).await;
        assert_eq!(answer["it"]["userErrors"], json!([]), "changing it is for both");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_ends_at_once_and_everywhere() {
    let app = TestApp::new().await;
    let other = TestApp::on(app.url.clone(), &[]).await;
    let owner = app.account("owner@example.org").await;
    let stranger = app.account("stranger@example.org").await;
    let made = create(&app, &owner, json!({ "name": "Key", "scopes": ["READ"] })).await;
    let key = holder(&owner, made["secret"].as_str().unwrap());
    assert!(is_good(&app, &key).await && is_good(&other, &key).await);
    let input = json!({ "input": { "id": made["apiKey"]["id"] } });
    let by_stranger = app.data(Some(&stranger), REVOKE, input.clone()).await;
    assert_eq!(refusal(&by_stranger["revokeApiKey"]), "NotFoundError");
    assert!(is_good(&app, &key).await);
    let revoked = app.data(Some(&owner), REVOKE, input.clone()).await;
    assert!(revoked["revokeApiKey"]["apiKey"]["revokedAt"].is_string(), "{revoked}");
    assert!(!is_good(&app, &key).await, "at once in the process that did it");
    dies(&other, &key).await;
    assert_eq!(app.data(Some(&owner), REVOKE, input).await, revoked, "again is the same");
    let nonsense = json!({ "input": { "id": "nonsense" } });
    assert_eq!(refusal(&app.data(Some(&owner), REVOKE, nonsense).await["revokeApiKey"]), "ValidationError");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_unknown_expired_or_of_a_deactivated_account_open_nothing() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for text in ["rbk_", "rbk_unknown", &format!("rbk_{}", "x".repeat(5_000))] {
        assert!(!is_good(&app, &holder(&owner, text)).await, "{text:.20}");
    }
    let soon = holder(&owner, "rbk_soon");
    api_key(&app, owner.id, &soon.token, "'{read}'").await;
    let key = holder(&owner, "rbk_key");
    api_key(&app, owner.id, &key.token, "'{admin}'").await;
    assert!(is_good(&app, &soon).await && is_good(&app, &key).await);
    let digest = "key_digest = sha256('rbk_soon')";
    app.sql
        .batch_execute(&format!("UPDATE api_keys SET expires_at = now() + interval '1 ms' WHERE {digest}"))
        .await
        .unwrap();
    dies(&app, &soon).await;
    assert!(is_good(&app, &key).await);
    app.sql.batch_execute("UPDATE users SET is_active = false").await.unwrap();
    dies(&app, &key).await;
    app.sql.batch_execute("UPDATE users SET is_active = true; DELETE FROM api_keys").await.unwrap();
    dies(&app, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_ends_with_its_key() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").make(&app).await;
    let made = create(&app, &owner, json!({ "name": "Key", "scopes": ["WRITE"] })).await;
    let key = holder(&owner, made["secret"].as_str().unwrap());
    let address = app.listen().await;
    let mut socket = Socket::of(address, &key).await;
    socket.follow("1", &board, Value::Null).await;
    let rename = "mutation ($input: UpdateBoardInput!) { updateBoard(input: $input) { userErrors { message } } }";
    let change =
        json!({ "query": rename, "variables": { "input": { "id": board.id.to_string(), "description": "by key" } } });
    // The answer to the mutation and the event come in either order; a subscription that begins after it hears nothing.
    socket.send(json!({ "id": "2", "type": "subscribe", "payload": change })).await;
    loop {
        let message = socket.next().await;
        if message["id"] == "2" && message["type"] == "next" {
            assert_eq!(message["payload"]["data"]["updateBoard"]["userErrors"], json!([]));
            break;
        }
    }
    app.data(Some(&owner), REVOKE, json!({ "input": { "id": made["apiKey"]["id"] } })).await;
    // The subscription ends with an error, or the whole socket is closed for it.
    let is_closed = loop {
        let message = socket.next().await;
        let code = &message["payload"]["errors"][0]["extensions"]["code"];
        if message.get("close").is_some() || message["id"] == "1" && *code == "UNAUTHENTICATED" {
            break message.get("close").is_some();
        }
    };
    // Nor does a new operation on the old socket do anything.
    if !is_closed {
        socket.send(json!({ "id": "3", "type": "subscribe", "payload": change })).await;
        loop {
            let message = socket.next().await;
            if message["id"] == "3" && message["type"] == "next" {
                assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{message}");
                break;
            }
            if message.get("close").is_some() {
                break;
            }
        }
    }
    assert_eq!(value(&app.sql, "SELECT version FROM boards").await, "2", "one change and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_to_the_minute_and_for_many_requests_at_once() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    for number in 0..3 {
        api_key(&app, owner.id, &format!("rbk_{number}"), "'{read}'").await;
    }
    let before = app.statements();
    for request in 0..60 {
        assert!(is_good(&app, &holder(&owner, &format!("rbk_{}", request % 2))).await);
    }
    until(&app.sql, "SELECT count(last_used_at) = 2 FROM api_keys").await;
    let written = app.statements_since(&before).into_iter().filter(|name| *name == "api_keys.used").count();
    assert!(written < 30, "not a statement for each request: {written}");
    let whole = "SELECT bool_and(last_used_at = date_trunc('minute', last_used_at) AND last_used_at > now() - interval '5 minutes') FROM api_keys";
    assert_eq!(value(&app.sql, whole).await, "t");
    let listed = app.data(Some(&owner), "{ viewer { apiKeys(first: 3) { nodes { lastUsedAt } } } }", Value::Null).await;
    let used = |place: usize| listed["viewer"]["apiKeys"]["nodes"][place]["lastUsedAt"].is_string();
    assert_eq!((used(0), used(1), used(2)), (false, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_once_under_its_idempotency_key() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let input = json!({ "name": "Key", "scopes": ["READ"], "idempotencyKey": "k" });
    let (one, two) = tokio::join!(create(&app, &owner, input.clone()), create(&app, &owner, input.clone()));
    assert_eq!(one["apiKey"]["id"], two["apiKey"]["id"]);
    assert_ne!(one["secret"].is_string(), two["secret"].is_string(), "told once: {one} {two}");
    assert_eq!(create(&app, &owner, input).await["secret"], Value::Null);
    let other = json!({ "name": "Other", "scopes": ["READ"], "idempotencyKey": "k" });
    assert_eq!(refusal(&create(&app, &owner, other).await), "IdempotencyKeyReusedError");
    assert_eq!(value(&app.sql, "SELECT count(*) FROM api_keys").await, "1");
    let secret = one["secret"].as_str().or(two["secret"].as_str()).unwrap();
    let kept = value(&app.sql, "SELECT string_agg(k::text, ' ') FROM idempotency_keys k").await;
    assert!(!kept.contains(&secret[4..]), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bounded_in_number_and_by_the_key_that_makes_them() {
    let app = TestApp::new().await;
    let owner = app.account("owner@example.org").await;
    let admin = holder(&owner, "rbk_admin");
    api_key(&app, owner.id, &admin.token, "'{admin}'").await;
    app.sql.batch_execute("UPDATE api_keys SET expires_at = now() + interval '1 day'").await.unwrap();
    for (end, is_allowed) in [(None, false), (Some("2999-01-01T00:00:00Z"), false), (Some("soon"), true)] {
        let soon = (chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339();
        let end = end.map(|end| if end == "soon" { soon } else { end.to_owned() });
        let made = create(&app, &admin, json!({ "name": "Child", "scopes": ["ADMIN"], "expiresAt": end })).await;
        assert_eq!(made["apiKey"].is_object(), is_allowed, "{made}");
    }
    app.sql
        .batch_execute(
            "INSERT INTO api_keys (user_id, name, key_digest, key_prefix, revoked_at, expires_at) \
             SELECT u.id, 'n', sha256(i::text::bytea), 'p', CASE WHEN i > 200 THEN now() END, CASE WHEN i > 100 THEN now() END \
             FROM users u, generate_series(4, 300) i",
        )
        .await
        .unwrap();
    let input = json!({ "name": "Last", "scopes": ["READ"] });
    let (one, two) = tokio::join!(create(&app, &owner, input.clone()), create(&app, &owner, input));
    let refused: Vec<&Value> = [&one, &two].into_iter().filter(|made| made["apiKey"].is_null()).collect();
    assert_eq!(refused.len(), 1, "99 live, dead ones do not count: {one} {two}");
    assert_eq!(refusal(refused[0]), "LimitError");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_meanwhile_makes_no_key() {
    let app = TestApp::new().await;
    let ada = sign_up(&app, "ada@example.org", PASSWORD).await;
    api_key(&app, ada.id, "rbk_admin", "'{admin}'").await;
    let holder = connect(&app.url).await;
    let input = json!({ "input": { "name": "made", "scopes": ["READ"] } });
    // As a reset does, which holds the account first.
    for (who, end) in [
        (ada.clone(), "UPDATE refresh_tokens SET revoked_at = now()"),
        (self::holder(&ada, "rbk_admin"), "UPDATE api_keys SET revoked_at = now()"),
    ] {
        holder.batch_execute("BEGIN; SELECT FROM users FOR NO KEY UPDATE").await.unwrap();
        let (code, ()) = tokio::join!(app.code(Some(&who), CREATE, input.clone()), async {
            until(&app.sql, &waiting(1)).await;
            holder.batch_execute(&format!("{end}; COMMIT")).await.unwrap();
        });
        assert_eq!(code, "UNAUTHENTICATED", "{end}");
    }
    assert_eq!(value(&app.sql, "SELECT count(*) FROM api_keys WHERE name = 'made'").await, "0");
}
