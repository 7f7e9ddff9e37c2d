//! Searching: what is asked, and hits with how they were found. Deciding how a search is done is the service's business.

use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject, Object, OneofObject, Result};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::{
    chunk::Chunk,
    folder::FolderNode,
    node::NodeObject,
    page::PageInfo,
    resource::{ResourceNode, ResourceType},
    rows::{Rows, row},
    scalar::{id, parse_id},
    scope::{Scope, Session},
    text::Text,
};
use crate::{
    domain::{
        self, BoardId, Error, FrozenHits, Hit, MAX_PAGE, NodeId, NodeKey, NodeKind, Page, PageRequest, SEARCH_ORDER,
    },
    service::search::{Query, SearchRequest, Sought, Where, excerpt, words_of},
};

/// Longer lists in a filter select nothing that anybody would mean.
const MAX_FILTER_VALUES: usize = 50;

/// How a search looks.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::SearchMode")]
pub(super) enum SearchMode {
    /// By words and by meaning: both lists become one by the places that a resource has in them.
    Hybrid,
    /// By meaning only: the nearest vectors of the model in use.
    Semantic,
    /// By words only: BM25 over stemmed words. Finds a text a moment after it was written.
    Keyword,
}

/// How much may be missed for the sake of speed. It matters in large scopes only; small ones are always compared whole.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Recall")]
pub(super) enum Recall {
    /// An approximate index, quickly.
    Fast,
    /// An approximate index, thoroughly: of the ten nearest about one in fifty is missed.
    High,
    /// Nothing is missed: every vector of the scope is compared, however long that takes.
    Exact,
}

/// What one hit is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Grouping")]
pub(super) enum SearchGrouping {
    /// A resource, with its best chunk.
    Node,
    /// A chunk: a long resource can be found several times.
    Chunk,
}

/// How vectors were looked up.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Strategy")]
pub(super) enum SearchStrategy {
    /// Every vector of the scope was compared.
    Exact,
    /// An approximate index was walked.
    Index,
    /// An approximate index was walked, the scope let too few of what it gave through, and every vector was compared then.
    IndexThenExact,
    /// No vectors were compared: by words only.
    Words,
}

/// Where to search: exactly one of these.
#[derive(OneofObject)]
pub(super) enum SearchScope {
    /// On a board.
    BoardId(ID),
    /// In a folder, at any depth.
    FolderId(ID),
    /// On several boards, at most 100.
    BoardIds(Vec<ID>),
    /// On all boards that the viewer owns or collaborates on; give `true`. Of more than 10,000 those that changed last.
    Mine(bool),
    /// On all public boards; give `true`. Of more than 10,000 those that changed last.
    Public(bool),
}

/// What of the scope is searched. It is part of the scope: nothing is ranked first and dropped afterwards.
#[derive(InputObject, Default)]
pub(super) struct SearchFilter {
    /// Only these kinds of resources; none or empty for all.
    resource_types: Option<Vec<ResourceType>>,
    /// Only texts in these languages, as two- or three-letter codes such as `en`; none or empty for all.
    languages: Option<Vec<String>>,
    /// Only resources whose `metadata` has all of these in its list `tags`; none or empty for all.
    tags: Option<Vec<String>>,
    /// Only resources made at this time or later.
    created_from: Option<DateTime<Utc>>,
    /// Only resources made before this time.
    created_before: Option<DateTime<Utc>>,
    /// Only resources last changed at this time or later.
    updated_from: Option<DateTime<Utc>>,
    /// Only resources last changed before this time.
    updated_before: Option<DateTime<Utc>>,
}

