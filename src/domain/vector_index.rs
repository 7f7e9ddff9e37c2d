//! Approximate indexes over the vectors of a generation: what there can be, what there is, and how well it finds.
//!
//! Searches do not need them: without one, every vector is compared. How they are built and measured is `store/vector_index/`,
//! which of them fits says `search/vector_index.rs`.

use std::fmt;

use super::{Error, Generation, Result, words::words};

/// Length of the candidate list with which an index is walked where little may be missed.
pub const WALKED_CANDIDATES: i32 = 200;
/// The same where it is to be fast.
pub const WALKED_CANDIDATES_FAST: i32 = 40;
/// Longer vectors are indexed as half floats.
pub const MOST_INDEXED_FLOATS: i32 = 2_000;
/// Longer vectors cannot be indexed.
pub const MOST_INDEXED_DIMENSIONS: i32 = 4_000;

words!(
    /// How an index finds what is near.
    IndexMethod {
        /// By a graph of neighbours.
        Hnsw = "hnsw",
        /// By lists around centres.
        IvfFlat = "ivfflat",
    }
);

/// What an index is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexSpec {
    /// A graph of neighbours.
    Hnsw {
        /// Neighbours of each vector on a level, 2 to 100.
        m: u16,
        /// Candidates that are looked at for them, twice `m` to 1,000.
        ef_construction: u16,
    },
    /// Lists around centres.
    IvfFlat {
        /// How many, 1 to 32,768.
        lists: u16,
    },
}

impl IndexSpec {
    /// A graph.
    ///
    /// # Errors
    /// `InvalidArgument` for numbers that PostgreSQL does not take.
    pub fn hnsw(m: u16, ef_construction: u16) -> Result<Self> {
        if !(2..=100).contains(&m) {
            return Err(Error::invalid("m must be 2 to 100"));
        }
        if !(2 * m..=1_000).contains(&ef_construction) {
            return Err(Error::invalid(format!("ef_construction must be {} (twice m) to 1000", 2 * m)));
        }
        Ok(IndexSpec::Hnsw { m, ef_construction })
    }

    /// Lists.
    ///
    /// # Errors
    /// `InvalidArgument` for a number that PostgreSQL does not take.
    pub fn ivfflat(lists: u16) -> Result<Self> {
        if !(1..=32_768).contains(&lists) {
            return Err(Error::invalid("lists must be 1 to 32768"));
        }
        Ok(IndexSpec::IvfFlat { lists })
    }

    /// By which method.
    #[must_use]
    pub fn method(self) -> IndexMethod {
        match self {
            IndexSpec::Hnsw { .. } => IndexMethod::Hnsw,
            IndexSpec::IvfFlat { .. } => IndexMethod::IvfFlat,
        }
    }
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexSpec::Hnsw { m, ef_construction } => write!(f, "hnsw (m={m}, ef_construction={ef_construction})"),
            IndexSpec::IvfFlat { lists } => write!(f, "ivfflat (lists={lists})"),
        }
    }
}

/// An index that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorIndex {
    /// Its name in the database.
    pub name: String,
    /// How it finds.
    pub method: IndexMethod,
    /// Its parameters as PostgreSQL writes them, such as `m=16`.
    pub parameters: String,
    /// Its number if this program made it; others are never dropped.
    pub number: Option<u32>,
    /// Its size in bytes.
    pub bytes: i64,
    /// How often searches walked it, as the database counts.
    pub scans: i64,
    /// Whether it can be used: one whose building was interrupted cannot.
    pub is_valid: bool,
}

impl VectorIndex {
    /// Whether it is what is wanted.
    #[must_use]
    pub fn is(&self, spec: IndexSpec) -> bool {
        format!("{} ({})", self.method.as_str(), self.parameters) == spec.to_string()
    }
}

/// A build under way.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexBuild {
    /// The index; empty until it has a name.
    pub index: String,
    /// What PostgreSQL says it is doing.
    pub phase: String,
    /// How much of this phase is done, 0 to 1; null where PostgreSQL does not say.
    pub done: Option<f64>,
}

/// A generation with its indexes.
#[derive(Clone, Debug)]
pub struct IndexedGeneration {
    /// The generation.
    pub generation: Generation,
    /// Its vectors.
    pub rows: i64,
    /// Size of the table with them, in bytes, indexes left out.
    pub table_bytes: i64,
    /// Its indexes by name.
    pub indexes: Vec<VectorIndex>,
    /// What is being built.
    pub builds: Vec<IndexBuild>,
}

/// A share that was found out from samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The share, 0 to 1.
    pub share: f64,
    /// Standard error of it.
    pub error: f64,
    /// From how many samples.
    pub samples: usize,
}

impl Measured {
    /// The mean of shares; `None` without any.
    #[must_use]
    pub fn of(shares: &[f64]) -> Option<Self> {
        let count = shares.len() as f64;
        if shares.is_empty() {
            return None;
        }
        let share = shares.iter().sum::<f64>() / count;
        let spread = shares.iter().map(|one| (one - share).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Some(Measured { share, error: (spread / count).sqrt(), samples: shares.len() })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ± {:.3}", self.share, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_the_database_refuses_are_refused_before() {
        assert!(
            IndexSpec::hnsw(16, 31).is_err() && IndexSpec::hnsw(1, 64).is_err() && IndexSpec::hnsw(16, 1001).is_err()
        );
        assert!(IndexSpec::ivfflat(0).is_err() && IndexSpec::ivfflat(32_769).is_err());
        assert_eq!(IndexSpec::hnsw(16, 200).unwrap().to_string(), "hnsw (m=16, ef_construction=200)");
    }

    #[test]
    fn a_share_comes_with_its_standard_error() {
        let measured = Measured::of(&[1.0, 0.5, 1.0, 0.5]).unwrap();
        assert_eq!((measured.share, measured.samples), (0.75, 4));
        assert!((measured.error - 0.144).abs() < 0.001, "{measured}");
        assert_eq!(Measured::of(&[]), None);
    }
}
