//! What all inputs of mutations share: the options of a write, and the parts of nodes, links and boards that can be given.
//!
//! A part that is not given stays as it is. Parts that may be empty tell null (make it empty) from not given; null for any
//! other part counts as not given.

use async_graphql::{ID, InputObject, MaybeUndefined};
use serde_json::Value;

use super::super::{
    chat::ChatResponseFormat,
    folder::FolderSortOrder,
    link::LinkKind,
    resource::ResourceType,
    scalar::{HexColor, Url, parse_id},
};
use crate::domain::{self, Board, BoardEdit, Link, LinkEdit, Node, NodeEdit, NodeKind, NodeType, Place, Refusal, Spot};

/// What every mutation takes.
#[derive(InputObject)]
pub(super) struct WriteOptions {
    /// Comes back in the payload, and in the event where a board was changed, so that a client knows its own changes.
    pub(super) client_mutation_id: Option<String>,
    /// At most 255 bytes. The same request under the same key is done once within 24 hours, and answered alike, whatever way it is
    /// written; secrets are told the first time only.
    pub(super) idempotency_key: Option<String>,
}

/// A place on the canvas, in its pixels.
#[derive(InputObject, Clone, Copy)]
pub(super) struct PointInput {
    /// To the right.
    x: f64,
    /// Downwards.
    y: f64,
}

impl PointInput {
    pub(super) fn xy(self) -> (f64, f64) {
        (self.x, self.y)
    }
}

/// A size on the canvas, in its pixels.
#[derive(InputObject, Clone, Copy)]
pub(super) struct SizeInput {
    /// To the right.
    width: f64,
    /// Downwards.
    height: f64,
}

/// A place in a folder; the last one if neither neighbour is given.
#[derive(InputObject)]
pub(super) struct PlaceInput {
    /// The folder.
    folder_id: ID,
    /// Right before this node of the folder.
    before_id: Option<ID>,
    /// Right behind this node of the folder.
    after_id: Option<ID>,
    /// Before everything in the folder.
    #[graphql(default = false)]
    first: bool,
}

impl PlaceInput {
    pub(super) fn settled(&self) -> Result<Place, Refusal> {
        let id = |field: &str, id: &ID| parse_id(id).map_err(|error| Refusal::invalid(field, error.message()));
        let spot = match (&self.before_id, &self.after_id, self.first) {
            (None, None, false) => Spot::Last,
            (None, None, true) => Spot::First,
            (Some(anchor), None, false) => Spot::Before(id("beforeId", anchor)?),
            (None, Some(anchor), false) => Spot::After(id("afterId", anchor)?),
            _ => return Err(Refusal::invalid("beforeId", "Give one of beforeId, afterId and first")),
        };
        Ok(Place { folder_id: id("folderId", &self.folder_id)?, spot })
    }
}

/// Copies what is given into a place that cannot be empty.
fn set<T: Clone>(place: &mut T, given: Option<&T>) {
    if let Some(value) = given {
        place.clone_from(value);
    }
}

/// Copies what is given, or its absence, into a place that can be empty.
pub(super) fn set_or_clear<T: Clone, U>(place: &mut Option<T>, given: &MaybeUndefined<U>, value: impl Fn(&U) -> T) {
    match given {
        MaybeUndefined::Undefined => {}
        MaybeUndefined::Null => *place = None,
        MaybeUndefined::Value(given) => *place = Some(value(given)),
    }
}

/// Names of the parts that are given.
macro_rules! given {
    ($($name:literal => $is_given:expr),* $(,)?) => {{
        let mut names: Vec<&'static str> = Vec::new();
        $(if $is_given { names.push($name); })*
        names
    }};
}
pub(super) use given;

/// What every node has.
#[derive(InputObject, Default)]
pub(super) struct NodeParts {
    /// Left upper corner.
    position: Option<PointInput>,
    /// Width and height.
    size: Option<SizeInput>,
    /// Height on the canvas: higher lies above.
    z_index: Option<i32>,
    /// Whether it is not to be moved by hand.
    is_locked: Option<bool>,
    /// Free data: an object of at most 64 KiB, which takes the place of the old one. A number that would lose digits is refused.
    metadata: Option<Value>,
}

impl NodeParts {
    pub(super) fn at(position: PointInput) -> Self {
        NodeParts { position: Some(position), ..NodeParts::default() }
    }

