//! Rules for links: between two living nodes of the board, and one of a kind between the same two.

use chrono::Utc;
use serde_json::json;

use super::{draft::Draft, validate};
use crate::domain::{AnyId, Link, LinkEdit, LinkId, LinkKind, NodeId, Refusal};

impl Draft {
    pub(super) fn create_link(
        &mut self,
        id: LinkId,
        from: NodeId,
        to: NodeId,
        kind: LinkKind,
        edit: &dyn LinkEdit,
    ) -> Result<(), Refusal> {
        self.living("fromId", from)?;
        self.living("toId", to)?;
        if from == to {
            return Err(Refusal::invalid("toId", "A node cannot be linked to itself"));
        }
        let taken = |id: LinkId, message: &str| {
            Err(Refusal::conflict("id", Some(AnyId::Link(id)), edit.fields(), message.to_owned()))
        };
        if let Some((there, _)) = self.links.get(&id) {
            let mut again = there.clone();
            edit.apply(&mut again);
            let is_same = again == *there && (there.from, there.to, there.kind) == (from, to, kind);
            if there.board_id != self.board.id || !is_same {
                return taken(id, "Another link has this id");
            }
            self.touch_link(id);
            return Ok(());
        }
        if let Some(there) = self.loaded.pairs.get(&(from, to, kind)) {
            return taken(*there, "There is a link of this kind between the two already");
        }
        let mut link = Link {
            id,
            board_id: self.board.id,
            from,
            to,
            kind,
            label: None,
            style: json!({ "stroke": "dashed", "color": "#9CA3AF" }),
            metadata: json!({}),
            created_at: Utc::now(),
        };
        edit.apply(&mut link);
        validate::link(&link)?;
        self.loaded.pairs.insert((from, to, kind), id);
        self.links.insert(id, (link, None));
        self.touch_link(id);
        Ok(())
    }

    pub(super) fn edit_link(&mut self, id: LinkId, edit: &dyn LinkEdit) -> Result<(), Refusal> {
        let (link, _) = self.visible_link(id)?;
        let mut link = link.clone();
        let kind = link.kind;
        edit.apply(&mut link);
        validate::link(&link)?;
        if link.kind != kind {
            let pair = (link.from, link.to, link.kind);
            if let Some(there) = self.loaded.pairs.get(&pair).copied() {
                let message = "There is a link of this kind between the two already";
                return Err(Refusal::conflict("kind", Some(AnyId::Link(there)), vec!["kind"], message));
            }
            self.loaded.pairs.remove(&(link.from, link.to, kind));
            self.loaded.pairs.insert(pair, id);
        }
        if let Some((there, _)) = self.links.get_mut(&id) {
            *there = link;
        }
        self.touch_link(id);
        Ok(())
    }

    pub(super) fn delete_link(&mut self, id: LinkId) -> Result<(), Refusal> {
        let (link, before) = self.visible_link(id)?;
        let (pair, was_there) = ((link.from, link.to, link.kind), before.is_some());
        self.loaded.pairs.remove(&pair);
        self.links.remove(&id);
        if was_there {
            self.links_deleted.push(id);
        }
        Ok(())
    }

    /// A link is there for its readers while both ends live.
    fn visible_link(&self, id: LinkId) -> Result<&(Link, Option<Link>), Refusal> {
        let is_visible =
            |link: &Link| link.board_id == self.board.id && self.is_seen(link.from) && self.is_seen(link.to);
        let link = self.links.get(&id).filter(|(link, _)| is_visible(link));
        link.ok_or_else(|| Refusal::not_found("id", format!("There is no link {id} on this board")))
    }
}
