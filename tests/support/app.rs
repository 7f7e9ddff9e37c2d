//! The whole application on a database of its own, asked through its router as a client would.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
};
use ragboard::{
    app::App,
    config::{Config, Sources},
    domain::{Rights, UserId},
    search::models::Models,
    store::migrations::{self, Direction},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::ServiceExt;

use super::{
    cluster::{OWNER, cluster, connect},
    patience::PATIENCE,
};

const TEMPLATE: &str = "ragboard_template";
const JWT_SECRET: &str = "a secret of the tests that is long enough";

/// An application with its database.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) config: Config,
    pub(crate) url: SecretString,
    /// For making fixtures and for looking at what is in the database.
    pub(crate) sql: tokio_postgres::Client,
    router: Router,
}

/// An account of a test.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

/// A migrated database for one test, cloned from the template of the run.
pub(crate) async fn new_database() -> SecretString {
    static READY: OnceCell<()> = OnceCell::const_new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    READY
        .get_or_init(|| async {
            let url = cluster().create_gateway_database(TEMPLATE).await;
            migrations::run(&url, Direction::Up).await.unwrap();
            connect(&url).await.execute("SELECT create_month_partitions(1)", &[]).await.unwrap();
        })
        .await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    // The connection that made the template may still be closing.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let admin = connect(&cluster().admin_url("postgres")).await;
        match admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER}")).await {
            Ok(()) => return cluster().url(&name),
            Err(error) if tokio::time::Instant::now() > deadline => panic!("clone the template: {error}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

impl TestApp {
    pub(crate) async fn new() -> TestApp {
        TestApp::with(&[]).await
    }

    /// With settings, given as the variables that an operator would set.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> TestApp {
        TestApp::on(new_database().await, variables).await
    }

    /// On a database that is there.
    pub(crate) async fn on(url: SecretString, variables: &[(&str, &str)]) -> TestApp {
        TestApp::asking(Models::default(), url, variables).await
    }

    /// With models to ask, on a database that is there.
    pub(crate) async fn asking(models: Models, url: SecretString, variables: &[(&str, &str)]) -> TestApp {
        let mut sources = Sources::from_variables(
            [
                ("DATABASE_URL", url.expose_secret()),
                ("DATABASE_POOL_SIZE", "3"),
                ("RAGBOARD_JWT_SECRET", JWT_SECRET),
                // Nothing takes too long because others need the machine, too.
                ("DATABASE_POOL_TIMEOUT", "120"),
                ("DATABASE_STATEMENT_TIMEOUT", "120"),
                ("RAGBOARD_REQUEST_TIMEOUT", "120"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        );
        for (name, value) in variables {
            sources.set(name, *value);
        }
        let config = Config::load(&sources).unwrap();
        let app = App::connect(&config, &url, config.auth.jwt_secret.as_ref(), models).await.unwrap();
        let router = app.router(&config, None);
        let sql = connect(&url).await;
        // Fixtures are there before anything happens: they leave no trace in the log.
        sql.batch_execute("SET ragboard.gateway = 'on'").await.unwrap();
        TestApp { app, config, url, sql, router }
    }

    /// Serves the application on a loopback port, for clients that need one.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, config, connections) = (self.router.clone(), self.config.http.clone(), self.app.connections());
        tokio::spawn(async move {
            // As long as the test: nobody stops it.
            let (_stop, stopping) = tokio::sync::watch::channel(());
            ragboard::http::serve(listener, router, &config, connections, stopping).await
        });
        address
    }

    /// Makes an account.
    pub(crate) async fn account(&self, email: &str) -> Account {
        let user = self.app.store.ensure_user(email, email.split('@').next().unwrap(), "no password").await.unwrap();
        let token = self.app.issue_token(user.id, Duration::from_secs(3600)).unwrap();
        Account { id: user.id, token: token.expose_secret().to_owned() }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000))));
        // In a task of its own, as a server does: batching counts on how tasks take turns.
        tokio::spawn(self.router.clone().oneshot(request)).await.unwrap().unwrap()
    }

    /// Runs a document and returns the whole answer with its status.
    pub(crate) async fn ask(&self, headers: &[(&str, &str)], document: &str, variables: Value) -> (StatusCode, Value) {
        let mut request = Request::post("/graphql").header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = json!({ "query": document, "variables": variables }).to_string();
        let response = self.send(request.body(Body::from(body)).unwrap()).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (
            status,
            serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status}: {}", String::from_utf8_lossy(&body))),
        )
    }

    /// Runs a document as an account, or as nobody.
    pub(crate) async fn answer(&self, who: Option<&Account>, document: &str, variables: Value) -> Value {
        let bearer = who.map(|account| format!("Bearer {}", account.token));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        self.ask(&headers, document, variables).await.1
    }

    /// Runs a document that must succeed, and returns its data.
    pub(crate) async fn data(&self, who: Option<&Account>, document: &str, variables: Value) -> Value {
        let mut answer = self.answer(who, document, variables).await;
        assert_eq!(answer.get("errors"), None, "{document}");
        answer["data"].take()
    }

    /// Runs a document that must fail, and returns the code of its first error.
    pub(crate) async fn code(&self, who: Option<&Account>, document: &str, variables: Value) -> String {
        let answer = self.answer(who, document, variables).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        code.as_str().unwrap_or_else(|| panic!("no error with a code for {document}: {answer}")).to_owned()
    }

    /// Statements that ran, by name; those that run in the background are left out.
    pub(crate) fn statements(&self) -> BTreeMap<&'static str, u64> {
        let of_requests = |name: &str| {
            let background = [
                "stamps.moved",
                "read_only",
                "activity.write",
                "usage.add",
                "jobs.changes",
                "jobs.claim",
                "jobs.beat",
                "jobs.settle",
                "jobs.recover",
                "jobs.backlog",
            ];
            !background.contains(&name) && !name.starts_with("snapshot.") && !name.starts_with("mailing.")
        };
        let totals = self.app.store.statements().into_iter().filter(|(name, _)| of_requests(name));
        totals.map(|(name, totals)| (name, totals.count)).collect()
    }

    /// Statements that ran since `before`, each as often as it did.
    pub(crate) fn statements_since(&self, before: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
        let now = self.statements();
        now.iter().flat_map(|(name, count)| vec![*name; (count - before.get(name).unwrap_or(&0)) as usize]).collect()
    }

    /// Waits until memory may be served: until the last look at the database is younger than a second. On a machine
    /// that has much else to do it may be older again when a request comes, and then reads rightly pass memory.
    pub(crate) async fn current(&self) {
        tokio::time::timeout(PATIENCE, self.app.cached.current()).await.expect("the cache becomes current");
    }

    /// Does something that may be done again until that takes exactly these statements, and returns what it gave then.
    /// Once does not do: see [`TestApp::current`].
    pub(crate) async fn takes<T>(&self, statements: &[&str], work: impl AsyncFn() -> T) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.current().await;
            let before = self.statements();
            let gave = work().await;
            let ran = self.statements_since(&before);
            if ran == statements {
                return gave;
            }
            assert!(tokio::time::Instant::now() < deadline, "{ran:?} each time, and not {statements:?}");
        }
    }
}
