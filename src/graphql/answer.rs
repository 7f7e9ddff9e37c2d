//! Answers as they go out, and which of them may be used again.
//!
//! A query that reads boards and what lies on them always has the same answer while those boards and the viewer's account
//! are unchanged. Such an answer is kept as bytes and served again without parsing or running anything, after the one
//! question whether all that it rests on is as it was (`ports::Views`). Which root fields that holds for is said here;
//! everything that is not named is run each time.

use async_graphql::{
    Request, Response,
    parser::types::{ExecutableDocument, OperationType, Selection},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{budget::Budget, error::refusal, wire};
use crate::{
    access::Viewer,
    domain::{AnswerKey, Error},
};

/// Root fields that read nothing but the schema, accounts, boards and what lies on them.
const KEPT_ROOTS: &[&str] = &["__schema", "__type", "__typename", "board", "node", "nodes", "viewer"];

const INTERNAL: &[u8] = br#"{"data":null,"errors":[{"message":"Internal error","extensions":{"code":"INTERNAL"}}]}"#;

/// An answer as it goes out.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response in JSON.
    pub body: Bytes,
    /// Whether the document could run at all; errors in fields are answers too.
    pub ran: bool,
}

impl From<Response> for Answer {
    /// The answer, whatever its length: for responses that say little.
    fn from(response: Response) -> Self {
        Answer::written(&response, usize::MAX)
            .unwrap_or_else(|| Answer { body: Bytes::from_static(INTERNAL), ran: true })
    }
}

impl Answer {
    /// The answer of an operation that ran, if it is not larger than it may be. What a mutation did stays done, so its answer
    /// says that instead of refusing it.
    pub(super) fn within(response: Response, budget: &Budget, is_mutation: bool) -> Self {
        if budget.is_exceeded() && !is_mutation {
            return refusal(&budget.exceeded());
        }
        Answer::written(&response, budget.max_bytes()).unwrap_or_else(|| {
            let exceeded = budget.exceeded();
            let done = || Error::new(exceeded.code(), format!("The mutation is done, but cannot be shown: {exceeded}"));
            refusal(&if is_mutation { done() } else { exceeded })
        })
    }

    fn written(response: &Response, most: usize) -> Option<Self> {
        let could_not_run = response.is_err()
            && response.data == async_graphql::Value::Null
            && response.errors.iter().all(|error| error.path.is_empty());
        match wire::write(response, most) {
            Ok(body) => body.map(|body| Answer { body: body.into(), ran: !could_not_run }),
            Err(error) => {
                // Every value of the API has a form in JSON.
                tracing::error!(%error, "A response could not be written as JSON");
                Some(Answer { body: Bytes::from_static(INTERNAL), ran: true })
            }
        }
    }
}

/// What the answer to a request can be found by; `None` where it is never used again.
pub(super) fn key(viewer: &Viewer, request: &Request) -> Option<AnswerKey> {
    let (account, authority) = viewer.access_class()?;
    let mut hash = Sha256::new();
    match account {
        Some((user, stamp)) => {
            hash.update([1, authority as u8]);
            hash.update(user.0.as_bytes());
            hash.update(stamp.to_be_bytes());
        }
        None => hash.update([0]),
    }
    finish(hash, request)
}

/// What the answer to a request can be found by that is the same for everybody.
pub(super) fn key_of_all(request: &Request) -> Option<AnswerKey> {
    if !request.query.contains("__schema") && !request.query.contains("__type") {
        return None;
    }
    finish(Sha256::new_with_prefix([2]), request)
}

