//! What stands on the board where files have other texts now. What somebody edited there stays. What would be emptied
//! or replaced by something else is found for the guard: a text that is written over is lost.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    batches, blocking, document,
    plan::{Edit, Gone, Plan, Standing, Work},
    progress::Progress,
    reading,
    survey::Surveyed,
    tree::{File, Tree},
};
use crate::{
    domain::{
        BoardId, NodeId,
        import::{StandingText, TextDigests},
    },
    ops::Failure,
    store::Store,
};

/// Texts that are asked for together: the database computes digests of all of them in one statement.
const TEXTS: usize = 200;
/// So much of the text on the board is compared.
const OLD_CHARS: i32 = 16_000;
/// So much of the file is compared; more, because something may have been put before what was there.
const NEW_CHARS: usize = 256_000;
/// A text is replaced if it shares fewer than one in so many pairs of words with the new one, counted in the shorter of
/// them: what was added to or cut is the same text. Texts about different things share a few in a hundred. After an edit
/// most are still there, also after a new footer, another order or other line breaks.
const ONE_IN: usize = 10;

/// Looks at the texts that would be written over. A text that somebody edited on the board stays, with the links that
/// start at it; a title stays alone. Afterwards `plan.emptied` is complete, and `plan.replaced` has all that may have
/// been replaced: see [`compare`].
pub(super) async fn look(
    (store, board): (&Store, BoardId),
    tree: &Arc<Tree>,
    plan: &mut Plan,
    surveyed: &mut [Option<Surveyed>],
    progress: &Progress,
) -> Result<(), Failure> {
    let due = files(tree, plan, |_, work| *work == Work::Rewrite);
    let bar = progress.count("Comparing", due.len());
    let mut done = 0;
    for chunk in due.chunks(TEXTS) {
        let ids: Vec<NodeId> = chunk.iter().map(|(_, id)| *id).collect();
        let standing = store.import_texts(board, &ids).await?;
        let mut standing: HashMap<NodeId, StandingText> = standing.into_iter().map(|text| (text.id, text)).collect();
        let suspects = chunk.iter().filter(|(_, id)| standing.get(id).is_some_and(|text| edit(text, None).is_some()));
        let suspects = suspects.filter_map(|(index, _)| Some((*index, surveyed.get(*index)?.as_ref()?.digest.clone())));
        let files = digests(tree, suspects.collect()).await?;
        for (index, id) in chunk {
            let node = plan.nodes.get_mut(tree.folders.len() + index).and_then(Option::as_mut);
            let (Some(node), Some(file), Some(survey)) = (node, tree.files.get(*index), surveyed.get_mut(*index))
            else {
                continue;
            };
            let Some(text) = standing.remove(id) else { continue };
            let edit = match files.get(index) {
                Some(file) if !node.was_deleted_by_hand => edit(&text, file.as_ref()),
                _ => None,
            };
            if edit == Some(Edit::Text) {
                node.work = Work::Leave;
                *survey = None;
            } else if !node.is_restored && !text.is_blank {
                let is_emptied = survey.as_ref().is_some_and(|survey| survey.is_blank);
                let list = if is_emptied { &mut plan.emptied } else { &mut plan.replaced };
                list.push(Gone { id: *id, path: file.path.clone() });
            }
            node.standing = Standing { digests: text.now, size_bytes: text.size_bytes, edit };
        }
        done += chunk.len();
        bar.at(done);
    }
    Ok(())
}

