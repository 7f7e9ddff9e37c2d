//! How much the words of a query weigh (BM25: Robertson, Zaragoza, The Probabilistic Relevance Framework, 2009), and which of
//! them an index is asked for. The part of the formula that belongs to the document is in the database.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Term, Terms, WordWeights};

/// The most that the document's part of the formula can come to: k1 + 1.
const MOST_OF_DOCUMENT: f64 = 2.2;
/// Words that stand in a larger part of the chunks do not help to find candidates in an index.
const COMMON: f64 = 0.05;

/// The weights of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Weights {
    /// By configuration.
    pub(super) by_config: Vec<WordWeights>,
    /// The most that a chunk can score which has none of the words that the index is asked for.
    pub(super) most_unseen: f64,
}

/// Weighs the words. A word of the query has one weight, however differently it is stemmed in languages that meet in a scope.
/// With `only_rare`, an index is asked for rare words alone, if there are any.
pub(super) fn weigh(terms: &Terms, only_rare: bool) -> Weights {
    let looked_at = terms.looked_at as f64;
    let mut found: HashMap<i32, i64> = HashMap::new();
    for term in &terms.terms {
        *found.entry(term.ordinal).or_default() += term.found;
    }
    let share = |term: &Term| found.get(&term.ordinal).copied().unwrap_or_default() as f64 / looked_at.max(1.0);
    let weight = |term: &Term| {
        let found = found.get(&term.ordinal).copied().unwrap_or_default() as f64;
        f64::from(term.times) * (1.0 + (looked_at - found + 0.5) / (found + 0.5)).ln()
    };
    let has_rare = terms.terms.iter().any(|term| share(term) < COMMON);
    let is_anchor = |term: &Term| !only_rare || !has_rare || share(term) < COMMON;
    /// Weights by place, words that an index is asked for, and what the others come to at most.
    type Parts = (BTreeMap<i32, f32>, Vec<String>, f64);
    let mut by_config: BTreeMap<&str, Parts> = BTreeMap::new();
    for term in &terms.terms {
        let (weights, anchors, unseen) = by_config.entry(&term.config).or_default();
        *weights.entry(term.place).or_default() += weight(term) as f32;
        if is_anchor(term) {
            anchors.push(term.lexeme.clone());
        } else {
            *unseen += weight(term) * MOST_OF_DOCUMENT;
        }
    }
    let most_unseen = by_config.values().map(|(_, _, unseen)| *unseen).fold(0.0, f64::max);
    let by_config = by_config
        .into_iter()
        // A language in which no word is rare is asked for all of them.
        .map(|(config, (weights, mut anchors, _))| {
            if anchors.is_empty() {
                anchors =
                    terms.terms.iter().filter(|term| term.config == config).map(|term| term.lexeme.clone()).collect();
            }
            WordWeights { config: config.to_owned(), weights: weights.into_iter().collect(), anchors }
        })
        .collect();
    Weights { by_config, most_unseen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(config: &str, lexeme: &str, place: i32, ordinal: i32, found: i64) -> Term {
        Term { config: config.to_owned(), lexeme: lexeme.to_owned(), place, ordinal, times: 1, found }
    }

    #[test]
    fn rare_words_weigh_more_and_common_ones_are_not_looked_up() {
        let terms = Terms {
            terms: vec![term("english", "lock", 5, 1, 500), term("english", "deadlock", 3, 2, 2)],
            looked_at: 1000,
        };
        let weights = weigh(&terms, true);
        let [words] = weights.by_config.as_slice() else { panic!("{weights:?}") };
        let [(3, rare), (5, common)] = words.weights.as_slice() else { panic!("{words:?}") };
        // ln(1 + 998.5 / 2.5) and ln(1 + 500.5 / 500.5)
        assert!((rare - 5.992).abs() < 0.001 && (common - 0.693).abs() < 0.001, "{words:?}");
        assert_eq!(words.anchors, ["deadlock"]);
        assert!((weights.most_unseen - 2.2 * std::f64::consts::LN_2).abs() < 0.001, "{}", weights.most_unseen);
        assert_eq!(weigh(&terms, false).by_config[0].anchors, ["lock", "deadlock"]);
        assert_eq!(weigh(&terms, false).most_unseen, 0.0);
    }

    #[test]
    fn a_word_is_as_common_as_it_is_in_all_languages_together() {
        let terms = Terms {
            terms: vec![term("english", "hous", 5, 1, 300), term("simple", "house", 6, 1, 1)],
            looked_at: 1000,
        };
        let weights = weigh(&terms, false);
        assert_eq!(weights.by_config[0].weights[0].1, weights.by_config[1].weights[0].1);
    }
}
