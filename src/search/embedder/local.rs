//! A sentence model of the BERT family, computed here, from a folder as sentence-transformers writes it.
//!
//! The computation runs on threads of its own (`pool.rs`): it is the dearest step of a search, and requests must not wait
//! behind it. What the folder may hold says `folder.rs`.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use async_trait::async_trait;

use super::{
    bert::Bert,
    folder::{self, Description, unusable},
    pool::Pool,
    tokens::ModelTokenizer,
};
use crate::domain::{Embedder, Purpose, Result};

/// How much of the machine a model may have.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// Threads that compute.
    pub count: NonZeroUsize,
    /// Texts that may wait for them, queries and passages each for themselves.
    pub queue: usize,
}

impl Threads {
    /// One less than the machine has cores, and at least one: requests and the database want some of it too.
    #[must_use]
    pub fn of_this_machine() -> NonZeroUsize {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(cores.saturating_sub(1)).unwrap_or(NonZeroUsize::MIN)
    }
}

/// The model, ready to embed.
pub struct LocalEmbedder {
    name: String,
    description: Description,
    tokenizer: Arc<ModelTokenizer>,
    pool: Pool,
}

impl LocalEmbedder {
    /// Reads the model under the name that its vectors are kept with. Blocks for as long as the file takes: some tenths of a
    /// second, and about as much memory as the file is large.
    ///
    /// # Errors
    /// `InvalidArgument` with a sentence for the operator when the folder holds no model that can be computed, `Internal` when
    /// the system gives no thread.
    pub fn open(name: &str, folder: &Path, threads: Threads) -> Result<Self> {
        let (bert, description) = folder::read(folder)?;
        let tokenizer = Arc::new(ModelTokenizer::open(folder, description.max_tokens)?);
        if tokenizer.vocabulary() > bert.vocabulary() {
            return Err(unusable(folder, "tokenizer.json belongs to another model: it has more tokens"));
        }
        let (queries, passages) = (description.query_prefix.clone(), description.passage_prefix.clone());
        let rules = Arc::clone(&tokenizer);
        let work = move |texts: &[String], purpose: Purpose| {
            let prefix = match purpose {
                Purpose::Query => &queries,
                Purpose::Passage => &passages,
            };
            if prefix.is_empty() {
                return embed(&bert, &rules, texts);
            }
            let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
            embed(&bert, &rules, &texts)
        };
        let pool = Pool::start(threads.count, threads.queue, Arc::new(work))?;
        Ok(LocalEmbedder { name: name.to_owned(), description, tokenizer, pool })
    }

    /// How this model cuts texts.
    #[must_use]
    pub fn tokenizer(&self) -> Arc<ModelTokenizer> {
        Arc::clone(&self.tokenizer)
    }
}

fn embed(bert: &Bert, rules: &ModelTokenizer, texts: &[String]) -> Result<Vec<Result<Vec<f32>>>> {
    bert.embed(&texts.iter().map(|text| rules.ids(text)).collect::<Result<Vec<_>>>()?)
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn model(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.description.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.description.max_tokens
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        self.pool.run(texts, purpose).await
    }
}
