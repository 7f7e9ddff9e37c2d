//! Where somebody may look. Permission is part of the area: boards that may not be seen, and folders that are shut, are not in it,
//! so nothing about them can come out of a search, not even how common a word is there.

use std::sync::Arc;

use crate::{
    access::{Granted, Viewer},
    domain::{BoardId, BoardRecord, BoardsOf, NodeId, Permission, Result, SearchArea, SearchFilter},
    service::{Services, board::no_such_board},
};

/// Boards that one search can look at; of more, those that changed last.
const MOST_BOARDS: usize = 10_000;

/// Where to look.
#[derive(Clone, Debug)]
pub enum Where {
    /// On these boards; all of them must be there for the viewer.
    Boards(Vec<BoardId>),
    /// In this folder of a board, at any depth.
    Folder(BoardId, NodeId),
    /// On all boards that the viewer owns or collaborates on.
    Mine,
    /// On all public boards.
    Public,
}

impl Services {
    /// What of a place the viewer may search.
    ///
    /// # Errors
    /// `InvalidArgument` when a board is not there for the viewer; those of the database.
    pub async fn search_area(&self, viewer: &Viewer, place: &Where, filter: SearchFilter) -> Result<SearchArea> {
        let named;
        let (ids, must_be_there, within) = match place {
            Where::Boards(boards) => (boards, true, None),
            Where::Folder(board, folder) => {
                named = vec![*board];
                (&named, true, Some(*folder))
            }
            Where::Mine => {
                named = match viewer.user() {
                    Some(user) => self.ports.search.board_ids(&BoardsOf::ReachableBy(user.id), MOST_BOARDS + 1).await?,
                    None => Vec::new(),
                };
                (&named, false, None)
            }
            Where::Public => {
                named = self.ports.search.board_ids(&BoardsOf::Public, MOST_BOARDS + 1).await?;
                (&named, false, None)
            }
        };
        let is_cut = !must_be_there && ids.len() > MOST_BOARDS;
        let ids = if is_cut { ids.get(..MOST_BOARDS).unwrap_or_default() } else { ids.as_slice() };
        let records: Vec<Option<Arc<BoardRecord>>> = self.ports.reads.boards(ids).await?;
        let granted = records
            .iter()
            .map(|record| record.as_ref().and_then(|record| Granted::check(viewer, record, Permission::View)));
        let mut area = SearchArea { within, filter, is_cut, ..SearchArea::default() };
        for granted in granted {
            match granted {
                Some(granted) => {
                    area.boards.push(granted.board_id());
                    area.sealed.extend(granted.sealed().folders());
                }
                None if must_be_there => return Err(no_such_board()),
                None => {}
            }
        }
        // Always in the same order: areas are compared.
        area.boards.sort_unstable();
        area.boards.dedup();
        area.sealed.sort_unstable();
        area.sealed.dedup();
        Ok(area)
    }
}
