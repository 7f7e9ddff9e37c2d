//! What an importer brings to a board and finds on it. How files become such values is not known here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, LinkId, NodeId, NodeType, Placement, Rect, ResourceType, UserId};

/// Into which board an import goes.
#[derive(Clone, Debug)]
pub struct ImportTarget {
    /// Whose board it is.
    pub owner: UserId,
    /// Its name; a board of this name is made when the owner has none.
    pub board_name: String,
    /// Whether a board that is made is readable by anyone.
    pub is_public: bool,
}

/// What lies on a board at one moment, as far as an importer must know it.
#[derive(Clone, Debug)]
pub struct ImportSnapshot {
    /// The board.
    pub board_id: BoardId,
    /// Its version; what is read may be newer, but not older.
    pub version: i64,
    /// The moment, by the clock of the database. What the import removes goes at this moment, in whichever slice.
    pub taken_at: DateTime<Utc>,
    /// Living nodes, and deleted ones that an import made, oldest first.
    pub nodes: Vec<KnownNode>,
}

/// A node of the board, as far as an importer must know it.
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
    /// Whether it lives, or who deleted it.
    pub life: Life,
}

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is on the board.
    Living,
    /// An import deleted it, because its file was gone. The moment is in microseconds since 1970.
    RemovedByImport(i64),
    /// Somebody deleted it. The moment is in microseconds since 1970.
    DeletedByHand(i64),
}

/// Where an imported node came from: by this the next import recognises it. Kept in the node's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path below the imported folder, with `/` between names.
    pub path: String,
    /// SHA-256 of the file in hex; `None` for folders.
    pub digest: Option<String>,
    /// Whether the node lies where an import put it: nobody has moved it since.
    pub is_where_put: bool,
}

/// What one transaction of an import does. The parts are carried out in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct ImportSlice {
    /// Nodes that live again.
    pub restored: Vec<NodeId>,
    /// Nodes that lie elsewhere on the canvas now, or are larger: from where, and where. A frame has room before it is filled.
    pub moved: Vec<(NodeId, Rect, Rect)>,
    /// New nodes; a folder comes before what is in it.
    pub inserted: Vec<NewNode>,
    /// Nodes whose file or folder has another path now, and the same content.
    pub relocated: Vec<Relocation>,
    /// Nodes that come into another folder.
    pub placed: Vec<NewPlace>,
    /// Nodes whose text is another one now.
    pub rewritten: Vec<ChangedText>,
    /// Nodes whose file or folder is gone. What lies in a folder comes before it.
    pub removed: Vec<NodeId>,
    /// The moment of their removal, one for all slices of an import: what went at one moment comes back together.
    /// `None` for that of the transaction.
    pub removed_at: Option<DateTime<Utc>>,
    /// Imported links that are no more.
    pub links_removed: Vec<LinkId>,
    /// Imported links with another label.
    pub links_relabelled: Vec<(LinkId, Option<String>)>,
    /// New links.
    pub links_added: Vec<ImportedLink>,
}

impl ImportSlice {
    /// How many rows it is about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.restored.len()
            + self.inserted.len()
            + self.relocated.len()
            + self.placed.len()
            + self.rewritten.len()
            + self.removed.len()
            + self.links_removed.len()
            + self.links_relabelled.len()
            + self.links_added.len()
            + self.moved.len()
    }

    /// Whether there is nothing to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A node whose file or folder was renamed or moved.
#[derive(Clone, Debug)]
pub struct Relocation {
    /// Which node.
    pub id: NodeId,
    /// The path it has now.
    pub path: String,
    /// The title or name that its old path gave it; another one was given by hand or by the text, and stays.
    pub old_name: String,
    /// The title or name that its new path gives it.
    pub new_name: String,
}

/// A node that comes into another folder, because its file did.
#[derive(Clone, Copy, Debug)]
pub struct NewPlace {
    /// Which node.
    pub id: NodeId,
    /// The folder in which it lay when this was planned; lies it elsewhere meanwhile, it stays there.
    pub from: Option<NodeId>,
    /// Where it comes; `None` for out of all folders.
    pub to: Option<Placement>,
}

/// How the writing of a slice ended.
#[derive(Clone, Copy, Debug)]
pub enum SliceEnd {
    /// It was written.
    Done(SliceOutcome),
    /// The board was deleted meanwhile; nothing was written.
    BoardGone,
    /// Another import has taken the turn; nothing was written.
    TurnLost,
}

/// What became of a slice.
#[derive(Clone, Copy, Debug)]
pub struct SliceOutcome {
    /// The board.
    pub board_id: BoardId,
    /// Its version afterwards.
    pub version: i64,
    /// How many rows were left as they are, because somebody changed the board meanwhile.
    pub left: usize,
    /// How long the board was held.
    pub held: Duration,
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

/// By what a text and its title are known: SHA-256 of each, in hex. One that is missing counts as an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextDigests {
    /// Of the content.
    pub text: String,
    /// Of the title.
    pub title: String,
}

/// The text of a node as it stands on the board, and what an import noted about the one that it wrote.
#[derive(Clone, Debug)]
pub struct StandingText {
    /// Which node.
    pub id: NodeId,
    /// What stands there.
    pub now: TextDigests,
    /// Digest of the content that was imported; `None` if that was not noted, as by older versions.
    pub imported_text: Option<String>,
    /// Digest of the title that was imported; `None` if that was not noted.
    pub imported_title: Option<String>,
    /// Whether a reader would see nothing of it.
    pub is_blank: bool,
    /// Size of the content.
    pub size_bytes: usize,
}

/// A node whose text is another one now.
#[derive(Clone, Debug)]
pub struct ChangedText {
    /// Which node.
    pub id: NodeId,
    /// What stood there when this was planned; stands something else there meanwhile, it stays.
    pub seen: TextDigests,
    /// Whether the title on the board stays.
    pub keeps_title: bool,
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
