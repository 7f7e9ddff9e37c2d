//! Lists of boards besides what lies on them. They change beside their boards: no stamp covers them, and answers with them are
//! not used again. Who asks has seen to it that the viewer may see the list.

use std::sync::Arc;

use super::{Loaders, load};
use crate::domain::{
    Activity, ActivityOf, BoardEvent, BoardId, Collaborator, EventsAfter, Job, JobList, Page, PageRequest, Result,
    Share,
};

/// Share links and collaborators of one board that are shown.
pub(super) const MOST_SHARES: i64 = 1_000;

impl Loaders {
    /// Entries of the change log of a board after a version, the oldest first, at most so many.
    ///
    /// # Errors
    /// Those of the port, as for every function here.
    pub async fn events(&self, board: BoardId, version: i64, most: i64) -> Result<Arc<Vec<Arc<BoardEvent>>>> {
        self.basis.has_more();
        load(&self.event_lists, EventsAfter { board, version, most }).await
    }

    /// How many entries the change log of a board has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn event_count(&self, board: BoardId) -> Result<i64> {
        self.basis.has_more();
        load(&self.event_counts, board).await
    }

    /// Share links of a board, newest first, at most 1,000.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn shares(&self, board: BoardId) -> Result<Arc<Vec<Arc<Share>>>> {
        self.basis.has_more();
        load(&self.share_lists, board).await
    }

    /// Collaborators of a board, invited ones among them, in the order of their invitations, at most 1,000.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn collaborators(&self, board: BoardId) -> Result<Arc<Vec<Collaborator>>> {
        self.basis.has_more();
        load(&self.collaborator_lists, board).await
    }

    /// A page of what happened on a board, the last first.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn activity_page(&self, of: ActivityOf, page: PageRequest) -> Result<Page<Activity>> {
        self.basis.has_more();
        load(&self.activity_pages, (of, page)).await
    }

    /// How much happened on a board.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn activity_count(&self, of: ActivityOf) -> Result<i64> {
        self.basis.has_more();
        load(&self.activity_counts, of).await
    }

    /// A page of the background jobs of a board, newest first.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn job_page(&self, list: JobList, page: PageRequest) -> Result<Page<Arc<Job>>> {
        self.basis.has_more();
        load(&self.job_pages, (list, page)).await
    }

    /// How many background jobs a list has.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn job_count(&self, list: JobList) -> Result<i64> {
        self.basis.has_more();
        load(&self.job_counts, list).await
    }
}