    fn fields(&self) -> Vec<&'static str> {
        given! {
            "position" => self.position.is_some(),
            "size" => self.size.is_some(),
            "zIndex" => self.z_index.is_some(),
            "isLocked" => self.is_locked.is_some(),
            "metadata" => self.metadata.is_some(),
        }
    }

    fn apply(&self, node: &mut Node) {
        if let Some(PointInput { x, y }) = self.position {
            (node.rect.x, node.rect.y) = (x, y);
        }
        if let Some(SizeInput { width, height }) = self.size {
            (node.rect.width, node.rect.height) = (width, height);
        }
        set(&mut node.z_index, self.z_index.as_ref());
        set(&mut node.is_locked, self.is_locked.as_ref());
        set(&mut node.metadata, self.metadata.as_ref());
    }
}

impl NodeEdit for NodeParts {
    fn fields(&self) -> Vec<&'static str> {
        NodeParts::fields(self)
    }

    fn node_type(&self) -> Option<NodeType> {
        None
    }

    fn apply(&self, node: &mut Node) {
        NodeParts::apply(self, node);
    }
}

/// What a resource has besides.
#[derive(InputObject)]
pub(super) struct ResourceParts {
    /// What kind of resource; TEXT if it is made and nothing is said.
    resource_type: Option<ResourceType>,
    /// At most 500 characters.
    title: MaybeUndefined<String>,
    /// The text itself, at most 1 MiB.
    content: MaybeUndefined<String>,
    /// Where it came from.
    url: MaybeUndefined<Url>,
    /// Language of the text, as a BCP 47 tag.
    language: MaybeUndefined<String>,
}

/// What a chat has besides.
#[derive(InputObject)]
pub(super) struct ChatParts {
    /// Name of the model that answers.
    model: Option<String>,
    /// Address of the model, which must be `custom`.
    custom_model_endpoint: MaybeUndefined<Url>,
    /// Instruction that precedes each conversation.
    system_prompt: MaybeUndefined<String>,
    /// How freely it answers, 0 to 2.
    temperature: Option<f32>,
    /// Longest answer, in tokens.
    max_tokens: Option<i32>,
    /// Share of likely words it chooses from, 0 to 1.
    top_p: Option<f32>,
    /// How much repetition is avoided, -2 to 2.
    frequency_penalty: Option<f32>,
    /// How much new subjects are sought, -2 to 2.
    presence_penalty: Option<f32>,
    /// Texts that end an answer.
    stop_sequences: Option<Vec<String>>,
    /// What form answers have.
    response_format: Option<ChatResponseFormat>,
    /// Whether the model may call tools.
    tools_enabled: Option<bool>,
    /// Whether earlier messages are sent along.
    memory_enabled: Option<bool>,
    /// How many earlier messages are sent along.
    context_window_size: Option<i32>,
}

/// What a folder has besides.
#[derive(InputObject)]
pub(super) struct FolderParts {
    /// From 1 to 255 characters; a new folder needs one.
    name: Option<String>,
    /// What is in it.
    description: MaybeUndefined<String>,
    /// Colour of its frame.
    color: Option<HexColor>,
    /// Name of an icon of the frontend.
    icon: Option<String>,
    /// Whether it is drawn open.
    is_expanded: Option<bool>,
    /// In which order `children` lists its content.
    sort_order: Option<FolderSortOrder>,
    /// How many nodes it may hold directly; null for any number.
    max_items: MaybeUndefined<i32>,
}

/// What is given of a resource.
#[derive(InputObject)]
pub(super) struct ResourceEdit {
    #[graphql(flatten)]
    node: NodeParts,
    #[graphql(flatten)]
    own: ResourceParts,
    /// `content` as the domain has it.
    #[graphql(skip)]
    content: Option<Option<String>>,
}

impl ResourceEdit {
    /// Takes the text out of its GraphQL form, once.
    pub(super) fn settled(mut self) -> Self {
        self.content = match std::mem::take(&mut self.own.content) {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(content) => Some(Some(content)),
        };
        self
    }
}

impl NodeEdit for ResourceEdit {
    fn fields(&self) -> Vec<&'static str> {
        let mut fields = self.node.fields();
        fields.extend(given! {
            "resourceType" => self.own.resource_type.is_some(),
            "title" => !self.own.title.is_undefined(),
            "content" => self.content.is_some(),
            "url" => !self.own.url.is_undefined(),
            "language" => !self.own.language.is_undefined(),
        });
        fields
    }

    fn node_type(&self) -> Option<NodeType> {
        Some(NodeType::Resource)
    }

    fn apply(&self, node: &mut Node) {
        self.node.apply(node);
        if let NodeKind::Resource(resource) = &mut node.kind {
            set(&mut resource.resource_type, self.own.resource_type.map(Into::into).as_ref());
            set_or_clear(&mut resource.title, &self.own.title, String::clone);
            set_or_clear(&mut resource.url, &self.own.url, |url| url.0.clone());
            set_or_clear(&mut resource.language, &self.own.language, String::clone);
        }
    }

    fn content(&self) -> Option<&Option<String>> {
        self.content.as_ref()
    }
}

