//! What the definitions of a document use: fragments, variables, types. Read once, iteratively, for all checks that ask.
//!
//! Whether the fragments can be put in order is `fragments.rs`; here the names of variables and types are checked. The
//! library reports each mistake in each operation, and looks names of types up in a way that can panic; a document of
//! mistakes must not get that far.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Positioned,
    parser::types::{Directive, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet, Type},
};
use async_graphql_value::Value;

use super::shape::{Shape, base};
use crate::domain::{Code, Error, Result};

/// What one definition uses by itself, each as often as it stands there.
#[derive(Default)]
pub(super) struct Used<'a> {
    /// Fragments.
    pub(super) spreads: Vec<&'a str>,
    variables: Vec<&'a str>,
    /// Types that fragments are for.
    conditions: Vec<&'a str>,
}

/// What the definitions of a document use.
pub(super) struct Uses<'a> {
    pub(super) of_operations: Vec<(&'a OperationDefinition, Used<'a>)>,
    pub(super) of_fragments: HashMap<&'a str, Used<'a>>,
}

impl<'a> Uses<'a> {
    /// Reads all definitions.
    pub(super) fn of(document: &'a ExecutableDocument) -> Self {
        let of_operations = document.operations.iter().map(|(_, operation)| {
            let operation = &operation.node;
            let mut used = Used::default();
            used.directives(&operation.directives);
            operation.variable_definitions.iter().for_each(|variable| used.directives(&variable.node.directives));
            used.selections(&operation.selection_set.node);
            (operation, used)
        });
        let of_fragments = document.fragments.iter().map(|(name, fragment)| {
            let mut used = Used::default();
            used.directives(&fragment.node.directives);
            used.conditions.push(fragment.node.type_condition.node.on.node.as_str());
            used.selections(&fragment.node.selection_set.node);
            (name.as_str(), used)
        });
        Uses { of_operations: of_operations.collect(), of_fragments: of_fragments.collect() }
    }

    /// Checks names of types and variables, and that a subscription has one root field.
    ///
    /// # Errors
    /// `InvalidDocument`, with the first mistake.
    pub(super) fn check(&self, shape: &Shape, document: &ExecutableDocument) -> Result<()> {
        let used = self.of_operations.iter().map(|(_, used)| used).chain(self.of_fragments.values());
        if let Some(unknown) = used.flat_map(|used| &used.conditions).find(|name| !shape.has(name)) {
            return Err(invalid(format!("Unknown type \"{unknown}\", or one without fields")));
        }
        for (operation, used) in &self.of_operations {
            let mut declared = HashSet::new();
            for variable in &operation.variable_definitions {
                let name = variable.node.name.node.as_str();
                let of: &Type = &variable.node.var_type.node;
                if !shape.is_input(base(of)) {
                    return Err(invalid(format!(
                        "Variable \"${name}\" has the type \"{of}\", which is none of inputs"
                    )));
                }
                if !declared.insert(name) {
                    return Err(invalid(format!("Variable \"${name}\" is declared twice")));
                }
            }
            self.check_declared(used, &declared)?;
            if operation.ty == OperationType::Subscription && !has_one_field(document, &operation.selection_set.node) {
                return Err(invalid("A subscription has one root field; open one for each".to_owned()));
            }
        }
        Ok(())
    }

    /// Whether an operation declares what it uses, also in its fragments.
    fn check_declared(&self, used: &Used<'a>, declared: &HashSet<&str>) -> Result<()> {
        let (mut seen, mut open) = (HashSet::new(), vec![used]);
        while let Some(used) = open.pop() {
            if let Some(unknown) = used.variables.iter().find(|name| !declared.contains(*name)) {
                return Err(invalid(format!("Variable \"${unknown}\" is used and not declared")));
            }
            let below = used.spreads.iter().filter(|name| seen.insert(**name));
            open.extend(below.filter_map(|name| self.of_fragments.get(name)));
        }
        Ok(())
    }
}

impl<'a> Used<'a> {
    fn selections(&mut self, set: &'a SelectionSet) {
        let mut sets = vec![set];
        while let Some(set) = sets.pop() {
            for selection in &set.items {
                match &selection.node {
                    Selection::Field(field) => {
                        field.node.arguments.iter().for_each(|(_, value)| self.value(&value.node));
                        self.directives(&field.node.directives);
                        sets.push(&field.node.selection_set.node);
                    }
                    Selection::InlineFragment(fragment) => {
                        self.directives(&fragment.node.directives);
                        let on = fragment.node.type_condition.as_ref();
                        self.conditions.extend(on.map(|condition| condition.node.on.node.as_str()));
                        sets.push(&fragment.node.selection_set.node);
                    }
                    Selection::FragmentSpread(spread) => {
                        self.directives(&spread.node.directives);
                        self.spreads.push(spread.node.fragment_name.node.as_str());
                    }
                }
            }
        }
    }

    fn directives(&mut self, directives: &'a [Positioned<Directive>]) {
        for directive in directives {
            directive.node.arguments.iter().for_each(|(_, value)| self.value(&value.node));
        }
    }

    fn value(&mut self, value: &'a Value) {
        let mut values = vec![value];
        while let Some(value) = values.pop() {
            match value {
                Value::Variable(name) => self.variables.push(name.as_str()),
                Value::List(list) => values.extend(list),
                Value::Object(fields) => values.extend(fields.values()),
                _ => {}
            }
        }
    }
}

/// Whether a selection set has one field, with its fragments in place; it looks no further than to the second. Fragments
/// that contain themselves are refused before.
fn has_one_field(document: &ExecutableDocument, set: &SelectionSet) -> bool {
    let (mut fields, mut sets) = (0, vec![set]);
    while let Some(set) = sets.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(_) => fields += 1,
                Selection::InlineFragment(fragment) => sets.push(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let fragment = document.fragments.get(&spread.node.fragment_name.node);
                    sets.extend(fragment.map(|fragment| &fragment.node.selection_set.node));
                }
            }
        }
        if fields > 1 {
            return false;
        }
    }
    fields == 1
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidDocument, message)
}
