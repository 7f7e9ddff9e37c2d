//! What a document comes to: what is written in it, what it selects with its fragments in place, how deep, and how many
//! fields its answer can have.
//!
//! The cost is the number of fields that an answer can hold: what is selected below a list counts as often as the list has
//! rows, at the size that is asked for, at the default, or at the declared size (`shape.rs`). Fragments are measured once,
//! so this takes time in proportion to the document. Within one definition it descends as deep as brackets nest, which
//! `scan.rs` bounds.

use std::collections::HashMap;

use async_graphql::{
    Positioned, Value as ConstValue, Variables,
    parser::types::{Directive, ExecutableDocument, Field, Selection, SelectionSet},
};
use async_graphql_value::Value;

use super::shape::{FieldShape, List, Shape};
use crate::domain::MAX_PAGE;

/// Searches compare thousands of vectors, however little is asked of their hits.
const COST_OF_SEARCH: u64 = 200;
/// What a value takes in memory besides its text. The library copies the values of variables where they are used.
const VALUE_BYTES: u64 = size_of::<Value>() as u64;
/// Lists of the schema that an introspection may put into each other; as graphql-js's `MaxIntrospectionDepthRule`.
pub(super) const MAX_INTROSPECTION_LISTS: u64 = 2;

/// What a selection set comes to, with its fragments in place.
#[derive(Clone, Copy, Default)]
pub(super) struct Measures {
    /// Fields that the answer can have.
    pub(super) cost: u64,
    /// Selections: fields and fragments, each as often as it is reached.
    pub(super) selections: u64,
    /// Fields within each other.
    pub(super) depth: u64,
    /// Selection sets within each other, those of fragments included.
    pub(super) levels: u64,
    /// Bytes of arguments, each as often as it is read: once for every row.
    pub(super) argument_bytes: u64,
    /// Lists of the introspection within each other.
    pub(super) introspection_lists: u64,
}

impl Measures {
    /// Adds what stands beside.
    pub(super) fn beside(&mut self, other: Measures) {
        self.cost = self.cost.saturating_add(other.cost);
        self.selections = self.selections.saturating_add(other.selections);
        self.argument_bytes = self.argument_bytes.saturating_add(other.argument_bytes);
        self.depth = self.depth.max(other.depth);
        self.levels = self.levels.max(other.levels);
        self.introspection_lists = self.introspection_lists.max(other.introspection_lists);
    }
}

/// Measures the definitions of one document.
pub(super) struct Measure<'a> {
    shape: &'a Shape,
    values: HashMap<&'a str, Given>,
    fragments: HashMap<&'a str, Measures>,
    /// Fields, arguments, directives, fragments and values, as they are written.
    pub(super) written: u64,
    pub(super) aliases: u64,
    /// Fields that their type does not have. The library says which; it looks long for what was meant.
    pub(super) unknown_fields: u64,
}

/// What counts of the value of a variable.
#[derive(Clone, Copy, Default)]
struct Given {
    bytes: u64,
    /// Its value, if it is a whole number.
    number: Option<i64>,
    /// The longest list in it.
    longest_list: u64,
}

impl Given {
    fn of(value: &ConstValue) -> Given {
        let mut given = Given::default();
        if let ConstValue::Number(number) = value {
            given.number = number.as_i64();
        }
        let mut values = vec![value];
        while let Some(value) = values.pop() {
            given.bytes += VALUE_BYTES;
            match value {
                ConstValue::String(text) => given.bytes += text.len() as u64,
                ConstValue::List(list) => {
                    given.longest_list = given.longest_list.max(list.len() as u64);
                    values.extend(list);
                }
                ConstValue::Object(fields) => {
                    given.bytes += fields.keys().map(|name| name.len() as u64).sum::<u64>();
                    values.extend(fields.values());
                }
                _ => {}
            }
        }
        given
    }

    /// Where one of two may be meant, the dearer.
    fn or(self, other: Given) -> Given {
        Given {
            bytes: self.bytes.max(other.bytes),
            number: self.number.max(other.number),
            longest_list: self.longest_list.max(other.longest_list),
        }
    }
}

impl<'a> Measure<'a> {
    /// Reads the variables: each is what was sent, else the default of whichever operation declares it.
    pub(super) fn new(shape: &'a Shape, document: &'a ExecutableDocument, variables: &'a Variables) -> Self {
        let mut values: HashMap<&str, Given> = HashMap::new();
        let mut written = 0;
        for (_, operation) in document.operations.iter() {
            for variable in &operation.node.variable_definitions {
                written += 1;
                let name = variable.node.name.node.as_str();
                let known = values.get(name).copied();
                let given = match (variables.get(name), &variable.node.default_value) {
                    // What was sent is read once, however many operations declare it.
                    (Some(_), _) if known.is_some() => continue,
                    (Some(sent), _) => Given::of(sent),
                    (None, Some(default)) => Given::of(&default.node),
                    (None, None) => Given::default(),
                };
                values.insert(name, known.unwrap_or_default().or(given));
            }
        }
        Measure { shape, values, fragments: HashMap::new(), written, aliases: 0, unknown_fields: 0 }
    }

