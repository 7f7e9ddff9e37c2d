//! Puts the parts together: adapters behind ports, services over ports, the schema over services, the router over all.
//!
//! Nothing is decided here. Tests build the very same application.

mod health;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use secrecy::SecretString;

use self::health::Health;
use crate::{
    access::{KeySet, KeySetTimes, SecretHasher, Tokens, TurnLimits, Turns},
    cache::{Cached, KeptSearches, KeptSessions},
    config::{CacheConfig, CacheMode, Config},
    domain::{Code, Error, Result, UserId, ports::Reads},
    events::{Crowd, Hub, JobWatch, Relay},
    graphql,
    http::{self, Connections, Followers, Gateway, GraphiqlPage, Probe},
    jobs::{Handler, Runner, Running, create_embeddings::CreateEmbeddings, extract_text::ExtractText},
    mail,
    outbound::Outbound,
    search::models::{Models, Opened},
    service::{Ports, ServiceInfo, Services, indexing::Indexing, search::SearchLimits},
    store::{
        Store, WakeWires,
        migrations::{self, Fit},
    },
};

/// A published key set is no larger than this.
const MAX_JWKS_BYTES: usize = 64 * 1024;
const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a look, or presence, may take before its connection counts as lost.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// The same for a reading of the change feed.
const FEED_WITHIN: Duration = Duration::from_secs(5);

/// The whole application, connected to a database.
pub struct App {
    /// The database below everything.
    pub store: Store,
    /// Memory in front of it.
    pub cached: Cached<Store>,
    /// The services.
    pub services: Arc<Services>,
    /// Making resources searchable.
    pub indexing: Arc<Indexing>,
    models: Models,
    feed: Hub,
    job_watch: JobWatch,
    followers: Arc<Followers>,
    connections: Arc<Connections>,
    probe: Arc<Health>,
}

/// Who does background jobs, each those of one type. The same in `serve` and in `ragboard worker`.
fn handlers(app: &App) -> Vec<Arc<dyn Handler>> {
    let mut handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(ExtractText(Arc::clone(&app.indexing)))];
    // Without a model here, another process has to do it.
    if app.models.first().is_some() {
        handlers.push(Arc::new(CreateEmbeddings(Arc::clone(&app.indexing))));
    }
    handlers
}

impl App {
    /// Connects to a database that has exactly the migrations of this program.
    ///
    /// # Errors
    /// When the database cannot be reached, or is older or newer than the program.
    pub async fn connect(
        config: &Config,
        url: &SecretString,
        jwt_secret: Option<&SecretString>,
        models: Models,
    ) -> Result<App> {
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
        let reserved = |name, within| store.reserved(url, name, within);
        let looks = reserved("ragboard looks", LOOK_WITHIN)?;
        let cached = Cached::with_looks(store.clone(), looks.clone(), &config.cache);
        let mut tokens = Tokens::new(&config.auth.jwt_issuer, &config.auth.jwt_audience);
        if let Some(secret) = jwt_secret {
            tokens = tokens.with_secret(secret.clone());
        }
        if let Some(address) = &config.auth.jwks_url {
            let document = Outbound::new(&config.outbound).document(address, MAX_JWKS_BYTES, JWKS_TIMEOUT);
            tokens = tokens.with_published_keys(Arc::new(KeySet::new(Arc::new(document), KeySetTimes::default())));
        }
        let mailer = mail::mailer(&config.mail)?;
        let info = ServiceInfo {
            version: env!("CARGO_PKG_VERSION"),
            environment: config.environment,
            is_read_only: config.database.read_only,
            sends_mail: mailer.is_some(),
            limits: config.limits.clone(),
            quotas: config.quotas.clone(),
            search_limits: SearchLimits {
                scan_vectors: config.search.scan_vectors.into(),
                scan_words: config.search.scan_words.into(),
                at_once: (config.database.pool_size as usize).div_ceil(2),
            },
        };
        let relay = Relay::new(Box::new(WakeWires::new(config.database.listen_url.as_ref().unwrap_or(url))?));
        relay.attach(Arc::new(cached.clone()));
        let behind = reserved("ragboard followers", FEED_WITHIN)?;
        let feed = reserved("ragboard feed", FEED_WITHIN)?;
        let feed = Hub::new(Arc::new(feed), Arc::new(behind.clone()), Some(relay));
        let job_watch = JobWatch::new(Arc::new(behind));
        feed.attach(job_watch.waker());
        let index = Arc::new(store.clone());
        let indexing = Arc::new(Indexing::new(index, models.cutter(), Arc::new(models.clone())));
        let ports = Ports {
            reads: Arc::new(cached.clone()),
            writes: Arc::new(store.clone()),
            feed: Arc::new(feed.clone()),
            rights: Arc::new(cached.clone()),
            presence: Arc::new(Crowd::new(Arc::new(reserved("ragboard presence", LOOK_WITHIN)?))),
            accounts: Arc::new(store.clone()),
            sessions: Arc::new(KeptSessions::new(
                Arc::new(store.clone()),
                Arc::new(looks),
                config.cache.mode,
                cached.watching(),
            )),
            mails: Arc::new(store.clone()),
            verifications: Arc::new(store.clone()),
            passwords: Arc::new(store.clone()),
            account_sessions: Arc::new(store.clone()),
            sharing: Arc::new(store.clone()),
            folder_locks: Arc::new(store.clone()),
            read_only_mode: Arc::new(store.clone()),
            keys: Arc::new(store.clone()),
            activities: Arc::new(store.clone()),
            usages: Arc::new(store.clone()),
            jobs: Arc::new(store.clone()),
            job_feed: Arc::new(job_watch.clone()),
            search: Arc::new(store.clone()),
            search_memory: Arc::new(KeptSearches::new(search_bytes(&config.cache))),
            embedders: Arc::new(models.clone()),
        };
        let services = Arc::new(Services::new(ports, tokens, SecretHasher::default(), info));
        services.look_at_mode().await?;
        services.follow_mode();
        match mailer {
            Some(mailer) => services.send_mails(mailer, &config.mail.public_url),
            None => tracing::warn!(
                "Without mail.smtp_url (RAGBOARD_SMTP_URL) no address can be verified and no password reset"
            ),
        }
        let followers = Followers::new(config.limits.max_followers_per_address);
        let of_database = config.database.pool_size.saturating_add(config.database.max_overflow);
        let connections = Connections::new(&config.http, &config.limits, of_database);
        let probe = Arc::new(Health {
            store: store.clone(),
            cached: cached.clone(),
            followers: Arc::clone(&followers),
            connections: Arc::clone(&connections),
            jobs: OnceLock::new(),
            services: Arc::clone(&services),
            indexing: Arc::clone(&indexing),
        });
        Ok(App { store, cached, services, indexing, models, feed, job_watch, followers, connections, probe })
    }

