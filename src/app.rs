//! Puts the parts together: adapters behind ports, services over ports, the schema over services, the router over all.
//!
//! Nothing is decided here. Tests build the very same application.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use secrecy::SecretString;

use crate::{
    access::{KeySet, KeySetTimes, SecretHasher, Tokens},
    cache::{Cached, KeptSessions},
    config::Config,
    domain::{Code, Error, Result, UserId, ports::Reads},
    events::{Crowd, Hub, Relay},
    graphql,
    http::{self, Followers, Gateway, GraphiqlPage, Probe, Sample},
    outbound::Outbound,
    service::{Ports, ServiceInfo, Services},
    store::{
        Store, WakeWires,
        migrations::{self, Fit},
    },
};

/// A published key set is no larger than this.
const MAX_JWKS_BYTES: usize = 64 * 1024;
const JWKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole application, connected to a database.
pub struct App {
    /// The database below everything.
    pub store: Store,
    /// Memory in front of it.
    pub cached: Cached<Store>,
    /// The services.
    pub services: Arc<Services>,
    followers: Arc<Followers>,
    probe: Arc<Health>,
}

impl App {
    /// Connects to a database that has exactly the migrations of this program.
    ///
    /// # Errors
    /// When the database cannot be reached, or is older or newer than the program.
    pub async fn connect(config: &Config, url: &SecretString, jwt_secret: Option<&SecretString>) -> Result<App> {
        match migrations::fit(url).await? {
            Fit::Exact => {}
            Fit::Older(missing) => {
                return Err(Error::new(
                    Code::Internal,
                    format!("The database is {missing} migrations older than this program: run `ragboard migrate up`"),
                ));
            }
            Fit::Newer(unknown) => {
                return Err(Error::new(
                    Code::Internal,
                    format!(
                        "The database has {unknown} migrations that this program does not know: use a newer program"
                    ),
                ));
            }
        }
        let store = Store::connect(url, &config.database).await?;
        let cached = Cached::new(store.clone(), &config.cache);
        let mut tokens = Tokens::new(&config.auth.jwt_issuer, &config.auth.jwt_audience);
        if let Some(secret) = jwt_secret {
            tokens = tokens.with_secret(secret.clone());
        }
        if let Some(address) = &config.auth.jwks_url {
            let document = Outbound::new(&config.outbound).document(address, MAX_JWKS_BYTES, JWKS_TIMEOUT);
            tokens = tokens.with_published_keys(Arc::new(KeySet::new(Arc::new(document), KeySetTimes::default())));
        }
        let info = ServiceInfo {
            version: env!("CARGO_PKG_VERSION"),
            environment: config.environment,
            is_read_only: config.database.read_only,
            limits: config.limits.clone(),
        };
        let relay = Relay::new(Box::new(WakeWires::new(config.database.listen_url.as_ref().unwrap_or(url))?));
        relay.attach(Arc::new(cached.clone()));
        let feed = Hub::new(Arc::new(store.clone()), Some(relay));
        let ports = Ports {
            reads: Arc::new(cached.clone()),
            writes: Arc::new(store.clone()),
            feed: Arc::new(feed),
            presence: Arc::new(Crowd::new(Arc::new(store.clone()))),
            accounts: Arc::new(store.clone()),
            sessions: Arc::new(KeptSessions::new(Arc::new(store.clone()), config.cache.mode)),
            sharing: Arc::new(store.clone()),
            folder_locks: Arc::new(store.clone()),
            read_only_mode: Arc::new(store.clone()),
            keys: Arc::new(store.clone()),
            activities: Arc::new(store.clone()),
            usages: Arc::new(store.clone()),
        };
        let services = Arc::new(Services::new(ports, tokens, SecretHasher::default(), info));
        services.look_at_mode().await?;
        services.follow_mode();
        let followers = Followers::new(config.limits.max_followers_per_address);
        let probe =
            Arc::new(Health { store: store.clone(), cached: cached.clone(), followers: Arc::clone(&followers) });
        Ok(App { store, cached, services, followers, probe })
    }

