//! Resources: texts, links, documents and media. Search in them has its own file.

use std::sync::Arc;

use async_graphql::{Enum, Result};

use super::{
    chunk::{ChunkConnection, ChunkRows},
    node::node_object,
    scalar::Url,
    search::{self, SearchHitConnection, SearchScope},
    text::Text,
};
use crate::domain::{self, CHUNK_ORDER, Error, NodeKey, NodeKind, NodeText, PageRequest, Resource};

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
        async fn content(&self) -> Result<Option<Text>> {
            Ok(Text::of(&Box::pin(self.text()).await?, |text| text.content.as_deref()))
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
        async fn extracted_text(&self) -> Result<Option<Text>> {
            Ok(Text::of(&Box::pin(self.text()).await?, |text| text.extracted_text.as_deref()))
        }

        /// Summary, when one was made.
        async fn summary(&self) -> Result<Option<Text>> {
            Ok(Text::of(&Box::pin(self.text()).await?, |text| text.summary.as_deref()))
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

        /// Whether search finds it, as it is at this moment: texts are made searchable a moment after they were written.
        async fn embedding_status(&self) -> Result<EmbeddingStatus> {
            let key = NodeKey { board_id: self.0.node.board_id, node_id: self.0.node.id };
            Ok(Box::pin(self.0.scope.loaders().embedding_state(key)).await?.into())
        }

        /// The spans that its text is cut into for search, in the order of the text.
        async fn chunks(
            &self,
            #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
            #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
            #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
            #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        ) -> Result<ChunkConnection> {
            let page = PageRequest::new(first, after.as_deref(), last, before.as_deref(), CHUNK_ORDER)?;
            Ok(Box::pin(ChunkRows::read(&self.0, page)).await?)
        }

        /// Resources that are like it by meaning, without itself: the middle of its first 16 vectors is compared.
        async fn related(
            &self,
            #[graphql(desc = "Where to look; on the same board if not given.")] scope: Option<SearchScope>,
            #[graphql(default = 10, desc = "How many, 1 to 100.")] first: i32,
            #[graphql(desc = "Only what comes after this cursor of the same list.")] after: Option<String>,
        ) -> Result<SearchHitConnection> {
            Ok(Box::pin(search::related(&self.0, scope, first, after.as_deref())).await?)
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

/// Whether search finds a resource.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::EmbeddingState")]
pub(super) enum EmbeddingStatus {
    /// It has no text.
    #[graphql(name = "NONE")]
    NoText,
    /// It was written a moment ago: its words or its vectors are still being made.
    Pending,
    /// By its words; there is no model that makes vectors.
    WordsOnly,
    /// By its words and by its meaning.
    Ready,
}
