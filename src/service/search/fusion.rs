//! One list out of two: reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009). Places are added and not scores, because
//! a cosine and a BM25 weight have no common measure.

use crate::domain::{Candidate, Hit, SearchMode};

/// How slowly a place loses weight; the value of the paper.
const K: f64 = 60.0;

/// Sorts candidates by what the mode goes by: the highest first, of equals the one with the lower id.
pub(super) fn fuse(candidates: Vec<Candidate>, mode: SearchMode) -> Vec<Hit> {
    let mut hits: Vec<Hit> = candidates.into_iter().filter_map(|candidate| hit(candidate, mode)).collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.node_id.cmp(&b.node_id)).then(a.chunk_id.cmp(&b.chunk_id)));
    hits
}

fn hit(Candidate { board_id, node_id, by_vector, by_text }: Candidate, mode: SearchMode) -> Option<Hit> {
    let vector_score = by_vector.map(|(_, _, score)| score);
    let text_score = by_text.map(|(_, _, score)| score);
    let share = |place: i64| (K + 1.0) / (K + place as f64) / 2.0;
    let score = match mode {
        SearchMode::Semantic => vector_score?,
        SearchMode::Keyword => text_score?,
        // First in both comes to 1.
        SearchMode::Hybrid => [by_vector, by_text].into_iter().flatten().map(|(_, place, _)| share(place)).sum(),
    };
    // The chunk by which the resource is better placed; by meaning where that is the same.
    let chunk_id = match (by_vector, by_text) {
        (Some((chunk, place, _)), Some((_, other, _))) if place <= other => chunk,
        (_, Some((chunk, ..))) | (Some((chunk, ..)), None) => chunk,
        (None, None) => return None,
    };
    Some(Hit { board_id, node_id, chunk_id, score, vector_score, text_score })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{BoardId, ChunkId, NodeId};

    fn candidate(node: u128, by_vector: Option<(i64, f64)>, by_text: Option<(i64, f64)>) -> Candidate {
        let chunk = |number: u128| ChunkId(Uuid::from_u128(number));
        Candidate {
            board_id: BoardId(Uuid::nil()),
            node_id: NodeId(Uuid::from_u128(node)),
            by_vector: by_vector.map(|(place, score)| (chunk(node * 10), place, score)),
            by_text: by_text.map(|(place, score)| (chunk(node * 10 + 1), place, score)),
        }
    }

    #[test]
    fn what_both_ways_find_comes_before_what_one_finds() {
        let candidates = vec![
            candidate(1, Some((1, 0.9)), None),
            candidate(2, Some((3, 0.7)), Some((2, 8.0))),
            candidate(3, None, Some((1, 9.0))),
        ];
        let hits = fuse(candidates, SearchMode::Hybrid);
        let order: Vec<u128> = hits.iter().map(|hit| hit.node_id.0.as_u128()).collect();
        assert_eq!(order, [2, 1, 3], "of equals the lower id");
        assert!((hits[0].score - (61.0 / 63.0 + 61.0 / 62.0) / 2.0).abs() < 1e-12);
        assert_eq!(hits[1].score, 0.5);
        assert_eq!(hits[0].chunk_id.0.as_u128(), 21, "the chunk of the better place");
        assert_eq!((hits[0].vector_score, hits[0].text_score), (Some(0.7), Some(8.0)));
    }

    #[test]
    fn one_way_alone_has_its_own_scores() {
        let candidates = vec![candidate(1, Some((1, 0.9)), None), candidate(3, None, Some((1, 9.0)))];
        assert_eq!(fuse(candidates.clone(), SearchMode::Semantic)[0].score, 0.9);
        assert_eq!(fuse(candidates.clone(), SearchMode::Semantic).len(), 1);
        assert_eq!(fuse(candidates, SearchMode::Keyword)[0].score, 9.0);
    }
}
