//! What the admission knows of the schema: the types of fields, and how long a list can be that is not asked for by pages.
//!
//! It is read from the definition language that the schema prints, so it cannot differ from what is served.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use async_graphql::{
    Value,
    parser::{
        parse_schema,
        types::{BaseType, FieldDefinition, Type, TypeKind, TypeSystemDefinition},
    },
};

/// Rows that are counted for a list of objects that has no arguments for its page, by the name of its field.
///
/// What really comes is bounded by the budget of the operation, so a list that is usually short is not counted at its most.
const ROWS: &[(&str, u64)] = &[
    // Folders nest 64 deep at the most; use is told for 92 days, hour by hour.
    ("ancestors", 64),
    ("path", 64),
    ("changes", 20),
    ("collaborators", 100),
    ("invitations", 100),
    ("presence", 100),
    ("shares", 100),
    ("usage", 2_208),
    ("userErrors", 5),
];

/// Introspection, which the definition language of a schema leaves out. The numbers are the
/// averages of this schema over all its types, of which most have no fields.
const INTROSPECTION: &str = "type __Schema { description: String types: [__Type!]! queryType: __Type! mutationType: __Type \
    subscriptionType: __Type directives: [__Directive!]! } \
    type __Type { kind: String! name: String description: String specifiedByURL: String fields: [__Field!] interfaces: [__Type!] \
    possibleTypes: [__Type!] enumValues: [__EnumValue!] inputFields: [__InputValue!] ofType: __Type isOneOf: Boolean } \
    type __Field { name: String! description: String args: [__InputValue!]! type: __Type! isDeprecated: Boolean! \
    deprecationReason: String } \
    type __InputValue { name: String! description: String type: __Type! defaultValue: String isDeprecated: Boolean! \
    deprecationReason: String } \
    type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String } \
    type __Directive { name: String! description: String isRepeatable: Boolean! locations: [String!]! args: [__InputValue!]! }";
const INTROSPECTION_ROWS: &[(&str, u64)] = &[
    ("args", 1),
    ("directives", 5),
    ("enumValues", 2),
    ("fields", 2),
    ("inputFields", 1),
    ("interfaces", 1),
    ("possibleTypes", 1),
];

/// The types of the schema.
pub(in crate::graphql) struct Shape {
    types: HashMap<String, TypeShape>,
    /// Types that variables can have: scalars, enumerations and input objects.
    inputs: HashSet<String>,
    roots: [String; 3],
}

#[derive(Default)]
struct TypeShape {
    /// Whether objects of other types can stand here: an interface or a union.
    is_abstract: bool,
    fields: HashMap<String, FieldShape>,
}

/// A field of a type.
pub(super) struct FieldShape {
    /// Its type as it is written, `[Board!]!`.
    pub(super) written: String,
    /// The type without lists and exclamation marks, `Board`.
    pub(super) named: String,
    /// Whether that has fields of its own.
    pub(super) is_composite: bool,
    pub(super) list: List,
    /// The page size where none is given.
    pub(super) default_rows: Option<u64>,
    /// Whether it compares thousands of vectors, however little is asked of its hits.
    pub(super) is_search: bool,
}

/// How many rows a field has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    /// One, or those of the page that the field around it was asked for.
    None,
    /// So many, at the most or as a rule.
    Of(u64),
    /// As many as its arguments, or those of the field around it, name things.
    AsGiven,
}

/// The shape of the API's schema.
pub(in crate::graphql) static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::of(&crate::graphql::sdl()));

impl Shape {
    fn of(sdl: &str) -> Shape {
        let mut types: HashMap<String, TypeShape> = HashMap::new();
        let mut inputs: HashSet<String> = ["Boolean", "Float", "ID", "Int", "String"].map(str::to_owned).into();
        let mut count = 0;
        for text in [sdl, INTROSPECTION] {
            match parse_schema(text) {
                Ok(document) => {
                    count += document.definitions.len() as u64;
                    document.definitions.iter().for_each(|definition| add(&mut types, &mut inputs, definition));
                }
                // A test reads the same text: this does not happen to a program that passed it.
                Err(error) => tracing::error!(%error, "The schema cannot be read"),
            }
        }
        let composite: Vec<String> = types.keys().cloned().collect();
        for field in types.values_mut().flat_map(|shape| shape.fields.values_mut()) {
            field.is_composite = composite.contains(&field.named);
            if field.list == List::Of(0) {
                field.list = List::Of(count);
            }
            if !field.is_composite {
                field.list = List::None;
            }
        }
        Shape { types, inputs, roots: ["Query", "Mutation", "Subscription"].map(str::to_owned) }
    }

    pub(super) fn root(&self, operation: async_graphql::parser::types::OperationType) -> &str {
        use async_graphql::parser::types::OperationType::{Mutation, Query, Subscription};
        let [query, mutation, subscription] = &self.roots;
        match operation {
            Query => query,
            Mutation => mutation,
            Subscription => subscription,
        }
    }

    /// A field of a type; `None` where there is none of that name.
    pub(super) fn field(&self, of: &str, name: &str) -> Option<&FieldShape> {
        self.types.get(of)?.fields.get(name)
    }

