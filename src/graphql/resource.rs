//! Resources: texts, links, documents and media. Search in them comes with its own file.

use std::sync::Arc;

use async_graphql::{Enum, Result};

use super::{node::node_object, scalar::Url};
use crate::domain::{self, Error, NodeKind, NodeText, Resource};

impl ResourceNode {
    fn resource(&self) -> domain::Result<&Resource> {
        match &self.0.node.kind {
            NodeKind::Resource(resource) => Ok(resource),
            _ => Err(Error::internal(format!("{} is no resource", self.0.node.id))),
        }
    }

    async fn text(&self) -> domain::Result<Arc<NodeText>> {
        self.0.scope.loaders().node_text(&self.0.node).await
    }
}

node_object!(
    /// Something to read, hear or see: a text, a link, a document, a medium.
    ResourceNode
    lists {
    }
    fields {
        /// What kind of resource.
        async fn resource_type(&self) -> Result<ResourceType> {
            Ok(self.resource()?.resource_type.into())
        }

        /// Title.
        async fn title(&self) -> Result<Option<&str>> {
            Ok(self.resource()?.title.as_deref())
        }

        /// The text itself, for kinds that have one.
        async fn content(&self) -> Result<Option<String>> {
            Ok(Box::pin(self.text()).await?.content.clone())
        }

        /// Where it came from.
        async fn url(&self) -> Result<Option<Url>> {
            Ok(self.resource()?.url.clone().map(Url))
        }

        /// How far the extraction of text is.
        async fn processing_status(&self) -> Result<ProcessingStatus> {
            Ok(self.resource()?.processing_status.into())
        }

        /// Why extraction failed.
        async fn processing_error(&self) -> Result<Option<&str>> {
            Ok(self.resource()?.processing_error.as_deref())
        }

        /// Text found in the file or behind the link.
        async fn extracted_text(&self) -> Result<Option<String>> {
            Ok(Box::pin(self.text()).await?.extracted_text.clone())
        }

        /// Summary, when one was made.
        async fn summary(&self) -> Result<Option<String>> {
            Ok(Box::pin(self.text()).await?.summary.clone())
        }

        /// Main points, when they were made.
        async fn key_points(&self) -> Result<&[String]> {
            Ok(&self.resource()?.key_points)
        }

        /// Language of the text, as a BCP 47 tag; null when it is not known or the text is no prose.
        async fn language(&self) -> Result<Option<&str>> {
            Ok(self.resource()?.language.as_deref())
        }

        /// Words in the text.
        async fn word_count(&self) -> Result<Option<i32>> {
            Ok(self.resource()?.word_count)
        }

        /// Time that reading takes, in seconds, at 200 words a minute.
        async fn reading_time_seconds(&self) -> Result<Option<i32>> {
            Ok(self.resource()?.reading_time_seconds)
        }

        /// Whether search by meaning finds it.
        async fn embedding_status(&self) -> Result<EmbeddingStatus> {
            Ok(if self.resource()?.has_embeddings { EmbeddingStatus::Ready } else { EmbeddingStatus::None })
        }
    }
);

/// What kind of resource.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::ResourceType")]
pub(super) enum ResourceType {
    /// Text written on the board or imported.
    Text,
    /// A web page.
    Url,
    /// A PDF document.
    Pdf,
    /// An image.
    Image,
    /// A video.
    Video,
    /// A recording.
    Audio,
    /// A video on YouTube.
    Youtube,
    /// A post on Twitter.
    Twitter,
    /// A post on LinkedIn.
    Linkedin,
    /// Any other document.
    Document,
}

/// How far the extraction of text is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::ProcessingStatus")]
pub(super) enum ProcessingStatus {
    /// Waiting.
    Pending,
    /// Under way.
    Processing,
    /// Done, or nothing to do.
    Completed,
    /// Given up; `processingError` says why.
    Failed,
}

/// Whether search by meaning finds a resource.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmbeddingStatus {
    /// Its text is not in the vector index.
    None,
    /// Its text is in the vector index.
    Ready,
}
