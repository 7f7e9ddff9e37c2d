//! `ragboard worker`: does background jobs and answers nobody. Any number of them may work beside gateways, or instead of the
//! workers in them (`RAGBOARD_JOBS_WORKERS=false`).

use super::{Failure, database::Database, embedder, serve::wait_for_signal};
use crate::{app::App, config::Config};

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let worked = work(config, &database).await;
    let released = database.release().await;
    worked.and(released)
}

async fn work(config: &Config, database: &Database) -> Result<(), Failure> {
    // It signs nothing and checks no token.
    let (models, without_model) = embedder::open(config).await;
    if let Some(failure) = &without_model {
        tracing::warn!("Vectors are not made here: {failure}");
    }
    let app = App::connect(config, &database.url, None, models.clone()).await?;
    app.prepare_search().await?;
    let following = tokio::spawn(embedder::follow(config.clone(), models, app.store.clone()));
    let jobs = app.start_jobs(config, true);
    tracing::info!("Working on the jobs of {}", database.described);
    let ended = wait_for_signal().await;
    if let Ok(name) = ended {
        tracing::info!("Stopping on {name}; running jobs are finished or given back");
    }
    following.abort();
    jobs.drain().await;
    ended.map(drop)
}
