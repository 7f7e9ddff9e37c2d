//! The input of a mutation as it is meant, whatever way it is written: which requests are the same under an idempotency
//! key, and which numbers of free data would lose digits.
//!
//! Two requests are the same if their fields come in another order, if what has a default is given or not, if null is given
//! where null says nothing, if numbers or times are spelled otherwise, and if the client calls them otherwise. The schema
//! says what is of which type and has which default.

use async_graphql::{
    Context, Name, Value,
    registry::{MetaInputValue, MetaType, Registry},
};
use sha2::{Digest, Sha256};

use super::{super::numbers::LossyNumbers, SECRETS};
use crate::domain::Refusal;

/// Free data in JSON.
const JSON: &str = "JSON";
/// What says nothing about what is to be done.
const BESIDES: &[&str] = &["clientMutationId", "idempotencyKey"];
/// Fields that null makes empty; null for any other counts as not given. A test holds this against the inputs.
const CLEARED_BY_NULL: &[&str] = &[
    "avatarUrl",
    "content",
    "customModelEndpoint",
    "description",
    "label",
    "language",
    "maxItems",
    "password",
    "systemPrompt",
    "thumbnailUrl",
    "title",
    "url",
];

/// Whether null for this field is something else than leaving it out.
fn is_cleared(type_name: &str, field: &str) -> bool {
    // What is made has nothing that could be cleared.
    let is_made = type_name.starts_with("Create");
    !is_made && (CLEARED_BY_NULL.contains(&field) || (type_name == "UpdateViewerInput" && field == "name"))
}

/// What is found out about an input.
pub(super) struct Settled {
    /// Digest of what is asked for.
    pub(super) digest: [u8; 32],
    /// The first number that would lose digits.
    pub(super) refusal: Option<Refusal>,
}

/// Settles the arguments of the mutation that runs.
pub(super) fn settle(ctx: &Context<'_>) -> Settled {
    let field = ctx.field();
    let registry = &ctx.schema_env.registry;
    let declared = registry.mutation_type.as_ref().and_then(|name| registry.types.get(name));
    let declared = declared.and_then(|mutation| mutation.field_by_name(field.name()));
    let arguments = field.arguments().unwrap_or_default();
    let mut settling =
        Settling { registry, lossy: ctx.data_opt(), digest: Sha256::new(), path: Vec::new(), refusal: None };
    settling.text(field.name());
    let given = |name: &str| arguments.iter().find(|(given, _)| given.as_str() == name).map(|(_, value)| value);
    if let Some(declared) = declared {
        for (name, argument) in sorted(declared.args.iter().map(|(name, argument)| (name.as_str(), argument))) {
            // The path of a refusal begins inside of `input`.
            settling.field(name, argument, given(name), true, |settling, value| settling.value(&argument.ty, value));
        }
    }
    Settled { digest: settling.digest.finalize().into(), refusal: settling.refusal }
}

fn sorted<'a, T>(fields: impl Iterator<Item = (&'a str, T)>) -> Vec<(&'a str, T)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    fields
}

/// A default as the schema spells it.
fn default(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(json) => Value::from_json(json).unwrap_or_default(),
        Err(_) => Value::Enum(Name::new(text)),
    }
}

struct Settling<'a> {
    registry: &'a Registry,
    lossy: Option<&'a LossyNumbers>,
    digest: Sha256,
    path: Vec<String>,
    refusal: Option<Refusal>,
}

