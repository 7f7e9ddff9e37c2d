//! A server of embeddings that speaks OpenAI's protocol: OpenAI itself, Ollama, vLLM, Text Embeddings Inference and others.
//!
//! Long calls go in several requests, one after the other. What may work the next time is tried again, later each time; when
//! the server says how long it wants to be left alone, all calls of this process leave it alone. A query is given up sooner than
//! passages, because somebody waits for it. How it is sent (addresses, credentials, bounds) is behind the port `Post`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::RngExt;
use tokio::time::Instant;

use super::answer;
use crate::domain::{Code, Embedder, Error, Post, Posted, Purpose, Result};

/// The first wait before another attempt; each further one is twice as long. Half of it to all of it by chance, so that many
/// processes do not come back at the same moment.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Nobody is left alone for longer, whatever the server says.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How often and how long it is tried.
struct Patience {
    attempts: u32,
    /// Waits that are longer are not made: the call is given up at once.
    longest_wait: Duration,
}

impl Patience {
    const fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Query => Patience { attempts: 2, longest_wait: Duration::from_secs(2) },
            Purpose::Passage => Patience { attempts: 5, longest_wait: Duration::from_secs(60) },
        }
    }
}

/// What is known of the server's model.
#[derive(Clone, Debug)]
pub struct HttpModel {
    /// Its name there, and with the vectors.
    pub name: String,
    /// Length of its vectors, 1 to 16,000.
    pub dimensions: usize,
    /// Whether the server is told `dimensions`.
    pub ask_dimensions: bool,
    /// Tokens of one text that it reads.
    pub max_tokens: usize,
    /// Put before queries, with a space; empty: nothing.
    pub query_prefix: String,
    /// Put before passages, with a space; empty: nothing.
    pub passage_prefix: String,
    /// Texts in one request, at least 1.
    pub batch: usize,
}

/// See the top of the file.
pub struct HttpEmbedder {
    model: HttpModel,
    server: Arc<dyn Post>,
    /// Until when the server wants to be left alone.
    pause: Mutex<Option<Instant>>,
}

/// How an attempt ended that was no success.
struct Failed {
    error: Error,
    /// Whether the next may end otherwise.
    passing: bool,
}

impl HttpEmbedder {
    /// Nothing is asked yet: a server may be started after this process.
    #[must_use]
    pub fn new(model: HttpModel, server: Arc<dyn Post>) -> Self {
        HttpEmbedder { model, server, pause: Mutex::new(None) }
    }

    /// How large an answer to one request may be, in bytes, for whoever makes the port.
    #[must_use]
    pub fn max_answer_bytes(model: &HttpModel) -> usize {
        answer::max_bytes(model.batch, model.dimensions)
    }

    async fn ask(&self, texts: &[String], patience: &Patience) -> Result<Vec<Vec<f32>>> {
        let dimensions = self.model.ask_dimensions.then_some(self.model.dimensions);
        let body = answer::request(&self.model.name, texts, dimensions)?;
        let mut wait = FIRST_WAIT;
        let mut left = patience.attempts;
        loop {
            self.leave_alone(patience).await?;
            left -= 1;
            let failed = match self.attempt(&body, texts.len()).await {
                Ok(vectors) => return Ok(vectors),
                Err(failed) => failed,
            };
            if !failed.passing || left == 0 {
                return Err(failed.error);
            }
            tracing::debug!(cause = ?failed.error.cause(), "Asking the server of embeddings again");
            // A pause that the server asked for is waited for at the top of the loop instead.
            if !self.is_paused() {
                let part = rand::rng().random_range(0.5..=1.0);
                tokio::time::sleep(wait.mul_f64(part)).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    async fn attempt(&self, body: &[u8], texts: usize) -> Result<Vec<Vec<f32>>, Failed> {
        let posted = self.server.post(body.to_vec()).await.map_err(|error| match error.code() {
            Code::Overloaded => Failed { error: too_busy("no answer", error.cause()), passing: true },
            Code::Timeout => {
                let error = Error::new(Code::Timeout, "The server of embeddings did not answer in time");
                Failed { error, passing: true }
            }
            // What is wrong with the address is the operator's business, not the client's.
            _ => Failed { error: Error::internal(error), passing: false },
        })?;
        match posted.status {
            200 => answer::vectors(&posted.body, texts, self.model.dimensions)
                .map_err(|error| Failed { error, passing: false }),
            429 | 503 => {
                self.pause_for(posted.retry_after);
                Err(Failed { error: too_busy(&describe(&posted), None), passing: true })
            }
            // The server has trouble of its own: that says nothing about the texts.
            408 | 500.. => Err(Failed { error: too_busy(&describe(&posted), None), passing: true }),
            _ => Err(Failed { error: Error::internal(describe(&posted)), passing: false }),
        }
    }

    /// Waits until the server may be asked again, or says that this takes too long.
    async fn leave_alone(&self, patience: &Patience) -> Result<()> {
        // Somebody else may have been told to wait longer meanwhile.
        while let Some(until) = self.paused_until() {
            if until.saturating_duration_since(Instant::now()) > patience.longest_wait {
                return Err(too_busy("it wants to be left alone for longer than this call may wait", None));
            }
            tokio::time::sleep_until(until).await;
        }
        Ok(())
    }

    fn paused_until(&self) -> Option<Instant> {
        let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.filter(|until| *until > Instant::now())
    }

    fn is_paused(&self) -> bool {
        self.paused_until().is_some()
    }

    fn pause_for(&self, time: Option<Duration>) {
        let Some(time) = time else { return };
        let until = Instant::now() + time.min(LONGEST_PAUSE);
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = (*pause).max(Some(until));
    }
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn model(&self) -> &str {
        &self.model.name
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.model.max_tokens
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        let prefix = match purpose {
            Purpose::Query => self.model.query_prefix.trim_end(),
            Purpose::Passage => self.model.passage_prefix.trim_end(),
        };
        let patience = Patience::of(purpose);
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.model.batch.max(1)) {
            let found = if prefix.is_empty() {
                self.ask(batch, &patience).await?
            } else {
                let batch: Vec<String> = batch.iter().map(|text| format!("{prefix} {text}")).collect();
                self.ask(&batch, &patience).await?
            };
            vectors.extend(found);
        }
        Ok(vectors)
    }
}

fn too_busy(why: &str, cause: Option<&(dyn std::error::Error + Send + Sync + 'static)>) -> Error {
    let cause = cause.map_or_else(|| why.to_owned(), |cause| format!("{why}: {cause}"));
    Error::caused(Code::Overloaded, "The server of embeddings has no capacity at the moment; try again", cause)
}

/// What went wrong, for the log: the status, and the code of the error if it looks like one. Messages are left out, because
/// servers put keys and texts into them.
fn describe(posted: &Posted) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Detail,
    }
    #[derive(serde::Deserialize)]
    struct Detail {
        code: Option<String>,
        r#type: Option<String>,
    }
    let body: Option<Body> = serde_json::from_slice(&posted.body).ok();
    let plain = |code: &String| code.len() <= 64 && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let code = body.and_then(|body| body.error.code.filter(plain).or_else(|| body.error.r#type.filter(plain)));
    match code {
        Some(code) => format!("the server of embeddings answered {}, {code}", posted.status),
        None => format!("the server of embeddings answered {}", posted.status),
    }
}
