//! The command line: what can be asked of the program, and which part answers.
//!
//! Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 failed, 2 wrong use. Flags do the same as the
//! variables they name, and win over them.

use std::{
    io::{Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use super::{Failure, artifacts, embeddings, healthcheck, index, migrate, read_only, serve, token, worker};
use crate::{
    config::{Config, Sources},
    graphql, telemetry,
};

/// RAGBOARD's GraphQL gateway: one schema over PostgreSQL and pgvector.
#[derive(Parser)]
#[command(name = "ragboard", version, about)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// What to do; `serve` if not given.
    #[command(subcommand)]
    command: Option<Command>,
}

/// Settings that are worth a flag; the rest is in the configuration file and the environment.
#[derive(Args)]
struct Settings {
    /// Configuration file [RAGBOARD_CONFIG, default ragboard.toml].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [RAGBOARD_LISTEN, default 127.0.0.1:8080].
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of the program's own PostgreSQL and secrets [RAGBOARD_DATA_DIR, default .ragboard].
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// PostgreSQL to use instead of an own one [DATABASE_URL].
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve(ServeArgs),
    /// Do background jobs and answer nobody.
    Worker,
    /// Look at the migrations of the database, and run them.
    Migrate {
        #[command(subcommand)]
        action: migrate::Action,
    },
    /// Turn a folder of files into a board.
    Import(super::import_command::ImportArgs),
    /// Switch all gateways of the database to reading only while they run, or back.
    ReadOnly {
        #[command(subcommand)]
        action: read_only::Action,
    },
    /// Look at the indexes over vectors, build them anew, and hear what would fit.
    Index {
        #[command(subcommand)]
        action: index::Action,
    },
    /// Look at the generations of vectors, make one with another model, and change which is searched.
    Embeddings {
        #[command(subcommand)]
        action: embeddings::Action,
    },
    /// Print a token of an account, and nothing else.
    Token(token::TokenArgs),
    /// Print the GraphQL schema in its definition language.
    Schema,
    /// Print the settings in force, secrets hidden.
    Config,
    /// What the program fetches and keeps for all its data folders.
    Artifacts {
        #[command(subcommand)]
        action: ArtifactAction,
    },
    /// Succeed if the server at the listen address is ready; for containers.
    Healthcheck,
}

/// How to serve.
#[derive(Args, Default)]
pub(super) struct ServeArgs {
    /// Make no demo account and no demo board.
    #[arg(long)]
    pub(super) no_demo: bool,
}

#[derive(Subcommand)]
enum ArtifactAction {
    /// Fetch one, or all that are missing.
    Fetch {
        /// postgres, graphiql or model.
        name: Option<String>,
    },
    /// List them and where they are.
    List,
    /// Print the folder of one.
    Path {
        /// postgres, graphiql or model.
        name: String,
    },
}

/// Runs the program with the arguments and the environment of the process.
#[must_use]
pub fn main() -> ExitCode {
    // clap ends the process with 2 for wrong use and with 0 for --help.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::new(format!("Cannot start: {error}"))),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    // Nothing is left to do when stderr is gone.
    let _ = writeln!(stderr(), "error: {failure}");
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let config = load(cli.settings)?;
    telemetry::init(&config.log).map_err(Failure::while_doing("start the log"))?;
    match cli.command.unwrap_or_else(|| Command::Serve(ServeArgs::default())) {
        Command::Serve(args) => serve::serve(&config, &args).await,
        Command::Worker => worker::run(&config).await,
        Command::Migrate { action } => migrate::run(&config, action).await,
        Command::Import(args) => super::import_command::run(&config, args).await,
        Command::ReadOnly { action } => read_only::run(&config, action).await,
        Command::Index { action } => index::run(&config, action).await,
        Command::Embeddings { action } => embeddings::run(&config, action).await,
        Command::Token(args) => token::run(&config, args).await,
        Command::Schema => print(&graphql::sdl()),
        Command::Config => print(&format!("{config}\n")),
        Command::Artifacts { action } => artifact(&config, action).await,
        Command::Healthcheck => healthcheck::run(&config).await,
    }
}

fn load(settings: Settings) -> Result<Config, Failure> {
    let mut sources = Sources::process();
    if let Some(path) = settings.config {
        sources.set("RAGBOARD_CONFIG", path);
    }
    if let Some(address) = settings.listen {
        sources.set("RAGBOARD_LISTEN", address);
    }
    if let Some(folder) = settings.data_dir {
        sources.set("RAGBOARD_DATA_DIR", folder);
    }
    if let Some(url) = settings.database_url {
        sources.set("DATABASE_URL", url);
    }
    Config::load(&sources).map_err(|problems| Failure::new(problems.to_string()))
}

/// Writes a result.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    stdout().write_all(text.as_bytes()).map_err(Failure::while_doing("write the result"))
}

async fn artifact(config: &Config, action: ArtifactAction) -> Result<(), Failure> {
    let named = |name: String| {
        artifacts::Artifact::by_name(&name).ok_or_else(|| {
            Failure::new(format!("There is no artifact {name}")).hint("Known are postgres, graphiql and model.")
        })
    };
    let cache_dir = &config.local.cache_dir;
    match action {
        ArtifactAction::Fetch { name } => {
            let which = name.map(named).transpose()?;
            artifacts::command::fetch(which, cache_dir, &mut stdout()).await
        }
        ArtifactAction::List => artifacts::command::list(cache_dir, &mut stdout()),
        ArtifactAction::Path { name } => artifacts::command::path(named(name)?, cache_dir, &mut stdout()),
    }
}
