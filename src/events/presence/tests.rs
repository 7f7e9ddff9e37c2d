//! Presence without a database: what is told and written, and what becomes of it while the table is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::domain::{Failure, ports::Presences};

/// A table that forgets everything, and counts what it is told.
#[derive(Default)]
struct Table(Mutex<Vec<usize>>);

#[async_trait]
impl Presences for Table {
    async fn presences(&self, _: &[BoardId], _: Duration, _: i64) -> Result<Vec<(Presence, Duration)>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl PresenceTable for Table {
    async fn keep_presences(&self, presences: &[Arc<Presence>]) -> Result<DateTime<Utc>> {
        self.0.lock().unwrap().push(presences.len());
        Ok(Utc::now())
    }

    async fn remove_presences(&self) -> Result<()> {
        Ok(())
    }
}

/// A table that is away at times.
#[derive(Default)]
struct Away {
    is_away: AtomicBool,
    refused: AtomicUsize,
    /// Marks of what was written, and whether it was no goodbye.
    written: Mutex<Vec<(i64, bool)>>,
    /// How far back readings looked that had an answer.
    looked_back: Mutex<Vec<Duration>>,
}

impl Away {
    fn answer(&self) -> Result<()> {
        if !self.is_away.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(Error::internal("a lost connection"))
    }
}

#[async_trait]
impl Presences for Away {
    async fn presences(&self, _: &[BoardId], within: Duration, _: i64) -> Result<Vec<(Presence, Duration)>> {
        self.answer()?;
        self.looked_back.lock().unwrap().push(within);
        Ok(Vec::new())
    }
}

#[async_trait]
impl PresenceTable for Away {
    async fn keep_presences(&self, presences: &[Arc<Presence>]) -> Result<DateTime<Utc>> {
        self.answer()?;
        let written = presences.iter().map(|presence| (presence.mark, presence.is_here));
        self.written.lock().unwrap().extend(written);
        Ok(Utc::now())
    }

