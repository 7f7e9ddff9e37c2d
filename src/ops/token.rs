//! `ragboard token`: a token of an account, for development, and the secret that tokens are signed with.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, cli::print, database::Database, local_pg::unprivileged::create_open_dir};
use crate::{
    access::{SecretHasher, Tokens, secret_hash},
    config::{
        Config, Environment,
        auth::{MIN_SECRET_BYTES, is_short},
    },
    domain::User,
    store::Store,
};

/// The secret of a development server lies here, in the data folder.
const SECRET_FILE: &str = "jwt.secret";
/// How long a token of the command line is good.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whose token.
#[derive(Args)]
pub(super) struct TokenArgs {
    /// Address of the account.
    email: String,
    /// Make the account if there is none; in development only.
    #[arg(long)]
    create: bool,
}

pub(super) async fn run(config: &Config, args: TokenArgs) -> Result<(), Failure> {
    let database = Database::open(config).await?;
    let outcome = make(config, &database, &args).await;
    database.release().await?;
    print(&format!("{}\n", outcome?.expose_secret()))
}

async fn make(config: &Config, database: &Database, args: &TokenArgs) -> Result<SecretString, Failure> {
    let secret = jwt_secret(config)?.ok_or_else(|| {
        Failure::new("This server does not sign tokens: it takes those of RAGBOARD_JWKS_URL")
            .hint("Set RAGBOARD_JWT_SECRET to have it sign its own.")
    })?;
    let store = Store::connect(&database.url, &config.database).await?;
    let user = match (store.user_by_email(&args.email).await?, args.create) {
        (Some(user), _) => user,
        (None, true) if config.environment == Environment::Development => {
            let name = args.email.split('@').next().unwrap_or_default();
            ensure_account(&store, &args.email, name).await?
        }
        (None, true) => return Err(Failure::new("--create works in development only")),
        (None, false) => {
            return Err(
                Failure::new(format!("There is no account {}", args.email)).hint("In development, --create makes one.")
            );
        }
    };
    let tokens = Tokens::new(&config.auth.jwt_issuer, &config.auth.jwt_audience).with_secret(secret);
    Ok(tokens.issue(&user.id.to_string(), LIFETIME)?)
}

/// An account that nobody can sign in to with a password, because nobody knows it.
pub(super) async fn ensure_account(store: &Store, email: &str, name: &str) -> Result<User, Failure> {
    if !email.contains('@') || email.len() > 255 || email.contains(char::is_control) {
        return Err(Failure::new(format!("Not an e-mail address: {email:?}")));
    }
    let hash = SecretHasher::default().hash(&secret_hash::random_token("nobody")?).await?;
    Ok(store.ensure_user(email, name, &hash).await?)
}

/// The secret to sign with: that of the configuration, else, in development and with no published keys, one that is made
/// once and kept in the data folder.
pub(super) fn jwt_secret(config: &Config) -> Result<Option<SecretString>, Failure> {
    if let Some(secret) = &config.auth.jwt_secret {
        return Ok(Some(secret.clone()));
    }
    if config.auth.jwks_url.is_some() || config.environment.is_guarded() {
        return Ok(None);
    }
    kept_secret(&config.local.data_dir).map(Some)
}

fn kept_secret(data_dir: &Path) -> Result<SecretString, Failure> {
    let path = data_dir.join(SECRET_FILE);
    let failed = |error| Failure::new(format!("Cannot keep the signing secret in {}: {error}", path.display()));
    create_open_dir(data_dir).map_err(failed)?;
    let secret = secret_hash::random_token("jwt")?;
    // Written whole under another name and then linked: whoever comes second finds a whole file.
    let draft = data_dir.join(format!("{SECRET_FILE}.{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(secret.expose_secret().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let linked = fs::hard_link(&draft, &path);
    fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        _ => {
            let secret = fs::read_to_string(&path).map_err(failed)?;
            if !is_short(&secret) {
                return Ok(SecretString::from(secret));
            }
            // Not made anew unasked: it may have been put there by hand, and a key that changes unseen is worse than a stop.
            let message = format!(
                "The signing secret in {} is no secret: it has {} bytes, and not at least {MIN_SECRET_BYTES}",
                path.display(),
                secret.trim().len()
            );
            Err(Failure::new(message).hint(
                "Delete the file, then the next start makes another secret. Access tokens of before are refused from then on; \
                 who is signed in gets a new one by the refresh token, tokens of the command line have to be made again.",
            ))
        }
    }
}
