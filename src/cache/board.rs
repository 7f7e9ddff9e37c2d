//! Boards with their people, from memory where it is known to be true, and how subscribers hear that one has changed.
//!
//! Which rows are kept is decided in `known.rs`; they are looked at in `coherence.rs`.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::{Cached, Source};
use crate::domain::{
    BoardId, BoardList, BoardRecord, BoardStats, Ground, ListedBoard, Page, PageRequest, Result, Rights, Stamp,
    ports::{Boards, Heard, Wake},
};

/// How long a reader of a board waits for another who reads the same.
const READ_BY_ANOTHER_WITHIN: Duration = Duration::from_secs(1);

#[async_trait]
impl<S: Source + Clone + 'static> Rights for Cached<S> {
    fn watch(&self, grounds: &[(Ground, Stamp)]) -> BoxStream<'static, ()> {
        self.0.watching.watch(grounds)
    }

    async fn current(&self) {
        self.0.coherence.current().await;
    }

    async fn fetched(&self, board: BoardId) -> bool {
        let mut has_waited = false;
        loop {
            let filled = self.0.filled.notified();
            if !self.0.filling.lock().unwrap_or_else(PoisonError::into_inner).contains(&board) {
                return has_waited;
            }
            has_waited = true;
            filled.await;
        }
    }
}

impl<S: Source + Clone + 'static> Wake for Cached<S> {
    fn woken(&self, heard: &Heard) {
        self.0.woken.add(heard);
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Boards for Cached<S> {
    async fn boards(&self, ids: &[BoardId]) -> Result<Vec<Option<Arc<BoardRecord>>>> {
        let mut answers = self.known_records(ids).await?;
        let missing: Vec<(usize, BoardId)> =
            ids.iter().copied().enumerate().filter(|(place, _)| matches!(answers.get(*place), Some(None))).collect();
        if missing.is_empty() {
            return Ok(answers);
        }
        let wanted: Vec<BoardId> = missing.iter().map(|(_, id)| *id).collect();
        let _reading = match *wanted {
            // Of many who miss the same board at once (all who follow it), one reads it, and the others find it in memory.
            [id] if self.is_current() => {
                let reading = self.0.reading.get_with(id, Arc::default).lock_owned();
                // Who reads may have to wait for a connection: nobody waits for long behind that. What it finds is in
                // memory only if the board was not forgotten since it began.
                let reading = tokio::time::timeout(READ_BY_ANOTHER_WITHIN, reading).await.ok();
                if let Some(record) = self.0.records.get(&id).filter(|_| self.is_current()) {
                    missing.iter().for_each(|(place, _)| {
                        if let Some(answer) = answers.get_mut(*place) {
                            *answer = Some(Arc::clone(&record));
                        }
                    });
                    return Ok(answers);
                }
                reading
            }
            _ => None,
        };
        let began = self.0.forgotten.boards.mark();
        for ((place, _), record) in missing.into_iter().zip(self.0.source.boards(&wanted).await?) {
            if let Some(record) = &record {
                self.0.keep(record, began);
            }
            if let Some(answer) = answers.get_mut(place) {
                *answer = record;
            }
        }
        Ok(answers)
    }

    async fn board_now(&self, id: BoardId) -> Result<Option<Arc<BoardRecord>>> {
        let began = self.0.forgotten.boards.mark();
        let record = self.0.source.board_now(id).await?;
        record.iter().for_each(|record| self.0.keep(record, began));
        Ok(record)
    }

    async fn board_page(&self, list: &BoardList, page: &PageRequest) -> Result<Page<ListedBoard>> {
        let began = self.0.forgotten.boards.mark();
        let page = self.0.source.board_page(list, page).await?;
        page.rows.iter().for_each(|listed| self.0.keep(&listed.record, began));
        Ok(page)
    }

    async fn board_count(&self, list: &BoardList) -> Result<i64> {
        self.0.source.board_count(list).await
    }

    async fn board_stats(&self, ids: &[BoardId]) -> Result<Vec<BoardStats>> {
        self.0.source.board_stats(ids).await
    }
}
