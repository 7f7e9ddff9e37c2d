//! Following the jobs of boards: one reader per process, whatever the number of followers.
//!
//! The table is the truth, and every job in it says when it changed last. The reader asks what changed on all followed
//! boards since it looked, as soon as something was done here, and once a second otherwise. It looks back a little
//! further than it has read, because who wrote first may commit last, and now and then much further, because long
//! transactions ask for jobs, too. It leaves out what it has told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, sleep, timeout},
};

use super::outage::Outage;
use crate::domain::{
    BoardId, Code, Error, Job, JobId, JobStatus, PageRequest, Result, Sealed,
    ports::{Heard, JobFeed, Jobs, Wake},
};

/// How often changes are looked for when nobody says that there are some.
const EVERY: Duration = Duration::from_secs(1);
/// How long a reader that was woken waits for what comes with it.
const GATHER: Duration = Duration::from_millis(50);
/// How long one reading may take. A connection that has not answered by then may never do so.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How much later something is committed than it says, as a rule.
const OVERLAP: TimeDelta = TimeDelta::seconds(2);
/// The same for what a long transaction writes, an import or a copy of a large board. It is told by then.
const LONG_OVERLAP: TimeDelta = TimeDelta::seconds(60);
/// How often it is looked back so far.
const LONG_EVERY: Duration = Duration::from_secs(5);
/// Changes of one board per reading.
const PORTION: usize = 500;
/// Jobs that a follower may be behind before it reads the table again.
const CHANNEL: usize = 1_000;
/// Jobs that a follower is told of at its beginning.
const AT_FIRST: usize = 100;

/// Tells those who follow boards how their jobs are. Cheap to clone.
#[derive(Clone)]
pub struct JobWatch(Arc<Inner>);

struct Inner {
    source: Arc<dyn Jobs>,
    boards: Mutex<HashMap<BoardId, Watched>>,
    wake: Notify,
    reading: Outage,
    beginning: Outage,
}

/// A board with followers.
struct Watched {
    /// The last change that was read.
    newest: Option<DateTime<Utc>>,
    /// Where the reading under way is.
    at: Option<DateTime<Utc>>,
    /// What was told of late, by its time.
    told: HashMap<JobId, DateTime<Utc>>,
    sender: broadcast::Sender<Arc<Job>>,
}

impl Watched {
    fn new() -> Self {
        Watched { newest: None, at: None, told: HashMap::new(), sender: broadcast::Sender::new(CHANNEL) }
    }

    /// Begins a reading, so far behind what was read.
    fn begin(&mut self, overlap: TimeDelta) {
        self.at = self.newest.map(|newest| newest - overlap);
    }

    /// Tells what is new of a portion; whether there may be more to read.
    fn tell(&mut self, jobs: Vec<Arc<Job>>) -> bool {
        let is_full = jobs.len() == PORTION;
        if let Some(last) = jobs.last().map(|job| job.changed_at) {
            (self.at, self.newest) = (Some(last), self.newest.max(Some(last)));
        }
        for job in jobs {
            if self.told.insert(job.id, job.changed_at) != Some(job.changed_at) {
                // Nobody listening is no failure: the next reading forgets the board.
                let _ = self.sender.send(job);
            }
        }
        if let Some(newest) = self.newest {
            self.told.retain(|_, at| *at > newest - LONG_OVERLAP);
        }
        is_full
    }
}

impl JobWatch {
    /// Begins to watch. The task ends with the last clone.
    #[must_use]
    pub fn new(source: Arc<dyn Jobs>) -> Self {
        let reading = Outage::of("Following jobs");
        let beginning = Outage::of("Reading the jobs of a board for its followers");
        let (boards, wake) = (Mutex::default(), Notify::new());
        let watch = JobWatch(Arc::new(Inner { source, boards, wake, reading, beginning }));
        tokio::spawn(run(Arc::downgrade(&watch.0)));
        watch
    }

    /// Who is to be told that boards changed, and with them perhaps their jobs.
    #[must_use]
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Woken(Arc::downgrade(&self.0)))
    }
}

struct Woken(Weak<Inner>);

impl Wake for Woken {
    fn woken(&self, _: &Heard) {
        if let Some(watch) = self.0.upgrade() {
            watch.wake.notify_one();
        }
    }
}

