//! Refuses an import that would empty the board: an empty folder, another folder than last time, a disk that is not mounted.
//!
//! Everything here is decided from the plan, before anything is written. Removing a few files is everyday work and passes.

use super::plan::Plan;
use crate::ops::Failure;

/// So many nodes may always go: a small board may change as a whole.
const HANDFUL: usize = 5;
/// How many of the nodes that would go a refusal names.
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
    /// Paths of those that would go.
    pub(super) gone: Vec<&'a str>,
    /// Files and folders that were found but could not be read.
    pub(super) unreadable: u64,
}

impl<'a> Loss<'a> {
    pub(super) fn of(board: &'a str, plan: &'a Plan, unreadable: u64) -> Loss<'a> {
        let gone = plan.vanished.iter().map(|gone| gone.path.as_str()).collect();
        let found = plan.nodes.iter().flatten().count();
        let known = plan.nodes.iter().flatten().filter(|node| !node.is_new()).count();
        Loss { board, found, known, imported: plan.imported, gone, unreadable }
    }

    /// # Errors
    /// There is nothing to import, or too much would go; the message says what, and what can be done.
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
        let is_most = gone > HANDFUL && gone > self.imported / 2;
        let is_another = self.known == 0 && self.imported > 1 && gone > 0;
        if !is_most && !is_another {
            return Ok(());
        }
        let mut names: Vec<String> = self.gone.iter().take(NAMED).map(|path| super::report::shown(path)).collect();
        if gone > NAMED {
            names.push(format!("and {} more", gone - NAMED));
        }
        let why = if is_another { "the folder has nothing in common with it" } else { "more than half" };
        Err(Failure::new(format!(
            "This import would remove {gone} of the {} nodes that earlier imports made on board {:?} ({why}): {}",
            self.imported,
            self.board,
            names.join(", ")
        ))
        .hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(found: usize, known: usize, imported: usize, gone: usize) -> Result<(), Failure> {
        Loss { board: "b", found, known, imported, gone: vec!["path"; gone], unreadable: 0 }.check()
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
    fn a_refusal_says_what_would_go_and_what_to_do() {
        let text = loss(1, 1, 9, 8).unwrap_err().to_string();
        assert!(text.contains("8 of the 9 nodes") && text.contains("and 3 more"), "{text}");
        assert!(text.contains("--allow-emptying") && text.contains("Nothing was changed"), "{text}");
    }
}
