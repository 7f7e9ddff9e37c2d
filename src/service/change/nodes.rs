//! Rules for nodes: making, changing, deleting, bringing back.

use chrono::Utc;
use serde_json::json;

use super::{
    draft::{Draft, DraftNode, conflict, no_node},
    validate,
};
use crate::domain::{
    Chat, ChatResponseFormat, Folder, FolderSortOrder, Node, NodeEdit, NodeId, NodeKind, NodeType, Place,
    ProcessingStatus, Rect, Refusal, Resource, ResourceType, language,
};

/// A node of which nothing was said. Its sizes are those of the frontends' frames.
fn default_node(draft: &Draft, id: NodeId, node_type: NodeType) -> Node {
    let now = Utc::now();
    let (kind, width, height) = match node_type {
        NodeType::Resource => (NodeKind::Resource(Box::new(default_resource())), 300.0, 200.0),
        NodeType::Chat => (NodeKind::Chat(Box::new(default_chat())), 400.0, 500.0),
        NodeType::Folder => (NodeKind::Folder(Box::new(default_folder())), 400.0, 300.0),
    };
    Node {
        id,
        board_id: draft.board.id,
        rect: Rect { x: 0.0, y: 0.0, width, height },
        z_index: 0,
        is_locked: false,
        metadata: json!({}),
        version: draft.board.version + 1,
        created_at: now,
        updated_at: now,
        name_key: String::new(),
        placement: None,
        kind,
    }
}

fn default_resource() -> Resource {
    Resource {
        resource_type: ResourceType::Text,
        title: None,
        url: None,
        media_id: None,
        processing_status: ProcessingStatus::Completed,
        processing_error: None,
        key_points: Vec::new(),
        language: None,
        word_count: None,
        reading_time_seconds: None,
    }
}

fn default_chat() -> Chat {
    Chat {
        model: "claude-3-sonnet".to_owned(),
        custom_model_endpoint: None,
        system_prompt: None,
        temperature: 0.7,
        max_tokens: 4000,
        top_p: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        stop_sequences: Vec::new(),
        response_format: ChatResponseFormat::Text,
        tools_enabled: false,
        memory_enabled: true,
        context_window_size: 10,
    }
}

fn default_folder() -> Folder {
    Folder {
        name: String::new(),
        description: None,
        color: "#6B7280".to_owned(),
        icon: "folder".to_owned(),
        is_expanded: true,
        sort_order: FolderSortOrder::Manual,
        max_items: None,
        is_password_protected: false,
    }
}

/// Writes what is given into a node, and what follows from it.
fn apply(node: &mut Node, edit: &dyn NodeEdit) {
    edit.apply(node);
    if let (Some(content), NodeKind::Resource(resource)) = (edit.content(), &mut node.kind) {
        let words = content.as_deref().map(|text| i32::try_from(text.split_whitespace().count()).unwrap_or(i32::MAX));
        resource.word_count = words;
        if !edit.fields().contains(&"language") {
            resource.language = content.as_deref().and_then(language::detect).map(ToOwned::to_owned);
        }
        // At 200 words a minute, as imports count.
        resource.reading_time_seconds =
            words.map(|words| words.saturating_mul(60).div_euclid(200).max(i32::from(words > 0)));
    }
}

impl Draft {
    pub(super) fn create_node(
        &mut self,
        id: NodeId,
        node_type: NodeType,
        edit: &dyn NodeEdit,
        place: Option<Place>,
    ) -> Result<(), Refusal> {
        if self.nodes.contains_key(&id) {
            return self.create_again(id, node_type, edit, place);
        }
        if self.loaded.nodes.contains_key(&id) {
            return Err(Refusal::conflict("id", None, vec!["id"], "This id is taken"));
        }
        let mut node = default_node(self, id, node_type);
        apply(&mut node, edit);
        validate::node(&node, edit)?;
        self.nodes.insert(id, DraftNode { node, before: None, content: edit.content().cloned() });
        self.set_living(id, true);
        self.touch_node(id);
        if let Some(place) = place {
            self.place_node(id, Some(place))?;
        }
        Ok(())
    }