    /// Measures a fragment; those that it spreads were measured before.
    pub(super) fn fragment(
        &mut self,
        name: &'a str,
        on: &'a str,
        directives: &'a [Positioned<Directive>],
        set: &'a SelectionSet,
    ) -> Measures {
        self.written += 1;
        let bytes = self.directives(directives);
        let mut measures = self.set(Some(on), set, 1);
        measures.argument_bytes = measures.argument_bytes.saturating_add(bytes);
        self.fragments.insert(name, measures);
        measures
    }

    /// Measures a selection set of a type; `None` where the type is not known. `given` is how many things the arguments of the
    /// field around it name.
    pub(super) fn set(&mut self, of: Option<&'a str>, set: &'a SelectionSet, given: u64) -> Measures {
        let mut sum = Measures::default();
        for selection in &set.items {
            self.written += 1;
            let mut bytes = 0;
            let mut one = match &selection.node {
                Selection::Field(field) => self.field(of, &field.node, given),
                Selection::FragmentSpread(spread) => {
                    bytes = self.directives(&spread.node.directives);
                    self.fragments.get(spread.node.fragment_name.node.as_str()).copied().unwrap_or_default()
                }
                Selection::InlineFragment(fragment) => {
                    bytes = self.directives(&fragment.node.directives);
                    let on = fragment.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    self.set(on.or(of), &fragment.node.selection_set.node, given)
                }
            };
            one.argument_bytes = one.argument_bytes.saturating_add(bytes);
            one.selections = one.selections.saturating_add(1);
            sum.beside(one);
        }
        if !set.items.is_empty() {
            sum.levels += 1;
        }
        sum
    }

    fn field(&mut self, of: Option<&'a str>, field: &'a Field, given_around: u64) -> Measures {
        self.aliases += u64::from(field.alias.is_some());
        let of_directives = self.directives(&field.directives);
        let name = field.name.node.as_str();
        let shape = of.and_then(|of| self.shape.field(of, name));
        self.unknown_fields += u64::from(of.is_some_and(|of| self.shape.has(of)) && shape.is_none());
        let (mut asked, mut arguments) = (None, Given { bytes: of_directives, ..Given::default() });
        for (name, value) in &field.arguments {
            let given = self.written(&value.node);
            arguments.bytes = arguments.bytes.saturating_add(name.node.len() as u64).saturating_add(given.bytes);
            arguments.longest_list = arguments.longest_list.max(given.longest_list);
            if matches!(name.node.as_str(), "first" | "last") {
                // What lies outside the range of pages is refused by the field itself; here it only must not overflow.
                asked = asked.max(given.number.map(|rows| rows.clamp(1, MAX_PAGE as i64).unsigned_abs()));
            }
        }
        let rows = match shape.map(|shape| shape.list) {
            Some(List::Of(rows)) => rows,
            Some(List::AsGiven) => given_around.max(arguments.longest_list).max(1),
            Some(List::None) | None => asked.or(shape.and_then(|shape| shape.default_rows)).unwrap_or(1),
        };
        let named = shape.map(|shape| shape.named.as_str());
        let mut below = self.set(named, &field.selection_set.node, arguments.longest_list);
        let own = if shape.is_some_and(|shape| shape.is_search) { COST_OF_SEARCH } else { 1 };
        below.cost = rows.saturating_mul(below.cost).saturating_add(own);
        below.argument_bytes = rows.saturating_mul(below.argument_bytes).saturating_add(arguments.bytes);
        below.depth += 1;
        below.introspection_lists += u64::from(of.is_some_and(|of| is_introspection_list(of, name, shape)));
        below
    }

    /// Counts directives and their arguments; the bytes of these.
    pub(super) fn directives(&mut self, directives: &'a [Positioned<Directive>]) -> u64 {
        let mut bytes: u64 = 0;
        for directive in directives {
            self.written += 1;
            for (_, value) in &directive.node.arguments {
                bytes = bytes.saturating_add(self.written(&value.node).bytes);
            }
        }
        bytes
    }

    /// Counts what is written for a value, and says what it comes to. What variables hold is bounded by the size of the
    /// request: a batch of a thousand changes is one variable.
    fn written(&mut self, value: &'a Value) -> Given {
        let mut given = Given::default();
        if let Value::Number(number) = value {
            given.number = number.as_i64();
        }
        let mut values = vec![value];
        while let Some(value) = values.pop() {
            self.written += 1;
            given.bytes += VALUE_BYTES;
            match value {
                Value::Variable(name) => {
                    let variable = self.values.get(name.as_str()).copied().unwrap_or_default();
                    given.bytes = given.bytes.saturating_add(variable.bytes);
                    given.number = given.number.max(variable.number);
                    given.longest_list = given.longest_list.max(variable.longest_list);
                }
                Value::String(text) => given.bytes += text.len() as u64,
                Value::List(list) => {
                    given.longest_list = given.longest_list.max(list.len() as u64);
                    values.extend(list);
                }
                Value::Object(fields) => {
                    given.bytes += fields.keys().map(|name| name.len() as u64).sum::<u64>();
                    values.extend(fields.values());
                }
                _ => {}
            }
        }
        given
    }
}

fn is_introspection_list(of: &str, name: &str, shape: Option<&FieldShape>) -> bool {
    of == "__Type" && name != "enumValues" && shape.is_some_and(|shape| shape.list != List::None)
}
