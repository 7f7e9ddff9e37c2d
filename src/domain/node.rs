//! What lies on a board: resources, chats and folders, and the lists of them.
//!
//! Long texts of resources are not part of a node: they are read on demand as [`NodeText`].

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, Cursor, LinkDirection, LinkKind, MediaId, NodeId, PageRequest, Sealed, SortKey, words::words};

/// Folders nest no deeper than this; the database refuses more.
pub const MAX_FOLDER_DEPTH: i32 = 64;

/// A node of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its board; a node never changes it.
    pub board_id: BoardId,
    /// Where it lies.
    pub rect: Rect,
    /// Higher lies above.
    pub z_index: i32,
    /// Not to be moved by hand.
    pub is_locked: bool,
    /// Free data.
    pub metadata: Value,
    /// Board version of its last change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Folded name, as the database sorts it.
    pub name_key: String,
    /// The folder that holds it.
    pub placement: Option<Placement>,
    /// What it is.
    pub kind: NodeKind,
}

/// Which folder holds a node, and where among its siblings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// The folder.
    pub folder_id: NodeId,
    /// Place among the siblings; finite.
    pub position: f64,
}

/// The type-specific part of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Something to read.
    Resource(Box<Resource>),
    /// An AI chat.
    Chat(Box<Chat>),
    /// A folder.
    Folder(Box<Folder>),
}

/// A text, link, document or medium.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// What kind of resource.
    pub resource_type: ResourceType,
    /// Title.
    pub title: Option<String>,
    /// Where it came from.
    pub url: Option<String>,
    /// The stored file.
    pub media_id: Option<MediaId>,
    /// How far extraction is.
    pub processing_status: ProcessingStatus,
    /// Why extraction failed.
    pub processing_error: Option<String>,
    /// Main points.
    pub key_points: Vec<String>,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// Words in the text.
    pub word_count: Option<i32>,
    /// At 200 words a minute.
    pub reading_time_seconds: Option<i32>,
}

/// The long texts of a resource.
#[derive(Clone, Debug, Default)]
pub struct NodeText {
    /// The text itself, for kinds that have one.
    pub content: Option<String>,
    /// Text found in the file or behind the link.
    pub extracted_text: Option<String>,
    /// Summary.
    pub summary: Option<String>,
}

/// Names of the models that a chat may have; a custom one comes with its address.
pub const CHAT_MODELS: &[&str] =
    &["claude-3-opus", "claude-3-sonnet", "claude-3-haiku", "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "custom"];

/// Configuration of an AI chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// Name of the model.
    pub model: String,
    /// Address of the model when it is a custom one.
    pub custom_model_endpoint: Option<String>,
    /// Instruction that precedes each conversation.
    pub system_prompt: Option<String>,
    /// 0 to 2.
    pub temperature: f32,
    /// Longest answer.
    pub max_tokens: i32,
    /// 0 to 1.
    pub top_p: f32,
    /// -2 to 2.
    pub frequency_penalty: f32,
    /// -2 to 2.
    pub presence_penalty: f32,
    /// Texts that end an answer.
    pub stop_sequences: Vec<String>,
    /// What form answers have.
    pub response_format: ChatResponseFormat,
    /// Whether the model may call tools.
    pub tools_enabled: bool,
    /// Whether earlier messages are sent along.
    pub memory_enabled: bool,
    /// How many earlier messages.
    pub context_window_size: i32,
}

/// A folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    /// Name.
    pub name: String,
    /// What is in it.
    pub description: Option<String>,
    /// `#RRGGBB`.
    pub color: String,
    /// Name of an icon of the frontend.
    pub icon: String,
    /// Whether it is drawn open.
    pub is_expanded: bool,
    /// In which order its content is listed.
    pub sort_order: FolderSortOrder,
    /// How many nodes it may hold directly.
    pub max_items: Option<i32>,
    /// Whether it has a password.
    pub is_password_protected: bool,
}

