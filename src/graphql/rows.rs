//! Lists of objects, resolved row by row.
//!
//! The library makes a future of every field of every row and joins them all, which for a page of fifty nodes costs more
//! than everything else together. Most fields are ready at the first look, so here each is looked at once, in the order of
//! the query, and only those that wait for a loader are joined: what one level asks for is still asked together. An
//! interface is resolved as the object behind it. Answers are the same, byte for byte.
//!
//! Rows are counted before they are resolved, and long lists let others have a turn in between (`budget.rs`).

use std::borrow::Cow;

use async_graphql::{
    ContainerType, ContextSelectionSet, Name, OutputType, Positioned, ServerError, ServerResult, Value,
    indexmap::{IndexMap, map::Entry},
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
};
use async_trait::async_trait;
use futures_util::{
    FutureExt,
    future::{BoxFuture, try_join_all},
    poll,
};

use super::{budget, error};

/// An object, or an interface that knows the object behind it.
pub(super) trait Row: OutputType {
    /// Selects the fields of the object.
    fn select<'a>(&'a self, object: &mut Selected<'a>, place: &'a ContextSelectionSet<'a>) -> ServerResult<()>;
}

/// A list of objects.
pub(super) struct Rows<T>(pub(super) Vec<T>);

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        Rows(rows.into_iter().collect())
    }
}

/// Makes an object a row of lists.
macro_rules! row {
    ($object:ty) => {
        impl $crate::graphql::rows::Row for $object {
            fn select<'a>(
                &'a self,
                object: &mut $crate::graphql::rows::Selected<'a>,
                place: &'a async_graphql::ContextSelectionSet<'a>,
            ) -> async_graphql::ServerResult<()> {
                object.add(place, self)
            }
        }
    };
}

pub(super) use row;

/// The fields that were selected of one object, in the order of the query.
pub(super) struct Selected<'a>(Vec<(Name, BoxFuture<'a, ServerResult<Option<Value>>>)>);

impl<'a> Selected<'a> {
    /// Selects what the query asks of `object`.
    pub(super) fn add<T: ContainerType>(
        &mut self,
        place: &'a ContextSelectionSet<'a>,
        object: &'a T,
    ) -> ServerResult<()> {
        self.add_set(place, &place.item.node, object)
    }

    fn add_set<T: ContainerType>(
        &mut self,
        place: &'a ContextSelectionSet<'a>,
        set: &'a SelectionSet,
        object: &'a T,
    ) -> ServerResult<()> {
        // `@skip` and `@include` were applied before; the schema has no other directive.
        for selection in &set.items {
            let (condition, set) = match &selection.node {
                Selection::Field(field) => {
                    self.add_field(place, field, object);
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = place.query_env.fragments.get(name).ok_or_else(|| {
                        ServerError::new(format!("There is no fragment \"{name}\""), Some(spread.pos))
                    })?;
                    (Some(&fragment.node.type_condition), &fragment.node.selection_set)
                }
            };
            if condition.is_none_or(|condition| applies::<T>(place, &condition.node.on.node)) {
                self.add_set(place, &set.node, object)?;
            }
        }
        Ok(())
    }

    fn add_field<T: ContainerType>(
        &mut self,
        place: &'a ContextSelectionSet<'a>,
        field: &'a Positioned<Field>,
        object: &'a T,
    ) {
        let name = field.node.response_key().node.clone();
        let value = if field.node.name.node == "__typename" {
            let name = Value::String(T::type_name().into_owned());
            std::future::ready(Ok(Some(name))).boxed()
        } else {
            async move { object.resolve_field(&place.with_field(field)).await }.boxed()
        };
        self.0.push((name, value));
    }
}

/// Whether a fragment on `condition` applies to objects of type `T`.
fn applies<T: OutputType>(place: &ContextSelectionSet<'_>, condition: &str) -> bool {
    let name = T::type_name();
    name == condition
        || place.schema_env.registry.types.get(condition).is_some_and(|condition| condition.is_possible_type(&name))
}

#[async_trait]
impl<T: Row> OutputType for Rows<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let budget = budget::of(ctx);
        let exceeded = |error| error::at(ctx, field.pos, error);
        let count = |value: &Value| budget.map_or(Ok(()), |budget| budget.take_value(value)).map_err(exceeded);
        let places: Vec<_> = (0..self.0.len()).map(|index| ctx.with_index(index)).collect();
        let mut rows: Vec<Vec<(Name, Option<Value>)>> = Vec::with_capacity(self.0.len());
        let mut waiting = Vec::new();
        for (row, (object, place)) in self.0.iter().zip(&places).enumerate() {
            let mut selected = Selected(Vec::with_capacity(place.item.node.items.len()));
            object.select(&mut selected, place)?;
            let is_others_turn = budget.map_or(Ok(false), |budget| budget.take_fields(selected.0.len() + 1));
            if is_others_turn.map_err(exceeded)? {
                tokio::task::yield_now().await;
            }
            let mut values = Vec::with_capacity(selected.0.len());
            for (name, mut value) in selected.0 {
                let ready = poll!(&mut value);
                let ready = match ready {
                    std::task::Poll::Ready(value) => {
                        let value = value?.unwrap_or_default();
                        count(&value)?;
                        Some(value)
                    }
                    std::task::Poll::Pending => {
                        let at = values.len();
                        waiting.push(async move { Ok::<_, ServerError>((row, at, value.await?)) });
                        None
                    }
                };
                values.push((name, ready));
            }
            rows.push(values);
        }
        for (row, at, value) in try_join_all(waiting).await? {
            value.as_ref().map_or(Ok(()), count)?;
            if let Some((_, slot)) = rows.get_mut(row).and_then(|values| values.get_mut(at)) {
                *slot = value;
            }
        }
        Ok(Value::List(rows.into_iter().map(object_of).collect()))
    }
}

fn object_of(values: Vec<(Name, Option<Value>)>) -> Value {
    let mut object = IndexMap::with_capacity(values.len());
    for (name, value) in values {
        merge(&mut object, name, value.unwrap_or_default());
    }
    Value::Object(object)
}

/// Adds a field; one that is selected twice has the fields of both selections.
fn merge(object: &mut IndexMap<Name, Value>, name: Name, value: Value) {
    match object.entry(name) {
        Entry::Vacant(place) => drop(place.insert(value)),
        Entry::Occupied(place) => merge_values(place.into_mut(), value),
    }
}

fn merge_values(first: &mut Value, second: Value) {
    match (first, second) {
        (Value::Object(first), Value::Object(second)) => {
            second.into_iter().for_each(|(name, value)| merge(first, name, value));
        }
        (Value::List(first), Value::List(second)) => {
            first.iter_mut().zip(second).for_each(|(first, second)| merge_values(first, second));
        }
        // The admission let only equal fields share a name.
        _ => {}
    }
}
