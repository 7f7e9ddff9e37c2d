//! `ragboard import`: a folder of files becomes a board. How is `import/`; here is only the command.

use std::path::PathBuf;

use clap::Args;

use super::{
    Failure,
    cli::print,
    database::Database,
    demo,
    import::{ImportOptions, ImportRequest, Source, import},
    token,
};
use crate::{
    config::{Config, Environment},
    store::Store,
};

/// What to import.
#[derive(Args)]
pub(super) struct ImportArgs {
    /// The folder.
    path: PathBuf,
    /// Name of the board; made if there is none, brought up to date if there is.
    #[arg(long)]
    board: String,
    /// Address of the owner; in development the demo account if not given.
    #[arg(long, value_name = "EMAIL")]
    owner: Option<String>,
    /// Let anyone read the board, if it is made.
    #[arg(long)]
    public: bool,
    /// Go on where the import would remove, empty or replace more than half of what earlier ones made, or finds nothing
    /// to import.
    #[arg(long)]
    allow_emptying: bool,
    /// Bring back what somebody deleted on the board, too.
    #[arg(long)]
    restore_deleted: bool,
    /// Write nothing, and print what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(config: &Config, args: ImportArgs) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = tokio::select! {
        outcome = act(config, &database, args) => outcome,
        // Dropping the work rolls back the slice that was being written.
        interrupted = tokio::signal::ctrl_c() => Err(match interrupted {
            Ok(()) => Failure::new("Interrupted").hint("What was written stays as it is. Import again for the rest."),
            Err(error) => Failure::new(format!("Cannot wait for Ctrl-C: {error}")),
        }),
    };
    database.release().await?;
    print(&format!("{}\n", outcome?.trim_end()))
}

async fn act(config: &Config, database: &Database, args: ImportArgs) -> Result<String, Failure> {
    let store = Store::connect(&database.url, &config.database).await?;
    let owner = match (&args.owner, config.environment) {
        (Some(email), _) => store.user_by_email(email).await?.ok_or_else(|| {
            Failure::new(format!("There is no account {email}"))
                .hint("In development, `ragboard token --create` makes one.")
        })?,
        (None, Environment::Development) => match store.user_by_email(demo::EMAIL).await? {
            Some(user) => user,
            None if args.dry_run => {
                return Err(Failure::new("There is no account to import for yet").hint("Import without --dry-run."));
            }
            None => token::ensure_account(&store, demo::EMAIL, demo::NAME).await?,
        },
        (None, _) => return Err(Failure::new("Say whose board it is: --owner EMAIL")),
    };
    let request = ImportRequest {
        source: Source::Folder(args.path),
        board_name: args.board,
        owner: owner.id,
        is_public: args.public,
        options: ImportOptions {
            allow_emptying: args.allow_emptying,
            restore_deleted: args.restore_deleted,
            dry_run: args.dry_run,
        },
    };
    Ok(import(&store, request, true).await?.to_string())
}
