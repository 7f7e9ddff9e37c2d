//! Chunks: the spans of text that search finds and cites.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object};

use super::{
    node::NodeObject, page::connection, resource::ResourceNode, rows::row, scalar::id, scope::Scope, text::Text,
};
use crate::domain::{self, CHUNK_ORDER, NodeKey, PageRequest};

/// Which text of a resource a chunk was cut from.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::ChunkField")]
pub(super) enum ChunkField {
    /// `title`, for resources that have no other text.
    Title,
    /// `content`.
    Content,
    /// `extractedText`.
    ExtractedText,
}

/// A span of the text of a resource, about 200 word pieces long: what search finds and cites.
pub(super) struct Chunk {
    resource: NodeObject,
    chunk: Arc<domain::Chunk>,
}

row!(Chunk);

impl Chunk {
    pub(super) fn new(scope: &Scope, node: &Arc<domain::Node>, chunk: &Arc<domain::Chunk>) -> Self {
        let resource = NodeObject { scope: scope.clone(), node: Arc::clone(node) };
        Chunk { resource, chunk: Arc::clone(chunk) }
    }
}

/// A span of the text of a resource, about 200 word pieces long: what search finds and cites.
#[Object]
impl Chunk {
    /// Global id, `chunk_…`; the same for as long as its text stays.
    pub(super) async fn id(&self) -> ID {
        id(self.chunk.id)
    }

    /// The resource.
    async fn node(&self) -> ResourceNode {
        ResourceNode::new(&self.resource.scope, &self.resource.node)
    }

    /// Place in the resource, from 0.
    async fn index(&self) -> i32 {
        self.chunk.index
    }

    /// Which text of the resource it was cut from, and the places below count in.
    async fn field(&self) -> ChunkField {
        self.chunk.field.into()
    }

    /// The text.
    async fn text(&self) -> Text {
        Text::of(&self.chunk, |chunk| Some(&chunk.text)).unwrap_or_else(|| String::new().into())
    }

    /// Its first character in that text, from 0, in Unicode scalar values.
    async fn start_char(&self) -> i32 {
        self.chunk.span.start_char
    }

    /// The character after its last one.
    async fn end_char(&self) -> i32 {
        self.chunk.span.end_char
    }

    /// Its first character in UTF-16 code units, as JavaScript counts: `content.slice(startUtf16, endUtf16)` is `text`.
    async fn start_utf16(&self) -> i32 {
        self.chunk.span.start_utf16
    }

    /// The code unit after its last one.
    async fn end_utf16(&self) -> i32 {
        self.chunk.span.end_utf16
    }

    /// Tokens by the tokenizer of the model.
    async fn token_count(&self) -> i32 {
        self.chunk.token_count
    }
}

/// The chunks of a resource: what their connection needs besides the rows.
pub(super) struct ChunkRows(NodeObject);

impl ChunkRows {
    pub(super) async fn read(of: &NodeObject, page: PageRequest) -> domain::Result<ChunkConnection> {
        let page = of.scope.loaders().chunk_page(ChunkRows::key(of), page).await?;
        Ok(ChunkConnection::new(page, Arc::new(ChunkRows(of.clone()))))
    }

    fn key(of: &NodeObject) -> NodeKey {
        NodeKey { board_id: of.node.board_id, node_id: of.node.id }
    }

    fn node(&self, chunk: &Arc<domain::Chunk>) -> Chunk {
        Chunk::new(&self.0.scope, &self.0.node, chunk)
    }

    fn cursor(&self, chunk: &Arc<domain::Chunk>) -> String {
        chunk.place().encode(CHUNK_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.0.scope.loaders().chunk_count(ChunkRows::key(&self.0)).await
    }
}

connection!(ChunkConnection, ChunkEdge, Chunk, Arc<domain::Chunk>, ChunkRows, "chunks");
