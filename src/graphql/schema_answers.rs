//! Answers about the schema itself. They depend on nobody and on no data, so each document is run once, however many ask for
//! it at the same moment, and whatever they say about caches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::Answer;
use crate::domain::AnswerKey;

/// Documents whose answers are kept. A client library or a tool has one.
const MOST: usize = 32;
/// A longer answer is not kept, in bytes.
const MOST_BYTES: usize = 1 << 20;

type Cell = Arc<OnceCell<Answer>>;

/// The answers that are kept.
#[derive(Default)]
pub(super) struct SchemaAnswers(Mutex<HashMap<AnswerKey, Cell>>);

impl SchemaAnswers {
    /// The answer under a key, if it is made.
    pub(super) fn made(&self, key: &AnswerKey) -> Option<Answer> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(key).and_then(|cell| cell.get().cloned())
    }

    /// The answer under a key; the first who asks makes it. `make` says whether the answer may be kept.
    pub(super) async fn get(&self, key: AnswerKey, make: impl Future<Output = (Answer, bool)>) -> Answer {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if cells.len() >= MOST && !cells.contains_key(&key) {
                cells.clear();
            }
            Arc::clone(cells.entry(key).or_default())
        };
        let made = cell.get_or_try_init(|| async move {
            match make.await {
                (answer, true) if answer.body.len() <= MOST_BYTES => Ok(answer),
                (answer, _) => Err(answer),
            }
        });
        match made.await {
            Ok(answer) => answer.clone(),
            Err(answer) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_asks_at_the_same_moment_is_answered_by_one_run() {
        let (answers, runs) = (SchemaAnswers::default(), AtomicUsize::new(0));
        let make = |kept| {
            let runs = &runs;
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                (Answer { body: Bytes::from_static(b"{}"), ran: true }, kept)
            }
        };
        assert!(answers.made(&AnswerKey([1; 32])).is_none());
        join_all((0..64).map(|_| answers.get(AnswerKey([1; 32]), make(true)))).await;
        assert!(answers.made(&AnswerKey([1; 32])).is_some());
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        for _ in 0..2 {
            answers.get(AnswerKey([2; 32]), make(false)).await;
        }
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        for number in 0..=u8::MAX {
            answers.get(AnswerKey([number; 32]), make(true)).await;
        }
        assert!(answers.0.lock().unwrap().len() <= MOST);
    }
}