    /// Whether there is such a type with fields; unions have none but are types as well.
    pub(super) fn has(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// Whether variables can have this type.
    pub(super) fn is_input(&self, name: &str) -> bool {
        self.inputs.contains(name)
    }

    pub(super) fn is_abstract(&self, name: &str) -> bool {
        self.types.get(name).is_some_and(|shape| shape.is_abstract)
    }
}

fn add(types: &mut HashMap<String, TypeShape>, inputs: &mut HashSet<String>, definition: &TypeSystemDefinition) {
    let TypeSystemDefinition::Type(definition) = definition else { return };
    let name = definition.node.name.node.as_str();
    let (is_abstract, fields): (bool, &[_]) = match &definition.node.kind {
        TypeKind::Object(object) => (false, &object.fields),
        TypeKind::Interface(interface) => (true, &interface.fields),
        TypeKind::Union(_) => (true, &[]),
        TypeKind::Scalar | TypeKind::Enum(_) | TypeKind::InputObject(_) => {
            inputs.insert(name.to_owned());
            return;
        }
    };
    let mut fields: HashMap<String, FieldShape> =
        fields.iter().map(|field| (field.node.name.node.to_string(), shape_of(name, &field.node))).collect();
    if name == "Query" {
        for (field, of, written) in [("__schema", "__Schema", "__Schema!"), ("__type", "__Type", "__Type")] {
            fields.insert(field.to_owned(), single(of, written));
        }
    }
    fields.insert("__typename".to_owned(), single("String", "String!"));
    types.insert(name.to_owned(), TypeShape { is_abstract, fields });
}

fn single(named: &str, written: &str) -> FieldShape {
    FieldShape {
        written: written.to_owned(),
        named: named.to_owned(),
        is_composite: false,
        list: List::None,
        default_rows: None,
        is_search: false,
    }
}

fn shape_of(of: &str, field: &FieldDefinition) -> FieldShape {
    let name = field.name.node.as_str();
    let named = base(&field.ty.node).to_owned();
    let argument = |name: &str| field.arguments.iter().find(|argument| argument.node.name.node == name);
    let default_rows = argument("first").and_then(|first| match first.node.default_value.as_ref()?.node {
        Value::Number(ref rows) => rows.as_u64(),
        _ => None,
    });
    let is_list = matches!(field.ty.node.base, BaseType::List(_));
    // The rows of a page are counted where the page is asked for.
    let is_of_page = of.ends_with("Connection") && (name == "edges" || name == "nodes");
    let table = if of.starts_with("__") { INTROSPECTION_ROWS } else { ROWS };
    let list = match table.iter().find(|(known, _)| *known == name) {
        _ if !is_list || is_of_page || argument("first").is_some() => List::None,
        Some((_, rows)) => List::Of(*rows),
        None if of == "__Schema" => List::Of(0),
        None => List::AsGiven,
    };
    FieldShape {
        is_search: named == "SearchHitConnection",
        list,
        default_rows,
        ..single(&named, &field.ty.node.to_string())
    }
}

/// The name of a type without its lists and exclamation marks.
pub(super) fn base(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(of) => base(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_of_objects_says_how_long_it_is() {
        for (of, shape) in &SHAPE.types {
            for (name, field) in shape.fields.iter().filter(|(_, field)| field.is_composite) {
                let is_list = field.written.contains('[');
                let is_of_page = of.ends_with("Connection") && ["edges", "nodes"].contains(&name.as_str());
                match field.list {
                    List::None => {
                        let is_asked_for = is_of_page || field.default_rows.is_some();
                        assert!(!is_list || is_asked_for, "{of}.{name} is a list of no declared length");
                    }
                    List::Of(rows) => assert!(is_list && rows > 0, "{of}.{name}"),
                    // What is answered is what was named: the ids of a query, the changes of a mutation.
                    List::AsGiven => assert!(
                        of.ends_with("Payload") || (of.as_str(), name.as_str()) == ("Query", "nodes"),
                        "{of}.{name} is a list of no declared length: name it in ROWS"
                    ),
                }
            }
        }
    }

    #[test]
    fn it_knows_what_is_there() {
        let field = |of: &str, name: &str| SHAPE.field(of, name).unwrap_or_else(|| panic!("{of}.{name}"));
        assert_eq!(field("User", "recentBoards").default_rows, Some(10));
        assert!(field("Query", "search").is_search && field("ResourceNode", "related").is_search);
        assert_eq!(field("BoardNode", "ancestors").list, List::Of(64));
        assert_eq!(field("Board", "owner").written, "User!");
        assert!(SHAPE.is_abstract("BoardEvent") && SHAPE.is_abstract("BoardNode") && !SHAPE.is_abstract("Board"));
        assert!(matches!(field("__Schema", "types").list, List::Of(rows) if rows > 100));
        assert!(field("Query", "__schema").is_composite && !field("Board", "__typename").is_composite);
        assert!(SHAPE.field("Board", "nothing").is_none() && SHAPE.has("UserError"));
        for (name, is_input) in
            [("Int", true), ("SearchInput", true), ("Permission", true), ("Board", false), ("X", false)]
        {
            assert_eq!(SHAPE.is_input(name), is_input, "{name}");
        }
    }
}