words!(
    /// What kind of resource.
    ResourceType {
        /// Text written on the board or imported.
        Text = "text",
        /// A web page.
        Url = "url",
        /// A PDF document.
        Pdf = "pdf",
        /// An image.
        Image = "image",
        /// A video.
        Video = "video",
        /// A recording.
        Audio = "audio",
        /// A video on YouTube.
        Youtube = "youtube",
        /// A post on Twitter.
        Twitter = "twitter",
        /// A post on LinkedIn.
        Linkedin = "linkedin",
        /// Any other document.
        Document = "document",
    }
);

words!(
    /// How far extraction of text is.
    ProcessingStatus {
        /// Waiting.
        Pending = "pending",
        /// Under way.
        Processing = "processing",
        /// Done.
        Completed = "completed",
        /// Given up.
        Failed = "failed",
    }
);

words!(
    /// What form the answers of a chat have.
    ChatResponseFormat {
        /// Plain text.
        Text = "text",
        /// JSON.
        Json = "json",
        /// Markdown.
        Markdown = "markdown",
    }
);

words!(
    /// In which order the content of a folder is listed.
    FolderSortOrder {
        /// As placed by hand.
        Manual = "manual",
        /// By name.
        Name = "name",
        /// Newest first.
        Date = "date",
        /// Folders, resources, chats, each by name.
        Type = "type",
    }
);

words!(
    /// The three kinds of node.
    NodeType {
        /// Something to read.
        Resource = "resource",
        /// An AI chat.
        Chat = "chat",
        /// A folder.
        Folder = "folder",
    }
);

/// A rectangle of the canvas, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// At least 0.
    pub width: f64,
    /// At least 0.
    pub height: f64,
}

impl Rect {
    /// Whether the two share at least a point.
    #[must_use]
    pub fn touches(&self, other: &Rect) -> bool {
        self.x <= other.x + other.width
            && other.x <= self.x + self.width
            && self.y <= other.y + other.height
            && other.y <= self.y + self.height
    }

    fn bits(&self) -> [u64; 4] {
        [self.x, self.y, self.width, self.height].map(f64::to_bits)
    }
}

// Rectangles are parts of loader keys; they are finite, so that equality of bits is equality.
impl Eq for Rect {}

impl std::hash::Hash for Rect {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

/// By what nodes are sorted; the id decides among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeOrderKey {
    /// Time of creation.
    Created,
    /// Time of the last change.
    Updated,
    /// Name of a folder or title of a resource, without regard to case.
    Name,
    /// Height on the canvas.
    ZIndex,
    /// Place in the folder; only for children.
    Position,
    /// Folders, resources, chats, each by name.
    Type,
}

/// An order of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeOrder {
    /// By what.
    pub key: NodeOrderKey,
    /// Largest first.
    pub descending: bool,
}

impl NodeOrder {
    /// Oldest first: the order where nothing else is asked for.
    pub const OLDEST: NodeOrder = NodeOrder { key: NodeOrderKey::Created, descending: false };

    /// The order in which a folder lists its content.
    #[must_use]
    pub fn of_folder(sort_order: FolderSortOrder) -> Self {
        let (key, descending) = match sort_order {
            FolderSortOrder::Manual => (NodeOrderKey::Position, false),
            FolderSortOrder::Name => (NodeOrderKey::Name, false),
            FolderSortOrder::Date => (NodeOrderKey::Created, true),
            FolderSortOrder::Type => (NodeOrderKey::Type, false),
        };
        NodeOrder { key, descending }
    }

    /// Names the order inside cursors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.key, self.descending) {
            (NodeOrderKey::Created, false) => "node:created",
            (NodeOrderKey::Created, true) => "node:-created",
            (NodeOrderKey::Updated, false) => "node:updated",
            (NodeOrderKey::Updated, true) => "node:-updated",
            (NodeOrderKey::Name, false) => "node:name",
            (NodeOrderKey::Name, true) => "node:-name",
            (NodeOrderKey::ZIndex, false) => "node:z",
            (NodeOrderKey::ZIndex, true) => "node:-z",
            (NodeOrderKey::Position, false) => "node:position",
            (NodeOrderKey::Position, true) => "node:-position",
            (NodeOrderKey::Type, false) => "node:type",
            (NodeOrderKey::Type, true) => "node:-type",
        }
    }
}