/// What is given of a chat.
#[derive(InputObject)]
pub(super) struct ChatEdit {
    #[graphql(flatten)]
    node: NodeParts,
    #[graphql(flatten)]
    own: ChatParts,
}

impl ChatEdit {
    pub(super) fn settled(self) -> Self {
        self
    }
}

impl NodeEdit for ChatEdit {
    fn fields(&self) -> Vec<&'static str> {
        let mut fields = self.node.fields();
        fields.extend(given! {
            "model" => self.own.model.is_some(),
            "customModelEndpoint" => !self.own.custom_model_endpoint.is_undefined(),
            "systemPrompt" => !self.own.system_prompt.is_undefined(),
            "temperature" => self.own.temperature.is_some(),
            "maxTokens" => self.own.max_tokens.is_some(),
            "topP" => self.own.top_p.is_some(),
            "frequencyPenalty" => self.own.frequency_penalty.is_some(),
            "presencePenalty" => self.own.presence_penalty.is_some(),
            "stopSequences" => self.own.stop_sequences.is_some(),
            "responseFormat" => self.own.response_format.is_some(),
            "toolsEnabled" => self.own.tools_enabled.is_some(),
            "memoryEnabled" => self.own.memory_enabled.is_some(),
            "contextWindowSize" => self.own.context_window_size.is_some(),
        });
        fields
    }

    fn node_type(&self) -> Option<NodeType> {
        Some(NodeType::Chat)
    }

    fn apply(&self, node: &mut Node) {
        self.node.apply(node);
        if let NodeKind::Chat(chat) = &mut node.kind {
            let own = &self.own;
            set(&mut chat.model, own.model.as_ref());
            set_or_clear(&mut chat.custom_model_endpoint, &own.custom_model_endpoint, |url| url.0.clone());
            set_or_clear(&mut chat.system_prompt, &own.system_prompt, String::clone);
            set(&mut chat.temperature, own.temperature.as_ref());
            set(&mut chat.max_tokens, own.max_tokens.as_ref());
            set(&mut chat.top_p, own.top_p.as_ref());
            set(&mut chat.frequency_penalty, own.frequency_penalty.as_ref());
            set(&mut chat.presence_penalty, own.presence_penalty.as_ref());
            set(&mut chat.stop_sequences, own.stop_sequences.as_ref());
            set(&mut chat.response_format, own.response_format.map(Into::into).as_ref());
            set(&mut chat.tools_enabled, own.tools_enabled.as_ref());
            set(&mut chat.memory_enabled, own.memory_enabled.as_ref());
            set(&mut chat.context_window_size, own.context_window_size.as_ref());
        }
    }
}

/// What is given of a folder.
#[derive(InputObject)]
pub(super) struct FolderEdit {
    #[graphql(flatten)]
    node: NodeParts,
    #[graphql(flatten)]
    own: FolderParts,
}

impl FolderEdit {
    pub(super) fn settled(self) -> Self {
        self
    }
}

impl NodeEdit for FolderEdit {
    fn fields(&self) -> Vec<&'static str> {
        let mut fields = self.node.fields();
        fields.extend(given! {
            "name" => self.own.name.is_some(),
            "description" => !self.own.description.is_undefined(),
            "color" => self.own.color.is_some(),
            "icon" => self.own.icon.is_some(),
            "isExpanded" => self.own.is_expanded.is_some(),
            "sortOrder" => self.own.sort_order.is_some(),
            "maxItems" => !self.own.max_items.is_undefined(),
        });
        fields
    }

    fn node_type(&self) -> Option<NodeType> {
        Some(NodeType::Folder)
    }

    fn apply(&self, node: &mut Node) {
        self.node.apply(node);
        if let NodeKind::Folder(folder) = &mut node.kind {
            let own = &self.own;
            set(&mut folder.name, own.name.as_ref());
            set_or_clear(&mut folder.description, &own.description, String::clone);
            set(&mut folder.color, own.color.as_ref().map(|color| color.0.clone()).as_ref());
            set(&mut folder.icon, own.icon.as_ref());
            set(&mut folder.is_expanded, own.is_expanded.as_ref());
            set(&mut folder.sort_order, own.sort_order.map(Into::into).as_ref());
            set_or_clear(&mut folder.max_items, &own.max_items, i32::clone);
        }
    }
}

