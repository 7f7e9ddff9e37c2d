//! Lists of boards that change beside their boards are not kept in memory. What is asked is handed on.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cached, Source};
use crate::domain::{
    Activity, ActivityOf, BoardEvent, BoardId, Collaborator, EventsAfter, Job, JobList, Page, PageRequest, Result,
    Share,
    ports::{BoardLists, Events},
};

#[async_trait]
impl<S: Source + Clone + 'static> BoardLists for Cached<S> {
    async fn event_lists(&self, keys: &[EventsAfter]) -> Result<Vec<Arc<Vec<Arc<BoardEvent>>>>> {
        self.0.source.event_lists(keys).await
    }

    async fn event_counts(&self, boards: &[BoardId]) -> Result<Vec<i64>> {
        self.0.source.event_counts(boards).await
    }

    async fn share_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Arc<Share>>>>> {
        self.0.source.share_lists(boards, most).await
    }

    async fn collaborator_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Collaborator>>>> {
        self.0.source.collaborator_lists(boards, most).await
    }

    async fn job_pages(&self, keys: &[(JobList, PageRequest)]) -> Result<Vec<Page<Arc<Job>>>> {
        self.0.source.job_pages(keys).await
    }

    async fn job_counts(&self, lists: &[JobList]) -> Result<Vec<i64>> {
        self.0.source.job_counts(lists).await
    }

    async fn activity_pages(&self, keys: &[(ActivityOf, PageRequest)]) -> Result<Vec<Page<Activity>>> {
        self.0.source.activity_pages(keys).await
    }

    async fn activity_counts(&self, keys: &[ActivityOf]) -> Result<Vec<i64>> {
        self.0.source.activity_counts(keys).await
    }
}

#[async_trait]
impl<S: Source + Clone + 'static> Events for Cached<S> {
    async fn events(&self, after: &[(BoardId, i64)], most: i64) -> Result<Vec<BoardEvent>> {
        self.0.source.events(after, most).await
    }
}