/// Of the texts that may have been replaced, `plan.replaced` keeps those of which hardly anything is in the file.
pub(super) async fn compare(
    (store, board): (&Store, BoardId),
    tree: &Arc<Tree>,
    plan: &mut Plan,
    progress: &Progress,
) -> Result<(), Failure> {
    let candidates: HashSet<NodeId> = plan.replaced.iter().map(|node| node.id).collect();
    let due = files(tree, plan, |id, _| candidates.contains(&id));
    let bar = progress.count("Comparing", due.len());
    let mut replaced: HashSet<NodeId> = HashSet::new();
    for batch in batches(due.iter().map(|(index, _)| size(tree, *index))) {
        let end = batch.end;
        let batch = due.get(batch).unwrap_or_default().to_vec();
        let ids: Vec<NodeId> = batch.iter().map(|(_, id)| *id).collect();
        let old = store.import_beginnings(board, &ids, OLD_CHARS).await?;
        let old: HashMap<NodeId, String> = old.into_iter().collect();
        let tree = Arc::clone(tree);
        let found = blocking(move || {
            let is_another = |(index, id): &(usize, NodeId)| {
                let Some((file, old)) = tree.files.get(*index).zip(old.get(id)) else { return false };
                reading::read(file).is_ok_and(|read| is_replaced(old, &document::readable(file.kind, read.text)))
            };
            batch.into_iter().filter(is_another).map(|(_, id)| id).collect::<Vec<_>>()
        });
        replaced.extend(found.await?);
        bar.at(end);
    }
    plan.replaced.retain(|node| replaced.contains(&node.id));
    Ok(())
}

/// Files, by their index, with their nodes.
fn files(tree: &Tree, plan: &Plan, fits: impl Fn(NodeId, &Work) -> bool) -> Vec<(usize, NodeId)> {
    let nodes = plan.nodes.get(tree.folders.len()..).unwrap_or_default();
    let nodes = nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)));
    nodes.filter(|(_, node)| fits(node.id, &node.work)).map(|(index, node)| (index, node.id)).collect()
}

fn size(tree: &Tree, index: usize) -> u64 {
    tree.files.get(index).map_or(0, |file| file.size_bytes)
}

/// What the files, given with their digests, would make of their nodes. `None` for one that cannot be read any more.
async fn digests(
    tree: &Arc<Tree>,
    files: Vec<(usize, String)>,
) -> Result<HashMap<usize, Option<TextDigests>>, Failure> {
    let mut all = HashMap::new();
    for batch in batches(files.iter().map(|(index, _)| size(tree, *index))) {
        let (tree, files) = (Arc::clone(tree), files.get(batch).unwrap_or_default().to_vec());
        let found = blocking(move || {
            let digests = |(index, digest): (usize, String)| {
                (index, tree.files.get(index).and_then(|file| digests_of(file, &digest)))
            };
            files.into_iter().map(digests).collect::<Vec<_>>()
        });
        all.extend(found.await?);
    }
    Ok(all)
}

fn digests_of(file: &File, digest: &str) -> Option<TextDigests> {
    let read = reading::read(file).ok().filter(|read| read.digest.hex() == digest)?;
    Some(document::digests(&document::text_of(file.kind, &file.path, read.text)))
}

/// What somebody edited: what is neither as it was imported nor as the file has it now. Where it was not noted what was
/// imported, as by older versions, nothing is known of an edit.
fn edit(standing: &StandingText, file: Option<&TextDigests>) -> Option<Edit> {
    let is_edit = |imported: &Option<String>, now: &str, file: Option<&str>| {
        imported.as_deref().is_some_and(|imported| imported != now) && file != Some(now)
    };
    let StandingText { now, imported_text, imported_title, .. } = standing;
    if is_edit(imported_text, &now.text, file.map(|file| file.text.as_str())) {
        Some(Edit::Text)
    } else if is_edit(imported_title, &now.title, file.map(|file| file.title.as_str())) {
        Some(Edit::Title)
    } else {
        None
    }
}

/// Whether hardly anything of the old text is in the new one. Figures and marks are not looked at: data with the same
/// names and other numbers is the same data.
fn is_replaced(old: &str, new: &str) -> bool {
    let new = new.char_indices().nth(NEW_CHARS).and_then(|(end, _)| new.get(..end)).unwrap_or(new);
    let (old, new) = (words(old), words(new));
    match (old.as_slice(), new.as_slice()) {
        ([], _) => false,
        (_, []) => true,
        ([word], others) | (others, [word]) => !others.contains(word),
        _ => {
            let (old, new): (HashSet<_>, HashSet<_>) = (pairs(&old).collect(), pairs(&new).collect());
            old.intersection(&new).count() * ONE_IN < old.len().min(new.len())
        }
    }
}

