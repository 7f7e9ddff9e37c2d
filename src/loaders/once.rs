//! What an operation asks for under many names and is read once. For what is asked of a service, key by key; what a port
//! answers for many keys at once is loaded by `batch.rs`.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::domain::Result;

type Cell<V> = Arc<OnceCell<Result<V>>>;

/// Answers by key.
pub(super) struct Once<K, V>(Mutex<HashMap<K, Cell<V>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Once(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Once<K, V> {
    /// The answer to a key; the first who asks reads it.
    pub(super) async fn get(&self, key: K, read: impl Future<Output = Result<V>>) -> Result<V> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        cell.get_or_init(|| read).await.clone()
    }
}