    async fn remove_presences(&self) -> Result<()> {
        self.answer()
    }
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(TURN / 5).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("true within 20 s");
}

fn said(board: BoardId, id: PresenceId, x: f64) -> Presence {
    Presence {
        id,
        board_id: board,
        user: None,
        mark: x as i64,
        cursor: Some((x, 0.0)),
        selection: Vec::new(),
        state: None,
        is_here: true,
        seen_at: Utc::now(),
    }
}

const SOMEBODY: Person = Person { digest: [7; 32], most_windows: 3 };

#[tokio::test]
async fn of_a_thousand_moves_the_last_is_told_and_written() {
    let table = Arc::new(Table::default());
    let crowd = Crowd::new(Arc::clone(&table) as Arc<dyn PresenceTable>);
    let (board, window) = (BoardId::generate(), PresenceId::generate());
    let mut told = crowd.follow_presence(board);
    for x in 0..1000 {
        crowd.show(said(board, window, f64::from(x)), SOMEBODY).unwrap();
    }
    assert_eq!(told.next().await.unwrap().cursor, Some((999.0, 0.0)));
    // Who comes later sees who is there; who follows hears a goodbye.
    let mut later = crowd.follow_presence(board);
    assert_eq!(later.next().await.unwrap().cursor, Some((999.0, 0.0)));
    crowd.show(Presence { is_here: false, mark: -1, ..said(board, window, 0.0) }, SOMEBODY).unwrap();
    assert!(!told.next().await.unwrap().is_here);
    assert!(!later.next().await.unwrap().is_here);
    assert_eq!(*table.0.lock().unwrap(), [1, 1]);
    // Who comes after it never knew them.
    let mut last = crowd.follow_presence(board);
    crowd.show(said(board, PresenceId::generate(), 5.0), SOMEBODY).unwrap();
    assert_eq!(last.next().await.unwrap().cursor, Some((5.0, 0.0)));
}

#[tokio::test]
async fn a_person_has_so_many_windows() {
    let crowd = Crowd::new(Arc::new(Table::default()));
    let board = BoardId::generate();
    let windows: Vec<PresenceId> = (0..4).map(|_| PresenceId::generate()).collect();
    let show = |window: usize| crowd.show(said(board, windows[window], 1.0), SOMEBODY);
    assert!((0..3).all(|window| show(window).is_ok()));
    assert!(matches!(show(3), Err(Failure::Refused(_))));
    let other = Person { digest: [8; 32], most_windows: 3 };
    assert!(show(1).is_ok() && crowd.show(said(board, windows[3], 1.0), other).is_ok());
    crowd.show(Presence { is_here: false, ..said(board, windows[0], 1.0) }, SOMEBODY).unwrap();
    assert!(show(3).is_ok());
    // Who has to leave goes with all windows.
    let mut told = crowd.follow_presence(board);
    for window in [1, 2, 3] {
        show(window).unwrap();
    }
    crowd.leave(board, &SOMEBODY, None);
    assert!(windows[1..].iter().all(|window| !crowd.0.state().said[window].is_here));
    assert!(show(0).is_ok());
    assert_eq!(told.next().await.unwrap().id, windows[0]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_when_it_can_be() {
    let table = Arc::new(Away::default());
    table.is_away.store(true, Ordering::SeqCst);
    let crowd = Crowd::new(Arc::clone(&table) as Arc<dyn PresenceTable>);
    let (board, windows) = (BoardId::generate(), [(); 3].map(|()| PresenceId::generate()));
    for (window, x) in windows.into_iter().zip([1.0, 2.0, 3.0]) {
        crowd.show(said(board, window, x), SOMEBODY).unwrap();
    }
    until(|| table.refused.load(Ordering::SeqCst) > 0).await;
    // One stays where it was, one moves on, one leaves.
    crowd.show(said(board, windows[1], 5.0), SOMEBODY).unwrap();
    crowd.show(Presence { is_here: false, mark: 6, ..said(board, windows[2], 0.0) }, SOMEBODY).unwrap();
    table.is_away.store(false, Ordering::SeqCst);
    until(|| table.written.lock().unwrap().len() >= 3).await;
    let mut written = table.written.lock().unwrap().clone();
    written.sort_unstable();
    assert_eq!(written, [(1, true), (5, true), (6, false)]);
    assert!(crowd.0.is_idle(), "and only once");
}

#[tokio::test]
async fn after_an_outage_it_is_read_what_was_said_meanwhile() {
    let table = Arc::new(Away::default());
    let crowd = Crowd::new(Arc::clone(&table) as Arc<dyn PresenceTable>);
    let board = BoardId::generate();
    let _told = crowd.follow_presence(board);
    let readings = || table.looked_back.lock().unwrap().len();
    until(|| readings() >= 2).await;
    let looked_back = table.looked_back.lock().unwrap().clone();
    assert!(looked_back[0] == GONE_AFTER && looked_back[1] < GONE_AFTER, "first everybody: {looked_back:?}");
    table.is_away.store(true, Ordering::SeqCst);
    let before = readings();
    // Somebody speaks here meanwhile, and it cannot be written.
    crowd.show(said(board, PresenceId::generate(), 1.0), SOMEBODY).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    table.is_away.store(false, Ordering::SeqCst);
    until(|| readings() > before).await;
    let first = table.looked_back.lock().unwrap()[before];
    assert!(first >= OVERLAP + Duration::from_secs(1), "{first:?}");
}

#[test]
fn silence_is_a_goodbye_and_is_forgotten_later() {
    let (mut room, now) = (Room::new(), Instant::now());
    let window = PresenceId(Uuid::nil());
    let row = |mark: f64, second: i64| Presence {
        seen_at: DateTime::from_timestamp(second, 0).unwrap(),
        ..said(BoardId(Uuid::nil()), window, mark)
    };
    let told = |room: &Room| (*room.last.borrow(), room.people.get(&window).map(|person| person.presence.is_here));
    room.read(row(1.0, 100), now);
    assert_eq!(told(&room), (1, Some(true)));
    // The same again, and one that is older: nothing new.
    room.read(row(1.0, 100), now);
    room.read(row(2.0, 99), now);
    assert_eq!(told(&room), (1, Some(true)));
    room.sweep(now + GONE_AFTER);
    assert_eq!(told(&room), (1, Some(true)));
    room.sweep(now + GONE_AFTER + TURN);
    assert_eq!(told(&room), (2, Some(false)));
    // Back again before it is forgotten.
    room.read(row(3.0, 140), now + 2 * GONE_AFTER);
    assert_eq!(told(&room), (3, Some(true)));
    room.sweep(now + 4 * GONE_AFTER);
    assert_eq!(told(&room), (4, Some(false)));
    room.sweep(now + 4 * GONE_AFTER + TURN);
    assert_eq!((told(&room), room.changes.len()), ((4, None), 0));
}