/// A search. Give exactly one of `query`, `similarTo` and `vector`.
#[derive(InputObject)]
pub(super) struct SearchInput {
    /// What to look for, in one's own words, at most 10,000 characters: the first 256 different words count, and as much as the model
    /// reads. A "phrase" in quotation marks must stand in a resource; a word or a phrase after a minus must not.
    query: Option<String>,
    /// A resource: what is like it by meaning is looked for, and not itself.
    similar_to: Option<ID>,
    /// A vector of the model in use: what lies near it is looked for.
    vector: Option<Vec<f32>>,
    /// Where.
    scope: SearchScope,
    /// How. What is looked for by a resource or a vector is looked for by meaning.
    #[graphql(default_with = "SearchMode::Hybrid")]
    mode: SearchMode,
    /// How much may be missed where the scope is large.
    #[graphql(default_with = "Recall::High")]
    recall: Recall,
    /// What of the scope is searched.
    filter: Option<SearchFilter>,
    /// Only hits with at least this `score`.
    min_score: Option<f64>,
    /// What one hit is.
    #[graphql(default_with = "SearchGrouping::Node")]
    group_by: SearchGrouping,
}

/// A search on one board. Give exactly one of `query`, `similarTo` and `vector`.
#[derive(InputObject)]
pub(super) struct BoardSearchInput {
    /// What to look for, in one's own words, at most 10,000 characters: the first 256 different words count, and as much as the model
    /// reads. A "phrase" in quotation marks must stand in a resource; a word or a phrase after a minus must not.
    query: Option<String>,
    /// A resource: what is like it by meaning is looked for, and not itself.
    similar_to: Option<ID>,
    /// A vector of the model in use: what lies near it is looked for.
    vector: Option<Vec<f32>>,
    /// Only in this folder of the board, at any depth.
    folder_id: Option<ID>,
    /// How. What is looked for by a resource or a vector is looked for by meaning.
    #[graphql(default_with = "SearchMode::Hybrid")]
    mode: SearchMode,
    /// How much may be missed where the board is large.
    #[graphql(default_with = "Recall::High")]
    recall: Recall,
    /// What of the board is searched.
    filter: Option<SearchFilter>,
    /// Only hits with at least this `score`.
    min_score: Option<f64>,
    /// What one hit is.
    #[graphql(default_with = "SearchGrouping::Node")]
    group_by: SearchGrouping,
}

impl BoardSearchInput {
    pub(super) fn on(self, board: BoardId) -> SearchInput {
        let scope = self.folder_id.map_or_else(|| SearchScope::BoardId(id(board)), SearchScope::FolderId);
        SearchInput {
            query: self.query,
            similar_to: self.similar_to,
            vector: self.vector,
            scope,
            mode: self.mode,
            recall: self.recall,
            filter: self.filter,
            min_score: self.min_score,
            group_by: self.group_by,
        }
    }
}

impl SearchFilter {
    fn settled(self) -> domain::Result<domain::SearchFilter> {
        let words = |words: Option<Vec<String>>| words.unwrap_or_default();
        let mut filter = domain::SearchFilter {
            resource_types: self.resource_types.unwrap_or_default().into_iter().map(Into::into).collect(),
            languages: words(self.languages).iter().map(|language| primary(language)).collect(),
            tags: words(self.tags),
            created_from: self.created_from,
            created_before: self.created_before,
            updated_from: self.updated_from,
            updated_before: self.updated_before,
        };
        let lengths = [filter.resource_types.len(), filter.languages.len(), filter.tags.len()];
        if lengths.iter().any(|length| *length > MAX_FILTER_VALUES) {
            return Err(Error::invalid(format!("A filter takes at most {MAX_FILTER_VALUES} values of a kind")));
        }
        let is_text = |text: &String| text.chars().count() <= 200 && !text.contains('\0');
        if !filter.tags.iter().chain(&filter.languages).all(is_text) {
            return Err(Error::invalid("A value in a filter has at most 200 characters, and no zero byte"));
        }
        filter.tags.sort_unstable();
        filter.languages.sort_unstable();
        Ok(filter)
    }
}

/// `en` of `en-GB`.
fn primary(language: &str) -> String {
    language.split('-').next().unwrap_or_default().to_lowercase()
}

