//! From the settings to an embedder: opened, fetched first if need be, or missing for a reason that can be told.
//!
//! Search goes by words when there is none, so nothing here keeps the program from starting. Waiting for a server of embeddings
//! is not done here either: it may come later.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;

use super::{
    Failure,
    artifacts::{self, Artifact},
};
use crate::{
    config::{Config, EmbedderKind, SearchConfig},
    domain::{Embedder, Embedders, Generation, GenerationId, GenerationState, Provider, SearchIndex},
    outbound::Outbound,
    search::{
        embedder::{HttpEmbedder, HttpModel, LocalEmbedder, Threads},
        models::{Models, Opened},
    },
};

/// Name of the model that the program fetches.
const FETCHED_MODEL: &str = "all-MiniLM-L6-v2";
/// How often it is looked whether there are generations whose models are not open.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After how long a model is tried again that could not be opened.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Opens what the settings name, fetching the model first when it is the program's own and not there. A failure comes with
/// nothing, and says why and what to do.
pub async fn open(config: &Config) -> (Models, Option<Failure>) {
    let opened = match config.search.embedder {
        EmbedderKind::None => Ok(Models::default()),
        EmbedderKind::Http => server(config),
        EmbedderKind::Local => local(config).await,
    };
    match opened {
        Ok(embedding) => (embedding, None),
        Err(failure) => (Models::default(), Some(failure)),
    }
}

async fn local(config: &Config) -> Result<Models, Failure> {
    let search = &config.search;
    let name = search.model_folder.as_ref().and(search.model.as_deref());
    let (embedder, source) = open_folder(config, name, search.model_folder.as_deref()).await?;
    let models = Models::default().cutting_by(embedder.tokenizer());
    models.add(Opened { provider: Provider::Local, source, embedder: Arc::new(embedder) });
    Ok(models)
}

/// Opens a model in a folder, or the one that the program fetches, and says where it is in the former case.
async fn open_folder(
    config: &Config,
    name: Option<&str>,
    folder: Option<&Path>,
) -> Result<(LocalEmbedder, Option<String>), Failure> {
    let search = &config.search;
    let (folder, name, source) = match folder {
        Some(folder) => {
            let name = name.map_or_else(|| name_of(folder), ToOwned::to_owned);
            // Other processes may run in another place.
            let source = std::path::absolute(folder).map_err(Failure::while_doing("finding the model"))?;
            (folder.to_owned(), name, Some(source.to_string_lossy().into_owned()))
        }
        None => (artifacts::ensure(Artifact::Model, &config.local.cache_dir).await?, FETCHED_MODEL.to_owned(), None),
    };
    let threads = Threads { count: threads(search), queue: search.queue };
    let opening = move || LocalEmbedder::open(&name, &folder, threads);
    let embedder = tokio::task::spawn_blocking(opening).await.map_err(Failure::while_doing("opening the model"))??;
    Ok((embedder, source))
}

/// Opens another model than that of the settings: a folder or the program's own by name, or one of the server of the settings, whose
/// vectors have the length that the settings say unless another is given.
pub async fn open_named(
    config: &Config,
    provider: Provider,
    model: &str,
    dimensions: Option<usize>,
) -> Result<Opened, Failure> {
    let opened: (Arc<dyn Embedder>, Option<String>) = match provider {
        Provider::Local => {
            let folder = (model != FETCHED_MODEL).then(|| Path::new(model));
            let (embedder, source) = open_folder(config, None, folder).await?;
            (Arc::new(embedder), source)
        }
        Provider::Http => (asked(config, Some(model), dimensions)?, None),
    };
    Ok(Opened { provider, embedder: opened.0, source: opened.1 })
}

