//! `ragboard embeddings`: generations of vectors, from one model to the next without anybody noticing. How vectors are made is
//! `service/reindexing.rs`; here are the commands, and the checks before a switch.

use std::{fmt::Write as _, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, cli::print, database::Database, embedder, index, progress::Progress};
use crate::{
    config::{Config, EmbedderKind},
    domain::{
        Coverage, Embedder, Error, Generation, GenerationId, GenerationState, Generations, Measured, Provider,
        SearchIndex,
    },
    search::models::Opened,
    service::reindexing::Reindexing,
    store::{Store, VectorIndexes},
};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Action {
    /// List the generations: model, state, and how many of the chunks have vectors.
    Status,
    /// Make vectors of all texts with a model beside those that are searched. Goes on where it was cut off.
    Reindex(ReindexArgs),
    /// Have a generation searched from now on, after making what it lacks. The one before is kept.
    Switch(SwitchArgs),
    /// Drop the vectors of a generation that is not searched.
    Drop {
        /// The generation (gen_…).
        generation: GenerationId,
    },
}

/// With which model, and how.
#[derive(Args)]
pub(super) struct ReindexArgs {
    /// Folder of a model, all-MiniLM-L6-v2 for the program's own, or (http) the name that the server of the settings knows.
    #[arg(long)]
    model: String,
    /// Who computes; as in the settings if not given.
    #[arg(long)]
    provider: Option<ProviderArg>,
    /// Length of the vectors (http); as in the settings if not given.
    #[arg(long)]
    dimensions: Option<usize>,
    /// At most so many chunks in a second.
    #[arg(long, value_name = "CHUNKS", value_parser = rate)]
    max_rate: Option<f64>,
    /// Have it searched when it is complete. All servers should run by then: each opens the model within seconds.
    #[arg(long)]
    switch: bool,
}

/// To which one.
#[derive(Args)]
pub(super) struct SwitchArgs {
    /// The generation (gen_…).
    generation: GenerationId,
    /// Switch even if vectors are missing or the model cannot be asked here.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProviderArg {
    Local,
    Http,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if (0.01..=1e6).contains(&rate) { Ok(rate) } else { Err("must be 0.01 to 1000000".to_owned()) }
}

pub(super) async fn run(config: &Config, action: Action) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = tokio::select! {
        outcome = act(config, &database, action) => outcome,
        interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
            Ok(()) => Failure::new("Interrupted; the same command goes on from here"),
            Err(error) => Failure::new(format!("Cannot wait for Ctrl-C: {error}")),
        }),
    };
    database.release().await?;
    print(&outcome?)
}

async fn act(config: &Config, database: &Database, action: Action) -> Result<String, Failure> {
    let store = Store::connect(&database.url, &config.database).await?;
    let indexes = index::indexes(config, database, &store)?;
    let scanned = i64::from(config.search.scan_vectors);
    match action {
        Action::Status => status(&store).await,
        Action::Reindex(args) => {
            let provider = match (args.provider, config.search.embedder) {
                (Some(ProviderArg::Local), _) | (None, EmbedderKind::Local) => Provider::Local,
                (Some(ProviderArg::Http), _) | (None, EmbedderKind::Http) => Provider::Http,
                (None, EmbedderKind::None) => return Err(Failure::new("Say who computes: --provider local or http")),
            };
            let opened = embedder::open_named(config, provider, &args.model, args.dimensions).await?;
            let made = reindex(&store, &indexes, opened, scanned, args.max_rate, true).await?;
            let mut text = made.to_string();
            if made.generation.state == GenerationState::Active {
                text += "It is the one that is searched.\n";
            } else if args.switch {
                text += &switch(&store, &made.generation, Some(&*made.embedder), false).await?;
            } else {
                let _ = writeln!(text, "It is not searched yet: ragboard embeddings switch {}", made.generation.id);
            }
            Ok(text)
        }
        Action::Switch(args) => {
            let generation = find(&store, args.generation).await?;
            let embedder = match embedder::open_of(config, &generation).await {
                Ok(opened) => Some(opened.embedder),
                Err(_) if args.force => None,
                Err(failure) => return Err(failure.hint("--force switches without making what is missing.")),
            };
            switch(&store, &generation, embedder.as_deref(), args.force).await
        }
        Action::Drop { generation } => {
            let generation = find(&store, generation).await?;
            drop_generation(&store, &indexes, &generation).await?;
            Ok(format!("dropped  {}  {}\n", generation.id, generation.model))
        }
    }
}

async fn find(store: &Store, id: GenerationId) -> Result<Generation, Failure> {
    let generations = store.generations(GenerationState::ALL).await?;
    generations.into_iter().find(|generation| generation.id == id).ok_or_else(|| {
        Failure::new(format!("There is no generation {id}")).hint("`ragboard embeddings status` lists them.")
    })
}

async fn status(store: &Store) -> Result<String, Failure> {
    let mut text = String::new();
    let states = [GenerationState::Active, GenerationState::Building, GenerationState::Kept];
    for generation in store.generations(&states).await? {
        let coverage = store.coverage(&generation).await?;
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "{}  {:8}  {} ({}, {} dimensions)  {}",
            generation.id,
            generation.state.as_str(),
            generation.model,
            generation.provider.as_str(),
            generation.dimensions,
            share(coverage)
        );
    }
    Ok(if text.is_empty() { "There are no vectors yet.\n".to_owned() } else { text })
}

