//! Refuses an import that would empty the board: an empty folder, another folder than last time, a disk that is not
//! mounted, files that lost their content.
//!
//! Everything here is decided from the plan, before anything is written. Removing a few files is everyday work and passes.
//! A node that is removed can come back. A text that is written over cannot, so such texts count as well.

use super::plan::{Gone, Plan};
use crate::ops::Failure;

/// So many nodes may always go or get other texts: a small board may change as a whole. This is not for texts that
/// become empty: several at once are no everyday work.
const HANDFUL: usize = 5;
/// How many of the nodes that would go, or lose their text, a refusal names.
const NAMED: usize = 5;

/// What an import would take from the board.
pub(super) struct Loss<'a> {
    /// Name of the board.
    pub(super) board: &'a str,
    /// Folders and readable files that were found.
    pub(super) found: usize,
    /// Of these, how many have a node on the board already.
    pub(super) known: usize,
    /// Living nodes on the board that imports made.
    pub(super) imported: usize,
    /// Of these, texts.
    pub(super) texts: usize,
    /// Paths of those that would go.
    pub(super) gone: Vec<&'a str>,
    /// Of these, texts.
    pub(super) gone_texts: usize,
    /// Paths of those whose texts would be empty.
    pub(super) emptied: Vec<&'a str>,
    /// Paths of those whose texts would be replaced by something else.
    pub(super) replaced: Vec<&'a str>,
    /// Files and folders that were found but could not be read.
    pub(super) unreadable: u64,
}

