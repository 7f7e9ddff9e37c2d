//! How much accounts may have.
//!
//! | key in `[quotas]` | variable         | default                                                      |
//! |-------------------|------------------|--------------------------------------------------------------|
//! | `tiers`           | `RAGBOARD_TIERS` | `free boards=1000 nodes=250000 bytes=1073741824 copies=100`  |
//!
//! A tier is a plan: its name, then how much it allows. What is left out is not limited.

use super::{
    reader::Reader,
    values::{Form, Kind, List},
};
use crate::domain::Limits;

/// Longest name of a tier, in bytes: as long as the column of accounts.
const MAX_NAME: usize = 50;

/// What accounts of each plan may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaConfig {
    /// The plans. Accounts of a plan that is not among them are treated as those of the first.
    pub tiers: Vec<Tier>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name, as accounts have it.
    pub name: String,
    /// What it allows.
    pub limits: Limits,
}

impl QuotaConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let limits =
            Limits { boards: Some(1_000), nodes: Some(250_000), bytes: Some(1 << 30), copies_per_day: Some(100) };
        let default = vec![Tier { name: "free".to_owned(), limits }];
        QuotaConfig { tiers: reader.value("quotas.tiers", &["RAGBOARD_TIERS"], &List(TierKind), default) }
    }

    /// What accounts of a plan may have; everything where there are no plans.
    #[must_use]
    pub fn of(&self, tier: &str) -> Limits {
        let found = self.tiers.iter().find(|one| one.name == tier).or_else(|| self.tiers.first());
        found.map(|tier| tier.limits).unwrap_or_default()
    }
}

/// Reads and writes `NAME boards=… nodes=… bytes=… copies=…`.
struct TierKind;

impl Kind for TierKind {
    type Value = Tier;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        "give a name and what it allows, such as \"free boards=1000 nodes=250000 bytes=1073741824 copies=100\""
            .to_owned()
    }

    fn parse(&self, text: &str) -> Result<Tier, String> {
        let mut words = text.split_whitespace();
        let name =
            words.next().filter(|name| name.len() <= MAX_NAME && !name.contains('=')).ok_or_else(|| self.accepts())?;
        let mut limits = Limits::default();
        for word in words {
            let (what, number) = word.split_once('=').ok_or_else(|| self.accepts())?;
            let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(|| self.accepts())?;
            let limit = match what {
                "boards" => &mut limits.boards,
                "nodes" => &mut limits.nodes,
                "bytes" => &mut limits.bytes,
                "copies" => &mut limits.copies_per_day,
                _ => return Err(self.accepts()),
            };
            *limit = Some(number);
        }
        Ok(Tier { name: name.to_owned(), limits })
    }

    fn show(&self, tier: &Tier) -> String {
        let Limits { boards, nodes, bytes, copies_per_day } = tier.limits;
        let parts = [("boards", boards), ("nodes", nodes), ("bytes", bytes), ("copies", copies_per_day)];
        let parts = parts.into_iter().filter_map(|(name, limit)| limit.map(|limit| format!(" {name}={limit}")));
        format!("\"{}{}\"", tier.name, parts.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_read_as_they_are_shown() {
        for text in ["free boards=3 nodes=4 bytes=5 copies=6", "pro", "small nodes=0"] {
            let tier = TierKind.parse(text).unwrap();
            assert_eq!(TierKind.show(&tier), format!("\"{text}\""));
        }
        for text in ["", "boards=3", "free boards", "free boards=-1", "free boats=1", "free boards=many"] {
            assert!(TierKind.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_tier_is_the_first() {
        let tiers = ["free boards=3", "pro boards=9"].map(|text| TierKind.parse(text).unwrap()).to_vec();
        let quotas = QuotaConfig { tiers };
        assert_eq!(
            [quotas.of("pro"), quotas.of("free"), quotas.of("other")].map(|limits| limits.boards),
            [Some(9), Some(3), Some(3)]
        );
        assert_eq!(QuotaConfig { tiers: Vec::new() }.of("free"), Limits::default());
    }
}
