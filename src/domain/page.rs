//! Pages of lists: what a client may ask for, and cursors that carry the sort key itself.
//!
//! A cursor is compared with `<` and `>`, so the row it came from need not exist any more. It is bound to the order it
//! was made in and refused in any other. How a page is cut out of rows is settled here once; how it is read is the
//! business of the adapters.

use std::cmp::Ordering;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Result};

/// The longest page.
pub const MAX_PAGE: usize = 100;
/// Longer cursors were not made here.
const MAX_CURSOR_LEN: usize = 2048;

/// What rows are sorted by before their id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SortKey {
    /// A moment, to the microsecond.
    #[serde(rename = "t")]
    Time(DateTime<Utc>),
    /// A whole number.
    #[serde(rename = "i")]
    Int(i64),
    /// A real number; never NaN.
    #[serde(rename = "f")]
    Real(f64),
    /// Text, compared byte by byte.
    #[serde(rename = "s")]
    Text(String),
}

impl SortKey {
    fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (SortKey::Time(a), SortKey::Time(b)) => a.cmp(b),
            (SortKey::Int(a), SortKey::Int(b)) => a.cmp(b),
            (SortKey::Real(a), SortKey::Real(b)) => a.total_cmp(b),
            (SortKey::Text(a), SortKey::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            // Keys of one order are of one kind; `Cursor::decode` sees to it.
            _ => Ordering::Equal,
        }
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.total_cmp(other) == Ordering::Equal && std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Eq for SortKey {}

/// A place in an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The sort key of the row.
    pub key: SortKey,
    /// Its id, which makes the order total.
    pub id: Uuid,
}

impl std::hash::Hash for Cursor {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Cursor {
    /// The opaque text that a client sends back. `order` names the order it belongs to.
    #[must_use]
    pub fn encode(&self, order: &str) -> String {
        let json = serde_json::to_vec(&(order, &self.key, self.id)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a cursor of the order `order`.
    ///
    /// # Errors
    /// `InvalidArgument` for anything that was not made by [`Cursor::encode`] with the same order.
    pub fn decode(text: &str, order: &str) -> Result<Cursor> {
        let foreign = || Error::invalid("Not a cursor of this list and order");
        if text.len() > MAX_CURSOR_LEN {
            return Err(foreign());
        }
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| foreign())?;
        let (made_for, key, id): (String, SortKey, Uuid) = serde_json::from_slice(&json).map_err(|_| foreign())?;
        let sane = match &key {
            SortKey::Real(value) => value.is_finite(),
            SortKey::Text(text) => !text.contains('\0'),
            SortKey::Time(at) => (1..=9999).contains(&chrono::Datelike::year(at)),
            SortKey::Int(_) => true,
        };
        if made_for != order || !sane {
            return Err(foreign());
        }
        Ok(Cursor { key, id })
    }

    /// Order of two places, `descending` turning the keys and the ids around.
    #[must_use]
    pub fn compare(&self, other: &Cursor, descending: bool) -> Ordering {
        let ascending = self.key.total_cmp(&other.key).then_with(|| self.id.cmp(&other.id));
        if descending { ascending.reverse() } else { ascending }
    }
}

/// Which part of a list is wanted: the `limit` first rows of it, or the last ones, between two places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// Count from the end of the list.
    pub from_end: bool,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// Only what comes before this place.
    pub before: Option<Cursor>,
}

impl PageRequest {
    /// Settles the arguments of a Relay connection once, for every list.
    ///
    /// # Errors
    /// `InvalidArgument` when neither or both of `first` and `last` are given, one is outside 1..=100, or a cursor does
    /// not belong to `order`.
    pub fn new(
        first: Option<i32>,
        after: Option<&str>,
        last: Option<i32>,
        before: Option<&str>,
        order: &str,
    ) -> Result<Self> {
        let (wanted, name, from_end) = match (first, last) {
            (Some(first), None) => (first, "first", false),
            (None, Some(last)) => (last, "last", true),
            (None, None) => return Err(Error::invalid("Give first or last: this list is unbounded")),
            (Some(_), Some(_)) => return Err(Error::invalid("Give first or last, not both")),
        };
        let limit = usize::try_from(wanted).ok().filter(|n| (1..=MAX_PAGE).contains(n));
        let limit =
            limit.ok_or_else(|| Error::invalid(format!("{name} must be from 1 to {MAX_PAGE}, not {wanted}")))?;
        let place = |text: Option<&str>| text.map(|text| Cursor::decode(text, order)).transpose();
        Ok(PageRequest { limit, from_end, after: place(after)?, before: place(before)? })
    }