    /// Sees to it that there is room for vectors, by the first model there is, if nobody did before.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prepare_search(&self) -> Result<()> {
        match self.models.first() {
            Some(Opened { provider, source, embedder }) => {
                let (model, dimensions) = (embedder.model(), embedder.dimensions());
                self.indexing.begin_first_generation(provider, model, dimensions, source.as_deref()).await
            }
            None => Ok(()),
        }
    }

    /// The router of the application.
    pub fn router(&self, config: &Config, graphiql: Option<GraphiqlPage>) -> Router {
        http::router(Gateway {
            api: graphql::Api::new(config.limits.clone(), config.http.introspection),
            services: Arc::clone(&self.services),
            reads: Arc::new(self.cached.clone()) as Arc<dyn Reads>,
            reads_past_cache: Arc::new(self.store.clone()) as Arc<dyn Reads>,
            turns: Turns::new(TurnLimits::new(
                config.limits.max_operations as usize,
                config.limits.max_operations_per_caller as usize,
                config.limits.max_waiting_per_caller as usize,
            )),
            followers: Arc::clone(&self.followers),
            probe: Arc::clone(&self.probe) as Arc<dyn Probe>,
            graphiql,
            http: config.http.clone(),
            limits: config.limits.clone(),
        })
    }

    /// Begins to do background jobs, or, where `does_jobs` says no, only to look after the queue. To be drained before the
    /// application ends.
    #[must_use]
    pub fn start_jobs(&self, config: &Config, does_jobs: bool) -> Running {
        self.start_jobs_with(config, if does_jobs { handlers(self) } else { Vec::new() })
    }

    /// The same with other handlers.
    #[must_use]
    pub fn start_jobs_with(&self, config: &Config, handlers: Vec<Arc<dyn Handler>>) -> Running {
        let (queue, feed) = (Arc::new(self.store.clone()), Arc::new(self.job_watch.clone()));
        let services = Arc::clone(&self.services);
        let runner = Runner::new(queue, feed, handlers, config.jobs.clone());
        let running = runner.paused_while(move || services.is_read_only()).start();
        self.feed.attach(running.waker());
        // The numbers are those of the first: a process has one runner.
        let _ = self.probe.jobs.set(running.numbers());
        running
    }

    /// The router of the separate address for metrics.
    pub fn metrics_router(&self) -> Router {
        http::metrics_router(Arc::clone(&self.probe) as Arc<dyn Probe>)
    }

    /// The connections of clients, which count for all addresses that the application answers on.
    #[must_use]
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.connections)
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

/// The part of the memory for answers to searches: a sixteenth, beside what is for boards; nothing where nothing is to be kept.
fn search_bytes(config: &CacheConfig) -> u64 {
    if config.mode == CacheMode::Off { 0 } else { config.bytes / 16 }
}