/// Where a scope is, as far as the viewer may go there.
async fn place_of(session: &Arc<Session>, scope: SearchScope) -> domain::Result<Where> {
    Ok(match scope {
        SearchScope::BoardId(board) => Where::Boards(vec![parse_id(&board)?]),
        SearchScope::BoardIds(boards) if boards.len() > MAX_PAGE => {
            return Err(Error::invalid(format!("Give at most {MAX_PAGE} boards")));
        }
        SearchScope::BoardIds(boards) => Where::Boards(boards.iter().map(parse_id).collect::<domain::Result<_>>()?),
        SearchScope::FolderId(folder) => {
            let folder: NodeId = parse_id(&folder)?;
            match node(session, folder).await? {
                Some((scope, node)) if matches!(node.kind, NodeKind::Folder(_)) => {
                    Where::Folder(scope.board.id(), folder)
                }
                _ => return Err(Error::invalid("There is no such folder")),
            }
        }
        SearchScope::Mine(true) => Where::Mine,
        SearchScope::Public(true) => Where::Public,
        SearchScope::Mine(false) | SearchScope::Public(false) => {
            return Err(Error::invalid("Give true, or another scope"));
        }
    })
}

async fn node(session: &Arc<Session>, id: NodeId) -> domain::Result<Option<(Scope, Arc<domain::Node>)>> {
    let Some(board) = session.loaders.locate_node(id).await? else { return Ok(None) };
    let Some(scope) = session.board(board).await? else { return Ok(None) };
    let node = scope.loaders().node(&scope.board, id).await?;
    Ok(node.map(|node| (scope, node)))
}

/// Searches.
pub(super) async fn search(
    session: &Arc<Session>,
    input: SearchInput,
    first: i32,
    after: Option<&str>,
) -> domain::Result<SearchHitConnection> {
    let page = PageRequest::new(Some(first), after, None, None, SEARCH_ORDER)?;
    session.loaders.rests_on_more();
    if input.min_score.is_some_and(|score| !score.is_finite()) {
        return Err(Error::invalid("minScore is no number"));
    }
    let (sought, example) = match (input.query, input.similar_to, input.vector) {
        (Some(query), None, None) => (Sought::Text(Query::parse(&query)?), None),
        (None, Some(resource), None) => {
            let resource: NodeId = parse_id(&resource)?;
            // Who may not see it learns nothing of what it is about.
            let example = node(session, resource).await?.ok_or_else(|| Error::invalid("There is no such resource"))?;
            let key = NodeKey { board_id: example.1.board_id, node_id: resource };
            (Sought::Like(key), Some(resource))
        }
        (None, None, Some(vector)) => (Sought::Vector(vector.into()), None),
        _ => return Err(Error::invalid("Give exactly one of query, similarTo and vector")),
    };
    let place = place_of(session, input.scope).await?;
    let filter = input.filter.unwrap_or_default().settled()?;
    let mut area = session.services.search_area(&session.viewer, &place, filter).await?;
    area.except = example;
    let mut mode: domain::SearchMode = input.mode.into();
    match &sought {
        Sought::Text(query) => {
            area.phrases.clone_from(&query.phrases);
            area.excluded.clone_from(&query.excluded);
        }
        Sought::Like(_) | Sought::Vector(_) => mode = domain::SearchMode::Semantic,
    }
    let request = SearchRequest {
        sought,
        mode,
        recall: input.recall.into(),
        grouping: input.group_by.into(),
        min_score: input.min_score,
    };
    let frozen = session.services.search(&area, &request, page.after.as_ref()).await?;
    let text: Option<Arc<str>> = match &request.sought {
        Sought::Text(query) => Some(query.text.as_str().into()),
        Sought::Like(_) | Sought::Vector(_) => None,
    };
    let page = look_at(session, &frozen, &page, text.as_ref()).await?;
    Ok(SearchHitConnection { page, frozen })
}

/// A page of hits that are still there, and may still be seen.
async fn look_at(
    session: &Arc<Session>,
    frozen: &Arc<FrozenHits>,
    page: &PageRequest,
    text: Option<&Arc<str>>,
) -> domain::Result<Page<SearchHit>> {
    let mut rest = frozen.after(page.after.as_ref());
    let mut hits = Vec::with_capacity(page.limit.min(rest.len()));
    while hits.len() < page.limit && !rest.is_empty() {
        let (some, later) = rest.split_at(rest.len().min(page.limit - hits.len()));
        let seen = try_join_all(some.iter().map(|hit| SearchHit::of(session, frozen, hit, text))).await?;
        hits.extend(seen.into_iter().flatten());
        rest = later;
    }
    Ok(Page { rows: hits, has_previous: page.after.is_some(), has_next: !rest.is_empty() })
}

