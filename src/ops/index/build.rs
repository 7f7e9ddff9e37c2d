//! From one index to another without anybody noticing: the new one is built beside the old one, compared with it, and then the
//! old one is dropped, or the new one where it finds less. Whatever ends this early, searches have an index as before; what was
//! half built is dropped by whoever builds next.

use std::{fmt, time::Duration};

use super::Failure;
use crate::{
    domain::{Error, Generation, IndexBuild, IndexSpec, Measured, VectorIndex},
    search::vector_index::{Ground, Priority, choose, graph_bytes},
    store::{IndexSession, VectorIndexes},
};

/// How often it is asked how far a build is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// By how much the new index may find less than the old one; measuring is not exact either.
const TOLERANCE: f64 = 0.01;
/// What a server's own build may take: less than one that an operator watches.
const OWN_MEMORY: i64 = 1 << 30;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The index; `None` for none.
    pub spec: Option<IndexSpec>,
    /// Memory that building may take, in bytes.
    pub memory: i64,
    /// Processes of the database that help; `None` for as many as it allows.
    pub helpers: Option<u8>,
    /// Stored vectors by which old and new are compared; 0 for none.
    pub samples: u32,
    /// Whether the new one is taken even if it finds less.
    pub is_forced: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The new index.
    pub name: Option<String>,
    /// What those that were there found.
    pub before: Option<Measured>,
    /// What the new one finds.
    pub after: Option<Measured>,
    /// Those that were dropped, halves of interrupted builds included.
    pub dropped: Vec<String>,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recall = |measured: Option<Measured>| {
            measured.map_or_else(String::new, |measured| format!(", recall@10 {measured}"))
        };
        match &self.name {
            Some(name) => writeln!(f, "built    {name}{}", recall(self.after))?,
            None => writeln!(f, "no index is left: searches compare all vectors")?,
        }
        for name in &self.dropped {
            writeln!(f, "dropped  {name}")?;
        }
        if self.before.is_some() && self.name.is_some() {
            writeln!(f, "before it was{}", recall(self.before).trim_start_matches(','))?;
        }
        Ok(())
    }
}

/// Puts an index in place of those that are there; others than this program's stay.
///
/// # Errors
/// When somebody else works on the indexes of this generation, the new one finds less and that was not forced, or the database
/// fails. Searches have what they had before.
pub async fn rebuild(
    indexes: &VectorIndexes,
    generation: &Generation,
    wanted: Wanted,
    progress: impl FnMut(&IndexBuild),
) -> Result<Built, Failure> {
    let Some(session) = indexes.lock(generation).await? else {
        return Err(Failure::new("Somebody else works on the indexes of this generation at the moment")
            .hint("`ragboard index status` says how far they are."));
    };
    let built = rebuild_in(&session, indexes, generation, wanted, progress).await;
    session.end().await;
    built
}

async fn rebuild_in(
    session: &IndexSession,
    indexes: &VectorIndexes,
    generation: &Generation,
    wanted: Wanted,
    mut progress: impl FnMut(&IndexBuild),
) -> Result<Built, Failure> {
    let mut dropped = drop_halves(indexes, session, generation).await?;
    let old = indexes.of(generation).await?;
    let Some(spec) = wanted.spec else {
        dropped.extend(drop_all(session, &old).await?);
        return Ok(Built { name: None, before: None, after: None, dropped });
    };
    session.allow(wanted.memory, wanted.helpers).await?;
    let name = match build(session, indexes, generation, spec, &old, &mut progress).await {
        Err(error) if lacks_shared_memory(&error) && wanted.helpers != Some(0) => {
            tracing::warn!(
                "PostgreSQL's shared memory has no room for a build by several processes (docker: --shm-size); one builds alone"
            );
            dropped.extend(drop_halves(indexes, session, generation).await?);
            session.allow(wanted.memory, Some(0)).await?;
            build(session, indexes, generation, spec, &old, &mut progress).await?
        }
        built => built?,
    };
    let there = indexes.of(generation).await?;
    let Some(new) = there.iter().find(|index| index.name == name && index.is_valid) else {
        return Err(Failure::new(format!("PostgreSQL built {name}, and it cannot be used")));
    };
    let (before, after) = compare(session, &old, new, wanted.samples).await?;
    if let (Some(before), Some(after), false) = (before, after, wanted.is_forced)
        && after.share < before.share - TOLERANCE - 2.0 * after.error.hypot(before.error)
    {
        session.drop_index(new).await?;
        let message = format!("The new index finds less, recall@10 {after} and not {before}; the old one stays");
        return Err(Failure::new(message).hint("--force takes it all the same."));
    }
    dropped.extend(drop_all(session, &old).await?);
    Ok(Built { name: Some(name), before, after, dropped })
}

