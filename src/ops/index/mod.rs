//! `ragboard index`: the approximate indexes over vectors. How they come to be is `build.rs`, how they are told of `report.rs`;
//! here are only the commands.

mod build;
mod report;

use clap::{Args, Subcommand, ValueEnum};

pub use self::build::{Built, Wanted, ensure, rebuild};
use super::{Failure, cli::print, database::Database, progress::Progress};
use crate::{
    config::Config,
    domain::{Generation, GenerationId, GenerationState, IndexSpec, IndexedGeneration},
    search::vector_index::{Choice, Ground, Priority, choose},
    store::{Store, VectorIndexes},
};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Action {
    /// Print size, use and recall of the indexes, what is being built, and what would fit.
    Status(StatusArgs),
    /// Build an index beside the one that is there, compare them, and drop the old one. Searches and writes go on.
    Rebuild(RebuildArgs),
    /// Say which index fits and why.
    Tune(TuneArgs),
}

/// Of what, and how.
#[derive(Args)]
pub(super) struct StatusArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Stored vectors by which recall is measured; 0 for none. Each takes a comparison with all others.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    samples: u32,
}

/// Methods, and none.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    Hnsw,
    Ivfflat,
    None,
}

/// What to build.
#[derive(Args)]
pub(super) struct RebuildArgs {
    /// Method; what `index tune` says if not given.
    #[arg(long)]
    method: Option<MethodArg>,
    /// Neighbours of a vector in the graph (hnsw), 2 to 100.
    #[arg(long, default_value_t = 16)]
    m: u16,
    /// Candidates for them (hnsw), twice m to 1000.
    #[arg(long, default_value_t = 200)]
    ef_construction: u16,
    /// Lists (ivfflat), 1 to 32768; a thousandth of the vectors if not given, above a million of them the square root.
    #[arg(long)]
    lists: Option<u16>,
    #[command(flatten)]
    of: OfArgs,
    /// Take the new index even if it finds less than the old one.
    #[arg(long)]
    force: bool,
    /// Stored vectors by which old and new are compared; 0 for none.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    samples: u32,
}

/// What a build may take if nobody says otherwise, in MiB: the most that PostgreSQL allows on every system.
const MEMORY_MIB: i64 = 2_047;

/// Of which generation, and with how much memory.
#[derive(Args)]
struct OfArgs {
    /// The generation (gen_…); the active one if not given.
    #[arg(long, value_name = "ID")]
    generation: Option<GenerationId>,
    /// Memory that PostgreSQL may take for building, in MiB.
    #[arg(long, default_value_t = MEMORY_MIB, value_parser = clap::value_parser!(i64).range(64..=1_048_576))]
    memory: i64,
}

/// What is wanted.
#[derive(Args)]
pub(super) struct TuneArgs {
    /// Whether little is to be missed, or the index to be built quickly.
    #[arg(long, default_value = "recall")]
    priority: PriorityArg,
    #[command(flatten)]
    of: OfArgs,
    /// Build it, unless it is there.
    #[arg(long)]
    apply: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PriorityArg {
    Recall,
    Build,
}

pub(super) async fn run(config: &Config, action: Action) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = tokio::select! {
        outcome = act(config, &database, action) => outcome,
        // The server notices within a second; what is half built is dropped by the next build.
        interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
            Ok(()) => Failure::new("Interrupted; what was there before still is"),
            Err(error) => Failure::new(format!("Cannot wait for Ctrl-C: {error}")),
        }),
    };
    database.release().await?;
    print(&outcome?)
}

/// The indexes of a database, worked on past a pooler if the settings name a way.
pub(super) fn indexes(config: &Config, database: &Database, store: &Store) -> Result<VectorIndexes, Failure> {
    Ok(VectorIndexes::new(store.clone(), config.database.listen_url.as_ref().unwrap_or(&database.url))?)
}

async fn act(config: &Config, database: &Database, action: Action) -> Result<String, Failure> {
    let store = Store::connect(&database.url, &config.database).await?;
    let indexes = indexes(config, database, &store)?;
    let scanned = i64::from(config.search.scan_vectors);
    match action {
        Action::Status(args) => report::status(&indexes, scanned, args.samples, args.json).await,
        Action::Rebuild(args) => {
            let found = find(&indexes, args.of.generation).await?;
            let spec = match args.method {
                Some(MethodArg::Hnsw) => Some(IndexSpec::hnsw(args.m, args.ef_construction)?),
                Some(MethodArg::Ivfflat) => Some(match args.lists {
                    Some(lists) => IndexSpec::ivfflat(lists)?,
                    None => lists_for(&found)?,
                }),
                Some(MethodArg::None) => None,
                None => advice(&found, scanned, args.of.memory << 20, Priority::Recall).spec,
            };
            let memory = args.of.memory << 20;
            let wanted = Wanted { spec, memory, helpers: None, samples: args.samples, is_forced: args.force };
            Ok(build(&indexes, &found.generation, wanted).await? + report::hint_of_none(config, spec))
        }
        Action::Tune(args) => {
            let found = find(&indexes, args.of.generation).await?;
            let priority = match args.priority {
                PriorityArg::Recall => Priority::Recall,
                PriorityArg::Build => Priority::Build,
            };
            let memory = args.of.memory << 20;
            let choice = advice(&found, scanned, memory, priority);
            let said = report::advice_of(&found, &choice);
            let valid: Vec<_> = found.indexes.iter().filter(|index| index.is_valid).collect();
            let is_there = match choice.spec {
                Some(spec) => valid.iter().any(|index| index.is(spec)),
                None => valid.is_empty(),
            };
            if !args.apply || is_there {
                return Ok(said);
            }
            let wanted = Wanted { spec: choice.spec, memory, helpers: None, samples: 100, is_forced: true };
            Ok(said + &build(&indexes, &found.generation, wanted).await?)
        }
    }
}

/// What fits a generation.
pub(super) fn advice(found: &IndexedGeneration, scanned: i64, memory: i64, priority: Priority) -> Choice {
    choose(Ground { rows: found.rows, dimensions: found.generation.dimensions, scanned, memory, priority })
}

fn lists_for(found: &IndexedGeneration) -> Result<IndexSpec, Failure> {
    let choice = advice(found, 0, 0, Priority::Build);
    choice.spec.map_or_else(|| IndexSpec::ivfflat(1).map_err(Into::into), Ok)
}

async fn find(indexes: &VectorIndexes, wanted: Option<GenerationId>) -> Result<IndexedGeneration, Failure> {
    let is_wanted = |found: &IndexedGeneration| match wanted {
        Some(id) => found.generation.id == id,
        None => found.generation.state == GenerationState::Active,
    };
    let found = indexes.overview().await?.into_iter().find(is_wanted);
    found.ok_or_else(|| match wanted {
        Some(id) => Failure::new(format!("There is no generation {id}")).hint("`ragboard index status` lists them."),
        None => Failure::new("There are no vectors yet: no generation is active"),
    })
}

/// Builds with a bar, and tells what became of it.
async fn build(indexes: &VectorIndexes, generation: &Generation, wanted: Wanted) -> Result<String, Failure> {
    let bar = Progress::new(true).count("Building", 100);
    let built = rebuild(indexes, generation, wanted, |build| {
        bar.says(build.phase.clone());
        bar.at(build.done.map_or(0, |done| (done * 100.0) as usize));
    })
    .await?;
    Ok(built.to_string())
}
