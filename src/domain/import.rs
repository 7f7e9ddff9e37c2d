//! What an importer brings to a board and finds on it. How files become such values is not known here.

use serde_json::Value;

use super::{LinkId, NodeId, NodeType, Placement, Rect, ResourceType};

/// A living node of the board, as far as an importer must know it.
#[derive(Clone, Debug)]
pub struct KnownNode {
    /// Its id.
    pub id: NodeId,
    /// Which of the three kinds.
    pub node_type: NodeType,
    /// Where it lies.
    pub rect: Rect,
    /// The folder that holds it.
    pub placement: Option<Placement>,
    /// What an earlier import noted about its origin; `None` for nodes that no import made.
    pub origin: Option<Origin>,
}

/// Where an imported node came from: by this the next import recognises it. Kept in the node's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path below the imported folder, with `/` between names.
    pub path: String,
    /// SHA-256 of the file in hex; `None` for folders.
    pub digest: Option<String>,
}

/// A node that an import adds.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its id.
    pub id: NodeId,
    /// The folder it lies in, and its place there. A folder comes before what is in it.
    pub placement: Option<Placement>,
    /// Where it lies on the canvas.
    pub rect: Rect,
    /// Higher lies above.
    pub z_index: i32,
    /// Free data: a JSON object.
    pub metadata: Value,
    /// What it is.
    pub kind: NewNodeKind,
}

/// The type-specific part of a new node.
#[derive(Clone, Debug)]
pub enum NewNodeKind {
    /// A folder with this name, at most 255 characters.
    Folder(String),
    /// A resource.
    Resource(ImportedText),
}

/// A text with all that was found out about it. None of its strings may contain NUL: PostgreSQL cannot store it.
#[derive(Clone, Debug)]
pub struct ImportedText {
    /// What kind of resource.
    pub resource_type: ResourceType,
    /// Title, at most 500 characters.
    pub title: String,
    /// The text as it was written.
    pub content: String,
    /// The text to read and to search, where the content is not that.
    pub extracted_text: Option<String>,
    /// BCP 47 tag, at most 10 characters.
    pub language: Option<String>,
    /// Words in the text.
    pub word_count: i32,
}

/// A node whose text is another one now.
#[derive(Clone, Debug)]
pub struct ChangedText {
    /// Which node.
    pub id: NodeId,
    /// Replaces the entries of these names in the node's metadata: a JSON object.
    pub metadata: Value,
    /// The new text.
    pub text: ImportedText,
}

/// A link that an import made or makes: of the kind `Reference`, and marked as imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedLink {
    /// Its id.
    pub id: LinkId,
    /// Where it starts.
    pub from: NodeId,
    /// Where it ends.
    pub to: NodeId,
    /// Text on the line, at most 255 characters.
    pub label: Option<String>,
}
