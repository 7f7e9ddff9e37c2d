//! A few threads of their own for work that would hold up everybody else, and two bounded queues before them.
//!
//! Callers take turns, and so do the calls of one caller: neither many calls nor a long one hold up others, and texts of several
//! callers are worked on together. Queries go before passages. A full queue refuses at once, but for callers of whom nothing waits; who
//! no longer waits is skipped. Nothing about models is known here.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use crate::{
    access::Caller,
    domain::{Code, Error, Purpose, Result},
};

/// Turns some texts into one result each, in their order. An error of the whole is an error of each.
pub type Work = dyn Fn(&[String], Purpose) -> Result<Vec<Result<Vec<f32>>>> + Send + Sync;

/// Texts that a thread takes at once, and bytes of text after which it takes no more: enough that the matrices are large,
/// so few that a query waits for some tens of milliseconds at most.
const MAX_LOT: usize = 16;
const MAX_LOT_BYTES: usize = 1024;

/// The threads. They end when the pool is dropped, after what they are at.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queues: Mutex<Queues>,
    /// Told when something waits, and when the pool ends.
    changed: Condvar,
    /// Texts that may wait in each queue.
    capacity: usize,
}

#[derive(Default)]
struct Queues {
    queries: Queue,
    passages: Queue,
    ended: bool,
}

/// Callers, which take turns. None is there twice.
#[derive(Default)]
struct Queue {
    turns: VecDeque<Turn>,
}

/// The texts of the calls of a caller, which take turns as well. Neither the turn nor a call is empty.
struct Turn {
    caller: Caller,
    calls: VecDeque<VecDeque<Waiting>>,
}

/// A text, and who waits for its vector.
struct Waiting {
    text: String,
    answer: oneshot::Sender<Result<Vec<f32>>>,
}

impl Pool {
    /// Starts the threads. `capacity` is how many texts may wait, queries and passages each for themselves.
    ///
    /// # Errors
    /// `Internal` when the system gives no thread.
    pub fn start(threads: NonZeroUsize, capacity: usize, work: Arc<Work>) -> Result<Self> {
        let shared = Arc::new(Shared { queues: Mutex::default(), changed: Condvar::new(), capacity });
        // Made first, so that threads that did start end when one does not.
        let pool = Pool { shared: Arc::clone(&shared) };
        for number in 0..threads.get() {
            let (shared, work) = (Arc::clone(&shared), Arc::clone(&work));
            let run = move || {
                keep_parallel_work_here();
                while let Some((lot, purpose)) = shared.next() {
                    answer(lot, purpose, &work);
                }
            };
            thread::Builder::new().name(format!("embedder-{number}")).spawn(run).map_err(Error::internal)?;
        }
        Ok(pool)
    }