fn finish(mut hash: Sha256, request: &Request) -> Option<AnswerKey> {
    let variables = serde_json::to_vec(&request.variables).ok()?;
    let operation = request.operation_name.as_deref().unwrap_or_default();
    for part in [request.query.as_bytes(), operation.as_bytes(), &variables] {
        // With its length, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(AnswerKey(hash.finalize().into()))
}

/// Whether a document holds a mutation.
pub(super) fn writes(document: &ExecutableDocument) -> bool {
    document.operations.iter().any(|(_, operation)| operation.node.ty == OperationType::Mutation)
}

/// Whether a document only asks for the schema itself.
pub(super) fn is_about_schema(document: &ExecutableDocument) -> bool {
    asks_only_for(document, &["__schema", "__type", "__typename"])
}

/// Whether the operation of a document that is asked for is a subscription.
pub(super) fn follows(document: &ExecutableDocument, name: Option<&str>) -> bool {
    document.operations.iter().any(|(own, operation)| {
        let is_asked_for = name.is_none() || own.map(|own| own.as_str()) == name;
        is_asked_for && operation.node.ty == OperationType::Subscription
    })
}

/// Whether a document only asks for what its answer can be used again for.
pub(super) fn is_kept(document: &ExecutableDocument) -> bool {
    asks_only_for(document, KEPT_ROOTS)
}

fn asks_only_for(document: &ExecutableDocument, names: &[&str]) -> bool {
    document.operations.iter().all(|(_, operation)| {
        let roots = &operation.node.selection_set.node.items;
        operation.node.ty == OperationType::Query
            && roots.iter().all(
                |root| matches!(&root.node, Selection::Field(field) if names.contains(&field.node.name.node.as_str())),
            )
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use async_graphql::{Variables, parser::parse_query};
    use chrono::Utc;
    use serde_json::json;

    use super::*;
    use crate::domain::{ApiKey, ApiKeyId, ApiKeyScope, User, UserId};

    fn request(query: &str, variables: serde_json::Value) -> Request {
        Request::new(query).variables(Variables::from_json(variables))
    }

    #[test]
    fn keys_tell_requests_apart() {
        let of = |request: &Request| key(&Viewer::anonymous(), request).unwrap();
        let one = of(&request("{a}", json!({ "x": 1 })));
        assert_eq!(one, of(&request("{a}", json!({ "x": 1 }))));
        assert_ne!(one, of(&request("{a}", json!({ "x": 2 }))));
        assert_ne!(one, of(&request("{a }", json!({ "x": 1 }))));
        assert_ne!(one, of(&request("{a}", json!({ "x": 1 })).operation_name("Q")));
        assert_eq!(key(&Viewer::system("a test"), &request("{a}", json!({}))), None);
    }

    #[test]
    fn keys_tell_apart_how_far_a_credential_reaches() {
        let user = Arc::new(user());
        let request = request("{a}", json!({}));
        let in_person = Viewer::account(Arc::clone(&user)).unwrap();
        let mut keys = vec![key(&in_person, &request).unwrap()];
        for scope in ApiKeyScope::ALL {
            let viewer = Viewer::api_key(Arc::new(api_key(&user, *scope)), Arc::clone(&user)).unwrap();
            keys.push(key(&viewer, &request).unwrap());
        }
        let different: HashSet<_> = keys.iter().collect();
        assert_eq!((keys.len(), different.len()), (4, 4));
        let dead = ApiKey { revoked_at: Some(Utc::now()), ..api_key(&user, ApiKeyScope::Admin) };
        assert!(Viewer::api_key(Arc::new(dead), Arc::clone(&user)).is_none());
        let of_another = ApiKey { user_id: UserId::generate(), ..api_key(&user, ApiKeyScope::Admin) };
        assert!(Viewer::api_key(Arc::new(of_another), user).is_none());
    }

    fn user() -> User {
        User {
            id: UserId::generate(),
            email: "ada@example.org".to_owned(),
            email_verified: true,
            name: None,
            avatar_url: None,
            settings: json!({}),
            subscription_tier: "free".to_owned(),
            created_at: Utc::now(),
            updated_at: Utc::now(),
            last_login_at: None,
            is_active: true,
            stamp: 1,
        }
    }

    fn api_key(user: &User, scope: ApiKeyScope) -> ApiKey {
        ApiKey {
            id: ApiKeyId::generate(),
            user_id: user.id,
            name: "Key".to_owned(),
            digest: [0; 32],
            prefix: "rbk_".to_owned(),
            scope,
            created_at: Utc::now(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            stamp: 1,
        }
    }

    #[test]
    fn only_what_is_named_is_kept() {
        let is_kept = |query: &str| is_kept(&parse_query(query).unwrap());
        assert!(is_kept("{ board(id: \"1\") { boards { id } } node(id: \"2\") { id } __typename }"));
        assert!(!is_kept("{ boards { nodes { id } } }") && !is_kept("{ viewer { id } service { version } }"));
        assert!(!is_kept("{ ... on Query { viewer { id } } }") && !is_kept("mutation { node(id: \"1\") { id } }"));
        assert!(!is_kept("query A { viewer { id } } query B { sharedBoard(token: \"t\") { id } }"));
    }
}
