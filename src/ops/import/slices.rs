//! Gathers what an import writes and writes it in slices, so that the board is held only for moments. Order matters: what is
//! added first is written no later than what is added after it.

use std::{mem, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    domain::{
        BoardId,
        import::{ImportSlice, ImportTarget, SliceEnd},
    },
    ops::Failure,
    store::Store,
};

/// Rows of one slice.
const MAX_ROWS: usize = 250;
/// Bytes of text of one slice; a single text may be larger.
const MAX_TEXT_BYTES: usize = 2 << 20;

pub(super) struct Slices<'a> {
    store: &'a Store,
    target: &'a ImportTarget,
    holder: Uuid,
    board: Option<BoardId>,
    removed_at: Option<DateTime<Utc>>,
    pending: ImportSlice,
    text_bytes: usize,
    done: Done,
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) slices: usize,
    /// Rows that were left as they are, because somebody changed the board meanwhile.
    pub(super) left: usize,
    /// The longest time that the board was held.
    pub(super) longest: Duration,
}

impl<'a> Slices<'a> {
    /// `board` is the one that was planned for, with the moment of its snapshot. Without one it is made with the first
    /// slice. `holder` has the turn.
    pub(super) fn new(
        store: &'a Store,
        target: &'a ImportTarget,
        holder: Uuid,
        board: Option<(BoardId, DateTime<Utc>)>,
    ) -> Self {
        let (board, removed_at) = board.unzip();
        Slices {
            store,
            target,
            holder,
            board,
            removed_at,
            pending: ImportSlice::default(),
            text_bytes: 0,
            done: Done::default(),
        }
    }

    /// Adds rows with so many bytes of text, which come into the same slice.
    pub(super) async fn add(&mut self, text_bytes: usize, put: impl FnOnce(&mut ImportSlice)) -> Result<(), Failure> {
        put(&mut self.pending);
        self.text_bytes += text_bytes;
        if self.pending.len() >= MAX_ROWS || self.text_bytes >= MAX_TEXT_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes the rest. The board is there afterwards, also if there was nothing to write.
    pub(super) async fn finish(mut self) -> Result<(BoardId, Done), Failure> {
        if self.board.is_none() || !self.pending.is_empty() {
            self.write().await?;
        }
        let board = self.board.ok_or_else(|| Failure::new("the board was not made; this is a fault of the program"))?;
        Ok((board, self.done))
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let slice = ImportSlice { removed_at: self.removed_at, ..mem::take(&mut self.pending) };
        self.text_bytes = 0;
        let rest = "What was written stays as it is. Import again for the rest.";
        let end = self.store.write_import(self.target, self.holder, self.board, slice).await;
        match end.map_err(|error| Failure::from(error).hint(rest))? {
            SliceEnd::Done(outcome) => {
                self.board = Some(outcome.board_id);
                self.done.slices += 1;
                self.done.left += outcome.left;
                self.done.longest = self.done.longest.max(outcome.held);
                Ok(())
            }
            SliceEnd::BoardGone => Err(Failure::new("the board was deleted while it was imported into")),
            SliceEnd::TurnLost => Err(Failure::new("another import into this board has taken over").hint(rest)),
        }
    }
}
