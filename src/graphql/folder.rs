//! Folders, and what is in them.

use async_graphql::{Enum, Result};

use super::{
    node::{BoardNodeConnection, NodeType, PageArguments, node_object},
    scalar::HexColor,
};
use crate::domain::{self, Error, Folder, MAX_FOLDER_DEPTH, NodeKind, NodeList, NodeOrder, NodeScope};

impl FolderNode {
    fn folder(&self) -> domain::Result<&Folder> {
        match &self.0.node.kind {
            NodeKind::Folder(folder) => Ok(folder),
            // The database lets only folders be parents; a node never changes its type.
            _ => Err(Error::internal(format!("{} is no folder", self.0.node.id))),
        }
    }

    async fn children_page(
        &self,
        types: Option<Vec<NodeType>>,
        page: PageArguments,
    ) -> domain::Result<BoardNodeConnection> {
        let order = NodeOrder::of_folder(self.folder()?.sort_order);
        self.0.list(NodeScope::ChildrenOf(self.0.node.id), Vec::new(), types, order, page).await
    }

    async fn descendants_page(
        &self,
        max_depth: Option<i32>,
        types: Option<Vec<NodeType>>,
        page: PageArguments,
    ) -> domain::Result<BoardNodeConnection> {
        let max_depth = max_depth.unwrap_or(MAX_FOLDER_DEPTH);
        if !(1..=MAX_FOLDER_DEPTH).contains(&max_depth) {
            return Err(Error::invalid(format!("maxDepth must be from 1 to {MAX_FOLDER_DEPTH}")));
        }
        let scope = NodeScope::DescendantsOf(self.0.node.id, max_depth);
        self.0.list(scope, Vec::new(), types, NodeOrder::OLDEST, page).await
    }
}

node_object!(
    /// A folder: nodes that lie in it, folders among them.
    FolderNode
    lists {
        /// What lies directly in it, in its `sortOrder`.
        children(types: Option<Vec<NodeType>> = "Only these types; none or empty for all.") by children_page;
        /// What lies in it at any depth, the oldest first.
        descendants(
            max_depth: Option<i32> = "How deep to look, 1 (directly in it) to 64; to the bottom if not given.",
            types: Option<Vec<NodeType>> = "Only these types; none or empty for all."
        ) by descendants_page;
    }
    fields {
        /// Name.
        async fn name(&self) -> Result<&str> {
            Ok(&self.folder()?.name)
        }

        /// What is in it.
        async fn description(&self) -> Result<Option<&str>> {
            Ok(self.folder()?.description.as_deref())
        }

        /// Colour of its frame.
        async fn color(&self) -> Result<HexColor> {
            Ok(HexColor(self.folder()?.color.clone()))
        }

        /// Name of an icon of the frontend.
        async fn icon(&self) -> Result<&str> {
            Ok(&self.folder()?.icon)
        }

        /// Whether it is drawn open.
        async fn is_expanded(&self) -> Result<bool> {
            Ok(self.folder()?.is_expanded)
        }

        /// In which order `children` lists its content.
        async fn sort_order(&self) -> Result<FolderSortOrder> {
            Ok(self.folder()?.sort_order.into())
        }

        /// How many nodes it may hold directly; null for any number.
        async fn max_items(&self) -> Result<Option<i32>> {
            Ok(self.folder()?.max_items)
        }

        /// Whether it has a password.
        async fn is_password_protected(&self) -> Result<bool> {
            Ok(self.folder()?.is_password_protected)
        }

        /// Whether the viewer sees what lies in it: it has no password, or the viewer is the owner of the board, has set the
        /// password, or has opened it with `unlockFolder`. A locked folder looks empty.
        async fn is_unlocked(&self) -> bool {
            !self.0.scope.board.sealed().contains(self.0.node.id)
        }

        /// How many nodes lie directly in it.
        async fn child_count(&self) -> Result<i64> {
            let list = NodeList {
                board_id: self.0.node.board_id,
                scope: NodeScope::ChildrenOf(self.0.node.id),
                link_kinds: Vec::new(),
                filter: domain::NodeFilter::default(),
                order: NodeOrder::OLDEST,
                sealed: domain::Sealed::default(),
            };
            Ok(Box::pin(self.0.scope.loaders().node_count(&self.0.scope.board, list)).await?)
        }
    }
);

/// In which order a folder lists its content.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::FolderSortOrder")]
pub(super) enum FolderSortOrder {
    /// As placed by hand.
    Manual,
    /// By name, without regard to case.
    Name,
    /// Newest first.
    Date,
    /// Folders, then resources, then chats, each by name.
    Type,
}
