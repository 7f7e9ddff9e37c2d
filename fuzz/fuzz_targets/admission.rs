//! Feeds documents to the admission: no text may end the process or be refused with a long message. `docs/performance.md`
//! has the command. Nothing is run, so no database is needed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ragboard::{
    config::{Config, Sources},
    graphql::Api,
};

static API: LazyLock<Api> = LazyLock::new(|| {
    let config = Config::load(&Sources::from_variables(Vec::<(&str, &str)>::new()));
    Api::new(config.map(|config| config.limits).unwrap_or_else(|_| std::process::abort()), true)
});

fuzz_target!(|document: &str| {
    if let Err(error) = API.check(async_graphql::Request::new(document)) {
        assert!(error.message().len() < 1_000);
    }
});
