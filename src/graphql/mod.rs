//! The GraphQL schema: what clients see. One file per noun; resolvers decode ids, ask a loader or a service, and no more.
//!
//! [`Api::new`] builds the schema with nothing connected, so the SDL needs no database; [`Api::answer`] answers a request of
//! a [`Session`]. Mutations have a folder of their own; subscriptions are `subscription.rs`, and run by [`Api::stream`].

mod activity;
mod answer;
mod api_key;
mod board;
mod chat;
mod chunk;
mod error;
mod event;
mod folder;
mod job;
mod limits;
mod link;
mod mutation;
mod node;
mod node_list;
mod page;
mod presence;
mod query;
mod resource;
mod rows;
mod scalar;
mod scope;
mod search;
mod service;
mod sharing;
mod subscription;
mod user;

use std::sync::Arc;

use async_graphql::{Request, Response, Schema};
use futures_util::{StreamExt, stream, stream::BoxStream};

pub use answer::Answer;
pub use error::{refusal, refused};
pub use mutation::Mutation;
pub use query::Query;
pub use scope::Session;
pub use subscription::Subscription;

use crate::{
    config::LimitsConfig,
    domain::{self, Code, Error},
};

type ApiSchema = Schema<Query, Mutation, Subscription>;

/// The API: its schema, and what documents may ask for.
pub struct Api {
    schema: ApiSchema,
    limits: LimitsConfig,
}

impl Api {
    /// Builds the API with nothing connected; `introspection` says whether clients may ask for the schema.
    #[must_use]
    pub fn new(limits: LimitsConfig, introspection: bool) -> Self {
        let builder = Schema::build(Query, Mutation::default(), Subscription).limit_depth(limits.max_depth as usize);
        let schema = if introspection { builder.finish() } else { builder.disable_introspection().finish() };
        Api { schema, limits }
    }

    /// Answers one request, from memory if its answer is there and still true. Every error of an answer has a code.
    pub async fn answer(&self, session: Arc<Session>, request: Request) -> Answer {
        session.services.count_call(&session.viewer);
        let key = answer::key(&session.viewer, &request);
        if let Some(body) = key.and_then(|key| session.loaders.kept_answer(&key)) {
            return Answer { body, ran: true };
        }
        let mut request = match limits::admit(request, &self.limits) {
            Ok(request) => request,
            Err(error) => return refusal(&error),
        };
        if let Err(error) = check_writable(&session, &mut request) {
            return refusal(&error);
        }
        let is_kept = request.parsed_query().is_ok_and(answer::is_kept);
        let loaders = Arc::clone(&session.loaders);
        // tokio would interrupt a level of the query after 128 steps, and cut in two what the loaders ask for together.
        let execution = tokio::task::unconstrained(self.schema.execute(request.data(session)));
        let response = error::settle(execution.await);
        let is_whole = response.is_ok();
        let answer = Answer::from(response);
        if let Some(key) = key.filter(|_| is_kept && is_whole) {
            loaders.keep_answer(key, &answer.body);
        }
        answer
    }
}

impl Api {
    /// Runs one operation as a stream: a subscription with a response for each event, anything else with one.
    pub fn stream(&self, session: Arc<Session>, request: Request) -> BoxStream<'static, Response> {
        session.services.count_call(&session.viewer);
        let refuse = |error| stream::iter([refused(&error)]).boxed();
        match limits::admit(request, &self.limits) {
            Ok(mut request) => {
                if let Err(error) = check_writable(&session, &mut request) {
                    return refuse(error);
                }
                let schema = self.schema.clone();
                // A socket is older than its operations: who opened it may have lost the right to, meanwhile.
                let begin = async move {
                    match session.again().await {
                        Ok(session) => schema.execute_stream(request.data(session)).map(error::settle).boxed(),
                        Err(error) => refuse(error),
                    }
                };
                stream::once(begin).flatten().boxed()
            }
            Err(error) => refuse(error),
        }
    }
}

/// Refuses mutations where only reading is possible.
fn check_writable(session: &Session, request: &mut Request) -> domain::Result<()> {
    if !request.parsed_query().is_ok_and(answer::writes) {
        return Ok(());
    }
    if session.only_reads {
        return Err(Error::new(Code::InvalidDocument, "Send mutations by POST"));
    }
    session.services.check_writable()
}

/// The schema in its definition language: what `schema.graphql` holds.
#[must_use]
pub fn sdl() -> String {
    let sdl = Schema::build(Query, Mutation::default(), Subscription).finish().sdl();
    format!("{}\n", sdl.trim_end())
}
