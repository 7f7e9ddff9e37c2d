//! What a document may ask for, settled before anything runs.
//!
//! The cost of a document is the number of fields that its answer can hold: a field with `first` or `last` counts what is
//! selected below it as often as it asks for rows, `ids` as often as there are ids. It is counted on the document alone,
//! so a list costs the same whether it is asked of an object or of an interface. Depth is checked by the library; what is
//! written in the document and its aliases are counted here too. All limits are settings.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, Request, Value, Variables,
    parser::{
        parse_query,
        types::{Directive, ExecutableDocument, Field, Selection, SelectionSet},
    },
};

use crate::{
    config::LimitsConfig,
    domain::{Code, Error, MAX_PAGE, Result},
};

/// Rows of a list that does not say how many; the largest default in the schema.
const DEFAULT_ROWS: u64 = 10;
/// Lists whose arguments all have defaults, or that have none and are long.
const LISTS_WITH_DEFAULTS: &[&str] = &["recentBoards", "presence", "search", "related"];
/// Searches compare thousands of vectors, however little is asked of their hits.
const SEARCHES: &[&str] = &["search", "related"];
const COST_OF_SEARCH: u64 = 200;

/// Parses the document of a request and counts what is written in it and what it can cost.
pub(super) fn admit(mut request: Request, limits: &LimitsConfig) -> Result<Request> {
    let document = parse_query(&request.query).map_err(|error| Error::new(Code::InvalidDocument, error.to_string()))?;
    let mut count =
        Count { document: &document, variables: &request.variables, nodes: 0, aliases: 0, fragments: HashMap::new() };
    let mut cost: u64 = 0;
    for (_, operation) in document.operations.iter() {
        count.nodes += operation.node.variable_definitions.len() as u64;
        count.directives(&operation.node.directives);
        cost = cost.max(count.selections(&operation.node.selection_set.node)?);
    }
    let (nodes, aliases) = (count.nodes, count.aliases);
    let within = |what: &str, count: u64, most: u64| {
        if count <= most {
            return Ok(());
        }
        Err(Error::new(Code::CostExceeded, format!("The {what} of the document is {count}, at most {most} is allowed")))
    };
    within("number of aliases", aliases, limits.max_aliases.into())?;
    within("number of fields, arguments, fragments and values", nodes, limits.max_document_nodes.into())?;
    within("cost", cost, limits.max_query_cost)?;
    request.set_parsed_query(document);
    Ok(request)
}

/// What stands for a variable where only the document counts.
fn absent(_: Name) -> Result<Value> {
    Ok(Value::Null)
}

struct Count<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// What is written: fields, arguments, directives, fragments and values.
    nodes: u64,
    aliases: u64,
    /// Cost of fragments that were counted; `None` while one is being counted, to find cycles.
    fragments: HashMap<&'a str, Option<u64>>,
}

impl<'a> Count<'a> {
    fn selections(&mut self, set: &'a SelectionSet) -> Result<u64> {
        let mut cost: u64 = 0;
        for selection in &set.items {
            self.nodes += 1;
            let of_selection = match &selection.node {
                Selection::Field(field) => self.field(&field.node)?,
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.node.directives);
                    self.fragment(spread.node.fragment_name.node.as_str())?
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.node.directives);
                    self.selections(&fragment.node.selection_set.node)?
                }
            };
            cost = cost.saturating_add(of_selection);
        }
        Ok(cost)
    }

    fn field(&mut self, field: &'a Field) -> Result<u64> {
        self.aliases += u64::from(field.alias.is_some());
        self.directives(&field.directives);
        let mut rows = if LISTS_WITH_DEFAULTS.contains(&field.name.node.as_str()) { DEFAULT_ROWS } else { 1 };
        for (name, value) in &field.arguments {
            self.written(value.node.clone().into_const_with(absent));
            let value = value.node.clone().into_const_with(|name| self.variable(&name)).unwrap_or_default();
            match (name.node.as_str(), value) {
                // What lies outside the range of pages is refused by the field itself; here it only must not overflow.
                ("first" | "last", Value::Number(wanted)) => {
                    rows = wanted.as_i64().unwrap_or_default().clamp(1, MAX_PAGE as i64).unsigned_abs();
                }
                ("ids", Value::List(ids)) => rows = ids.len() as u64,
                _ => {}
            }
        }
        let below = self.selections(&field.selection_set.node)?;
        let own = if SEARCHES.contains(&field.name.node.as_str()) { COST_OF_SEARCH } else { 1 };
        Ok(rows.saturating_mul(below).saturating_add(own))
    }

    fn fragment(&mut self, name: &'a str) -> Result<u64> {
        match self.fragments.get(name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                return Err(Error::new(Code::InvalidDocument, format!("Fragment {name} contains itself")));
            }
            None => {}
        }
        // A fragment that does not exist is reported when the document is held against the schema.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(0) };
        self.fragments.insert(name, None);
        self.directives(&fragment.node.directives);
        let cost = self.selections(&fragment.node.selection_set.node)?;
        self.fragments.insert(name, Some(cost));
        Ok(cost)
    }

    fn directives(&mut self, directives: &[Positioned<Directive>]) {
        for directive in directives {
            self.nodes += 1;
            for (_, value) in &directive.node.arguments {
                self.written(value.node.clone().into_const_with(absent));
            }
        }
    }

    /// What a variable holds; null where it holds nothing.
    fn variable(&self, name: &Name) -> Result<Value> {
        Ok(self.variables.get(name).cloned().unwrap_or_default())
    }

    /// Counts what is written for a value. What variables hold is bounded by the size of the request alone: a batch of a
    /// thousand changes is one variable.
    fn written(&mut self, value: Result<Value>) {
        self.value(&value.unwrap_or_default());
    }

    fn value(&mut self, value: &Value) {
        self.nodes += 1;
        match value {
            Value::List(values) => values.iter().for_each(|value| self.value(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.value(value)),
            _ => {}
        }
    }
}