impl<'a> Loss<'a> {
    pub(super) fn of(board: &'a str, plan: &'a Plan, unreadable: u64) -> Loss<'a> {
        let paths = |nodes: &'a [Gone]| -> Vec<&'a str> { nodes.iter().map(|node| node.path.as_str()).collect() };
        Loss {
            board,
            found: plan.nodes.iter().flatten().count(),
            known: plan.nodes.iter().flatten().filter(|node| !node.is_new()).count(),
            imported: plan.imported,
            texts: plan.texts,
            gone: paths(&plan.vanished),
            gone_texts: plan.vanished_texts,
            emptied: paths(&plan.emptied),
            replaced: paths(&plan.replaced),
            unreadable,
        }
    }

    /// # Errors
    /// There is nothing to import, or too much would be lost; the message says what, and what can be done.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let hint = "Nothing was changed. Is it the right folder, and is its disk mounted? \
                    If this is what you want, say --allow-emptying.";
        let gone = self.gone.len();
        if self.found == 0 {
            let unreadable = match self.unreadable {
                0 => String::new(),
                count => format!("; {count} files or folders cannot be read"),
            };
            let message = match self.imported {
                0 => format!("The folder has nothing that can be imported{unreadable}"),
                imported => format!(
                    "The folder has nothing that can be imported{unreadable}; board {:?} has {imported} nodes of earlier \
                     imports, of which {gone} would be removed",
                    self.board
                ),
            };
            return Err(Failure::new(message).hint(hint));
        }
        let Some(why) = self.reason() else { return Ok(()) };
        let lost = self.gone.iter().chain(&self.emptied).chain(&self.replaced);
        let mut names: Vec<String> = lost.take(NAMED).map(|path| super::report::shown(path)).collect();
        let lost = gone + self.overwritten();
        if lost > NAMED {
            names.push(format!("and {} more", lost - NAMED));
        }
        let texts = match self.overwritten() {
            0 => String::new(),
            _ => format!(", empty the texts of {} and replace those of {}", self.emptied.len(), self.replaced.len()),
        };
        Err(Failure::new(format!(
            "This import would remove {gone} of the {} nodes that earlier imports made on board {:?}{texts} ({why}): \
             {}",
            self.imported,
            self.board,
            names.join(", ")
        ))
        .hint(hint))
    }

    /// How many texts would be written over and lost.
    fn overwritten(&self) -> usize {
        self.emptied.len() + self.replaced.len()
    }

    /// Why it is too much; `None` if it is not.
    fn reason(&self) -> Option<&'static str> {
        let (gone, emptied, overwritten) = (self.gone.len(), self.emptied.len(), self.overwritten());
        if self.known == 0 && self.imported > 1 && gone > 0 {
            return Some("the folder has nothing in common with it");
        }
        // As where nothing is known again, however few there are.
        if overwritten > 0 && self.texts > 1 && self.gone_texts + overwritten >= self.texts {
            return Some("no text of it would stay");
        }
        let is_most = |count: usize, of: usize| count > HANDFUL && count > of / 2;
        let is_too_much = is_most(gone + overwritten, self.imported)
            || is_most(overwritten, self.texts)
            || (emptied > 1 && emptied > self.texts / 2);
        is_too_much.then_some("more than half")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(found: usize, known: usize, imported: usize, gone: usize) -> Result<(), Failure> {
        some(found, known, imported, gone, 0, 0).check()
    }

    /// All of them are texts.
    fn some(
        found: usize,
        known: usize,
        imported: usize,
        gone: usize,
        emptied: usize,
        replaced: usize,
    ) -> Loss<'static> {
        Loss {
            board: "b",
            found,
            known,
            imported,
            texts: imported,
            gone: vec!["path"; gone],
            gone_texts: gone,
            emptied: vec!["empty"; emptied],
            replaced: vec!["other"; replaced],
            unreadable: 0,
        }
    }

    #[test]
    fn a_board_is_not_emptied_by_mistake() {
        for (found, known, imported, gone, passes) in [
            // First imports.
            (0, 0, 0, 0, false),
            (1, 0, 0, 0, true),
            // An empty folder, and one in which nothing can be read.
            (0, 0, 1, 1, false),
            (0, 0, 9, 0, false),
            // More than half and more than a handful.
            (6, 6, 12, 6, true),
            (5, 5, 12, 7, false),
            (6, 5, 11, 6, false),
            (3, 3, 8, 5, true),
            // Nothing in common.
            (4, 0, 2, 2, false),
            (4, 1, 3, 2, true),
            (1, 0, 1, 1, true),
            (4, 0, 4, 0, true),
        ] {
            assert_eq!(loss(found, known, imported, gone).is_ok(), passes, "{found} {known} {imported} {gone}");
        }
    }

    #[test]
    fn texts_that_are_written_over_count_as_lost() {
        for (imported, gone, emptied, replaced, passes) in [
            // Everyday work.
            (20, 0, 0, 10, true),
            (20, 3, 3, 3, true),
            (9, 0, 0, 5, true),
            // More than half, by themselves and with what would go.
            (20, 0, 0, 11, false),
            (20, 0, 11, 0, false),
            (20, 5, 3, 3, false),
            // Texts that become empty together are no everyday work, however few they are.
            (1, 0, 1, 0, true),
            (2, 0, 1, 0, true),
            (3, 0, 2, 0, false),
            (9, 0, 5, 0, false),
            (9, 0, 4, 0, true),
            // No text would stay.
            (1, 0, 0, 1, true),
            (2, 0, 0, 2, false),
            (2, 1, 0, 1, false),
            (3, 1, 0, 1, true),
        ] {
            let loss = some(imported, imported - gone, imported, gone, emptied, replaced);
            assert_eq!(loss.check().is_ok(), passes, "{imported} {gone} {emptied} {replaced}");
        }
        // Folders are no texts: half of the texts is enough, however many folders there are.
        let vault = |texts| Loss { texts, ..some(20, 20, 20, 0, 0, 8) };
        assert!(vault(16).check().is_ok());
        let text = vault(15).check().unwrap_err().to_string();
        assert!(text.contains("remove 0 of the 20 nodes") && text.contains("replace those of 8"), "{text}");
        assert!(text.contains("other, other") && text.contains("and 3 more"), "{text}");
    }

    #[test]
    fn a_refusal_says_what_would_go_and_what_to_do() {
        let text = loss(1, 1, 9, 8).unwrap_err().to_string();
        assert!(text.contains("8 of the 9 nodes") && text.contains("and 3 more"), "{text}");
        assert!(text.contains("--allow-emptying") && text.contains("Nothing was changed"), "{text}");
    }
}
