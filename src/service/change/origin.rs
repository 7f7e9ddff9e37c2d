//! Whose write it is, how far their credential reaches, and under which key the request is known. Every write begins here.

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::WriteOptions;
use crate::{
    access::{Authority, Viewer},
    domain::{BoardEdit, IdempotencyKey, Origin, Outcome, Refusal, Result},
    service::Services,
};

impl Services {
    /// The key of a request that carries a password, by which requests under one key are told apart as well. What is stored of
    /// it is as hard to guess as a stored password.
    ///
    /// # Errors
    /// Those of the hasher.
    pub(in crate::service) async fn with_password(
        &self,
        key: Option<IdempotencyKey>,
        password: Option<&SecretString>,
    ) -> Result<Option<IdempotencyKey>> {
        let (Some(key), Some(password)) = (&key, password) else { return Ok(key) };
        let mut salt = Sha256::new();
        for part in [key.principal.as_slice(), key.request.as_slice(), key.key.as_bytes()] {
            salt.update(part);
        }
        let request = self.shares.hasher().fingerprint(password, salt.finalize().into()).await?;
        Ok(Some(IdempotencyKey { request, has_secret: true, ..key.clone() }))
    }

    /// The options of a change that carries a password; see [`Services::with_password`].
    ///
    /// # Errors
    /// A refusal when the credential does not reach so far; those of the hasher.
    pub async fn options_with_password(
        &self,
        viewer: &Viewer,
        options: WriteOptions,
        password: &SecretString,
    ) -> Outcome<WriteOptions> {
        let key = origin(viewer, options.clone())?.idempotency;
        let key = self.with_password(key, Some(password)).await?;
        let request = key.map_or(options.request, |key| key.request);
        Ok(WriteOptions { request, has_secret: true, ..options })
    }
}

/// Whose write it is, if their credential reaches that far; every write begins with this. Keys are the caller's own: nobody
/// can ask for a result of somebody else.
pub(in crate::service) fn origin(viewer: &Viewer, options: WriteOptions) -> Result<Origin, Refusal> {
    let WriteOptions { client_mutation_id, idempotency_key, request, has_secret, authority, refusal } = options;
    reaches(viewer, authority)?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    for (field, value) in [("clientMutationId", &client_mutation_id), ("idempotencyKey", &idempotency_key)] {
        let fits = value.as_ref().is_none_or(|value| (1..=255).contains(&value.len()) && !value.contains('\0'));
        if !fits {
            return Err(Refusal::invalid(field, "From 1 to 255 bytes, without NUL"));
        }
    }
    let idempotency =
        idempotency_key.map(|key| IdempotencyKey { principal: viewer.principal(), key, request, has_secret });
    Ok(Origin { actor: viewer.user().map(|user| user.id), client_mutation_id, idempotency })
}

/// Whether the caller's credential reaches so far.
pub(super) fn reaches(viewer: &Viewer, needed: Authority) -> Result<(), Refusal> {
    if viewer.authority() >= needed {
        return Ok(());
    }
    let message = match needed {
        Authority::Full => "This cannot be done with an API key",
        Authority::Admin => "This takes an API key of the scope ADMIN",
        Authority::Read | Authority::Write => "This takes an API key of the scope WRITE",
    };
    Err(Refusal { path: Vec::new(), ..Refusal::forbidden("", message) })
}

/// Saying who sees a board is more than changing it.
pub(super) fn reaches_for_board(viewer: &Viewer, edit: &dyn BoardEdit) -> Result<(), Refusal> {
    if edit.is_for_owner() { reaches(viewer, Authority::Admin) } else { Ok(()) }
}