/// What is given of a link.
#[derive(InputObject)]
pub(super) struct LinkParts {
    /// Text on the line, at most 255 characters.
    label: MaybeUndefined<String>,
    /// How it is drawn: an object of at most 64 KiB.
    style: Option<Value>,
    /// Free data: an object of at most 64 KiB.
    metadata: Option<Value>,
}

impl LinkEdit for LinkParts {
    fn fields(&self) -> Vec<&'static str> {
        given! {
            "label" => !self.label.is_undefined(),
            "style" => self.style.is_some(),
            "metadata" => self.metadata.is_some(),
        }
    }

    fn apply(&self, link: &mut Link) {
        set_or_clear(&mut link.label, &self.label, String::clone);
        set(&mut link.style, self.style.as_ref());
        set(&mut link.metadata, self.metadata.as_ref());
    }
}

/// What is given of a link that is there.
#[derive(InputObject)]
pub(super) struct LinkChange {
    /// What it means.
    kind: Option<LinkKind>,
    #[graphql(flatten)]
    parts: LinkParts,
}

impl LinkEdit for LinkChange {
    fn fields(&self) -> Vec<&'static str> {
        let mut fields = self.parts.fields();
        fields.extend(given! { "kind" => self.kind.is_some() });
        fields
    }

    fn apply(&self, link: &mut Link) {
        self.parts.apply(link);
        set(&mut link.kind, self.kind.map(domain::LinkKind::from).as_ref());
    }
}

/// What is given of a board.
#[derive(InputObject)]
#[graphql(name = "BoardValuesInput")]
pub(super) struct BoardParts {
    /// From 1 to 255 characters, unique among the boards of its owner.
    pub(super) name: Option<String>,
    /// What the board is about.
    description: MaybeUndefined<String>,
    /// Address of a picture of the board.
    thumbnail_url: MaybeUndefined<Url>,
    /// How the board is shown; what is not given stays.
    settings: Option<BoardSettingsInput>,
    /// Whether anyone may read it; for its owner to say.
    is_public: Option<bool>,
    /// Whether it is a template; for its owner to say.
    is_template: Option<bool>,
}

/// How a board is shown. What is not given stays.
#[derive(InputObject)]
pub(super) struct BoardSettingsInput {
    /// Colours: `light`, `dark`, or another word of the frontend.
    theme: Option<String>,
    /// Whether nodes snap to a grid.
    grid_snap: Option<bool>,
    /// Width of the grid, in pixels of the canvas.
    grid_size: Option<i32>,
    /// Whether the map of the board is shown.
    show_minimap: Option<bool>,
    /// Whether changes are saved as they are made.
    auto_save: Option<bool>,
}

impl BoardSettingsInput {
    fn apply(&self, settings: &mut Value) {
        let Value::Object(settings) = settings else { return };
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                settings.insert(name.to_owned(), value);
            }
        };
        put("theme", self.theme.clone().map(Value::from));
        put("gridSnap", self.grid_snap.map(Value::from));
        put("gridSize", self.grid_size.map(Value::from));
        put("showMinimap", self.show_minimap.map(Value::from));
        put("autoSave", self.auto_save.map(Value::from));
    }
}

impl BoardEdit for BoardParts {
    fn fields(&self) -> Vec<&'static str> {
        given! {
            "name" => self.name.is_some(),
            "description" => !self.description.is_undefined(),
            "thumbnailUrl" => !self.thumbnail_url.is_undefined(),
            "settings" => self.settings.is_some(),
            "isPublic" => self.is_public.is_some(),
            "isTemplate" => self.is_template.is_some(),
        }
    }

    fn is_for_owner(&self) -> bool {
        self.is_public.is_some() || self.is_template.is_some()
    }

    fn apply(&self, board: &mut Board) {
        set(&mut board.name, self.name.as_ref());
        set_or_clear(&mut board.description, &self.description, String::clone);
        set_or_clear(&mut board.thumbnail_url, &self.thumbnail_url, |url| url.0.clone());
        if let Some(settings) = &self.settings {
            settings.apply(&mut board.settings);
        }
        set(&mut board.is_public, self.is_public.as_ref());
        set(&mut board.is_template, self.is_template.as_ref());
    }
}
