//! The fragments of a document, in an order in which each comes after those that it spreads.
//!
//! The library follows fragments by recursion and takes a document of thousands for granted, so unknown, unused and cyclic
//! ones are refused here. This is iterative and takes time in proportion to the document. What definitions use is read in
//! `uses.rs`.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, FragmentDefinition};

use super::uses::Uses;
use crate::domain::{Code, Error, Result};

/// Puts the fragments in order, those that spread no other first.
///
/// # Errors
/// `InvalidDocument` where a fragment is unknown, is not used by any operation, or contains itself.
pub(super) fn in_order<'a>(
    document: &'a ExecutableDocument,
    uses: &Uses<'a>,
) -> Result<Vec<(&'a str, &'a FragmentDefinition)>> {
    let mut order = Vec::with_capacity(document.fragments.len());
    let mut states: HashMap<&str, State> = HashMap::with_capacity(document.fragments.len());
    let spreads: HashMap<&str, &[&str]> =
        uses.of_fragments.iter().map(|(name, of)| (*name, of.spreads.as_slice())).collect();
    for (_, of) in &uses.of_operations {
        for name in &of.spreads {
            visit(name, &spreads, &mut states, &mut order)?;
        }
    }
    if let Some(unused) = spreads.keys().filter(|name| !states.contains_key(*name)).min() {
        return Err(invalid(format!("Fragment \"{unused}\" is not used")));
    }
    let fragment = |name: &'_ str| document.fragments.get(name).map(|fragment| &fragment.node);
    Ok(order.into_iter().filter_map(|name| Some((name, fragment(name)?))).collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// What it spreads is being looked at: meeting it again closes a circle.
    Open,
    Done,
}

/// Adds a fragment, after all that it spreads. The stack is one of our own: a chain may be as long as the document.
fn visit<'a>(
    root: &'a str,
    spreads: &HashMap<&'a str, &[&'a str]>,
    states: &mut HashMap<&'a str, State>,
    order: &mut Vec<&'a str>,
) -> Result<()> {
    let mut stack = vec![(root, 0)];
    while let Some((name, next)) = stack.pop() {
        let Some(below) = spreads.get(name) else {
            return Err(invalid(format!("There is no fragment \"{name}\"")));
        };
        match states.get(name) {
            Some(State::Done) => continue,
            Some(State::Open) if next == 0 => {
                return Err(invalid(format!("Fragment \"{name}\" contains itself")));
            }
            _ => drop(states.insert(name, State::Open)),
        }
        match below.get(next) {
            Some(spread) => {
                stack.push((name, next + 1));
                if states.get(spread) != Some(&State::Done) {
                    stack.push((spread, 0));
                }
            }
            None => {
                states.insert(name, State::Done);
                order.push(name);
            }
        }
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidDocument, message)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn order(document: &str) -> Result<Vec<String>> {
        let document = parse_query(document).unwrap();
        in_order(&document, &Uses::of(&document))
            .map(|order| order.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn each_comes_after_what_it_spreads() {
        let document =
            "{ ...a } fragment a on Q { ...b x { ...c } } fragment b on Q { ... { ...c } } fragment c on Q { y }";
        assert_eq!(order(document).unwrap(), ["c", "b", "a"]);
    }

    #[test]
    fn unknown_unused_and_cyclic_ones_are_refused() {
        for (document, why) in [
            ("{ ...a }", "no fragment \"a\""),
            ("{ ...a } fragment a on Q { x { ...b } }", "no fragment \"b\""),
            ("{ x } fragment a on Q { x }", "\"a\" is not used"),
            ("{ x } fragment a on Q { ...b } fragment b on Q { ...a }", "\"a\" is not used"),
            ("{ ...a } fragment a on Q { x { ...a } }", "\"a\" contains itself"),
            ("{ ...a } fragment a on Q { ...b } fragment b on Q { ...c } fragment c on Q { ...b }", "contains itself"),
        ] {
            let error = order(document).unwrap_err();
            assert!(error.to_string().contains(why), "{document}: {error}");
        }
    }

    #[test]
    fn a_chain_as_long_as_a_document_needs_no_stack() {
        let links = (0..100_000).map(|n| (n.to_string(), (n + 1).to_string())).collect::<Vec<_>>();
        let below: Vec<(&str, [&str; 1])> = links.iter().map(|(a, b)| (a.as_str(), [b.as_str()])).collect();
        let mut spreads: HashMap<&str, &[&str]> = below.iter().map(|(a, b)| (*a, b.as_slice())).collect();
        spreads.insert("100000", &[]);
        let (mut states, mut order) = (HashMap::new(), Vec::new());
        visit("0", &spreads, &mut states, &mut order).unwrap();
        assert_eq!((order.len(), order[0], order[100_000]), (100_001, "100000", "0"));
    }
}
