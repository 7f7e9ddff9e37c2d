//! `ragboard serve`: from nothing to a server that answers, and back.
//!
//! The order of starting: database (an own one if none is named), migrations, partitions, demo content, one
//! screen that says where everything is, and then the answers. Stopping goes the other way: requests, jobs, database.

use std::{
    collections::HashMap,
    io::{Write, stderr},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use super::{
    Failure,
    artifacts::{self, Artifact},
    cli::ServeArgs,
    database::Database,
    demo, embedder, index, surroundings, token,
};
use crate::{
    app::App,
    config::{Config, EmbedderKind, LimitsConfig},
    domain::{Code, GenerationState, SearchIndex},
    http::{self, Asset, Connections, GraphiqlPage},
    jobs::Running,
    service::Services,
    store::{
        Store, VectorIndexes,
        migrations::{self, Direction},
    },
};

/// How often missing month partitions are made, and what has expired is removed.
const UPKEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked whether writes are taken again, when that is due and they are not.
const WRITABLE_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// How often it is tried to drop old months of the change log while others are in the way, and after how long.
const DROP_ATTEMPTS: u32 = 30;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);
/// How often it is looked whether there are so many vectors that they want an index.
const INDEX_EVERY: Duration = Duration::from_secs(60);
/// How long the writing of what happened last may take when the server stops.
const JOURNAL_WITHIN: Duration = Duration::from_secs(3);

/// Connections to the address that is for metrics only.
const METRICS_CONNECTIONS: u32 = 64;

/// Servers that answer, each on an address of its own.
type Servers = JoinSet<std::io::Result<()>>;

pub(super) async fn serve(config: &Config, args: &ServeArgs) -> Result<(), Failure> {
    raise_descriptors();
    // A secret that is none should not cost a start of PostgreSQL either.
    let jwt_secret = token::jwt_secret(config)?;
    // The address is taken first: a port that is in use should not cost a start of PostgreSQL.
    let listener = listen(config.http.address, "--listen or RAGBOARD_LISTEN").await?;
    let metrics_listener = listen_for_metrics(config).await?;
    let graphiql = if config.http.graphiql { Some(graphiql(config).await) } else { None };
    let database = Database::start(config).await?;
    let served = serve_on(config, args, &database, jwt_secret, listener, metrics_listener, graphiql).await;
    let released = database.release().await;
    served.and(released)
}

/// Lets this process open as many descriptors as the system allows: each connection is one. Services are often started with
/// a soft limit of 1,024, for programs that cannot deal with more.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("The limit of open descriptors stays at {:?}: {error}", limit.current);
    }
}

async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!("Cannot listen on {address}: {error}"))
            .hint(format!("Choose another address with {setting}."))
    })
}

/// The address that is for metrics and probes only, if there is one.
pub(super) async fn listen_for_metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    match config.http.metrics_address {
        Some(address) => listen(address, "RAGBOARD_METRICS_ADDRESS").await.map(Some),
        None => Ok(None),
    }
}

/// Places for those who ask for metrics and probe; clients of the API take none of them.
pub(super) fn connections_for_metrics(config: &Config) -> Arc<Connections> {
    let limits = LimitsConfig { max_connections: METRICS_CONNECTIONS, ..config.limits.clone() };
    Connections::new(&config.http, &limits, 0)
}

