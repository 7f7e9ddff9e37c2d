//! The GraphQL schema: what clients see. One file per noun; resolvers decode ids, ask a loader or a service, and no more.
//!
//! [`Api::new`] builds the schema with nothing connected, so the SDL needs no database; [`Api::answer`] answers a request of
//! a [`Session`]. Mutations have a folder of their own; subscriptions are `subscription.rs`, and run by [`Api::stream`].

mod activity;
mod admission;
mod answer;
mod api_key;
mod board;
mod budget;
mod chat;
mod chunk;
mod error;
mod event;
mod folder;
mod job;
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
mod text;
mod user;
mod wire;

use std::sync::Arc;

use async_graphql::{Request, Response, Schema};
use futures_util::{StreamExt, stream, stream::BoxStream};

pub use answer::Answer;
pub use budget::Budget;
pub use error::{refusal, refused};
pub use mutation::Mutation;
pub use query::Query;
pub use scope::Session;
pub use subscription::Subscription;
pub use wire::Wire;

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
        let builder = Schema::build(Query, Mutation::default(), Subscription);
        // Who may not ask for the schema is not told either what its names are like.
        let builder = if introspection { builder } else { builder.disable_introspection().disable_suggestions() };
        Api { schema: builder.finish(), limits }
    }

    /// Whether a document would be admitted, with nothing run. For tests and fuzzing of the admission.
    ///
    /// # Errors
    /// `InvalidDocument` where it cannot be read, `CostExceeded` where it asks for more than it may.
    pub fn check(&self, request: Request) -> domain::Result<()> {
        admission::admit(request, &self.limits).map(drop)
    }

    /// Answers one request, from memory if its answer is there and still true. Every error of an answer has a code.
    pub async fn answer(&self, session: Arc<Session>, request: Request) -> Answer {
        session.services.count_call(&session.viewer);
        let key = answer::key(&session.viewer, &request);
        if let Some(body) = key.and_then(|key| session.loaders.kept_answer(&key)) {
            return Answer { body, ran: true };
        }
        let mut request = match admission::admit(request, &self.limits) {
            Ok(request) => request,
            Err(error) => return refusal(&error),
        };
        if let Err(error) = check_writable(&session, &mut request) {
            return refusal(&error);
        }
        let is_kept = request.parsed_query().is_ok_and(answer::is_kept);
        let is_mutation = request.parsed_query().is_ok_and(answer::writes);
        let (loaders, budget) = (Arc::clone(&session.loaders), Arc::clone(&session.budget));
        // tokio would interrupt a level of the query after 128 steps, and cut in two what the loaders ask for together.
        let execution = tokio::task::unconstrained(self.schema.execute(request.data(session)));
        let response = error::settle(execution.await);
        let is_whole = response.is_ok();
        let answer = Answer::within(response, &budget, is_mutation);
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
        match admission::admit(request, &self.limits) {
            Ok(mut request) => {
                if let Err(error) = check_writable(&session, &mut request) {
                    return refuse(error);
                }
                let schema = self.schema.clone();
                // A socket is older than its operations: who opened it may have lost the right to, meanwhile.
                let begin = async move {
                    match session.again().await {
                        Ok(session) => {
                            let budget = Arc::clone(&session.budget);
                            let settle = move |response| {
                                let exceeded = budget.is_exceeded().then(|| budget.exceeded());
                                budget.renew();
                                exceeded.map_or_else(|| error::settle(response), |error| refused(&error))
                            };
                            schema.execute_stream(request.data(session)).map(settle).boxed()
                        }
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
