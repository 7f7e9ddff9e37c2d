//! What probes and `/metrics` are told: samples of the pool, the cache, background jobs, searches and SQL statements.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::{
    cache::Cached,
    domain::{JobStatus, Result, Strategy},
    http::{Connections, Followers, Probe, Sample},
    jobs::{Numbers, TypeNumbers},
    service::{Services, indexing::Indexing},
    store::Store,
};

/// See the module.
pub(super) struct Health {
    pub(super) store: Store,
    pub(super) cached: Cached<Store>,
    pub(super) followers: Arc<Followers>,
    pub(super) connections: Arc<Connections>,
    pub(super) jobs: OnceLock<Arc<dyn Fn() -> Numbers + Send + Sync>>,
    pub(super) services: Arc<Services>,
    pub(super) indexing: Arc<Indexing>,
}

/// The samples of background jobs.
fn job_samples(numbers: &Numbers) -> Vec<Sample> {
    let gauge = |name, help, labels, value| Sample { name, kind: "gauge", help, labels, value };
    let mut samples = Vec::new();
    samples.extend(numbers.backlog.iter().map(|waits| {
        let labels = vec![("type", waits.job_type.as_str()), ("status", waits.status.as_str())];
        gauge("ragboard_jobs", "Jobs that wait and run, of all processes.", labels, waits.count as f64)
    }));
    let pending = numbers.backlog.iter().filter(|waits| waits.status == JobStatus::Pending);
    samples.extend(pending.map(|waits| {
        let help = "For how long the oldest job is due and waits.";
        gauge(
            "ragboard_jobs_oldest_pending_seconds",
            help,
            vec![("type", waits.job_type.as_str())],
            waits.oldest_seconds,
        )
    }));
    samples.extend(numbers.types.iter().map(|(job_type, of_type)| {
        let labels = vec![("type", *job_type)];
        gauge("ragboard_jobs_running", "Jobs that run in this process.", labels, of_type.running as f64)
    }));
    let outcomes = numbers.types.iter().flat_map(|(job_type, of_type)| {
        let TypeNumbers { completed, failed, retried, cancelled, .. } = *of_type;
        let counts = [("completed", completed), ("failed", failed), ("retried", retried), ("cancelled", cancelled)];
        counts.map(|(outcome, count)| (*job_type, outcome, count))
    });
    samples.extend(outcomes.map(|(job_type, outcome, count)| Sample {
        name: "ragboard_jobs_ended_total",
        kind: "counter",
        help: "Tries of jobs that ended in this process.",
        labels: vec![("type", job_type), ("outcome", outcome)],
        value: count as f64,
    }));
    samples
}

/// The samples of searches.
fn search_samples(services: &Services, indexing: &Indexing) -> Vec<Sample> {
    let counter = |name, help, labels, value: u64| Sample { name, kind: "counter", help, labels, value: value as f64 };
    let strategies = [
        ("exact", Strategy::Exact),
        ("index", Strategy::Index),
        ("index_then_exact", Strategy::IndexThenExact),
        ("words", Strategy::Words),
    ];
    let mut samples: Vec<Sample> = strategies
        .into_iter()
        .map(|(name, strategy)| {
            let help = "Searches that were not answered from memory, by how vectors were looked up.";
            counter("ragboard_searches_total", help, vec![("strategy", name)], services.searches_by(strategy))
        })
        .collect();
    let help = "Of these, answers that may have missed something.";
    samples.push(counter("ragboard_searches_incomplete_total", help, Vec::new(), services.incomplete_searches()));
    let help = "Chunks that were given a vector by this process.";
    samples.push(counter("ragboard_chunks_embedded_total", help, Vec::new(), indexing.embedded()));
    samples
}

#[async_trait]
impl Probe for Health {
    async fn ready(&self) -> Result<()> {
        self.store.ping().await
    }

    fn samples(&self) -> Vec<Sample> {
        let gauge = |name, help, value| Sample { name, kind: "gauge", help, labels: Vec::new(), value };
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
                labels: Vec::new(),
                value: pool.wait_seconds,
            },
            gauge("ragboard_followers", "Sockets and streams of events that are open.", self.followers.count() as f64),
            gauge("ragboard_connections", "Connections of clients.", f64::from(self.connections.open())),
            Sample {
                name: "ragboard_connections_refused_total",
                kind: "counter",
                help: "Connections that were closed at once, because there were too many.",
                labels: Vec::new(),
                value: self.connections.refused() as f64,
            },
            gauge("ragboard_cache_boards", "Boards in memory.", cache.boards as f64),
            gauge("ragboard_cache_board_bytes", "About what boards take in memory.", cache.board_bytes as f64),
            gauge("ragboard_cache_texts", "Long texts in memory.", cache.texts as f64),
            Sample {
                name: "ragboard_cache_answers_total",
                kind: "counter",
                help: "Answers that were served again without running anything.",
                labels: Vec::new(),
                value: cache.answers_served as f64,
            },
            Sample {
                name: "ragboard_cache_views_total",
                kind: "counter",
                help: "Boards that were asked of memory.",
                labels: vec![("result", "hit")],
                value: cache.hits as f64,
            },
            Sample {
                name: "ragboard_cache_views_total",
                kind: "counter",
                help: "Boards that were asked of memory.",
                labels: vec![("result", "miss")],
                value: cache.misses as f64,
            },
        ];
        if let Some(numbers) = self.jobs.get() {
            samples.extend(job_samples(&numbers()));
        }
        samples.extend(search_samples(&self.services, &self.indexing));
        let totals = self.store.statements();
        samples.extend(totals.iter().map(|(statement, total)| Sample {
            name: "db_query_duration_seconds_sum",
            kind: "counter",
            help: "Time of SQL statements by name.",
            labels: vec![("statement", statement)],
            value: total.time_us as f64 / 1e6,
        }));
        samples.extend(totals.iter().map(|(statement, total)| Sample {
            name: "db_query_duration_seconds_count",
            kind: "counter",
            help: "SQL statements by name.",
            labels: vec![("statement", statement)],
            value: total.count as f64,
        }));
        samples
    }
}