/// Something that was found: a resource, and the chunk of it that fits best.
#[derive(Clone)]
pub(super) struct SearchHit {
    resource: NodeObject,
    chunk: Arc<domain::Chunk>,
    hit: Hit,
    text: Option<Arc<str>>,
    cursor: String,
}

row!(SearchHit);

impl SearchHit {
    async fn of(
        session: &Arc<Session>,
        frozen: &FrozenHits,
        hit: &Hit,
        text: Option<&Arc<str>>,
    ) -> domain::Result<Option<SearchHit>> {
        let Some(scope) = session.board(hit.board_id).await? else { return Ok(None) };
        let chunk = scope.loaders().chunk(hit.board_id, hit.chunk_id);
        let node = scope.loaders().node(&scope.board, hit.node_id);
        let (Some(chunk), Some(node)) = futures_util::future::try_join(chunk, node).await? else { return Ok(None) };
        let cursor = frozen.place(hit).encode(SEARCH_ORDER);
        let resource = NodeObject { scope, node };
        Ok(Some(SearchHit { resource, chunk, hit: hit.clone(), text: text.cloned(), cursor }))
    }
}

/// Something that was found: a resource, and the chunk of it that fits best.
#[Object]
impl SearchHit {
    /// The resource.
    async fn node(&self) -> ResourceNode {
        ResourceNode::new(&self.resource.scope, &self.resource.node)
    }

    /// The chunk that fits best, for citing.
    async fn chunk(&self) -> Chunk {
        Chunk::new(&self.resource.scope, &self.resource.node, &self.chunk)
    }

    /// What hits are sorted by. HYBRID: from the places in both lists, 1 for what is first in both, 0.5 for what is first in one
    /// (reciprocal ranks). SEMANTIC: `vectorScore`. KEYWORD: `textScore`.
    async fn score(&self) -> f64 {
        self.hit.score
    }

    /// Cosine similarity to what was asked, -1 to 1; null when it is not among the 200 nearest.
    async fn vector_score(&self) -> Option<f64> {
        self.hit.vector_score
    }

    /// BM25 of the words of the query within the scope, 0 and more; null when it is not among the best 200 by words.
    async fn text_score(&self) -> Option<f64> {
        self.hit.text_score
    }

    /// Part of the chunk with the words that are meant, as HTML: everything is escaped, and `<mark>` stands around these words.
    /// Null when none of them is in the chunk.
    async fn highlight(&self) -> Result<Option<Text>> {
        let Some(text) = &self.text else { return Ok(None) };
        let words: Arc<[String]> = words_of(&self.chunk.text).into();
        let key = (Arc::clone(&self.chunk.config), Arc::clone(text), Arc::clone(&words));
        let meant = Box::pin(self.resource.scope.loaders().meant_words(key)).await?;
        Ok(excerpt(&self.chunk.text, &words, &meant).map(Text::from))
    }

    /// The folders around the resource, outermost first.
    async fn path(&self) -> Result<Rows<FolderNode>> {
        Ok(Box::pin(self.resource.ancestors()).await?)
    }
}

/// A hit at its place in the list.
pub(super) struct SearchHitEdge(SearchHit);

row!(SearchHitEdge);

/// A hit at its place in the list.
#[Object]
impl SearchHitEdge {
    /// The hit.
    async fn node(&self) -> SearchHit {
        self.0.clone()
    }

    /// Its place. The next page goes on in the same list for ten minutes on the server that made it, whatever is written meanwhile;
    /// later, or on another server, in a new one after the same score. What was deleted meanwhile is left out.
    async fn cursor(&self) -> &str {
        &self.0.cursor
    }
}

/// A page of hits, the best first; at most the best 200 by words and the best 200 by meaning.
pub(super) struct SearchHitConnection {
    page: Page<SearchHit>,
    frozen: Arc<FrozenHits>,
}