    /// The same creation once more changes nothing; another one under the same id is a conflict.
    fn create_again(
        &mut self,
        id: NodeId,
        node_type: NodeType,
        edit: &dyn NodeEdit,
        place: Option<Place>,
    ) -> Result<(), Refusal> {
        let there = self
            .living("id", id)
            .map_err(|_| conflict("id", id, vec!["id"], "The node with this id was deleted; restore it instead"))?;
        let mut again = there.node.clone();
        edit.apply(&mut again);
        let same_content = match edit.content() {
            Some(content) => {
                there.content.as_ref().or_else(|| self.loaded.contents.get(&id)).is_none_or(|known| known == content)
            }
            None => true,
        };
        let same_folder = place.is_none_or(|place| self.parent_of(id) == Some(place.folder_id));
        if again == there.node && again.node_type() == node_type && same_content && same_folder {
            self.touch_node(id);
            return Ok(());
        }
        Err(conflict("id", id, edit.fields(), "Another node has this id"))
    }

    pub(super) fn edit_node(
        &mut self,
        id: NodeId,
        expected_version: Option<i64>,
        edit: &dyn NodeEdit,
    ) -> Result<(), Refusal> {
        self.check_version(id, expected_version, edit.fields())?;
        let draft = self.living_mut("id", id)?;
        if edit.node_type().is_some_and(|wanted| wanted != draft.node.node_type()) {
            return Err(no_node("id", id));
        }
        let mut node = draft.node.clone();
        apply(&mut node, edit);
        validate::node(&node, edit)?;
        draft.node = node;
        if let Some(content) = edit.content() {
            draft.content = Some(content.clone());
        }
        self.touch_node(id);
        Ok(())
    }

    /// Versions are those before this set of changes: within it, nobody else can come in between.
    fn check_version(&self, id: NodeId, expected: Option<i64>, fields: Vec<&'static str>) -> Result<(), Refusal> {
        let draft = self.living("id", id)?;
        match (expected, &draft.before) {
            (Some(expected), Some(before)) if before.version != expected => {
                let message = format!("The node is at version {}, not {expected}", before.version);
                Err(conflict("expectedVersion", id, fields, message))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn delete_node(&mut self, id: NodeId, expected_version: Option<i64>) -> Result<(), Refusal> {
        self.check_version(id, expected_version, Vec::new())?;
        let below = self.loaded.below.values().flatten().map(|(below, _)| *below);
        let candidates: Vec<NodeId> = below.chain(self.nodes.keys().copied()).collect();
        let takes_along = |sealed: &NodeId| *sealed == id || (self.is_living(*sealed) && self.is_below(*sealed, id));
        if self.loaded.sealed.folders().iter().any(takes_along) {
            // Nobody deletes what they cannot see.
            return Err(Refusal::locked("id"));
        }
        for candidate in candidates {
            if self.is_living(candidate) && self.is_below(candidate, id) {
                self.set_living(candidate, false);
            }
        }
        self.set_living(id, false);
        self.touch_node(id);
        Ok(())
    }

    pub(super) fn restore_node(&mut self, id: NodeId) -> Result<(), Refusal> {
        if !self.nodes.contains_key(&id) || self.loaded.hidden.contains(&id) {
            return Err(no_node("id", id));
        }
        self.touch_node(id);
        // Folders around it that are restored as well, the outermost first. It would come back beside them otherwise.
        let mut around = Vec::new();
        let mut at = id;
        while let Some(folder) = self.parent_of(at).filter(|folder| !around.contains(folder)) {
            around.push(folder);
            at = folder;
        }
        for folder in around.into_iter().rev().filter(|folder| self.restored.contains(folder)).collect::<Vec<_>>() {
            if self.nodes.contains_key(&folder) && !self.loaded.hidden.contains(&folder) {
                self.bring_back(folder)?;
            }
        }
        self.bring_back(id)
    }

    fn bring_back(&mut self, id: NodeId) -> Result<(), Refusal> {
        if self.is_living(id) {
            return Ok(());
        }
        // What lies in it and was deleted at the same moment went with it, and comes back with it. What was made by an
        // earlier change of this set can only have been deleted by it.
        let deletion = self.loaded.nodes.get(&id).and_then(|stored| stored.deleted_at_us);
        let stored = self.loaded.below.get(&id).into_iter().flatten();
        let stored = stored.filter(|(_, deleted_at)| *deleted_at == deletion).map(|(below, _)| *below);
        let made = self.nodes.iter().filter(|(_, draft)| draft.before.is_none()).map(|(made, _)| *made);
        let with_it: Vec<NodeId> = stored.chain(made).filter(|below| self.is_below(*below, id)).collect();
        for below in with_it {
            self.set_living(below, true);
        }
        self.set_living(id, true);
        match self.parent_of(id) {
            Some(folder) if self.is_living(folder) => self.check_room(folder, id),
            Some(_) => self.place_node(id, None),
            None => Ok(()),
        }
    }
}