fn share(Coverage { chunks, embedded, .. }: Coverage) -> String {
    let percent = if chunks == 0 { 100.0 } else { embedded as f64 * 100.0 / chunks as f64 };
    // Rounded down: 100 % is all of them.
    format!("{embedded} of {chunks} chunks ({:.1} %)", (percent * 10.0).floor() / 10.0)
}

/// What came of making a generation.
pub struct Reindexed {
    /// The generation.
    pub generation: Generation,
    /// Its model.
    pub embedder: Arc<dyn Embedder>,
    /// How far it is.
    pub coverage: Coverage,
    /// Which share of the ten nearest neighbours of a text is the same as by the model that is searched.
    pub overlap: Option<Measured>,
    /// The index that was built, if there are so many vectors.
    pub index: Option<String>,
}

impl std::fmt::Display for Reindexed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}  {}  {}", self.generation.id, self.generation.model, share(self.coverage))?;
        if let Some(index) = &self.index {
            writeln!(f, "index    {index}")?;
        }
        match self.overlap {
            Some(overlap) => writeln!(f, "overlap  {overlap} of the ten nearest are those of the model in use"),
            None => Ok(()),
        }
    }
}

/// Makes a generation with a model, or goes on with it, up to what was written ten seconds ago, and its index.
///
/// # Errors
/// When the model made a generation before that is kept; those of the model and the database. What was made stays.
pub async fn reindex(
    store: &Store,
    indexes: &VectorIndexes,
    opened: Opened,
    scanned: i64,
    max_rate: Option<f64>,
    is_shown: bool,
) -> Result<Reindexed, Failure> {
    let Opened { provider, source, embedder } = opened;
    let dimensions = i32::try_from(embedder.dimensions()).map_err(Error::internal)?;
    let is_of_it = |generation: &Generation| {
        generation.provider == provider && generation.model == embedder.model() && generation.dimensions == dimensions
    };
    let kept = store.generations(&[GenerationState::Kept]).await?;
    if let Some(kept) = kept.into_iter().find(is_of_it) {
        return Err(Failure::new(format!("{} is of this model, and kept", kept.id))
            .hint(format!("`ragboard embeddings switch {}` brings it up to date and has it searched.", kept.id)));
    }
    let generation = store.begin_generation(provider, embedder.model(), dimensions, source.as_deref()).await?;
    catch_up(store, &generation, &*embedder, max_rate, is_shown).await?;
    let index = index::ensure(indexes, &generation, scanned).await?;
    let active = store.generations(&[GenerationState::Active]).await?.into_iter().next();
    let overlap = match active.filter(|active| active.id != generation.id) {
        Some(active) => indexes.session(&generation).await?.overlap(&active, 50).await?,
        None => None,
    };
    let coverage = store.coverage(&generation).await?;
    Ok(Reindexed { generation, embedder, coverage, overlap, index })
}

async fn catch_up(
    store: &Store,
    generation: &Generation,
    embedder: &dyn Embedder,
    max_rate: Option<f64>,
    is_shown: bool,
) -> Result<(), Failure> {
    let reindexing = reindexing(store);
    let Coverage { chunks, embedded, .. } = reindexing.coverage(generation).await?;
    let missing = usize::try_from(chunks - embedded).unwrap_or_default();
    let bar = Progress::new(is_shown).count("Embedding", missing);
    let mut done = 0;
    let made = |count| {
        done += count;
        // More than there were at first: what was written meanwhile.
        bar.of(missing.max(done));
        bar.at(done);
    };
    Ok(reindexing.catch_up(generation, embedder, max_rate, made).await?)
}

fn reindexing(store: &Store) -> Reindexing {
    Reindexing::new(Arc::new(store.clone()), Arc::new(store.clone()))
}

/// Has a generation searched in all processes, after and while making what it lacks.
///
/// # Errors
/// When vectors are missing and that was not forced, or are gone; those of the model and the database.
pub async fn switch(
    store: &Store,
    generation: &Generation,
    embedder: Option<&dyn Embedder>,
    is_forced: bool,
) -> Result<String, Failure> {
    if generation.state == GenerationState::Active {
        return Ok(format!("{} is searched already\n", generation.id));
    }
    if generation.state == GenerationState::Dropped {
        return Err(Failure::new("The vectors of this generation are gone"));
    }
    if let Some(embedder) = embedder {
        catch_up(store, generation, embedder, None, true).await?;
    }
    let before = store.coverage(generation).await?;
    if before.overdue > 0 && !is_forced {
        return Err(Failure::new(format!("Not all texts have vectors of it: {}", share(before)))
            .hint("--force switches all the same; texts without are found by words only."));
    }
    let kept = reindexing(store).switch(generation).await?;
    // What was written between the last look and the switch, unless a server was faster.
    if let Some(embedder) = embedder {
        catch_up(store, generation, embedder, None, false).await?;
    }
    let mut text =
        format!("searched {}  {}  {}\n", generation.id, generation.model, share(store.coverage(generation).await?));
    if let Some(kept) = kept {
        let _ =
            writeln!(text, "kept     {kept}: `ragboard embeddings switch {kept}` goes back to it, `drop` removes it");
    }
    Ok(text)
}

/// Drops the vectors of a generation that is not searched. May be done again after it was cut off.
///
/// # Errors
/// When it is searched, or somebody builds its index; those of the database.
pub async fn drop_generation(store: &Store, indexes: &VectorIndexes, generation: &Generation) -> Result<(), Failure> {
    let Some(session) = indexes.lock(generation).await? else {
        return Err(Failure::new("Somebody else works on the indexes of this generation at the moment"));
    };
    store.give_up(generation).await?;
    Ok(session.drop_vectors().await?)
}