fn pairs<'a>(words: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().copied().zip(words.iter().copied().skip(1))
}

/// Runs of letters; each character of Chinese and Japanese by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let is_alone = document::is_word(c);
        if c.is_alphabetic() && !is_alone {
            start.get_or_insert(at);
            continue;
        }
        words.extend(start.take().and_then(|start| text.get(start..at)));
        if is_alone {
            words.extend(text.get(at..at + c.len_utf8()));
        }
    }
    words.extend(start.and_then(|start| text.get(start..)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERON: &str = "# Heron\n\nThe heron stands in shallow water and waits for small fish until evening comes.\n";

    #[test]
    fn words_are_letters_only() {
        assert_eq!(words("don't 42 x7y, Größe_b"), ["don", "t", "x", "y", "Größe", "b"]);
        assert_eq!(words("東京 tower"), ["東", "京", "tower"]);
        assert!(words(" 1,2;3 ").is_empty());
    }

    #[test]
    fn edits_are_no_replacements() {
        let footer = format!("{HERON}\n---\nChanged in May by the gardener.\n");
        let long = format!("{}\n{HERON}", "Something that stands before it. ".repeat(1_000));
        for (old, new) in [
            (HERON, HERON),
            (HERON, footer.as_str()),
            (footer.as_str(), HERON),
            (HERON, long.as_str()),
            (HERON, "# Heron"),
            (HERON, "small fish"),
            (HERON, "It waits for small fish."),
            (HERON, &*HERON.replace(' ', "\n")),
            (HERON, &*HERON.replace("heron", "stork").replace("small", "any")),
            ("day;price\n2024-01-01;17", "day;price\n2025-03-04;99"),
            ("東京は日本の首都です。", "東京は大きい日本の首都です。"),
            // What has no words cannot be compared.
            ("1, 2, 3", "4, 5, 6"),
            ("", "anything"),
        ] {
            assert!(!is_replaced(old, new), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_has_nothing_in_common_is_replaced() {
        let revenue = "# Revenue\n\nQuarterly revenue grew because customers renewed contracts earlier than planned.\n";
        for (old, new) in
            [(HERON, revenue), (revenue, HERON), (HERON, "-"), (HERON, "Stork"), ("one", "two"), ("one two", "two one")]
        {
            assert!(is_replaced(old, new), "{old:?} {new:?}");
        }
    }

    #[test]
    fn an_edit_is_what_neither_the_import_nor_the_file_has() {
        let digests = |text: &str, title: &str| TextDigests { text: text.to_owned(), title: title.to_owned() };
        let standing = |imported: Option<(&str, &str)>| StandingText {
            id: NodeId::generate(),
            now: digests("now", "Now"),
            imported_text: imported.map(|(text, _)| text.to_owned()),
            imported_title: imported.map(|(_, title)| title.to_owned()),
            is_blank: false,
            size_bytes: 3,
        };
        for (imported, file, expected) in [
            (None, digests("file", "File"), None),
            (Some(("now", "Now")), digests("file", "File"), None),
            (Some(("old", "Old")), digests("file", "File"), Some(Edit::Text)),
            (Some(("old", "Now")), digests("now", "File"), None),
            (Some(("now", "Old")), digests("file", "File"), Some(Edit::Title)),
            (Some(("now", "Old")), digests("file", "Now"), None),
            (Some(("old", "Old")), digests("now", "File"), Some(Edit::Title)),
        ] {
            assert_eq!(edit(&standing(imported), Some(&file)), expected, "{imported:?} {file:?}");
        }
        // A file that cannot be read any more is not taken for the same.
        assert_eq!(edit(&standing(Some(("old", "Now"))), None), Some(Edit::Text));
    }
}
