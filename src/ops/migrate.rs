//! `ragboard migrate`: looks at the migrations of the database, and runs them.

use clap::Subcommand;

use super::{Failure, cli::print, database::Database};
use crate::{
    config::Config,
    store::migrations::{self, Direction},
};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Action {
    /// Apply all that are missing.
    Up,
    /// Take back the last ones. Data in what they made is lost.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1)]
        steps: usize,
    },
    /// List all, with their state.
    Status,
    /// Take back the last one and apply it again. Data in what it made is lost.
    Redo,
}

pub(super) async fn run(config: &Config, action: Action) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = act(&database, action).await;
    database.release().await?;
    print(&outcome?)
}

async fn act(database: &Database, action: Action) -> Result<String, Failure> {
    let (direction, verb) = match action {
        Action::Status => {
            let states = migrations::status(&database.url).await?;
            let line = |state: &migrations::MigrationState| {
                format!("{}  {}\n", if state.is_applied { "applied" } else { "missing" }, state.name)
            };
            return Ok(states.iter().map(line).collect());
        }
        Action::Up => (Direction::Up, "applied"),
        Action::Down { steps } => (Direction::Down(steps), "taken back"),
        Action::Redo => (Direction::Redo, "applied again"),
    };
    let names = migrations::run(&database.url, direction).await?;
    if names.is_empty() {
        return Ok("nothing to do\n".into());
    }
    Ok(names.iter().map(|name| format!("{verb}  {name}\n")).collect())
}
