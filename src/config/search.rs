//! What turns texts into vectors.
//!
//! | key in `[search]`   | variable                          | default                                      |
//! |---------------------|-----------------------------------|----------------------------------------------|
//! | `embedder`          | `RAGBOARD_SEARCH_EMBEDDER`        | `local`                                      |
//! | `model_folder`      | `RAGBOARD_SEARCH_MODEL_FOLDER`    | none: the model that the program fetches      |
//! | `threads`           | `RAGBOARD_SEARCH_THREADS`         | none: one less than the machine has cores     |
//! | `queue`             | `RAGBOARD_SEARCH_QUEUE`           | 1000                                         |
//! | `url`               | `RAGBOARD_SEARCH_URL`             | none                                         |
//! | `model`             | `RAGBOARD_SEARCH_MODEL`           | none: the name of the folder                  |
//! | `api_key`           | `RAGBOARD_SEARCH_API_KEY`         | none                                         |
//! | `dimensions`        | `RAGBOARD_SEARCH_DIMENSIONS`      | none                                         |
//! | `ask_dimensions`    | `RAGBOARD_SEARCH_ASK_DIMENSIONS`  | `false`                                      |
//! | `max_tokens`        | `RAGBOARD_SEARCH_MAX_TOKENS`      | 512                                          |
//! | `query_prefix`      | `RAGBOARD_SEARCH_QUERY_PREFIX`    | none                                         |
//! | `passage_prefix`    | `RAGBOARD_SEARCH_PASSAGE_PREFIX`  | none                                         |
//! | `batch`             | `RAGBOARD_SEARCH_BATCH`           | 64                                           |
//! | `timeout_seconds`   | `RAGBOARD_SEARCH_TIMEOUT`         | 30                                           |
//! | `scan_vectors`      | `RAGBOARD_SEARCH_SCAN_VECTORS`    | 40000                                        |
//! | `scan_words`        | `RAGBOARD_SEARCH_SCAN_WORDS`      | 20000                                        |
//! | `build_index`       | `RAGBOARD_SEARCH_BUILD_INDEX`     | `true`                                       |
//!
//! `model_folder`, `threads` and `queue` are for `local`; what follows `model` up to `timeout_seconds` is for `http`, which wants
//! `url`, `model` and `dimensions`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    OutboundConfig,
    reader::Reader,
    values::{Folder, Parsed, Seconds, Secret, Switch, Text, Whole, Word},
    web_address::WebAddress,
};

const URL_KEY: &str = "search.url (RAGBOARD_SEARCH_URL)";

/// Where texts become vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedderKind {
    /// In this process.
    Local,
    /// At a server that speaks OpenAI's protocol.
    Http,
    /// Nowhere: search is by words only.
    None,
}

const KINDS: &[(&str, EmbedderKind)] =
    &[("local", EmbedderKind::Local), ("http", EmbedderKind::Http), ("none", EmbedderKind::None)];

/// What turns texts into vectors.
#[derive(Clone, Debug)]
pub struct SearchConfig {
    /// Where.
    pub embedder: EmbedderKind,
    /// Folder of a sentence model of the BERT family. `None`: the one that the program fetches.
    pub model_folder: Option<PathBuf>,
    /// Threads that compute, 1 to 256. `None`: one less than the machine has cores.
    pub threads: Option<NonZeroUsize>,
    /// Texts that may wait for the threads, queries and passages each for themselves, 1 to 100,000.
    pub queue: usize,
    /// Address that `/embeddings` is put behind.
    pub url: Option<String>,
    /// Name of the model: what vectors are kept under, and what a server is asked for.
    pub model: Option<String>,
    /// What the server wants as bearer token.
    pub api_key: Option<SecretString>,
    /// Length of the server's vectors, 1 to 16,000.
    pub dimensions: Option<usize>,
    /// Whether the server is told `dimensions`; only some models can shorten their vectors.
    pub ask_dimensions: bool,
    /// Tokens of one text that the server's model reads, 8 to 1,000,000.
    pub max_tokens: usize,
    /// Put before every query that goes to the server, with a space.
    pub query_prefix: Option<String>,
    /// Put before every passage that goes to the server, with a space.
    pub passage_prefix: Option<String>,
    /// Texts in one request to the server, 1 to 2,048.
    pub batch: usize,
    /// How long the server may take for one request, 0.1 to 600 seconds.
    pub timeout: Duration,
    /// Up to so many chunks in a scope every vector is compared, 0 to 10,000,000; of more, an index is walked.
    pub scan_vectors: u32,
    /// Up to so many chunks in a scope the words of every one are weighed, 0 to 10,000,000; of more, an index is asked first.
    pub scan_words: u32,
    /// Whether a server builds an index when there are more vectors than `scan_vectors` and none is there.
    pub build_index: bool,
}

