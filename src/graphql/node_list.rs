//! What clients may say about lists of nodes: conditions, orders, and the part of the canvas they look at.

use async_graphql::{Enum, InputObject};
use chrono::{DateTime, Utc};

use super::{
    board::SortDirection,
    resource::{ProcessingStatus, ResourceType},
};
use crate::domain::{self, Error, NodeOrderKey, Result};

/// The three kinds of node.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::NodeType")]
pub(super) enum NodeType {
    /// A text, link, document or medium.
    Resource,
    /// An AI chat.
    Chat,
    /// A folder.
    Folder,
}

/// A part of the canvas, in its pixels.
#[derive(InputObject)]
pub(super) struct Rect {
    /// Left edge.
    x: f64,
    /// Upper edge.
    y: f64,
    /// Width, 0 or more.
    width: f64,
    /// Height, 0 or more.
    height: f64,
}

impl Rect {
    fn settled(self) -> Result<domain::Rect> {
        let Rect { x, y, width, height } = self;
        let sane = [x, y, width, height].iter().all(|side| side.abs() <= 1e12) && width >= 0.0 && height >= 0.0;
        sane.then_some(domain::Rect { x, y, width, height })
            .ok_or_else(|| Error::invalid("within: width and height must be 0 or more, and nothing beyond 1e12 pixels"))
    }
}

/// Conditions on nodes; all that are given must hold.
#[derive(InputObject, Default)]
pub(super) struct NodeFilter {
    /// Only resources of these types.
    resource_types: Option<Vec<ResourceType>>,
    /// Only resources whose extraction is in one of these states.
    processing_statuses: Option<Vec<ProcessingStatus>>,
    /// Only locked nodes, or only others.
    is_locked: Option<bool>,
    /// Not created before this moment.
    created_from: Option<DateTime<Utc>>,
    /// Created before this moment.
    created_until: Option<DateTime<Utc>>,
    /// Not changed before this moment.
    updated_from: Option<DateTime<Utc>>,
    /// Changed before this moment.
    updated_until: Option<DateTime<Utc>>,
}

fn distinct<T, U: From<T> + PartialEq>(values: Option<Vec<T>>) -> Vec<U> {
    let mut distinct: Vec<U> = Vec::new();
    for value in values.unwrap_or_default().into_iter().map(U::from) {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn moment(name: &'static str, moment: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>> {
    match moment {
        Some(at) if !(1..=9999).contains(&chrono::Datelike::year(&at)) => {
            Err(Error::invalid(format!("{name} must lie in the years 1 to 9999")))
        }
        fine => Ok(fine),
    }
}

impl NodeFilter {
    /// The conditions of a list; repetitions are folded.
    pub(super) fn conditions(
        filter: Option<Self>,
        types: Option<Vec<NodeType>>,
        within: Option<Rect>,
    ) -> Result<domain::NodeFilter> {
        let filter = filter.unwrap_or_default();
        Ok(domain::NodeFilter {
            types: distinct(types),
            resource_types: distinct(filter.resource_types),
            processing_statuses: distinct(filter.processing_statuses),
            is_locked: filter.is_locked,
            created_from: moment("createdFrom", filter.created_from)?,
            created_until: moment("createdUntil", filter.created_until)?,
            updated_from: moment("updatedFrom", filter.updated_from)?,
            updated_until: moment("updatedUntil", filter.updated_until)?,
            within: within.map(Rect::settled).transpose()?,
        })
    }
}

/// By what nodes are sorted; among equals the id decides.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeOrderField {
    /// Time of creation.
    Created,
    /// Time of the last change.
    Updated,
    /// Name of a folder or title of a resource, without regard to case; chats have none and come together.
    Name,
    /// Height on the canvas.
    ZIndex,
}

/// An order of nodes.
#[derive(InputObject)]
pub(super) struct NodeOrder {
    /// By what.
    field: NodeOrderField,
    /// In which direction.
    #[graphql(default_with = "SortDirection::Asc")]
    direction: SortDirection,
}

impl NodeOrder {
    pub(super) fn settled(self) -> domain::NodeOrder {
        let key = match self.field {
            NodeOrderField::Created => NodeOrderKey::Created,
            NodeOrderField::Updated => NodeOrderKey::Updated,
            NodeOrderField::Name => NodeOrderKey::Name,
            NodeOrderField::ZIndex => NodeOrderKey::ZIndex,
        };
        domain::NodeOrder { key, descending: self.direction == SortDirection::Desc }
    }
}
