//! How much the words of a query weigh (BM25: Robertson, Zaragoza, The Probabilistic Relevance Framework, 2009), and which of
//! them an index is asked for. The part of the formula that belongs to the document is in the database.

use std::collections::BTreeMap;

use crate::domain::{CANDIDATES, Term, Terms, WordWeights};

/// The most that the document's part of the formula can come to: k1 + 1.
const MOST_OF_DOCUMENT: f64 = 2.2;
/// Words that stand in a larger part of the chunks do not help to find candidates in an index.
const COMMON: f64 = 0.05;

/// Chunks that the rare words should lead to: with fewer, the list of candidates may not become full.
const ENOUGH: f64 = 4.0 * CANDIDATES as f64;

/// Which words an index is asked for; the others only weigh what it finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchors {
    /// All of them.
    All,
    /// Rare ones, and the next rarest until they probably lead to enough.
    Rare,
    /// As few as find everything that scores more than this.
    Above(f64),
}

/// The weights of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Weights {
    /// By configuration, without those in which an index is asked for nothing.
    pub(super) by_config: Vec<WordWeights>,
    /// The most that a chunk can score which has none of the words that the index is asked for.
    pub(super) most_unseen: f64,
}

/// How common a word of the query is, however differently it is stemmed in languages that meet in a scope.
struct Word<'a> {
    /// Part of all that was looked at that has it.
    share: f64,
    weight: f64,
    /// As what it stands in each configuration.
    terms: Vec<&'a Term>,
}

/// The words of a query, the rarest first. A word has one weight in all languages. How common it is tell only those in which it is a
/// word: where a few texts are read in a language that does not leave out the stop words of the others, "the" would be the rarest of all.
fn by_rarity(terms: &Terms) -> Vec<Word<'_>> {
    let mut by_ordinal: BTreeMap<i32, Vec<&Term>> = BTreeMap::new();
    for term in &terms.terms {
        by_ordinal.entry(term.ordinal).or_default().push(term);
    }
    let weighed = |word: Vec<_>| {
        let found = word.iter().map(|term: &&Term| term.found).sum::<i64>() as f64;
        let by_config: BTreeMap<&str, i64> = word.iter().map(|term| (term.config.as_str(), term.looked_at)).collect();
        let looked_at = by_config.into_values().sum::<i64>() as f64;
        let weight = (1.0 + (looked_at - found + 0.5).max(0.0) / (found + 0.5)).ln();
        Word { share: (found + 0.5) / (terms.looked_at as f64 + 1.0), weight, terms: word }
    };
    let mut words: Vec<Word> = by_ordinal.into_values().map(weighed).collect();
    words.sort_by(|one, other| one.share.total_cmp(&other.share));
    words
}

/// How many of the words, the rarest first, an index is asked for in a scope of so many chunks.
fn asked_for(words: &[Word], rows: i64, anchors: Anchors) -> usize {
    match anchors {
        Anchors::All => words.len(),
        Anchors::Rare => {
            let mut expected = 0.0;
            let is_wanted = |word: &&Word| {
                let is_wanted = word.share < COMMON || expected < ENOUGH;
                expected += word.share * rows as f64;
                is_wanted
            };
            words.iter().take_while(is_wanted).count()
        }
        Anchors::Above(score) => {
            let mut unseen = 0.0;
            let is_needless = |word: &&Word| {
                unseen += most_of(word);
                unseen <= score
            };
            words.len() - words.iter().rev().take_while(is_needless).count()
        }
    }
}

/// The most that a word can give a chunk, which is of one language.
fn most_of(word: &Word) -> f64 {
    let mut times: BTreeMap<&str, i32> = BTreeMap::new();
    for term in &word.terms {
        *times.entry(&term.config).or_default() += term.times;
    }
    word.weight * f64::from(times.into_values().max().unwrap_or_default()) * MOST_OF_DOCUMENT
}

