//! Background work: takes jobs from the queue and hands them, batch by batch, to who can do them.
//!
//! Each handler has a lane of its own, so that quick work never waits behind slow work, and slow ones have two, so that an edit
//! does not wait behind an import. Accounts take turns, and long jobs end their turn after a slice. A lane is woken when something was
//! committed here or elsewhere, and looks by itself once a second. What a handler does is in files beside this one; what a job
//! is, and when it is tried again, is `domain/job.rs`; how the queue is fair is `store/job/queue.rs`.
//!
//! Nothing is lost when a program is killed: who is silent for a minute has its jobs taken away. So a job may run twice.

mod batch;
mod beat;
pub mod create_embeddings;
pub mod extract_text;
mod lane;
mod numbers;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

pub use self::beat::Beat;
use self::lane::Lane;
use self::numbers::Tally;
pub use self::numbers::{Numbers, TypeNumbers};
use crate::{
    config::JobsConfig,
    domain::{
        Backlog, Job, JobType, Result,
        ports::{Heard, JobFeed, Jobs, Wake},
    },
};

/// How often jobs of lost programs are looked for, and what waits is counted.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long what was cut off when the runner stops may take to be given back.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// Who does jobs of one type.
#[async_trait]
pub trait Handler: Send + Sync {
    /// What it does.
    fn job_type(&self) -> JobType;
    /// How many jobs it likes to get at once, from 1; it may get fewer.
    fn batch(&self) -> usize;
    /// How many batches it works on at the same time in this process, from 1.
    fn parallel(&self) -> usize;
    /// Whether jobs above the priority of imports get a second lane, because a batch takes so long that somebody who waits for
    /// an edit would notice.
    fn is_slow(&self) -> bool {
        false
    }
    /// Does jobs: one result for each, in their order. A job may come twice, also after it was done; it may be given up in the
    /// middle, when the program stops. An error with a code that passes (`Overloaded`, `Timeout`, `RateLimited`, `ReadOnly`)
    /// puts the job off without it being an attempt; others count. The message of an error is shown to whoever sees the node.
    /// A batch of which somebody has to wait longer than about a second says what is left, by [`Beat::slice_done`] and
    /// [`Beat::not_begun`], and ends.
    async fn run(&self, jobs: &[Job], beat: &Beat) -> Vec<Result<()>>;
}

/// What the parts of a runner share.
struct Shared {
    queue: Arc<dyn Jobs>,
    feed: Arc<dyn JobFeed>,
    config: JobsConfig,
    tally: Tally,
    /// Whether nothing may be begun at the moment.
    is_paused: Box<dyn Fn() -> bool + Send + Sync>,
    /// By which the batches of this process are told from those of others.
    process: String,
}

/// Does background work, once it is started.
pub struct Runner {
    shared: Shared,
    handlers: Vec<Arc<dyn Handler>>,
}

impl Runner {
    /// For these handlers, one for each type of job; without any it only counts, and takes jobs back from programs that were
    /// lost. Those who follow jobs hear by `feed`.
    #[must_use]
    pub fn new(
        queue: Arc<dyn Jobs>,
        feed: Arc<dyn JobFeed>,
        handlers: Vec<Arc<dyn Handler>>,
        config: JobsConfig,
    ) -> Self {
        let process = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
        let (tally, is_paused) = (Tally::default(), Box::new(|| false));
        Runner { shared: Shared { queue, feed, config, tally, is_paused, process }, handlers }
    }

    /// Begins nothing while this says so.
    #[must_use]
    pub fn paused_while(mut self, is_paused: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.shared.is_paused = Box::new(is_paused);
        self
    }

    /// Begins to work.
    #[must_use]
    pub fn start(self) -> Running {
        let (stop, stopping) = watch::channel(Stop::No);
        let shared = Arc::new(self.shared);
        let mut tasks = JoinSet::new();
        let lanes: Vec<Lane> = self.handlers.into_iter().flat_map(Lane::of).collect();
        let bells = Bells(lanes.iter().map(|lane| Arc::clone(&lane.bell)).collect());
        for lane in lanes {
            tasks.spawn(lane.run(Arc::clone(&shared), bells.clone(), stopping.clone()));
        }
        tasks.spawn(look_after(Arc::clone(&shared), bells.clone(), stopping));
        Running { shared, bells, stop, tasks }
    }
}

/// How far stopping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Not at all.
    No,
    /// Nothing new is begun.
    Drain,
    /// What runs is cut off.
    Now,
}

/// Wakes all lanes.
#[derive(Clone)]
struct Bells(Vec<Arc<Notify>>);

impl Bells {
    fn ring(&self) {
        self.0.iter().for_each(|bell| bell.notify_one());
    }
}

impl Wake for Bells {
    fn woken(&self, _: &Heard) {
        self.ring();
    }
}

/// A runner that works. Dropping it cuts everything off, and the jobs come back after a minute; [`Running::drain`] is better.
pub struct Running {
    shared: Arc<Shared>,
    bells: Bells,
    stop: watch::Sender<Stop>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Has the lanes look at once.
    pub fn wake(&self) {
        self.bells.ring();
    }

    /// Who is to be told that there may be something to do.
    #[must_use]
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(self.bells.clone())
    }

    /// What there is to know, as it was a few seconds ago.
    #[must_use]
    pub fn numbers(&self) -> Arc<dyn Fn() -> Numbers + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.tally.numbers())
    }

    /// Stops: begins nothing new, lets what runs end for as long as the settings say, and gives the rest back.
    pub async fn drain(self) {
        let patience = self.shared.config.drain;
        self.drain_within(patience).await;
    }

    /// The same, but what runs has no longer than this to end, whatever the settings say.
    pub async fn drain_within(mut self, patience: Duration) {
        let Running { shared, stop, tasks, .. } = &mut self;
        stop.send_replace(Stop::Drain);
        let ended = async |tasks: &mut JoinSet<()>| while tasks.join_next().await.is_some() {};
        if timeout(patience.min(shared.config.drain), ended(tasks)).await.is_ok() {
            return;
        }
        stop.send_replace(Stop::Now);
        if timeout(GIVE_BACK_WITHIN, ended(tasks)).await.is_err() {
            tracing::warn!("Jobs that still run could not be given back; others take them in a minute");
        }
    }
}

/// Takes jobs back from programs that were lost, and counts what there is.
async fn look_after(shared: Arc<Shared>, bells: Bells, mut stopping: watch::Receiver<Stop>) {
    let mut is_failing = false;
    loop {
        match look(&shared, &bells).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(cause = ?error.cause(), "The queue of jobs cannot be looked after: {error}");
                }
            }
        }
        if timeout(LOOK_EVERY.min(shared.config.lost_after), stopping.changed()).await.is_ok() {
            return;
        }
    }
}

async fn look(shared: &Shared, bells: &Bells) -> Result<()> {
    let is_paused = (shared.is_paused)();
    let recovered = if is_paused { Vec::new() } else { shared.queue.recover(shared.config.lost_after).await? };
    if !recovered.is_empty() {
        tracing::warn!(count = recovered.len(), "Took {} jobs back from programs that were lost", recovered.len());
        shared.tally.ended(&recovered);
        shared.feed.jobs_changed();
        bells.ring();
    }
    let backlog: Vec<Backlog> = shared.queue.backlog().await?;
    shared.tally.waits(backlog);
    Ok(())
}

/// A lock that is held for a moment and never across a wait.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