    /// One vector per text, in their order. Dropping the future gives up what has not begun.
    ///
    /// # Errors
    /// `Overloaded` at once when the queue is full, else that of the first text that has no vector. A call is let in whole
    /// whenever something is free, so that one with more texts than may wait is not refused for ever. A caller of whom nothing waits is
    /// let in although others have filled the queue, until it holds twice as much.
    pub async fn run(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>> {
        let answers = self.shared.add(texts, purpose, Caller::current())?;
        let mut vectors = Vec::with_capacity(answers.len());
        for answer in answers {
            vectors.push(answer.await.map_err(|_| Error::internal("an embedder thread ended"))??);
        }
        Ok(vectors)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing that can panic happens under the lock.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        texts: &[String],
        purpose: Purpose,
        caller: Caller,
    ) -> Result<Vec<oneshot::Receiver<Result<Vec<f32>>>>> {
        let (waiting, answers): (VecDeque<_>, Vec<_>) = texts
            .iter()
            .map(|text| {
                let (answer, receiver) = oneshot::channel();
                (Waiting { text: text.clone(), answer }, receiver)
            })
            .unzip();
        let mut queues = self.lock();
        let queue = queues.of(purpose);
        if queue.len() >= self.capacity {
            queue.forget_given_up();
        }
        let room = if queue.has(caller) { self.capacity } else { self.capacity.saturating_mul(2) };
        if queue.len() >= room {
            return Err(Error::new(Code::Overloaded, "Too many texts wait for their embedding; try again"));
        }
        queue.add(waiting, caller);
        drop(queues);
        self.changed.notify_all();
        Ok(answers)
    }

    /// What is to be done next, as soon as there is something; `None` when the pool ends.
    fn next(&self) -> Option<(Vec<Waiting>, Purpose)> {
        let mut queues = self.lock();
        loop {
            if queues.ended {
                return None;
            }
            for purpose in [Purpose::Query, Purpose::Passage] {
                let lot = queues.of(purpose).next_lot();
                if !lot.is_empty() {
                    return Some((lot, purpose));
                }
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queues {
    fn of(&mut self, purpose: Purpose) -> &mut Queue {
        match purpose {
            Purpose::Query => &mut self.queries,
            Purpose::Passage => &mut self.passages,
        }
    }
}

impl Queue {
    /// How many texts wait, also of those who gave up.
    fn len(&self) -> usize {
        self.turns.iter().flat_map(|turn| &turn.calls).map(VecDeque::len).sum()
    }

    fn has(&self, caller: Caller) -> bool {
        self.turns.iter().any(|turn| turn.caller == caller)
    }

    fn add(&mut self, call: VecDeque<Waiting>, caller: Caller) {
        if call.is_empty() {
            return;
        }
        match self.turns.iter_mut().find(|turn| turn.caller == caller) {
            Some(turn) => turn.calls.push_back(call),
            None => self.turns.push_back(Turn { caller, calls: VecDeque::from([call]) }),
        }
    }

    fn forget_given_up(&mut self) {
        for turn in &mut self.turns {
            for call in &mut turn.calls {
                call.retain(|waiting| !waiting.answer.is_closed());
            }
            turn.calls.retain(|call| !call.is_empty());
        }
        self.turns.retain(|turn| !turn.calls.is_empty());
    }

    /// What is worked on at once: texts of the call whose turn it is and, where it has few, of those after it.
    fn next_lot(&mut self) -> Vec<Waiting> {
        let (mut lot, mut bytes) = (Vec::new(), 0);
        while let Some(mut turn) = self.turns.pop_front() {
            let Some(mut call) = turn.calls.pop_front() else { continue };
            let before = lot.len();
            take(&mut call, &mut lot, &mut bytes);
            let (is_served, is_over) = (lot.len() > before, call.is_empty());
            // Whose first text has no room keeps its turn.
            match (is_over, is_served) {
                (true, _) => {}
                (false, true) => turn.calls.push_back(call),
                (false, false) => turn.calls.push_front(call),
            }
            if turn.calls.is_empty() {
                continue;
            }
            if is_served || is_over {
                self.turns.push_back(turn);
            } else {
                self.turns.push_front(turn);
            }
            if !is_over {
                break;
            }
        }
        lot
    }
}

/// Moves texts into a lot as long as there is room; those that nobody waits for are left out.
fn take(call: &mut VecDeque<Waiting>, lot: &mut Vec<Waiting>, bytes: &mut usize) {
    while lot.len() < MAX_LOT
        && let Some(waiting) = call.front()
    {
        let waits = !waiting.answer.is_closed();
        let more = *bytes + waiting.text.len();
        if waits && more > MAX_LOT_BYTES && !lot.is_empty() {
            break;
        }
        if waits {
            *bytes = more;
        }
        lot.extend(call.pop_front().filter(|_| waits));
    }
}

/// Works on a lot and tells everybody. A text that makes the work panic spoils only its own answer.
fn answer(lot: Vec<Waiting>, purpose: Purpose, work: &Arc<Work>) {
    let (texts, answers): (Vec<_>, Vec<_>) = lot.into_iter().map(|waiting| (waiting.text, waiting.answer)).unzip();
    let results = match (attempt(&texts, purpose, work), texts.as_slice()) {
        (Err(_), [_, _, ..]) => texts
            .chunks(1)
            .map(|alone| attempt(alone, purpose, work).and_then(|mut found| found.pop().unwrap_or_else(missing)))
            .collect(),
        (Err(error), _) => vec![Err(error)],
        (Ok(results), _) => results,
    };
    let results = results.into_iter().chain(std::iter::repeat_with(missing));
    for (answer, result) in answers.into_iter().zip(results) {
        // Whoever no longer waits is not told.
        let _ = answer.send(result);
    }
}

fn attempt(texts: &[String], purpose: Purpose, work: &Arc<Work>) -> Result<Vec<Result<Vec<f32>>>> {
    catch_unwind(AssertUnwindSafe(|| work(texts, purpose)))
        .unwrap_or_else(|_| Err(Error::internal("the embedding of a text panicked")))
}

fn missing() -> Result<Vec<f32>> {
    Err(Error::internal("fewer vectors than texts"))
}

/// The products of matrices divide large ones among the threads of rayon. Here each thread is all of them, so that the
/// number of threads is what was asked for, and no text waits for the parts of another.
fn keep_parallel_work_here() {
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
        tracing::warn!(%error, "Embedding uses more threads than it was given");
    }
}