/// A page of hits, the best first; at most the best 200 by words and the best 200 by meaning.
#[Object]
impl SearchHitConnection {
    /// The hits of the page with their cursors.
    async fn edges(&self) -> Rows<SearchHitEdge> {
        self.page.rows.iter().cloned().map(SearchHitEdge).collect()
    }

    /// The hits of the page, for clients that need no cursors of their own.
    async fn nodes(&self) -> Rows<SearchHit> {
        self.page.rows.iter().cloned().collect()
    }

    /// Where the page lies in the list.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, |hit| hit.cursor.clone())
    }

    /// How the hits were found, and whether some may be missing.
    async fn plan(&self) -> SearchPlan {
        SearchPlan(Arc::clone(&self.frozen))
    }
}

/// How an answer was found. `complete: false` says that hits inside the scope may be missing, instead of losing them silently.
pub(super) struct SearchPlan(Arc<FrozenHits>);

/// How an answer was found. `complete: false` says that hits inside the scope may be missing, instead of losing them silently.
#[Object]
impl SearchPlan {
    /// How vectors were looked up.
    async fn strategy(&self) -> SearchStrategy {
        self.0.plan.strategy.into()
    }

    /// How many chunks the scope has, its filter applied.
    async fn scope_rows(&self) -> i64 {
        self.0.plan.scope_rows
    }

    /// How many of them have no vector yet and could be found by words only; null where they were not counted.
    async fn rows_without_vector(&self) -> Option<i64> {
        self.0.plan.rows_without_vector
    }

    /// How many hits were ranked: at most the best 200 by words and the best 200 by meaning.
    async fn candidates(&self) -> i64 {
        self.0.plan.candidates as i64
    }

    /// Whether every chunk of the scope was compared, and nothing was left to an approximate index.
    async fn is_exact(&self) -> bool {
        self.0.plan.is_exact
    }

    /// Whether the hits are certainly those that an exact search of everything in the scope gives. False when an approximate index
    /// was used, when texts of the scope are not indexed yet, or when the model could not be asked.
    async fn complete(&self) -> bool {
        self.0.plan.is_complete
    }

    /// Name of the model; null when no vectors were compared.
    async fn model(&self) -> Option<&str> {
        self.0.plan.generation.as_ref().map(|generation| generation.model.as_str())
    }

    /// The vectors that were compared, `gen_…`: those of one model, made in one go; null when none were. Another one says that
    /// scores are not to be compared with earlier ones.
    async fn generation(&self) -> Option<ID> {
        self.0.plan.generation.as_ref().map(|generation| id(generation.id))
    }

    /// Why the answer is not as it was asked for, in words for people; null when it is.
    async fn note(&self) -> Option<&str> {
        self.0.plan.note
    }
}

/// What lies on the board of a resource, or elsewhere, and is like it.
pub(super) async fn related(
    of: &NodeObject,
    scope: Option<SearchScope>,
    first: i32,
    after: Option<&str>,
) -> domain::Result<SearchHitConnection> {
    let input = SearchInput {
        query: None,
        similar_to: Some(id(of.node.id)),
        vector: None,
        scope: scope.unwrap_or_else(|| SearchScope::BoardId(id(of.node.board_id))),
        mode: SearchMode::Semantic,
        recall: Recall::High,
        filter: None,
        min_score: None,
        group_by: SearchGrouping::Node,
    };
    search(&of.scope.session, input, first, after).await
}

/// A chunk by its id, if the viewer may see its resource.
pub(super) async fn chunk(session: &Arc<Session>, chunk_id: domain::ChunkId) -> domain::Result<Option<Chunk>> {
    let Some(board) = session.loaders.locate_chunk(chunk_id).await? else { return Ok(None) };
    let Some(scope) = session.board(board).await? else { return Ok(None) };
    let Some(chunk) = scope.loaders().chunk(board, chunk_id).await? else { return Ok(None) };
    let node = scope.loaders().node(&scope.board, chunk.node_id).await?;
    Ok(node.map(|node| Chunk::new(&scope, &node, &chunk)))
}
