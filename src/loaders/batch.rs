//! The batch function of the `dataloader` crate over a port: many keys in, every key answered.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use dataloader::BatchFn;
use futures_util::future::BoxFuture;

use crate::domain::{Error, Result, ports::Reads};

/// Asks a port for the answers to keys, in their order.
pub(super) type Read<K, V> = fn(Arc<dyn Reads>, Vec<K>) -> BoxFuture<'static, Result<Vec<V>>>;

pub(super) struct Batch<K, V> {
    reads: Arc<dyn Reads>,
    read: Read<K, V>,
}

impl<K, V> Batch<K, V> {
    pub(super) fn new(reads: Arc<dyn Reads>, read: Read<K, V>) -> Self {
        Batch { reads, read }
    }
}

impl<K, V> BatchFn<K, Result<V>> for Batch<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    async fn load(&mut self, keys: &[K]) -> HashMap<K, Result<V>> {
        match (self.read)(Arc::clone(&self.reads), keys.to_vec()).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let unanswered = || Err(Error::internal("a port did not answer every key"));
                keys.iter().map(|key| (key.clone(), answers.next().map_or_else(unanswered, Ok))).collect()
            }
            Err(error) => keys.iter().map(|key| (key.clone(), Err(error.clone()))).collect(),
        }
    }
}
