//! Whether the fields of a document that share a name in the answer are the same field.
//!
//! The rule is "Field Selection Merging" of the specification. The library looks at one selection set and one type
//! condition at a time, so a conflict behind a fragment was answered with the first of two; a mutation ran both and told
//! one. Here all selections that end in one object of the answer are looked at together, level by level, as the library of
//! Sangria does it: once for their shape, once for those that can meet in one object. The work is bounded by a number of
//! looks, since the second can visit a selection once for each type that it can meet.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Positioned,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value;

use super::shape::Shape;
use crate::domain::{Code, Error, Result};

/// Selections that are looked at for one document.
const MAX_LOOKS: usize = 200_000;

/// Selections of a type.
type Typed<'a> = (Option<&'a str>, &'a SelectionSet);

/// A field and the type that it is selected of.
#[derive(Clone, Copy)]
struct Selected<'a> {
    of: Option<&'a str>,
    field: &'a Field,
}

impl<'a> Selected<'a> {
    fn name(&self) -> &'a str {
        self.field.name.node.as_str()
    }
}

/// Looks for fields that share a name in the answer and are not the same.
///
/// # Errors
/// `InvalidDocument` where there are such fields, `CostExceeded` where finding that out takes too long.
pub(super) fn check(shape: &Shape, document: &ExecutableDocument) -> Result<()> {
    let mut overlap = Overlap { shape, document, looks: 0 };
    for (_, operation) in document.operations.iter() {
        let root = (Some(shape.root(operation.node.ty)), &operation.node.selection_set.node);
        overlap.same_shape(&[root])?;
        overlap.same_field(&[root])?;
    }
    Ok(())
}

struct Overlap<'a> {
    shape: &'a Shape,
    document: &'a ExecutableDocument,
    looks: usize,
}

