//! `ragboard read-only`: switches all gateways of a database to reading only while they run, and back.

use clap::Subcommand;

use super::{Failure, cli::print, database::Database};
use crate::{config::Config, domain::ports::ReadOnlyMode, store::Store};

/// What to do.
#[derive(Subcommand, Clone, Copy)]
pub(super) enum Action {
    /// Refuse writes from now on, on all gateways of the database.
    On,
    /// Take writes again.
    Off,
    /// Print whether writes are refused, for whatever reason.
    Status,
}

pub(super) async fn run(config: &Config, action: Action) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = act(config, &database, action).await;
    database.release().await?;
    print(outcome?)
}

async fn act(config: &Config, database: &Database, action: Action) -> Result<&'static str, Failure> {
    let store = Store::connect(&database.url, &config.database).await?;
    match action {
        Action::On => store.set_read_only(true).await?,
        Action::Off => store.set_read_only(false).await?,
        Action::Status => {}
    }
    Ok(if store.refuses_writes().await? { "Writes are refused.\n" } else { "Writes are taken.\n" })
}