/// Builds one index, and tells now and then how far it is.
async fn build(
    session: &IndexSession,
    indexes: &VectorIndexes,
    generation: &Generation,
    spec: IndexSpec,
    old: &[VectorIndex],
    progress: &mut impl FnMut(&IndexBuild),
) -> crate::domain::Result<String> {
    let build = session.build(spec, old);
    tokio::pin!(build);
    loop {
        tokio::select! {
            built = &mut build => return built,
            () = tokio::time::sleep(LOOK_EVERY) => {
                // Not to know how far it is, is no reason to stop.
                let builds = indexes.builds().await.unwrap_or_default();
                builds.get(&generation.id.0).into_iter().flatten().for_each(&mut *progress);
            }
        }
    }
}

/// Whether a build failed because what its processes share did not fit into `/dev/shm`, of which containers have 64 MiB.
fn lacks_shared_memory(error: &Error) -> bool {
    error.cause().is_some_and(|cause| cause.to_string().contains("shared memory segment"))
}

/// The best of the old ones, and the new one.
async fn compare(
    session: &IndexSession,
    old: &[VectorIndex],
    new: &VectorIndex,
    samples: u32,
) -> Result<(Option<Measured>, Option<Measured>), Failure> {
    if samples == 0 {
        return Ok((None, None));
    }
    let sample = session.sample(samples).await?;
    let mut before: Option<Measured> = None;
    for index in old {
        let measured = session.recall(&sample, index).await?;
        before = before.into_iter().chain(measured).max_by(|one, other| one.share.total_cmp(&other.share));
    }
    Ok((before, session.recall(&sample, new).await?))
}

async fn drop_halves(
    indexes: &VectorIndexes,
    session: &IndexSession,
    generation: &Generation,
) -> Result<Vec<String>, Failure> {
    let halves: Vec<VectorIndex> = indexes.of(generation).await?.into_iter().filter(|index| !index.is_valid).collect();
    drop_all(session, &halves).await
}

async fn drop_all(session: &IndexSession, indexes: &[VectorIndex]) -> Result<Vec<String>, Failure> {
    let mut dropped = Vec::new();
    for index in indexes.iter().filter(|index| index.number.is_some()) {
        session.drop_index(index).await?;
        dropped.push(index.name.clone());
    }
    Ok(dropped)
}

/// Builds the index that fits if a generation has more vectors than are compared one by one, and no index; its name if one was
/// built. Nothing is done while somebody else is at it.
///
/// # Errors
/// Those of the database.
pub async fn ensure(indexes: &VectorIndexes, generation: &Generation, scanned: i64) -> Result<Option<String>, Failure> {
    if indexes.of(generation).await?.iter().any(|index| index.is_valid)
        || !indexes.has_more_than(generation, scanned).await?
    {
        return Ok(None);
    }
    let Some(session) = indexes.lock(generation).await? else { return Ok(None) };
    drop_halves(indexes, &session, generation).await?;
    // Somebody else may have been there before.
    if !indexes.of(generation).await?.is_empty() {
        return Ok(None);
    }
    let overview = indexes.overview().await?;
    let rows = overview.iter().find(|found| found.generation.id == generation.id).map_or(0, |found| found.rows);
    let ground =
        Ground { rows, dimensions: generation.dimensions, scanned, memory: OWN_MEMORY, priority: Priority::Recall };
    let Some(spec) = choose(ground).spec else { return Ok(None) };
    tracing::info!(%spec, rows, "Building an index over {rows} vectors: {spec}");
    // Requests want the processors, too.
    session.allow(graph_bytes(rows, generation.dimensions, 16).min(OWN_MEMORY), Some(0)).await?;
    let name = session.build(spec, &[]).await?;
    tracing::info!(index = name, "Built the index {name}");
    Ok(Some(name))
}