impl<'a> Overlap<'a> {
    /// What stands under each name of the answer must have one shape, whatever the object is.
    fn same_shape(&mut self, sets: &[Typed<'a>]) -> Result<()> {
        for (name, fields) in self.by_name(sets)? {
            let mut types = fields.iter().filter_map(|field| self.shape.field(field.of?, field.name()));
            if let Some(first) = types.next() {
                let differs = |written: &str| {
                    if first.is_composite {
                        wrapping(written) != wrapping(&first.written)
                    } else {
                        written != first.written
                    }
                };
                if types.any(|other| other.is_composite != first.is_composite || differs(&other.written)) {
                    return Err(conflict(name, "they have different types"));
                }
            }
            self.same_shape(&self.below(&fields))?;
        }
        Ok(())
    }

    /// Fields that can stand in one object must be the same field with the same arguments.
    fn same_field(&mut self, sets: &[Typed<'a>]) -> Result<()> {
        for (name, fields) in self.by_name(sets)? {
            let abstract_ones: Vec<Selected<'a>> =
                fields.iter().copied().filter(|field| field.of.is_none_or(|of| self.shape.is_abstract(of))).collect();
            let mut concrete: HashMap<&str, Vec<Selected<'a>>> = HashMap::new();
            for field in fields.iter().filter(|field| field.of.is_some_and(|of| !self.shape.is_abstract(of))) {
                let of = field.of.unwrap_or_default();
                if !concrete.contains_key(of) {
                    self.look(abstract_ones.len())?;
                    concrete.insert(of, abstract_ones.clone());
                }
                concrete.entry(of).or_default().push(*field);
            }
            let mut groups: Vec<_> = concrete.into_values().collect();
            if groups.is_empty() {
                groups.push(abstract_ones);
            }
            for group in groups {
                let Some((first, others)) = group.split_first() else { continue };
                for other in others {
                    if other.name() != first.name() {
                        let why = format!("\"{}\" and \"{}\" are different fields", first.name(), other.name());
                        return Err(conflict(name, &why));
                    }
                    self.look(first.field.arguments.len() * other.field.arguments.len())?;
                    if !same_arguments(&first.field.arguments, &other.field.arguments) {
                        return Err(conflict(name, "they have different arguments"));
                    }
                }
                self.same_field(&self.below(&group))?;
            }
        }
        Ok(())
    }

    fn look(&mut self, count: usize) -> Result<()> {
        self.looks += count;
        if self.looks > MAX_LOOKS {
            return Err(Error::new(Code::CostExceeded, "Too many fields of the document share their names"));
        }
        Ok(())
    }

    /// The fields of some selection sets by their name in the answer, with fragments in place.
    fn by_name(&mut self, sets: &[Typed<'a>]) -> Result<Vec<(&'a str, Vec<Selected<'a>>)>> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut names: Vec<(&str, Vec<Selected<'a>>)> = Vec::new();
        let mut spread: HashSet<&str> = HashSet::new();
        let mut open: Vec<Typed<'a>> = sets.iter().rev().copied().collect();
        while let Some((of, set)) = open.pop() {
            for selection in &set.items {
                self.look(1)?;
                match &selection.node {
                    Selection::Field(field) => {
                        let name = field.node.response_key().node.as_str();
                        let place = *places.entry(name).or_insert(names.len());
                        if place == names.len() {
                            names.push((name, Vec::new()));
                        }
                        if let Some((_, fields)) = names.get_mut(place) {
                            fields.push(Selected { of, field: &field.node });
                        }
                    }
                    Selection::InlineFragment(fragment) => {
                        let on = fragment.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                        open.push((on.or(of), &fragment.node.selection_set.node));
                    }
                    Selection::FragmentSpread(place) => {
                        let name = place.node.fragment_name.node.as_str();
                        if let Some(fragment) = self.document.fragments.get(name).filter(|_| spread.insert(name)) {
                            let on = fragment.node.type_condition.node.on.node.as_str();
                            open.push((Some(on), &fragment.node.selection_set.node));
                        }
                    }
                }
            }
        }
        Ok(names)
    }

    fn below(&self, fields: &[Selected<'a>]) -> Vec<Typed<'a>> {
        let below = fields.iter().filter(|field| !field.field.selection_set.node.items.is_empty());
        below
            .map(|field| {
                let named =
                    field.of.and_then(|of| self.shape.field(of, field.name())).map(|shape| shape.named.as_str());
                (named, &field.field.selection_set.node)
            })
            .collect()
    }
}

/// The lists and exclamation marks of a type, without its name.
fn wrapping(written: &str) -> String {
    written.chars().filter(|c| "[]!".contains(*c)).collect()
}

fn same_arguments(
    first: &[(Positioned<Name>, Positioned<Value>)],
    second: &[(Positioned<Name>, Positioned<Value>)],
) -> bool {
    first.len() == second.len()
        && first.iter().all(|(name, value)| {
            second.iter().any(|(other, given)| other.node == name.node && given.node == value.node)
        })
}

fn conflict(name: &str, why: &str) -> Error {
    let message = format!("Fields \"{name}\" conflict because {why}; use different aliases to fetch both");
    Error::new(Code::InvalidDocument, message)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::{super::shape::SHAPE, *};

    fn checked(document: &str) -> Result<()> {
        check(&SHAPE, &parse_query(document).unwrap())
    }

    #[test]
    fn fields_that_conflict_are_refused_wherever_they_stand() {
        for document in [
            "{ viewer { a: id } viewer { a: name } }",
            "{ viewer { a: id } ... { viewer { a: name } } }",
            "{ viewer { ...f } viewer { a: name } } fragment f on User { a: id }",
            "{ node(id: \"1\") { x: id ... on ResourceNode { x: title } } }",
            "{ node(id: \"1\") { ... on FolderNode { x: id } ... on ResourceNode { x: title } } }",
            "{ boards(first: 1) { totalCount } boards(first: 5) { totalCount } }",
            "{ boards(first: 1) { nodes { nodes(first: 1) { totalCount } } } boards(first: 1) { nodes { nodes(first: 2) { totalCount } } } }",
            "mutation { a: createFolderNode(boardId: \"b\", input: { name: \"1\" }) { clientMutationId } \
             ... on Mutation { a: createFolderNode(boardId: \"b\", input: { name: \"2\" }) { clientMutationId } } }",
            "query b { a: viewer { id } a: service { version } }",
        ] {
            let error = checked(document).expect_err(document);
            assert_eq!(error.code(), Code::InvalidDocument, "{document}: {error}");
        }
    }

    #[test]
    fn fields_that_are_the_same_or_never_meet_are_not() {
        for document in [
            "{ viewer { id } viewer { id name } }",
            "{ boards(first: 1) { totalCount } boards(first: 1) { nodes { id } } }",
            "{ node(id: \"1\") { ... on ResourceNode { x: title } ... on Board { x: description } } }",
            "query a { x: viewer { id } } query b { x: service { version } }",
            "query ($n: Int) { boards(first: $n) { totalCount } boards(first: $n) { totalCount } }",
            "{ nothing { a: b } nothing { a: b } }",
        ] {
            assert!(checked(document).is_ok(), "{document}: {:?}", checked(document));
        }
    }

    #[test]
    fn the_work_is_bounded() {
        // Each type would get a copy of what is selected of all of them.
        let types = ["ResourceNode", "ChatNode", "FolderNode"].map(|of| format!("... on {of} {{ a: id }}")).concat();
        let document = |count: usize| format!("{{ node(id: \"1\") {{ {} {types} }} }}", "a: id ".repeat(count));
        assert!(checked(&document(1_000)).is_ok());
        assert_eq!(checked(&document(MAX_LOOKS / 4)).unwrap_err().code(), Code::CostExceeded);
        // So would each pair of arguments be compared.
        let arguments: String = (0..500).map(|number| format!("a{number}: 1 ")).collect();
        let document = format!("{{ nodes({arguments}) {{ id }} nodes({arguments}) {{ id }} }}");
        assert_eq!(checked(&document).unwrap_err().code(), Code::CostExceeded);
    }
}
