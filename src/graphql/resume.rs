//! Operations as streams, and what becomes of a subscription whose event cannot be answered.
//!
//! An event is told whole or not at all. Where an answer has an error that is the server's own, the subscription is run again
//! from behind the last event that was told, a few times; then the stream ends with [`Err`], and whoever carries it makes the
//! client come back. What is followed, and who may, is decided in `subscription.rs`.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{Context, Request, Response, Value, Variables};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Api, ApiSchema, Session, admission, answer, check_writable, error, panicked, refused};
use crate::{
    config::LimitsConfig,
    domain::{Code, Error, Result},
};

/// How often a subscription is run again after a failure before its client has to come back.
const MOST_TRIES: u32 = 6;
/// How long to wait before the first new try; each further one waits twice as long, about 6 s together.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Codes of errors that are the server's and not the client's.
const OF_THE_SERVER: [Code; 3] = [Code::Overloaded, Code::Timeout, Code::Internal];

/// How far the fields of one subscription have come: kept while it is run again.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<String, Place>>>);

#[derive(Clone, Copy, Default)]
struct Place {
    /// The version that is being answered.
    offered: Option<i64>,
    /// The last version whose answer was handed on.
    told: Option<i64>,
}

impl Places {
    /// Those of the operation that runs.
    pub(super) fn of(ctx: &Context<'_>) -> Places {
        ctx.data_opt::<Places>().cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where a field begins, if it was not told anything yet.
    pub(super) fn begin(&self, field: &str, version: i64) {
        let mut places = self.lock();
        let place = places.entry(field.to_owned()).or_default();
        place.told = place.told.or(Some(version));
    }

    /// Notes which version a field answers next.
    pub(super) fn offer(&self, field: &str, version: i64) {
        self.lock().entry(field.to_owned()).or_default().offered = Some(version);
    }

    /// The version after which a field goes on, if it began before.
    pub(super) fn told(&self, field: &str) -> Option<i64> {
        self.lock().get(field).and_then(|place| place.told)
    }

    /// Notes that an answer is handed on.
    fn answered(&self, response: &Response) {
        let Value::Object(fields) = &response.data else { return };
        let mut places = self.lock();
        for field in fields.keys() {
            if let Some(place) = places.get_mut(field.as_str()) {
                place.told = place.offered.take().or(place.told);
            }
        }
    }
}

/// What was asked, to be asked again.
struct Asked {
    query: String,
    operation_name: Option<String>,
    /// In JSON: what is made of it takes many times as much, and is there already while the subscription runs.
    variables: Vec<u8>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Asked {
            query: request.query.clone(),
            operation_name: request.operation_name.clone(),
            // They came as JSON, so they have that form.
            variables: serde_json::to_vec(&request.variables).unwrap_or_default(),
        }
    }

    fn request(&self) -> Request {
        let variables: Variables = serde_json::from_slice(&self.variables).unwrap_or_default();
        let mut request = Request::new(self.query.clone()).variables(variables);
        request.operation_name.clone_from(&self.operation_name);
        request
    }
}

impl Api {
    /// What the client of an operation is told that was not done in time.
    #[must_use]
    pub fn late() -> Error {
        Error::new(Code::Timeout, "Answering took longer than it may; ask for less")
    }

    /// Runs one operation as a stream: a subscription with a response for each event, anything else with one, by the
    /// deadline. An error is the last item of a subscription that the server could not go on with: its client has to
    /// come back, from where it was.
    pub fn stream(
        &self,
        session: Arc<Session>,
        request: Request,
        deadline: Instant,
    ) -> BoxStream<'static, Result<Response>> {
        session.services.count_call(&session.viewer);
        let refuse = |error| stream::iter([Ok(refused(&error))]).boxed();
        let mut request = match admission::admit(request, &self.limits) {
            Ok(request) => request,
            Err(error) => return refuse(error),
        };
        if let Err(error) = check_writable(&session, &mut request) {
            return refuse(error);
        }
        let name = request.operation_name.clone();
        let follows = request.parsed_query().is_ok_and(|document| answer::follows(document, name.as_deref()));
        let schema = self.schema.clone();
        if !follows {
            let mut answers = begin(schema, session, request);
            let answered = async move {
                let answered = timeout_at(deadline, answers.next()).await;
                answered.unwrap_or_else(|_| Some(refused(&Api::late()))).map(Ok::<_, Error>)
            };
            return stream::once(answered).filter_map(std::future::ready).boxed();
        }
        let asked = Asked::of(&request);
        let places = Places::default();
        let running = begin(schema.clone(), Arc::clone(&session), request.data(places.clone()));
        let following = Following { schema, limits: self.limits.clone(), session, asked, places, running, failures: 0 };
        stream::unfold(Some(following), |following| async { following?.next().await }).boxed()
    }
}

/// Runs an operation. A socket is older than its operations: who opened it may have lost the right to, meanwhile.
fn begin(schema: ApiSchema, session: Arc<Session>, request: Request) -> BoxStream<'static, Response> {
    let begin = async move {
        match session.again().await {
            Ok(session) => {
                let budget = Arc::clone(&session.budget);
                // Each event has a budget of its own.
                let settle = move |response: std::thread::Result<Response>| {
                    let exceeded = budget.is_exceeded().then(|| budget.exceeded());
                    budget.renew();
                    let response = response.unwrap_or_else(|_| panicked());
                    exceeded.map_or_else(|| error::settle(response), |error| refused(&error))
                };
                AssertUnwindSafe(schema.execute_stream(request.data(session))).catch_unwind().map(settle).boxed()
            }
            Err(error) => stream::iter([refused(&error)]).boxed(),
        }
    };
    stream::once(begin).flatten().boxed()
}

/// A subscription that runs.
struct Following {
    schema: ApiSchema,
    limits: LimitsConfig,
    session: Arc<Session>,
    asked: Asked,
    places: Places,
    running: BoxStream<'static, Response>,
    /// How often it was run again since the last event that was told.
    failures: u32,
}

impl Following {
    /// The next item, and what goes on after it.
    async fn next(mut self) -> Option<(Result<Response>, Option<Self>)> {
        loop {
            let response = self.running.next().await?;
            let Some(code) = of_the_server(&response) else {
                self.failures = 0;
                self.places.answered(&response);
                return Some((Ok(response), Some(self)));
            };
            if self.failures == MOST_TRIES {
                let message = "An event cannot be told at the moment: follow again, from the cursor of the last event";
                tracing::debug!(code = code.as_str(), "A subscriber has to come back");
                return Some((Err(Error::new(Code::Overloaded, message)), None));
            }
            let wait = FIRST_WAIT * 2_u32.pow(self.failures);
            self.failures += 1;
            // What it held (places in the feed, rows that were read) is free while it waits.
            self.running = stream::empty().boxed();
            // Not all at the same moment: what one of them could not read, others could not, either.
            sleep(wait.mul_f64(rand::random_range(0.5..1.5))).await;
            self.running = match admission::admit(self.asked.request(), &self.limits) {
                Ok(request) => {
                    let request = request.data(self.places.clone());
                    begin(self.schema.clone(), Arc::clone(&self.session), request)
                }
                Err(error) => stream::iter([refused(&error)]).boxed(),
            };
        }
    }
}

/// The code of the first error of a response that is the server's.
fn of_the_server(response: &Response) -> Option<Code> {
    response.errors.iter().find_map(|error| {
        let Some(Value::String(code)) = error.extensions.as_ref()?.get("code") else { return None };
        OF_THE_SERVER.into_iter().find(|known| known.as_str() == code)
    })
}