impl Settling<'_> {
    /// A part of what is digested: what it is, and its bytes with their number, so that no two inputs look the same.
    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.digest.update([kind]);
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.part(b's', text.as_bytes());
    }

    fn number(&mut self, number: &async_graphql::Number) {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        let double = number.as_f64().unwrap_or_default();
        // Far below the range of the type, and far above that of whole numbers that a double tells apart.
        let is_whole = double.fract() == 0.0 && double.abs() < 1e30;
        match whole.or_else(|| is_whole.then_some(double as i128)) {
            Some(whole) => self.part(b'i', &whole.to_be_bytes()),
            None => self.part(b'f', &double.to_bits().to_be_bytes()),
        }
    }

    /// A field of an input, if it says anything.
    fn field(
        &mut self,
        name: &str,
        declared: &MetaInputValue,
        given: Option<&Value>,
        null_is_absent: bool,
        settle: impl FnOnce(&mut Self, &Value),
    ) {
        let fallback = declared.default_value.as_deref().map(default);
        let Some(value) = given.or(fallback.as_ref()) else { return };
        if null_is_absent && *value == Value::Null {
            return;
        }
        self.part(b'k', name.as_bytes());
        settle(self, value);
    }

    fn value(&mut self, of_type: &str, value: &Value) {
        let of_type = of_type.strip_suffix('!').unwrap_or(of_type);
        if *value == Value::Null {
            return self.part(b'n', &[]);
        }
        if let Some(item) = of_type.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
            // One value stands for a list of one.
            let items = match value {
                Value::List(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            self.part(b'l', &(items.len() as u64).to_be_bytes());
            for (number, value) in items.iter().enumerate() {
                self.within(number.to_string(), |settling| settling.value(item, value));
            }
            return;
        }
        if of_type == JSON {
            return self.json(value, &mut Some(Vec::new()));
        }
        let registry = self.registry;
        match (registry.types.get(of_type), value) {
            (Some(MetaType::InputObject { input_fields, .. }), Value::Object(given)) => {
                self.part(b'o', &[]);
                for (name, declared) in sorted(input_fields.iter().map(|(name, field)| (name.as_str(), field))) {
                    if BESIDES.contains(&name) || SECRETS.contains(&name) {
                        continue;
                    }
                    let absent = !is_cleared(of_type, name);
                    self.field(name, declared, given.get(name), absent, |settling, value| {
                        settling.within(name.to_owned(), |settling| settling.value(&declared.ty, value));
                    });
                }
                self.part(b'e', &[]);
            }
            (_, Value::String(text)) if of_type == "DateTime" => match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(at) => self.part(b't', &at.timestamp_micros().to_be_bytes()),
                Err(_) => self.text(text),
            },
            // Written in the document it is a word, in a variable a text.
            (_, Value::Enum(word)) => self.text(word),
            (_, other) => self.json(other, &mut None),
        }
    }

    fn within(&mut self, part: String, settle: impl FnOnce(&mut Self)) {
        self.path.push(part);
        settle(self);
        self.path.pop();
    }

    /// A value all of which counts, null too. `place` is where in free data it stands; none where it is no free data.
    fn json(&mut self, value: &Value, place: &mut Option<Vec<String>>) {
        let into =
            |place: &mut Option<Vec<String>>, part: String| place.iter_mut().for_each(|place| place.push(part.clone()));
        let out_of = |place: &mut Option<Vec<String>>| place.iter_mut().for_each(|place| drop(place.pop()));
        match value {
            Value::Null => self.part(b'n', &[]),
            Value::Boolean(value) => self.part(b'b', &[u8::from(*value)]),
            Value::Number(number) => {
                self.number(number);
                self.check(number, place.as_deref());
            }
            Value::String(text) => self.text(text),
            Value::Enum(word) => self.text(word),
            Value::Binary(bytes) => self.part(b'x', bytes),
            Value::List(items) => {
                self.part(b'l', &(items.len() as u64).to_be_bytes());
                for (number, item) in items.iter().enumerate() {
                    into(place, number.to_string());
                    self.json(item, place);
                    out_of(place);
                }
            }
            Value::Object(fields) => {
                self.part(b'o', &[]);
                for (name, value) in sorted(fields.iter().map(|(name, value)| (name.as_str(), value))) {
                    self.part(b'k', name.as_bytes());
                    into(place, name.to_owned());
                    self.json(value, place);
                    out_of(place);
                }
                self.part(b'e', &[]);
            }
        }
    }

    fn check(&mut self, number: &async_graphql::Number, place: Option<&[String]>) {
        let is_lossy = self.lossy.is_some_and(|lossy| lossy.contains(number));
        let Some(place) = place.filter(|_| is_lossy && self.refusal.is_none()) else { return };
        let place: String = place.join(".").chars().take(200).collect();
        let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
        let message = format!("The number{at} would lose digits or its sign: send it as a text");
        self.refusal = Some(Refusal { path: self.path.clone(), ..Refusal::invalid("", message) });
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CLEARED_BY_NULL, default};

    #[test]
    fn all_that_null_clears_is_known() {
        let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/graphql/mutation");
        let mut count = 0;
        for file in fs::read_dir(inputs).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in
                text.lines().map(str::trim).filter(|line| line.contains(": MaybeUndefined<") && line.ends_with(','))
            {
                let (name, _) = line.split_once(':').unwrap();
                let mut words = name.trim_start_matches("pub(super) ").split('_');
                let mut field = words.next().unwrap().to_owned();
                for word in words {
                    let mut letters = word.chars();
                    field.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                    field.push_str(letters.as_str());
                }
                count += 1;
                // The name of an account can be cleared, that of anything else cannot.
                assert!(CLEARED_BY_NULL.contains(&field.as_str()) || field == "name", "{field}");
            }
        }
        assert!(count >= CLEARED_BY_NULL.len(), "the inputs are read");
    }

    #[test]
    fn defaults_are_read_as_the_schema_spells_them() {
        use async_graphql::{Name, Value};
        assert_eq!(default("true"), Value::Boolean(true));
        assert_eq!(default("[]"), Value::List(Vec::new()));
        assert_eq!(default("\"\""), Value::String(String::new()));
        assert_eq!(default("10"), Value::from(10));
        assert_eq!(default("VIEW"), Value::Enum(Name::new("VIEW")));
    }
}
