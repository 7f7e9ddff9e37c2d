//! `ragboard worker`: does background jobs and answers nobody, but for metrics at an address of their own. Any number of them may
//! work beside gateways, or instead of the workers in them (`RAGBOARD_JOBS_WORKERS=false`).

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::{
    Failure,
    database::Database,
    embedder,
    serve::{connections_for_metrics, listen_for_metrics, wait_for_signal},
    surroundings,
};
use crate::{app::App, config::Config, http};

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    // A gateway beside it may have the same settings.
    let metrics = listen_for_metrics(config).await.unwrap_or_else(|failure| {
        tracing::warn!("Metrics are not told: {failure}");
        None
    });
    let database = Database::open(config).await?;
    if !database.is_own() {
        surroundings::check(&database.url).await?;
    }
    let worked = work(config, &database, metrics).await;
    let released = database.release().await;
    worked.and(released)
}

async fn work(config: &Config, database: &Database, metrics: Option<TcpListener>) -> Result<(), Failure> {
    // It signs nothing and checks no token.
    let (models, without_model) = embedder::open(config).await;
    if let Some(failure) = &without_model {
        tracing::warn!("Vectors are not made here: {failure}");
    }
    let app = App::connect(config, &database.url, None, models.clone()).await?;
    app.prepare_search().await?;
    let mut beside = JoinSet::new();
    let indexing = Arc::clone(&app.indexing);
    beside.spawn(async move { indexing.ask_for_missing().await });
    beside.spawn(embedder::follow(config.clone(), models, app.store.clone()));
    let jobs = app.start_jobs(config, true);
    let (_stop, stopping) = watch::channel(());
    if let Some(listener) = metrics {
        let (router, connections, config) =
            (app.metrics_router(), connections_for_metrics(config), config.http.clone());
        beside.spawn(async move {
            if let Err(error) = http::serve(listener, router, &config, connections, stopping).await {
                tracing::warn!("Metrics are not told any more: {error}");
            }
        });
    }
    tracing::info!("Working on the jobs of {}", database.described);
    let ended = wait_for_signal().await;
    if let Ok(name) = ended {
        tracing::info!("Stopping on {name}; running jobs are finished or given back");
    }
    jobs.drain().await;
    ended.map(drop)
}