async fn serve_on(
    config: &Config,
    args: &ServeArgs,
    database: &Database,
    jwt_secret: Option<SecretString>,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    graphiql: Option<(GraphiqlPage, Option<Failure>)>,
) -> Result<(), Failure> {
    if !database.is_own() {
        surroundings::check(&database.url).await?;
        if config.database.migrate {
            migrations::run(&database.url, Direction::Up).await?;
        }
    }
    let (models, without_model) = embedder::open(config).await;
    if let Some(failure) = &without_model {
        tracing::warn!("Search goes by words only: {failure}");
    }
    let app = App::connect(config, &database.url, jwt_secret.as_ref(), models.clone()).await?;
    if config.search.embedder != EmbedderKind::None {
        embedder::open_missing(config, &models, &app.store, &mut HashMap::new()).await?;
    }
    if !app.services.is_read_only() {
        app.store.create_month_partitions().await?;
        app.prepare_search().await?;
    }
    warn_of_few_connections(config, &app.store).await;
    let writes = !app.services.is_read_only();
    let with_demo = writes && database.is_own() && !args.no_demo && !config.environment.is_guarded();
    // Nobody could use the demo account where its token would not be taken.
    let demo = if with_demo && jwt_secret.is_some() { Some(demo::ensure(&app).await?) } else { None };

    let address = listener.local_addr().map_err(Failure::while_doing("find the port"))?;
    let (page, without_npm) = match graphiql {
        Some((page, failure)) => (Some(page), failure),
        None => (None, None),
    };
    // The socket listens since the start: whoever connects from here on is answered, so this is said before the answers.
    announce(address, database, page.is_some(), without_npm.as_ref(), demo.as_ref(), jwt_secret.is_some())?;
    let router = app.router(config, page);
    let (stop, stopping) = watch::channel(());
    let mut servers = Servers::new();
    let serve = |listener, router, connections| {
        let (http, stopping) = (config.http.clone(), stopping.clone());
        async move { http::serve(listener, router, &http, connections, stopping).await }
    };
    servers.spawn(serve(listener, router, app.connections()));
    if let Some(listener) = metrics_listener {
        servers.spawn(serve(listener, app.metrics_router(), connections_for_metrics(config)));
    }
    drop(stopping);
    let jobs = app.start_jobs(config, config.jobs.workers);
    let mut upkeep = JoinSet::new();
    if !app.services.is_read_only() {
        let indexing = Arc::clone(&app.indexing);
        upkeep.spawn(async move { indexing.ask_for_missing().await });
    }
    upkeep.spawn(keep_up(app.store.clone(), Arc::clone(&app.services), config.database.events_keep_days));
    upkeep.spawn(embedder::follow(config.clone(), models, app.store.clone()));
    if config.search.build_index {
        let indexes = index::indexes(config, database, &app.store)?;
        let (store, services) = (app.store.clone(), Arc::clone(&app.services));
        upkeep.spawn(keep_indexed(store, services, indexes, config.search.scan_vectors.into()));
    }

    let ended = tokio::select! {
        signal = wait_for_signal() => signal.map(|name| tracing::info!("Stopping on {name}; running requests are finished")),
        ended = servers.join_next() => Err(match ended {
            Some(Ok(Err(error))) => Failure::new(format!("The server ended: {error}")),
            Some(Err(error)) => Failure::new(format!("The server ended: {error}")),
            Some(Ok(Ok(()))) | None => Failure::new("The server ended by itself"),
        }),
    };
    drop(stop);
    upkeep.abort_all();
    finish(&app, &mut servers, jobs, config.http.drain).await;
    ended
}

/// Lets end what runs, for so long or until a second signal, and writes what happened last. The database is needed for both.
async fn finish(app: &App, servers: &mut Servers, jobs: Running, patience: Duration) {
    let answered = async { while servers.join_next().await.is_some() {} };
    // Sockets are no requests any more, and streams of events would never end by themselves.
    let followed = async { tokio::join!(answered, app.dismiss_followers()) };
    let requests = async {
        if tokio::time::timeout(patience, followed).await.is_err() {
            tracing::warn!("Requests still ran after {} s and were cut off", patience.as_secs_f64());
        }
    };
    tokio::select! {
        _ = async { tokio::join!(requests, jobs.drain_within(patience)) } => {}
        Ok(name) = wait_for_signal() => tracing::warn!("Stopping at once on a second signal, {name}"),
    }
    // Dropped before the database goes, so that nothing that is cut off is told as anything else.
    servers.shutdown().await;
    if tokio::time::timeout(JOURNAL_WITHIN, app.services.write_journal()).await.is_err() {
        tracing::warn!("What happened last could not be written in {} s", JOURNAL_WITHIN.as_secs());
    }
}

/// Waits until somebody wants the program to stop; what they sent.
pub(super) async fn wait_for_signal() -> Result<&'static str, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::while_doing("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::while_doing("wait for Ctrl-C"))?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("Ctrl-C"),
    }
}

async fn keep_up(store: Store, services: Arc<Services>, events_keep_days: u32) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        // What is due is done when writes are taken again, and not a day later.
        while services.is_read_only() {
            tokio::time::sleep(WRITABLE_AGAIN_EVERY).await;
        }
        match store.create_month_partitions().await {
            Ok(0) => {}
            Ok(made) => tracing::info!(made, "Made {made} month partitions"),
            Err(error) => tracing::error!(cause = ?error.cause(), "Could not make month partitions: {error}"),
        }
        drop_old_events(&store, events_keep_days).await;
        match store.remove_expired().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "Removed {removed} expired keys and tokens"),
            Err(error) => tracing::error!(cause = ?error.cause(), "Could not remove what has expired: {error}"),
        }
        count_boards(&store).await;
    }
}