    /// The router of the application.
    pub fn router(&self, config: &Config, graphiql: Option<GraphiqlPage>) -> Router {
        http::router(Gateway {
            api: graphql::Api::new(config.limits.clone(), config.http.introspection),
            services: Arc::clone(&self.services),
            reads: Arc::new(self.cached.clone()) as Arc<dyn Reads>,
            reads_past_cache: Arc::new(self.store.clone()) as Arc<dyn Reads>,
            followers: Arc::clone(&self.followers),
            probe: Arc::clone(&self.probe) as Arc<dyn Probe>,
            graphiql,
            http: config.http.clone(),
            limits: config.limits.clone(),
        })
    }

    /// The router of the separate address for metrics.
    pub fn metrics_router(&self) -> Router {
        http::metrics_router(Arc::clone(&self.probe) as Arc<dyn Probe>)
    }

    /// Tells all who follow over sockets and streams to come back to another server, and waits until they have left.
    pub async fn dismiss_followers(&self) {
        self.followers.dismiss().await;
    }

    /// A token for an account.
    ///
    /// # Errors
    /// When there is no secret to sign with.
    pub fn issue_token(&self, user: UserId, lifetime: Duration) -> Result<SecretString> {
        self.services.issue_token(user, lifetime)
    }
}

struct Health {
    store: Store,
    cached: Cached<Store>,
    followers: Arc<Followers>,
}

#[async_trait]
impl Probe for Health {
    async fn ready(&self) -> Result<()> {
        self.store.ping().await
    }

    fn samples(&self) -> Vec<Sample> {
        let gauge = |name, help, value| Sample { name, kind: "gauge", help, label: None, value };
        let pool = self.store.pool_use();
        let cache = self.cached.usage();
        let mut samples = vec![
            gauge("db_pool_size_total", "Open connections within the pool size.", f64::from(pool.within_size)),
            gauge("db_pool_overflow_total", "Open connections beyond the pool size.", f64::from(pool.overflow)),
            gauge("db_pool_idle_total", "Open connections that nobody uses.", f64::from(pool.idle)),
            Sample {
                name: "db_pool_wait_time_seconds",
                kind: "counter",
                help: "Time that requests waited for a connection, all together.",
                label: None,
                value: pool.wait_seconds,
            },
            gauge("ragboard_followers", "Sockets and streams of events that are open.", self.followers.count() as f64),
            gauge("ragboard_cache_boards", "Boards in memory.", cache.boards as f64),
            gauge("ragboard_cache_board_bytes", "About what boards take in memory.", cache.board_bytes as f64),
            gauge("ragboard_cache_texts", "Long texts in memory.", cache.texts as f64),
            Sample {
                name: "ragboard_cache_answers_total",
                kind: "counter",
                help: "Answers that were served again without running anything.",
                label: None,
                value: cache.answers_served as f64,
            },
            Sample {
                name: "ragboard_cache_views_total",
                kind: "counter",
                help: "Boards that were asked of memory.",
                label: Some(("result", "hit")),
                value: cache.hits as f64,
            },
            Sample {
                name: "ragboard_cache_views_total",
                kind: "counter",
                help: "Boards that were asked of memory.",
                label: Some(("result", "miss")),
                value: cache.misses as f64,
            },
        ];
        let totals = self.store.statements();
        samples.extend(totals.iter().map(|(statement, total)| Sample {
            name: "db_query_duration_seconds_sum",
            kind: "counter",
            help: "Time of SQL statements by name.",
            label: Some(("statement", statement)),
            value: total.time_us as f64 / 1e6,
        }));
        samples.extend(totals.iter().map(|(statement, total)| Sample {
            name: "db_query_duration_seconds_count",
            kind: "counter",
            help: "SQL statements by name.",
            label: Some(("statement", statement)),
            value: total.count as f64,
        }));
        samples
    }
}