impl Inner {
    fn boards(&self) -> MutexGuard<'_, HashMap<BoardId, Watched>> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and tells what is new, until nothing is. It looks back so far behind what was read.
    async fn read(&self, overlap: TimeDelta) -> Result<()> {
        self.boards().values_mut().for_each(|board| board.begin(overlap));
        loop {
            let after: Vec<(BoardId, Option<DateTime<Utc>>)> = {
                let mut boards = self.boards();
                boards.retain(|_, board| board.sender.receiver_count() > 0);
                boards.iter().map(|(id, board)| (*id, board.at)).collect()
            };
            if after.is_empty() {
                return Ok(());
            }
            let mut changes: HashMap<BoardId, Vec<Arc<Job>>> = HashMap::new();
            for job in in_time(self.source.job_changes(&after, PORTION as i64)).await? {
                changes.entry(job.board_id).or_default().push(Arc::new(job));
            }
            let mut boards = self.boards();
            let mut has_more = false;
            for (id, jobs) in changes {
                has_more |= boards.get_mut(&id).is_some_and(|board| board.tell(jobs));
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// The jobs of a board that are pending or running, the first asked for first.
    async fn at_first(&self, board: BoardId) -> Result<Vec<Arc<Job>>> {
        let page = PageRequest { limit: AT_FIRST, from_end: false, after: None, before: None };
        let open = [JobStatus::Pending, JobStatus::Running];
        let mut jobs = in_time(self.source.job_page(board, &open, &Sealed::default(), &page)).await?.rows;
        jobs.reverse();
        Ok(jobs)
    }
}

async fn run(watch: Weak<Inner>) {
    let mut looked_back = Instant::now();
    loop {
        let Some(watch) = watch.upgrade() else { return };
        if timeout(EVERY, watch.wake.notified()).await.is_ok() {
            sleep(GATHER).await;
        }
        let (began, is_long) = (Instant::now(), looked_back.elapsed() > LONG_EVERY);
        match watch.read(if is_long { LONG_OVERLAP } else { OVERLAP }).await {
            Ok(()) => {
                if is_long {
                    looked_back = began;
                }
                watch.reading.works();
            }
            Err(error) => {
                watch.reading.failed(&error);
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Waits for an answer, or gives up on a database that does not give one.
async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(Code::Timeout, "The database takes too long");
    timeout(READ_WITHIN, asked).await.map_err(late)?
}

impl JobFeed for JobWatch {
    fn jobs_changed(&self) {
        self.0.wake.notify_one();
    }

    fn follow_jobs(&self, board: BoardId) -> BoxStream<'static, Arc<Job>> {
        let receiver = self.0.boards().entry(board).or_insert_with(Watched::new).sender.subscribe();
        let follower =
            Follower { watch: self.clone(), board, receiver, first: None, told: HashMap::new(), must_read: true };
        stream::unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) }).boxed()
    }
}

/// One who follows the jobs of a board.
struct Follower {
    watch: JobWatch,
    board: BoardId,
    receiver: broadcast::Receiver<Arc<Job>>,
    /// What it read of the table and was not told yet.
    first: Option<std::vec::IntoIter<Arc<Job>>>,
    /// The times of the open jobs that it was told of.
    told: HashMap<JobId, DateTime<Utc>>,
    /// Whether it has to read the table before it goes on.
    must_read: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Arc<Job>> {
        loop {
            while let Some(job) = self.first.as_mut().and_then(Iterator::next) {
                if self.is_new(&job) {
                    return Some(job);
                }
            }
            if self.must_read {
                match self.watch.0.at_first(self.board).await {
                    Ok(jobs) => {
                        self.watch.0.beginning.works();
                        (self.first, self.must_read) = (Some(jobs.into_iter()), false);
                    }
                    Err(error) => {
                        self.watch.0.beginning.failed(&error);
                        sleep(AFTER_FAILURE).await;
                    }
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(job) if self.is_new(&job) => return Some(job),
                Ok(_) => {}
                // It was too slow for some. What is open it reads again; what ended meanwhile is in the list of the board.
                Err(broadcast::error::RecvError::Lagged(_)) => self.must_read = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Whether it was not told this, and nothing newer, of the job.
    fn is_new(&mut self, job: &Job) -> bool {
        let is_new = self.told.get(&job.id).is_none_or(|at| *at < job.changed_at);
        match job.status {
            JobStatus::Pending | JobStatus::Running if is_new => drop(self.told.insert(job.id, job.changed_at)),
            JobStatus::Pending | JobStatus::Running => {}
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => drop(self.told.remove(&job.id)),
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::JobType;

    fn job(second: i64) -> Arc<Job> {
        let at = DateTime::from_timestamp(second, 0).unwrap();
        Arc::new(Job {
            id: JobId::generate(),
            board_id: BoardId::generate(),
            owner_id: None,
            node_id: None,
            job_type: JobType::ExtractText,
            status: JobStatus::Pending,
            priority: 5,
            attempts: 0,
            max_attempts: 3,
            postponed: 0,
            progress: 0.0,
            error_message: None,
            payload: Value::Null,
            result: None,
            created_at: at,
            scheduled_for: at,
            started_at: None,
            completed_at: None,
            changed_at: at,
        })
    }

    /// A reading of a table, portion by portion; which jobs are told.
    fn read(
        board: &mut Watched,
        told: &mut broadcast::Receiver<Arc<Job>>,
        table: &[Arc<Job>],
        back: TimeDelta,
    ) -> Vec<JobId> {
        let mut table = table.to_vec();
        table.sort_by_key(|job| job.changed_at);
        board.begin(back);
        loop {
            let after = table.iter().filter(|job| board.at.is_none_or(|at| job.changed_at > at));
            if !board.tell(after.take(PORTION).cloned().collect()) {
                break;
            }
        }
        std::iter::from_fn(|| told.try_recv().ok()).map(|job| job.id).collect()
    }

    #[test]
    fn what_a_long_transaction_asked_for_is_told_once_when_it_is_looked_back() {
        let mut board = Watched::new();
        let mut told = board.sender.subscribe();
        let mut table = vec![job(100), job(101)];
        assert_eq!(read(&mut board, &mut told, &table, OVERLAP).len(), 2);
        // Written before those, committed after them.
        let (late, short) = (job(60), job(100));
        table.extend([Arc::clone(&late), Arc::clone(&short)]);
        assert_eq!(read(&mut board, &mut told, &table, OVERLAP), [short.id]);
        assert_eq!(read(&mut board, &mut told, &table, LONG_OVERLAP), [late.id]);
        assert!(read(&mut board, &mut told, &table, LONG_OVERLAP).is_empty());
    }

    #[test]
    fn many_changes_do_not_hide_what_is_committed_late() {
        let mut board = Watched::new();
        let mut told = board.sender.subscribe();
        let mut table: Vec<_> = (0..PORTION as i64).map(|second| job(1_000 + second)).collect();
        assert_eq!(read(&mut board, &mut told, &table, OVERLAP).len(), PORTION);
        let late = job(1_000 + PORTION as i64 - 2);
        table.push(Arc::clone(&late));
        assert_eq!(read(&mut board, &mut told, &table, OVERLAP), [late.id]);
    }
}
