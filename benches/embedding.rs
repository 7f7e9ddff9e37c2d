//! What the local model costs: opening it, a query that somebody waits for, passages one after the other, memory, and cutting
//! a long text into pieces. On as many threads as `RAGBOARD_SEARCH_THREADS` says, else on those of the default.
//!
//! `cargo bench --bench embedding`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that fails should stop where it does"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use ragboard::{
    domain::{Embedder, Purpose, Tokenizer},
    search::embedder::{LocalEmbedder, Threads},
};
use support::model::model_folder;

const MEASURED: Duration = Duration::from_secs(5);
const QUERY: &str = "How do I reset the password of a shared folder?";
const PROSE: &str = "The reading room opens at nine, and whoever wants to look at a manuscript fills in a slip with its shelf \
    mark, leaves the coat at the door and waits until the attendant brings the volume. ";
const PASSAGE_TOKENS: usize = 200;

/// A line of `/proc/self/status` in MB.
fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().split(' ').next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let folder = model_folder().await;
    let given = std::env::var("RAGBOARD_SEARCH_THREADS").ok().map(|text| text.parse::<NonZeroUsize>().unwrap());
    let threads = Threads { count: given.unwrap_or_else(Threads::of_this_machine), queue: 100_000 };
    let before = memory_mb("VmRSS");
    let began = Instant::now();
    let model = LocalEmbedder::open("model", &folder, threads).unwrap();
    println!("threads          {:>9}", threads.count);
    println!("open             {:>9.0} ms", began.elapsed().as_secs_f64() * 1e3);
    println!("memory           {:>9.0} MB more than before", memory_mb("VmRSS") - before);

    let tokenizer = model.tokenizer();
    let (mut queries, began) = (Vec::new(), Instant::now());
    while began.elapsed() < MEASURED {
        let began = Instant::now();
        model.embed(&[QUERY.to_owned()], Purpose::Query).await.unwrap();
        queries.push(began.elapsed());
    }
    let tokens = tokenizer.pieces(QUERY).unwrap().len() + 2;
    println!("query            {:>9.1} ms median of {}, {tokens} tokens", median_ms(queries.clone()), queries.len());

    let long = PROSE.repeat(20);
    let pieces = tokenizer.pieces(&long).unwrap();
    let passage = long[..pieces[PASSAGE_TOKENS - 3].end].to_owned();
    let passages = vec![passage; 32];
    let (mut done, began) = (0, Instant::now());
    while began.elapsed() < 2 * MEASURED {
        done += model.embed(&passages, Purpose::Passage).await.unwrap().len();
    }
    let rate = f64::from(u32::try_from(done).unwrap()) / began.elapsed().as_secs_f64();
    println!("passages         {rate:>9.1} a second, {PASSAGE_TOKENS} tokens each");

    let waiting = model.embed(&passages, Purpose::Passage);
    let beside = async {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            model.embed(&[QUERY.to_owned()], Purpose::Query).await.unwrap();
            times.push(began.elapsed());
        }
        median_ms(times)
    };
    let (_, query) = tokio::join!(waiting, beside);
    println!("query            {query:>9.1} ms median of 5 while passages are embedded");
    println!("memory           {:>9.0} MB at most", memory_mb("VmHWM"));

    let text = PROSE.repeat((2 << 20) / PROSE.len());
    let began = Instant::now();
    let pieces = tokenizer.pieces(&text).unwrap().len();
    println!("cutting          {:>9.0} ms for 2 MiB, {pieces} pieces", began.elapsed().as_secs_f64() * 1e3);
}
