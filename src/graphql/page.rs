//! Relay connections: what every list looks like from outside.
//!
//! A connection holds its rows; edges, cursors and counts are made only when they are selected. Which arguments are
//! acceptable and how a page is cut is `domain/page.rs`.

use async_graphql::SimpleObject;

use crate::domain::Page;

/// Where a page lies in its list.
#[derive(SimpleObject)]
pub(super) struct PageInfo {
    /// Whether something follows. When paging backwards: whether `before` was given.
    has_next_page: bool,
    /// Whether something precedes. When paging forwards: whether `after` was given.
    has_previous_page: bool,
    /// Cursor of the first edge of the page.
    start_cursor: Option<String>,
    /// Cursor of the last edge of the page.
    end_cursor: Option<String>,
}

impl PageInfo {
    pub(super) fn of<T>(page: &Page<T>, cursor: impl Fn(&T) -> String) -> Self {
        PageInfo {
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: page.rows.first().map(&cursor),
            end_cursor: page.rows.last().map(&cursor),
        }
    }
}

/// Defines a connection and its edge over rows of a noun. `$row` has `fn cursor(&$row, &$list) -> String` and
/// `fn node(&$row, &$list) -> $node`; `$list` has `async fn total_count(&self) -> Result<i64>`.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ty, $row:ty, $list:ty, $of:literal) => {
        #[doc = concat!("A page of ", $of, ".")]
        pub(super) struct $connection {
            page: $crate::domain::Page<$row>,
            list: std::sync::Arc<$list>,
        }

        impl $connection {
            pub(super) fn new(page: $crate::domain::Page<$row>, list: std::sync::Arc<$list>) -> Self {
                $connection { page, list }
            }
        }

        #[doc = concat!("A page of ", $of, ".")]
        #[async_graphql::Object]
        impl $connection {
            /// The objects of the page with their cursors.
            async fn edges(&self) -> $crate::graphql::rows::Rows<$edge> {
                let edge = |row: &$row| $edge::new(row.clone(), std::sync::Arc::clone(&self.list));
                self.page.rows.iter().map(edge).collect()
            }

            /// The objects of the page, for clients that need no cursors of their own.
            async fn nodes(&self) -> $crate::graphql::rows::Rows<$node> {
                self.page.rows.iter().map(|row| self.list.node(row)).collect()
            }

            /// Where the page lies in the list.
            async fn page_info(&self) -> $crate::graphql::page::PageInfo {
                $crate::graphql::page::PageInfo::of(&self.page, |row| self.list.cursor(row))
            }

            /// How many objects the whole list has. Counted only when it is asked for; large lists take time.
            async fn total_count(&self) -> async_graphql::Result<i64> {
                Ok(Box::pin(self.list.total_count()).await?)
            }
        }

        impl $edge {
            pub(super) fn new(row: $row, list: std::sync::Arc<$list>) -> Self {
                $edge { row, list }
            }
        }

        #[doc = concat!("One of ", $of, ", at its place in the list.")]
        pub(super) struct $edge {
            row: $row,
            list: std::sync::Arc<$list>,
        }

        $crate::graphql::rows::row!($edge);

        #[doc = concat!("One of ", $of, ", at its place in the list.")]
        #[async_graphql::Object]
        impl $edge {
            /// The object.
            async fn node(&self) -> $node {
                self.list.node(&self.row)
            }

            /// Its place: opaque, good for this order of the list, also after the object is gone.
            async fn cursor(&self) -> String {
                self.list.cursor(&self.row)
            }
        }
    };
}

pub(super) use connection;