impl SearchConfig {
    pub(super) fn read(reader: &mut Reader<'_>, outbound: &OutboundConfig) -> Self {
        let url = Parsed::new("a URL without credentials such as https://api.openai.com/v1", base_url);
        let threads = Whole(NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(255));
        let rows = Whole(0..=10_000_000);
        let config = SearchConfig {
            embedder: reader.value("search.embedder", &["RAGBOARD_SEARCH_EMBEDDER"], &Word(KINDS), EmbedderKind::Local),
            model_folder: reader.optional("search.model_folder", &["RAGBOARD_SEARCH_MODEL_FOLDER"], &Folder),
            threads: reader.optional("search.threads", &["RAGBOARD_SEARCH_THREADS"], &threads),
            queue: reader.value("search.queue", &["RAGBOARD_SEARCH_QUEUE"], &Whole(1..=100_000), 1000),
            url: reader.optional("search.url", &["RAGBOARD_SEARCH_URL"], &url),
            model: reader.optional("search.model", &["RAGBOARD_SEARCH_MODEL"], &Text),
            api_key: reader.optional("search.api_key", &["RAGBOARD_SEARCH_API_KEY"], &Secret),
            dimensions: reader.optional("search.dimensions", &["RAGBOARD_SEARCH_DIMENSIONS"], &Whole(1..=16_000)),
            ask_dimensions: reader.value("search.ask_dimensions", &["RAGBOARD_SEARCH_ASK_DIMENSIONS"], &Switch, false),
            max_tokens: reader.value("search.max_tokens", &["RAGBOARD_SEARCH_MAX_TOKENS"], &Whole(8..=1_000_000), 512),
            query_prefix: reader.optional("search.query_prefix", &["RAGBOARD_SEARCH_QUERY_PREFIX"], &Text),
            passage_prefix: reader.optional("search.passage_prefix", &["RAGBOARD_SEARCH_PASSAGE_PREFIX"], &Text),
            batch: reader.value("search.batch", &["RAGBOARD_SEARCH_BATCH"], &Whole(1..=2048), 64),
            timeout: reader.value(
                "search.timeout_seconds",
                &["RAGBOARD_SEARCH_TIMEOUT"],
                &Seconds(0.1..=600.0),
                Duration::from_secs(30),
            ),
            scan_vectors: reader.value("search.scan_vectors", &["RAGBOARD_SEARCH_SCAN_VECTORS"], &rows, 40_000),
            scan_words: reader.value("search.scan_words", &["RAGBOARD_SEARCH_SCAN_WORDS"], &rows, 20_000),
            build_index: reader.value("search.build_index", &["RAGBOARD_SEARCH_BUILD_INDEX"], &Switch, true),
        };
        let address = config.url.as_deref().and_then(WebAddress::parse);
        if address.is_some_and(|address| !address.secure && !outbound.names(address.host, address.port)) {
            reader.problem(URL_KEY, "must be https, unless RAGBOARD_OUTBOUND_ALLOW names the host and port");
        }
        if config.embedder == EmbedderKind::Http {
            let missing = [
                (URL_KEY, config.url.is_none()),
                ("search.model (RAGBOARD_SEARCH_MODEL)", config.model.is_none()),
                ("search.dimensions (RAGBOARD_SEARCH_DIMENSIONS)", config.dimensions.is_none()),
            ];
            for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
                reader.problem(key, "must be set when search.embedder is http");
            }
        }
        config
    }
}

/// Without a query and a slash at the end, so that a path can be put behind it.
fn base_url(text: &str) -> Option<String> {
    let address = WebAddress::parse(text)?;
    (!address.rest.contains(['?', '#'])).then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, EmbedderKind, Sources};

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::load(&Sources::from_variables(variables.iter().copied())).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_server_needs_its_address_its_model_and_the_length_of_its_vectors() {
        let problems = load(&[("RAGBOARD_SEARCH_EMBEDDER", "http")]).unwrap_err();
        for key in ["search.url", "search.model", "search.dimensions"] {
            assert!(problems.contains(key), "{problems}");
        }
        let complete = [
            ("RAGBOARD_SEARCH_EMBEDDER", "http"),
            ("RAGBOARD_SEARCH_URL", "https://api.openai.com/v1/"),
            ("RAGBOARD_SEARCH_MODEL", "text-embedding-3-small"),
            ("RAGBOARD_SEARCH_DIMENSIONS", "1536"),
            ("RAGBOARD_SEARCH_API_KEY", "sk-very-secret"),
        ];
        let config = load(&complete).unwrap();
        assert_eq!(config.search.embedder, EmbedderKind::Http);
        assert_eq!(config.search.url.as_deref(), Some("https://api.openai.com/v1"));
        assert!(!config.to_string().contains("very-secret") && !format!("{config:?}").contains("very-secret"));
    }

    #[test]
    fn http_needs_the_allow_list() {
        let url = ("RAGBOARD_SEARCH_URL", "http://127.0.0.1:11434/v1");
        assert!(load(&[url]).unwrap_err().contains("RAGBOARD_OUTBOUND_ALLOW"));
        load(&[url, ("RAGBOARD_OUTBOUND_ALLOW", "127.0.0.1:11434")]).unwrap();
        for bad in ["https://u:p@x/v1", "https://x/v1?key=1", "ftp://x"] {
            assert!(load(&[("RAGBOARD_SEARCH_URL", bad)]).is_err(), "{bad}");
        }
    }
}