/// Weighs the words for a scope of so many chunks.
pub(super) fn weigh(terms: &Terms, rows: i64, anchors: Anchors) -> Weights {
    let words = by_rarity(terms);
    let asked_for = asked_for(&words, rows, anchors);
    let mut by_config: BTreeMap<&str, (BTreeMap<i32, f32>, Vec<String>)> = BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        for term in &word.terms {
            let (weights, anchors) = by_config.entry(&term.config).or_default();
            *weights.entry(term.place).or_default() += (word.weight * f64::from(term.times)) as f32;
            if place < asked_for {
                anchors.push(term.lexeme.clone());
            }
        }
    }
    let by_config = by_config
        .into_iter()
        .filter(|(_, (_, anchors))| !anchors.is_empty())
        .map(|(config, (weights, anchors))| WordWeights {
            config: config.to_owned(),
            weights: weights.into_iter().collect(),
            anchors,
        })
        .collect();
    Weights { by_config, most_unseen: words.iter().skip(asked_for).map(most_of).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(config: &str, lexeme: &str, place: i32, ordinal: i32, found: i64) -> Term {
        Term { config: config.to_owned(), lexeme: lexeme.to_owned(), place, ordinal, times: 1, looked_at: 1000, found }
    }

    fn anchors(terms: &Terms, rows: i64, anchors: Anchors) -> (Vec<String>, f64) {
        let weights = weigh(terms, rows, anchors);
        (weights.by_config.into_iter().flat_map(|words| words.anchors).collect(), weights.most_unseen)
    }

    #[test]
    fn rare_words_weigh_more_and_common_ones_are_not_looked_up() {
        let terms = Terms {
            terms: vec![term("english", "lock", 5, 1, 500), term("english", "deadlock", 3, 2, 20)],
            looked_at: 1000,
        };
        let weights = weigh(&terms, 100_000, Anchors::Rare);
        let [words] = weights.by_config.as_slice() else { panic!("{weights:?}") };
        let [(3, rare), (5, common)] = words.weights.as_slice() else { panic!("{words:?}") };
        // ln(1 + 980.5 / 20.5) and ln(1 + 500.5 / 500.5)
        assert!((rare - 3.888).abs() < 0.001 && (common - 0.693).abs() < 0.001, "{words:?}");
        assert_eq!(words.anchors, ["deadlock"]);
        assert!((weights.most_unseen - 2.2 * std::f64::consts::LN_2).abs() < 0.001, "{}", weights.most_unseen);
        assert_eq!(anchors(&terms, 100_000, Anchors::All), (vec!["deadlock".to_owned(), "lock".to_owned()], 0.0));
        // A fiftieth of 20,000 chunks may not fill the list.
        assert_eq!(anchors(&terms, 20_000, Anchors::Rare).0, ["deadlock", "lock"]);
    }

    #[test]
    fn words_that_cannot_lead_to_a_score_are_not_looked_up() {
        let terms = Terms {
            terms: vec![
                term("english", "the", 1, 1, 900),
                term("english", "lock", 2, 2, 500),
                term("english", "deadlock", 3, 3, 20),
            ],
            looked_at: 1000,
        };
        // They give at most 0.23, 1.52 and 8.55.
        let names = |score| anchors(&terms, 100_000, Anchors::Above(score)).0;
        assert_eq!(names(0.0), ["deadlock", "lock", "the"]);
        assert_eq!(names(0.3), ["deadlock", "lock"]);
        assert_eq!(names(1.6), ["deadlock", "lock"], "both together give more");
        assert_eq!(names(1.8), ["deadlock"]);
        assert!(names(11.0).is_empty());
    }

    #[test]
    fn a_word_is_as_common_as_it_is_in_all_languages_together() {
        let terms = Terms {
            terms: vec![term("english", "hous", 5, 1, 300), term("simple", "house", 6, 1, 1)],
            looked_at: 1000,
        };
        let weights = weigh(&terms, 1000, Anchors::All);
        assert_eq!(weights.by_config[0].weights[0].1, weights.by_config[1].weights[0].1);
    }

    #[test]
    fn stop_words_weigh_nothing_where_few_texts_are_read_with_them() {
        let terms = Terms {
            terms: vec![
                Term { looked_at: 2, ..term("simple", "the", 1, 1, 2) },
                Term { looked_at: 2, ..term("simple", "lens", 2, 2, 0) },
                Term { looked_at: 998, ..term("english", "len", 3, 2, 10) },
            ],
            looked_at: 1000,
        };
        let weights = weigh(&terms, 1000, Anchors::All);
        let [english, simple] = weights.by_config.as_slice() else { panic!("{weights:?}") };
        let [(1, the), (2, lens)] = simple.weights.as_slice() else { panic!("{simple:?}") };
        assert!(*the < 0.2 && *lens > 4.5, "{simple:?}");
        assert_eq!(english.weights[0].1, *lens);
    }
}
