//! The sentence model that the program fetches, opened once for the whole test run.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use ragboard::{
    ops::artifacts::{self, Artifact},
    search::embedder::{LocalEmbedder, Threads},
};
use tokio::sync::OnceCell;

use super::artifact_cache::cache_dir;

/// Its folder in the user's cache, fetched if it is not there.
pub(crate) async fn model_folder() -> PathBuf {
    artifacts::ensure(Artifact::Model, &cache_dir()).await.unwrap_or_else(|failure| panic!("the model: {failure}"))
}

/// The model itself.
pub(crate) async fn model() -> Arc<LocalEmbedder> {
    static MODEL: OnceCell<Arc<LocalEmbedder>> = OnceCell::const_new();
    let opened = MODEL.get_or_init(|| async {
        let folder = model_folder().await;
        let threads = Threads { count: NonZeroUsize::MIN, queue: 10_000 };
        let open = move || Arc::new(LocalEmbedder::open("all-MiniLM-L6-v2", &folder, threads).unwrap());
        tokio::task::spawn_blocking(open).await.unwrap()
    });
    Arc::clone(opened.await)
}

/// How near two vectors of unit length are.
pub(crate) fn cosine(one: &[f32], other: &[f32]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