/// Opens the model that a generation was made with.
pub async fn open_of(config: &Config, generation: &Generation) -> Result<Opened, Failure> {
    let opened = match (&generation.source, generation.provider) {
        (Some(folder), Provider::Local) => {
            let (embedder, source) = open_folder(config, Some(&generation.model), Some(Path::new(folder))).await?;
            Opened { provider: Provider::Local, source, embedder: Arc::new(embedder) }
        }
        (None, Provider::Local) if generation.model != FETCHED_MODEL => {
            return Err(Failure::new(format!("It is not known in which folder {} is", generation.model)));
        }
        _ => {
            let dimensions = usize::try_from(generation.dimensions).ok();
            open_named(config, generation.provider, &generation.model, dimensions).await?
        }
    };
    let length = opened.embedder.dimensions();
    if i32::try_from(length) == Ok(generation.dimensions) {
        return Ok(opened);
    }
    Err(Failure::new(format!(
        "{} makes vectors of {length} numbers now, and not of {} as it did",
        generation.model, generation.dimensions
    )))
}

/// Opens the models of all generations that are there and can be opened, so that a switch finds them open, and closes those of
/// generations that were dropped. What failed is in `failed`, and is tried again later.
///
/// # Errors
/// Those of the database.
pub async fn open_missing(
    config: &Config,
    models: &Models,
    index: &dyn SearchIndex,
    failed: &mut HashMap<GenerationId, Instant>,
) -> Result<(), Failure> {
    let states = [GenerationState::Active, GenerationState::Building, GenerationState::Kept];
    let generations = index.generations(&states).await?;
    models.close_all_but(&generations);
    for generation in generations {
        let failed_now = failed.get(&generation.id).is_some_and(|at| at.elapsed() < TRY_AGAIN_AFTER);
        if failed_now || models.of(&generation).is_some() {
            continue;
        }
        match open_of(config, &generation).await {
            Ok(opened) => {
                models.add(opened);
                tracing::info!(model = generation.model, "Opened the model {} of {}", generation.model, generation.id);
            }
            Err(failure) => {
                failed.insert(generation.id, Instant::now());
                tracing::warn!("The model of {} cannot be asked here: {failure}", generation.id);
            }
        }
    }
    Ok(())
}

/// The same, again and again. Nothing is opened where the settings say that there is to be no model.
pub async fn follow(config: Config, models: Models, index: impl SearchIndex) {
    if config.search.embedder == EmbedderKind::None {
        return;
    }
    let mut failed = HashMap::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(failure) = open_missing(&config, &models, &index, &mut failed).await {
            tracing::debug!("Could not ask for generations of vectors: {failure}");
        }
    }
}

fn threads(search: &SearchConfig) -> NonZeroUsize {
    search.threads.unwrap_or_else(Threads::of_this_machine)
}

/// Vectors are kept under this name, so another folder of the same name must hold the same model.
fn name_of(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "local".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn server(config: &Config) -> Result<Models, Failure> {
    Ok(Models::default().with(Provider::Http, asked(config, None, None)?))
}

/// A model of the server of embeddings, by default the one of the settings.
fn asked(config: &Config, name: Option<&str>, dimensions: Option<usize>) -> Result<Arc<dyn Embedder>, Failure> {
    let search = &config.search;
    // The settings were checked when they were read, as far as they are needed there.
    let name = name.or(search.model.as_deref());
    let (Some(url), Some(name), Some(dimensions)) = (&search.url, name, dimensions.or(search.dimensions)) else {
        return Err(Failure::new("The server of embeddings needs search.url, search.model and search.dimensions"));
    };
    let prefix = |prefix: &Option<String>| prefix.clone().unwrap_or_default();
    let model = HttpModel {
        name: name.to_owned(),
        dimensions,
        ask_dimensions: search.ask_dimensions,
        max_tokens: search.max_tokens,
        query_prefix: prefix(&search.query_prefix),
        passage_prefix: prefix(&search.passage_prefix),
        batch: search.batch,
    };
    let key: Option<SecretString> = search.api_key.clone();
    let max_bytes = HttpEmbedder::max_answer_bytes(&model);
    let place = Outbound::new(&config.outbound).endpoint(format!("{url}/embeddings"), key, max_bytes, search.timeout);
    Ok(Arc::new(HttpEmbedder::new(model, Arc::new(place))))
}
