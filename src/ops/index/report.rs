//! What is told about indexes over vectors: for people, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failure, MEMORY_MIB, advice};
use crate::{
    config::Config,
    domain::{IndexSpec, IndexedGeneration, Measured, VectorIndex},
    search::vector_index::{Choice, Priority},
    store::VectorIndexes,
};

pub(super) async fn status(
    indexes: &VectorIndexes,
    scanned: i64,
    samples: u32,
    as_json: bool,
) -> Result<String, Failure> {
    let mut reports = Vec::new();
    for found in indexes.overview().await? {
        let recalls = recalls(indexes, &found, samples).await?;
        let choice = advice(&found, scanned, MEMORY_MIB << 20, Priority::Recall);
        reports.push(Report { found, recalls, choice });
    }
    if as_json {
        let reports: Vec<Value> = reports.iter().map(Report::json).collect();
        return Ok(format!("{:#}\n", json!({ "generations": reports })));
    }
    if reports.is_empty() {
        return Ok("There are no vectors yet.\n".to_owned());
    }
    Ok(reports.iter().map(Report::text).collect::<Vec<_>>().join("\n"))
}

/// One for each index, in their order.
async fn recalls(
    indexes: &VectorIndexes,
    found: &IndexedGeneration,
    samples: u32,
) -> Result<Vec<Option<Measured>>, Failure> {
    if samples == 0 || found.indexes.is_empty() {
        return Ok(vec![None; found.indexes.len()]);
    }
    let session = indexes.session(&found.generation).await?;
    let sample = session.sample(samples).await?;
    let mut recalls = Vec::new();
    for index in &found.indexes {
        recalls.push(session.recall(&sample, index).await?);
    }
    Ok(recalls)
}

struct Report {
    found: IndexedGeneration,
    recalls: Vec<Option<Measured>>,
    choice: Choice,
}

impl Report {
    fn indexes(&self) -> impl Iterator<Item = (&VectorIndex, Option<Measured>)> {
        self.found.indexes.iter().zip(self.recalls.iter().copied())
    }

    fn text(&self) -> String {
        let IndexedGeneration { generation, rows, table_bytes, builds, indexes } = &self.found;
        let mut text = format!(
            "{}  {}  {} ({} dimensions)\n  vectors   {rows}, {}\n",
            generation.id,
            generation.state.as_str(),
            generation.model,
            generation.dimensions,
            mib(*table_bytes)
        );
        if indexes.is_empty() {
            text += "  index     none: searches compare all vectors\n";
        }
        for (index, recall) in self.indexes() {
            let recall = recall.map_or_else(|| "not measured".to_owned(), |recall| recall.to_string());
            let state = if index.is_valid { "valid" } else { "INVALID, the next build drops it" };
            // Writing into a string does not fail.
            let _ = writeln!(
                text,
                "  index     {}\n            {} ({}), {}, {state}, used {} times, recall@10 {recall}",
                index.name,
                index.method.as_str(),
                index.parameters,
                mib(index.bytes),
                index.scans
            );
        }
        for build in builds {
            let done = build.done.map_or_else(String::new, |done| format!(" {:.0} %", done * 100.0));
            let _ = writeln!(text, "  building  {}: {}{done}", build.index, build.phase);
        }
        text + &advice_of(&self.found, &self.choice)
    }

    fn json(&self) -> Value {
        let IndexedGeneration { generation, rows, table_bytes, builds, .. } = &self.found;
        let indexes = self.indexes().map(|(index, recall)| {
            json!({
                "name": index.name,
                "method": index.method.as_str(),
                "parameters": index.parameters,
                "bytes": index.bytes,
                "scans": index.scans,
                "isValid": index.is_valid,
                "isOurs": index.number.is_some(),
                "recallAt10": recall.map(|recall| json!({
                    "share": recall.share, "standardError": recall.error, "samples": recall.samples,
                })),
            })
        });
        let builds =
            builds.iter().map(|build| json!({ "index": build.index, "phase": build.phase, "done": build.done }));
        json!({
            "generation": generation.id.to_string(),
            "state": generation.state.as_str(),
            "model": generation.model,
            "dimensions": generation.dimensions,
            "rows": rows,
            "tableBytes": table_bytes,
            "indexes": indexes.collect::<Vec<_>>(),
            "builds": builds.collect::<Vec<_>>(),
            "recommended": { "index": named(&self.choice), "reason": self.choice.reason },
        })
    }
}

/// What fits, as a line.
pub(super) fn advice_of(found: &IndexedGeneration, choice: &Choice) -> String {
    format!("  fitting   for {} vectors: {}; {}\n", found.rows, named(choice), choice.reason)
}

fn named(choice: &Choice) -> String {
    choice.spec.map_or_else(|| "none".to_owned(), |spec| spec.to_string())
}

/// Whoever drops an index should know that servers make another.
pub(super) fn hint_of_none(config: &Config, spec: Option<IndexSpec>) -> &'static str {
    if spec.is_none() && config.search.build_index {
        "Servers build one by themselves above search.scan_vectors, unless RAGBOARD_SEARCH_BUILD_INDEX is false.\n"
    } else {
        ""
    }
}

fn mib(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