impl Node {
    /// Which of the three kinds.
    #[must_use]
    pub fn node_type(&self) -> NodeType {
        match self.kind {
            NodeKind::Resource(_) => NodeType::Resource,
            NodeKind::Chat(_) => NodeType::Chat,
            NodeKind::Folder(_) => NodeType::Folder,
        }
    }

    /// Place of the node in lists of this order.
    #[must_use]
    pub fn place(&self, key: NodeOrderKey) -> Cursor {
        let key = match key {
            NodeOrderKey::Created => SortKey::Time(self.created_at),
            NodeOrderKey::Updated => SortKey::Time(self.updated_at),
            NodeOrderKey::Name => SortKey::Text(self.name_key.clone()),
            NodeOrderKey::ZIndex => SortKey::Int(self.z_index.into()),
            NodeOrderKey::Position => SortKey::Real(self.placement.map_or(0.0, |placement| placement.position)),
            NodeOrderKey::Type => {
                let rank = match self.node_type() {
                    NodeType::Folder => '0',
                    NodeType::Resource => '1',
                    NodeType::Chat => '2',
                };
                SortKey::Text(format!("{rank}{}", self.name_key))
            }
        };
        Cursor { key, id: self.id.0 }
    }
}

/// Which nodes of a board a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeScope {
    /// All.
    Board,
    /// Those in no folder.
    Roots,
    /// Those directly in a folder.
    ChildrenOf(NodeId),
    /// Those in a folder at any depth down to `max_depth` (1 is directly).
    DescendantsOf(NodeId, i32),
    /// Those at the other end of links of a node.
    LinkedWith(NodeId, LinkDirection),
}

/// Conditions on the nodes of a list; empty ones hold for every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeFilter {
    /// Only these types.
    pub types: Vec<NodeType>,
    /// Only resources of these types.
    pub resource_types: Vec<ResourceType>,
    /// Only resources whose extraction is in one of these states.
    pub processing_statuses: Vec<ProcessingStatus>,
    /// Only locked ones, or only others.
    pub is_locked: Option<bool>,
    /// Not created before.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before.
    pub created_until: Option<DateTime<Utc>>,
    /// Not changed before.
    pub updated_from: Option<DateTime<Utc>>,
    /// Changed before.
    pub updated_until: Option<DateTime<Utc>>,
    /// Touching this part of the canvas.
    pub within: Option<Rect>,
}

impl NodeFilter {
    /// Whether a node satisfies every condition.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        let resource = match &node.kind {
            NodeKind::Resource(resource) => Some(resource),
            _ => None,
        };
        (self.types.is_empty() || self.types.contains(&node.node_type()))
            && (self.resource_types.is_empty()
                || resource.is_some_and(|r| self.resource_types.contains(&r.resource_type)))
            && (self.processing_statuses.is_empty()
                || resource.is_some_and(|r| self.processing_statuses.contains(&r.processing_status)))
            && self.is_locked.is_none_or(|wanted| node.is_locked == wanted)
            && self.created_from.is_none_or(|from| node.created_at >= from)
            && self.created_until.is_none_or(|until| node.created_at < until)
            && self.updated_from.is_none_or(|from| node.updated_at >= from)
            && self.updated_until.is_none_or(|until| node.updated_at < until)
            && self.within.is_none_or(|rect| rect.touches(&node.rect))
    }
}

/// A list of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeList {
    /// On which board.
    pub board_id: BoardId,
    /// Which nodes.
    pub scope: NodeScope,
    /// Only links of these kinds count for [`NodeScope::LinkedWith`]; empty for all.
    pub link_kinds: Vec<LinkKind>,
    /// Under which conditions.
    pub filter: NodeFilter,
    /// In which order.
    pub order: NodeOrder,
    /// What lies in these folders is left out; the loaders fill it in.
    pub sealed: Sealed,
}

/// A page of a list of nodes: what a loader is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodePageKey {
    /// The list.
    pub list: NodeList,
    /// The part of it.
    pub page: PageRequest,
}

/// A node, found by its board and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeKey {
    /// The board.
    pub board_id: BoardId,
    /// The node.
    pub node_id: NodeId,
}