    /// Cuts the page out of rows that were read in list order (reversed when counting from the end), one more than
    /// `limit` where there is one.
    #[must_use]
    pub fn cut<T>(&self, mut rows: Vec<T>) -> Page<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        if self.from_end {
            rows.reverse();
            Page { rows, has_previous: more, has_next: self.before.is_some() }
        } else {
            Page { rows, has_previous: self.after.is_some(), has_next: more }
        }
    }

    /// Cuts the page out of a whole list in memory, sorted by `place` in list order.
    pub fn slice<T: Clone>(&self, list: &[T], descending: bool, place: impl Fn(&T) -> Cursor) -> Page<T> {
        let start = self
            .after
            .as_ref()
            .map_or(0, |after| list.partition_point(|row| place(row).compare(after, descending) != Ordering::Greater));
        let end = self.before.as_ref().map_or(list.len(), |before| {
            list.partition_point(|row| place(row).compare(before, descending) == Ordering::Less)
        });
        let inside = list.get(start..end).unwrap_or_default();
        let rows = if self.from_end {
            inside.iter().rev().take(self.limit + 1).cloned().collect()
        } else {
            inside.iter().take(self.limit + 1).cloned().collect()
        };
        self.cut(rows)
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In list order.
    pub rows: Vec<T>,
    /// Whether something comes before; when paging forwards: whether `after` was given.
    pub has_previous: bool,
    /// Whether something comes after; when paging backwards: whether `before` was given.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// A page with nothing on it.
    #[must_use]
    pub fn empty() -> Self {
        Page { rows: Vec::new(), has_previous: false, has_next: false }
    }

    /// The same page of something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(f).collect(), has_previous: self.has_previous, has_next: self.has_next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: &i64) -> Cursor {
        Cursor { key: SortKey::Int(n / 2), id: Uuid::from_u128(*n as u128) }
    }

    fn request(first: Option<i32>, after: Option<i64>, last: Option<i32>, before: Option<i64>) -> PageRequest {
        let text = |n: Option<i64>| n.map(|n| place(&n).encode("o"));
        PageRequest::new(first, text(after).as_deref(), last, text(before).as_deref(), "o").unwrap()
    }

    #[test]
    fn pages_cover_the_list_in_both_directions() {
        let list: Vec<i64> = (0..10).collect();
        let page = request(Some(4), Some(3), None, None).slice(&list, false, place);
        assert_eq!((page.rows, page.has_previous, page.has_next), (vec![4, 5, 6, 7], true, true));
        let page = request(None, None, Some(4), Some(3)).slice(&list, false, place);
        assert_eq!((page.rows, page.has_previous, page.has_next), (vec![0, 1, 2], false, true));
        let page = request(None, None, Some(2), None).slice(&list, false, place);
        assert_eq!((page.rows, page.has_previous, page.has_next), (vec![8, 9], true, false));
    }

    #[test]
    fn a_cursor_works_after_its_row_is_gone() {
        let list: Vec<i64> = (0..10).filter(|n| *n != 3).collect();
        assert_eq!(request(Some(2), Some(3), None, None).slice(&list, false, place).rows, [4, 5]);
        assert_eq!(request(None, None, Some(2), Some(3)).slice(&list, false, place).rows, [1, 2]);
    }

    #[test]
    fn descending_lists_turn_around() {
        let list: Vec<i64> = (0..10).rev().collect();
        assert_eq!(request(Some(2), Some(7), None, None).slice(&list, true, place).rows, [6, 5]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        for (first, last) in [(None, None), (Some(1), Some(1)), (Some(0), None), (Some(-1), None), (None, Some(101))] {
            assert!(PageRequest::new(first, None, last, None, "o").is_err());
        }
        let cursor = place(&1).encode("o");
        assert!(PageRequest::new(Some(1), Some(&cursor), None, None, "p").is_err(), "a cursor of another order");
        for text in ["", "x", "bnVsbA", "\0", &"A".repeat(5000)] {
            assert!(PageRequest::new(Some(1), Some(text), None, None, "o").is_err(), "{text:?}");
        }
    }
}
