//! The GraphQL schema: what clients see. One file per noun; resolvers decode ids, ask a loader or a service, and no more.
//!
//! [`Api::new`] builds the schema with nothing connected, so the SDL needs no database; [`Api::answer`] answers a request of
//! a [`Session`]. Mutations have a folder of their own; subscriptions are `subscription.rs`, and run by [`Api::stream`] (`resume.rs`).

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
mod numbers;
mod page;
mod presence;
mod query;
mod quota;
mod resource;
mod resume;
mod rows;
mod scalar;
mod schema_answers;
mod scope;
mod search;
mod service;
mod session;
mod sharing;
mod subscription;
mod text;
mod user;
mod wire;

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Request, Response, Schema};
use futures_util::FutureExt;

pub use answer::Answer;
pub use budget::Budget;
pub use error::{refusal, refused};
pub use mutation::Mutation;
pub use numbers::note_numbers;
pub use query::Query;
pub use scope::Session;
pub use subscription::Subscription;
pub use wire::Wire;

use self::schema_answers::SchemaAnswers;
use crate::{
    config::LimitsConfig,
    domain::{self, Code, Error},
};

type ApiSchema = Schema<Query, Mutation, Subscription>;

/// The API: its schema, and what documents may ask for.
pub struct Api {
    schema: ApiSchema,
    limits: LimitsConfig,
    about_schema: SchemaAnswers,
}

impl Api {
    /// Builds the API with nothing connected; `introspection` says whether clients may ask for the schema.
    #[must_use]
    pub fn new(limits: LimitsConfig, introspection: bool) -> Self {
        let builder = Schema::build(Query, Mutation::default(), Subscription);
        // Who may not ask for the schema is not told either what its names are like.
        let builder = if introspection { builder } else { builder.disable_introspection().disable_suggestions() };
        Api { schema: builder.finish(), limits, about_schema: SchemaAnswers::default() }
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
        // Before the request is taken apart: what is kept for everybody is found by exactly what was asked.
        let about_schema = answer::key_of_all(&request);
        if let Some(answer) = about_schema.as_ref().and_then(|key| self.about_schema.made(key)) {
            return answer;
        }
        let mut request = match admission::admit(request, &self.limits) {
            Ok(request) => request,
            Err(error) => return refusal(&error),
        };
        if let Err(error) = check_writable(&session, &mut request) {
            return refusal(&error);
        }
        if request.parsed_query().is_ok_and(answer::is_about_schema) {
            let budget = Arc::clone(&session.budget);
            let run = async {
                let response = error::settle(execute(&self.schema, request.data(session)).await);
                let is_whole = response.is_ok();
                let answer = Answer::within(response, &budget, false);
                let is_kept = is_whole && answer.ran;
                (answer, is_kept)
            };
            return match about_schema {
                Some(key) => self.about_schema.get(key, run).await,
                None => run.await.0,
            };
        }
        let is_kept = request.parsed_query().is_ok_and(answer::is_kept);
        let is_mutation = request.parsed_query().is_ok_and(answer::writes);
        let (loaders, budget) = (Arc::clone(&session.loaders), Arc::clone(&session.budget));
        // tokio would interrupt a level of the query after 128 steps, and cut in two what the loaders ask for together.
        let execution = tokio::task::unconstrained(execute(&self.schema, request.data(session)));
        let response = error::settle(execution.await);
        let is_whole = response.is_ok();
        let answer = Answer::within(response, &budget, is_mutation);
        if let Some(key) = key.filter(|_| is_kept && is_whole) {
            loaders.keep_answer(key, &answer.body);
        }
        answer
    }
}

/// Runs one operation. Should it panic, the client gets an answer, and its connection and its neighbours live on.
async fn execute(schema: &ApiSchema, request: Request) -> Response {
    let execution = AssertUnwindSafe(schema.execute(request)).catch_unwind();
    execution.await.unwrap_or_else(|_| panicked())
}

fn panicked() -> Response {
    refused(&Error::internal("an operation panicked"))
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
