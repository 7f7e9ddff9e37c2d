//! Demo content for a first start: an account, and the project's own documentation as its board.

use secrecy::SecretString;

use super::{
    Failure,
    import::{HANDBOOK, ImportOptions, ImportRequest, handbook, import},
    token,
};
use crate::app::App;

/// The demo account.
pub(super) const EMAIL: &str = "demo@ragboard.example";
/// Its name.
pub(super) const NAME: &str = "Demo";

/// What the start message tells.
pub(super) struct Demo {
    pub(super) email: &'static str,
    pub(super) token: SecretString,
}

/// Makes what is missing. A later start brings the handbook up to date with the program and changes nothing else.
pub(super) async fn ensure(app: &App) -> Result<Demo, Failure> {
    let user = match app.store.user_by_email(EMAIL).await? {
        Some(user) => user,
        None => token::ensure_account(&app.store, EMAIL, NAME).await?,
    };
    let token = app.issue_token(user.id, token::LIFETIME)?;
    let request = ImportRequest {
        source: handbook(),
        board_name: HANDBOOK.to_owned(),
        owner: user.id,
        is_public: false,
        // The pages are in the program: they cannot be missing by mistake, and a start does not fail for them.
        options: ImportOptions { allow_emptying: true, ..ImportOptions::default() },
    };
    import(&app.store, request, false).await?;
    Ok(Demo { email: EMAIL, token })
}
