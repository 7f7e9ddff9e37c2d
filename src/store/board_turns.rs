//! Writers of one board queue here, before they take a connection: only one of them waits in the database at a time. So a
//! board that is locked for long (an import, another process) holds up neither the reads nor the writers of other boards.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    access::{Caller, Turn, TurnLimits, Turns},
    domain::{BoardId, Result},
};

/// Writers of one board that one caller may have waiting.
const WAITING: usize = 1000;

/// The queues of the boards that somebody writes at this moment. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct BoardTurns(Arc<Mutex<HashMap<BoardId, Queue>>>);

struct Queue {
    turns: Turns,
    /// Those who wait and the one who writes. Without any the queue is forgotten.
    users: usize,
}

impl BoardTurns {
    /// Waits for the turn to write a board; callers take turns.
    ///
    /// # Errors
    /// Those of [`Turns::take`].
    pub(super) async fn take(&self, board: BoardId) -> Result<BoardTurn> {
        let turns = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let limits = TurnLimits::new(1, 1, WAITING);
            let queue = queues.entry(board).or_insert_with(|| Queue { turns: Turns::new(limits), users: 0 });
            queue.users += 1;
            queue.turns.clone()
        };
        // From here on whoever leaves is counted out.
        let mut place = BoardTurn { turn: None, queues: self.clone(), board };
        place.turn = Some(turns.take(Caller::current()).await?);
        Ok(place)
    }
}

/// The turn to write a board, or the place of somebody who waits for it.
pub(super) struct BoardTurn {
    turn: Option<Turn>,
    queues: BoardTurns,
    board: BoardId,
}

impl Drop for BoardTurn {
    fn drop(&mut self) {
        self.turn = None;
        let mut queues = self.queues.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&self.board) {
            queue.users = queue.users.saturating_sub(1);
            if queue.users == 0 {
                queues.remove(&self.board);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_queue_is_forgotten_with_its_last_user() {
        let (boards, board) = (BoardTurns::default(), BoardId::generate());
        let first = boards.take(board).await.unwrap();
        let mut second = Box::pin(boards.take(board));
        assert!(poll!(&mut second).is_pending());
        let _other = boards.take(BoardId::generate()).await.unwrap();
        let dropped = Box::pin(boards.take(board));
        drop(dropped);
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(boards.0.lock().unwrap().len(), 2);
        drop(second);
        assert_eq!(boards.0.lock().unwrap().len(), 1);
    }
}