/// Counts what is stored on boards that were there before that was counted: a few at a time, so that nobody waits long.
async fn count_boards(store: &Store) {
    loop {
        match store.count_board_bytes().await {
            Ok(0) => return,
            Ok(counted) => tracing::info!(counted, "Counted what is stored on {counted} boards"),
            Err(error) => {
                tracing::error!(cause = ?error.cause(), "Could not count what is stored on boards: {error}");
                return;
            }
        }
    }
}

/// Has an index built when there are so many vectors that searches would be slow without. A failure is told once, and once
/// more when it is there at the next look, too.
async fn keep_indexed(store: Store, services: Arc<Services>, indexes: VectorIndexes, scanned: i64) {
    let mut ticks = tokio::time::interval(INDEX_EVERY);
    let mut failures = 0_u32;
    loop {
        ticks.tick().await;
        if services.is_read_only() {
            continue;
        }
        let built = async {
            for generation in store.generations(&[GenerationState::Active]).await? {
                index::ensure(&indexes, &generation, scanned).await?;
            }
            Ok::<(), Failure>(())
        };
        match built.await {
            Ok(()) => failures = 0,
            Err(failure) => {
                failures = failures.saturating_add(1);
                match failures {
                    1 => tracing::warn!("No index could be built this time: {failure}"),
                    2 => tracing::error!("No index could be built; searches compare all vectors: {failure}"),
                    _ => {}
                }
            }
        }
    }
}

/// Lets go of the months of the change log that are old enough, one after the other.
async fn drop_old_events(store: &Store, keep_days: u32) {
    let mut attempts_left = DROP_ATTEMPTS;
    loop {
        match store.drop_event_partition(keep_days).await {
            Ok(None) => return,
            Ok(Some(partition)) => {
                tracing::info!(partition, "Dropped {partition}, which is older than {keep_days} days")
            }
            Err(error) if error.code() == Code::Timeout && attempts_left > 0 => {
                attempts_left -= 1;
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
            Err(error) => {
                tracing::error!(cause = ?error.cause(), "Old events stay until tomorrow: {error}");
                return;
            }
        }
    }
}

async fn warn_of_few_connections(config: &Config, store: &Store) {
    let wanted = config.database.pool_size.saturating_add(config.database.max_overflow);
    match store.max_connections().await {
        Ok(allowed) if i64::from(wanted) > allowed => tracing::warn!(
            wanted,
            allowed,
            "DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW add up to {wanted} connections, the database allows {allowed}"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(cause = ?error.cause(), "Could not ask for max_connections: {error}"),
    }
}

/// The page, and why its files come from the CDN if they do.
async fn graphiql(config: &Config) -> (GraphiqlPage, Option<Failure>) {
    let (folder, failure) = match artifacts::ensure(Artifact::Graphiql, &config.local.cache_dir).await {
        Ok(folder) => (Some(folder), None),
        Err(failure) => (None, Some(failure)),
    };
    let assets = artifacts::graphiql_files()
        .iter()
        .map(|file| Asset { name: file.name, integrity: file.integrity, cdn_url: file.cdn_url() })
        .collect();
    (GraphiqlPage { assets, folder }, failure)
}

/// One screen: where things are, and what to try. It is no result, so it goes to stderr.
fn announce(
    address: SocketAddr,
    database: &Database,
    has_page: bool,
    without_npm: Option<&Failure>,
    demo: Option<&demo::Demo>,
    signs_tokens: bool,
) -> Result<(), Failure> {
    let mut text =
        format!("\nRAGBOARD is ready.\n\n  data      {}\n  API       http://{address}/graphql\n", database.described);
    if has_page {
        text += &format!("  GraphiQL  http://{address}/graphiql\n");
    }
    if let Some(failure) = without_npm {
        text += &format!("            (its files come from unpkg.com, because: {failure})\n");
    }
    if let Some(demo) = demo {
        text += &format!(
            "\n  token of {}, for the header `Authorization: Bearer …`:\n\n{}\n\n  with it in GraphiQL already: \
             http://{address}/graphiql#token=<token>\n  try:\n\n\
             {{ boards(first: 5) {{ nodes {{ name stats {{ nodeCount linkCount }} \
             roots(first: 10) {{ nodes {{ ... on FolderNode {{ name childCount }} ... on ResourceNode {{ title }} }} }} }} }} }}\n",
            demo.email,
            demo.token.expose_secret()
        );
    }
    if !signs_tokens {
        text += "\n  No demo account, and nobody signs in here: tokens come from the issuer of RAGBOARD_JWKS_URL.\n  \
                 Set RAGBOARD_JWT_SECRET to have this server sign its own, too.\n";
    }
    text += "\n  Ctrl-C stops.\n\n";
    stderr().write_all(text.as_bytes()).map_err(Failure::while_doing("write to the terminal"))
}
