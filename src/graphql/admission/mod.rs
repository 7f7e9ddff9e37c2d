//! What a document may ask for, settled before anything runs and before the library looks at it.
//!
//! A document is read by an iterative scan (`scan.rs`) and parsed. What it uses is checked (`uses.rs`), its fragments are put in order
//! (`fragments.rs`), and all its operations are measured (`measure.rs`) by the schema (`shape.rs`). Each step takes time in proportion to the document and
//! bounds what the next one has to do. What runs is bounded again by its budget (`graphql/budget.rs`).

mod fragments;
mod measure;
mod overlap;
mod scan;
mod shape;
mod uses;

use std::collections::HashSet;

use async_graphql::{
    Request,
    parser::{self, parse_query},
};

use self::{
    measure::{MAX_INTROSPECTION_LISTS, Measure, Measures},
    shape::SHAPE,
    uses::Uses,
};
use crate::{
    config::LimitsConfig,
    domain::{Code, Error, Result},
};

/// Operations of one document, of which one runs.
const MAX_OPERATIONS: usize = 50;
/// Selections of a document with its fragments in place, for all its operations together.
const MAX_SELECTIONS: u64 = 20_000;
/// Selection sets within each other, those of fragments included.
const MAX_LEVELS: u64 = 100;
/// Fields that their type does not have; with more, finding what was meant would cost more than it helps.
const MAX_UNKNOWN_FIELDS: u64 = 20;
/// How often the largest request fits into the arguments of all rows together.
const ARGUMENTS_PER_BODY: u64 = 16;

/// Parses the document of a request, and refuses it where it is more than it may be.
///
/// # Errors
/// `InvalidDocument` where it cannot be read or its fields conflict, `CostExceeded` where a bound does not hold.
pub(super) fn admit(mut request: Request, limits: &LimitsConfig) -> Result<Request> {
    scan::scan(&request.query)?;
    let document = parse_query(&request.query).map_err(|error| unreadable(&error))?;
    let operations = document.operations.iter().count();
    scan::within("number of operations", operations, MAX_OPERATIONS)?;
    let uses = Uses::of(&document);
    let fragments = fragments::in_order(&document, &uses)?;
    uses.check(&SHAPE, &document)?;
    // What nobody declared is of no use, and takes memory for as long as the operation runs.
    let declared = uses.of_operations.iter().flat_map(|(operation, _)| &operation.variable_definitions);
    let declared: HashSet<&str> = declared.map(|variable| variable.node.name.node.as_str()).collect();
    request.variables.retain(|name, _| declared.contains(name.as_str()));
    let mut measure = Measure::new(&SHAPE, &document, &request.variables);
    let mut all = Measures::default();
    for (name, fragment) in fragments {
        let on = fragment.type_condition.node.on.node.as_str();
        all.levels =
            all.levels.max(measure.fragment(name, on, &fragment.directives, &fragment.selection_set.node).levels);
        within("number of levels", all.levels, MAX_LEVELS)?;
    }
    for (_, operation) in document.operations.iter() {
        let bytes = measure.directives(&operation.node.directives);
        all.argument_bytes = all.argument_bytes.saturating_add(bytes);
        for variable in &operation.node.variable_definitions {
            all.argument_bytes = all.argument_bytes.saturating_add(measure.directives(&variable.node.directives));
        }
        let root = SHAPE.root(operation.node.ty);
        let one = measure.set(Some(root), &operation.node.selection_set.node, 0);
        // One of them runs, all of them are looked at.
        let cost = all.cost.max(one.cost);
        all.beside(one);
        all.cost = cost;
    }
    within("number of aliases", measure.aliases, limits.max_aliases.into())?;
    within("number of fields, arguments, fragments and values", measure.written, limits.max_document_nodes.into())?;
    within("number of selections", all.selections, MAX_SELECTIONS)?;
    within("depth", all.depth, limits.max_depth.into())?;
    within("number of levels", all.levels, MAX_LEVELS)?;
    within("nesting of introspection", all.introspection_lists, MAX_INTROSPECTION_LISTS)?;
    within("cost", all.cost, limits.max_query_cost)?;
    within("number of fields that do not exist", measure.unknown_fields, MAX_UNKNOWN_FIELDS)?;
    let most = (limits.max_body_bytes as u64).saturating_mul(ARGUMENTS_PER_BODY);
    within("size of all arguments, read for every row,", all.argument_bytes, most)?;
    overlap::check(&SHAPE, &document)?;
    request.set_parsed_query(document);
    Ok(request)
}

fn within(what: &str, count: u64, most: u64) -> Result<()> {
    scan::within(what, usize::try_from(count).unwrap_or(usize::MAX), usize::try_from(most).unwrap_or(usize::MAX))
}

/// What the parser did not understand, without the document, which may be long.
fn unreadable(error: &parser::Error) -> Error {
    let (at, what) = match error {
        // The parser draws the line and an arrow; what it expected stands behind the last equals sign.
        parser::Error::Syntax { message, start, .. } => {
            (Some(*start), message.rsplit_once("= ").map_or(message.as_str(), |(_, what)| what).to_owned())
        }
        other => (other.positions().next(), other.to_string()),
    };
    let what: String = what.trim().chars().take(300).collect();
    let message = match at {
        Some(at) => format!("Line {}, column {}: {what}", at.line, at.column),
        None => what,
    };
    Error::new(Code::InvalidDocument, message)
}

#[cfg(test)]
mod tests;
