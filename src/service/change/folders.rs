//! Rules for folders: one folder around a node, none around itself, no more in it than fits, and an order by hand that
//! needs no renumbering as long as there is room between two positions.

use super::draft::{Draft, max_items, no_node};
use crate::domain::{Child, NodeId, NodeKind, NodeType, Place, Placement, Refusal, Spot};

impl Draft {
    pub(super) fn place_node(&mut self, id: NodeId, place: Option<Place>) -> Result<(), Refusal> {
        self.living("id", id)?;
        self.touch_node(id);
        let Some(Place { folder_id, spot }) = place else {
            self.leave(id);
            self.living_mut("id", id)?.node.placement = None;
            return Ok(());
        };
        let folder = self.living("folderId", folder_id)?;
        if self.loaded.sealed.contains(folder_id) {
            return Err(Refusal::locked("folderId"));
        }
        if folder.node.node_type() != NodeType::Folder {
            return Err(Refusal::invalid("folderId", format!("{folder_id} is no folder")));
        }
        if folder_id == id || self.is_below(folder_id, id) {
            return Err(super::draft::conflict("folderId", id, vec!["parent"], "A folder cannot lie in itself"));
        }
        self.leave(id);
        self.check_room(folder_id, id)?;
        let position = self.position(folder_id, spot)?;
        let child = Child { folder_id, id, position, is_living: true };
        self.loaded.children.entry(folder_id).or_default().push(child);
        self.living_mut("id", id)?.node.placement = Some(Placement { folder_id, position });
        Ok(())
    }

    /// Gives a folder a password or takes it away; not for those whom the present one shuts out.
    pub(super) fn lock_folder(&mut self, id: NodeId, password_hash: Option<String>) -> Result<(), Refusal> {
        if self.loaded.sealed.contains(id) {
            return Err(Refusal::locked("id"));
        }
        let NodeKind::Folder(folder) = &mut self.living_mut("id", id)?.node.kind else {
            return Err(Refusal::invalid("id", format!("{id} is no folder")));
        };
        folder.is_password_protected = password_hash.is_some();
        self.locked.insert(id, password_hash);
        self.touch_node(id);
        Ok(())
    }

    fn leave(&mut self, id: NodeId) {
        for children in self.loaded.children.values_mut() {
            children.retain(|child| child.id != id);
        }
    }

    /// Whether a folder takes one more node.
    pub(super) fn check_room(&self, folder: NodeId, newcomer: NodeId) -> Result<(), Refusal> {
        let Some(max_items) = self.nodes.get(&folder).and_then(|draft| max_items(&draft.node)) else { return Ok(()) };
        let held = self.loaded.children.get(&folder).into_iter().flatten();
        let held = held.filter(|child| child.id != newcomer && self.lives(child)).count();
        if held < usize::try_from(max_items).unwrap_or(0) {
            return Ok(());
        }
        let message = format!("The folder holds {max_items} nodes, as many as it may");
        Err(Refusal::limit("folderId", max_items.into(), message))
    }

    fn lives(&self, child: &Child) -> bool {
        // What no change names has kept its life, unless it lies below something that one deletes or restores.
        if self.is_living(child.id) || self.was_living(child.id) { self.is_living(child.id) } else { child.is_living }
    }

    /// A position for a newcomer.
    fn position(&mut self, folder: NodeId, spot: Spot) -> Result<f64, Refusal> {
        if let Some(position) = self.free_position(folder, spot)? {
            return Ok(position);
        }
        self.renumber(folder);
        self.free_position(folder, spot)?.ok_or_else(|| Refusal::invalid("position", "There is no such place"))
    }

    /// A position that leaves all others as they are; none where two neighbours have become too close.
    fn free_position(&self, folder: NodeId, spot: Spot) -> Result<Option<f64>, Refusal> {
        let mut children: Vec<(f64, NodeId)> =
            self.loaded.children.get(&folder).into_iter().flatten().map(|child| (child.position, child.id)).collect();
        children.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let index_of = |anchor: NodeId| {
            let at = children.iter().position(|(_, id)| *id == anchor);
            at.filter(|_| self.is_living(anchor)).ok_or_else(|| no_node("position", anchor))
        };
        let at = match spot {
            Spot::First => 0,
            Spot::Last => children.len(),
            Spot::Before(anchor) => index_of(anchor)?,
            Spot::After(anchor) => index_of(anchor)? + 1,
        };
        let before = at.checked_sub(1).and_then(|before| children.get(before)).map(|(position, _)| *position);
        let behind = children.get(at).map(|(position, _)| *position);
        let position = match (before, behind) {
            (None, None) => 1.0,
            (Some(before), None) => before + 1.0,
            (None, Some(behind)) => behind - 1.0,
            (Some(before), Some(behind)) => before + (behind - before) / 2.0,
        };
        let is_free = position.abs() < 1e15
            && before.is_none_or(|before| before < position)
            && behind.is_none_or(|behind| position < behind);
        Ok(is_free.then_some(position))
    }

    /// Gives everything in a folder whole numbers in its order.
    fn renumber(&mut self, folder: NodeId) {
        let Some(children) = self.loaded.children.get_mut(&folder) else { return };
        children.sort_by(|a, b| a.position.total_cmp(&b.position).then(a.id.cmp(&b.id)));
        for (number, child) in children.iter_mut().enumerate() {
            child.position = (number + 1) as f64;
            let placement = Placement { folder_id: folder, position: child.position };
            self.renumbered.insert(child.id, placement);
            if let Some(draft) = self.nodes.get_mut(&child.id) {
                draft.node.placement = Some(placement);
            }
        }
    }
}
