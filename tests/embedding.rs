//! The local model: the vectors of the reference implementation, whatever a text is embedded with, and all of a text.
//!
//! `embedding_data/reference.json` was made by sentence-transformers 6.2.0 with torch 2.15.0 from the same files.

use std::{fs, num::NonZeroUsize, path::Path};

use ragboard::{
    config::{Config, Sources},
    domain::{Code, Embedder, Purpose, Tokenizer},
    ops::embedder,
    search::embedder::{LocalEmbedder, Threads},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{
    cluster::TestFolder,
    model::{cosine, model, model_folder},
};

#[derive(Deserialize)]
struct Reference {
    text: String,
    /// Special ones included, at most what the model reads.
    tokens: usize,
    vector: Vec<f32>,
}

fn reference() -> Vec<Reference> {
    serde_json::from_str(include_str!("embedding_data/reference.json")).unwrap()
}

fn texts() -> Vec<String> {
    reference().into_iter().map(|reference| reference.text).collect()
}

async fn vector(text: &str) -> Vec<f32> {
    model().await.embed(&[text.to_owned()], Purpose::Passage).await.unwrap().remove(0)
}

#[tokio::test]
async fn vectors_are_those_of_the_reference_implementation() {
    for reference in reference() {
        let vector = vector(&reference.text).await;
        let cosine = cosine(&vector, &reference.vector);
        assert!((0.999_99..=1.000_01).contains(&cosine), "{cosine} for {:?}", reference.text);
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_whatever_it_is_embedded_with() {
    let (model, mut texts) = (model().await, texts());
    texts.extend(["boats", "the boats", "boats"].map(str::to_owned));
    let together = model.embed(&texts, Purpose::Passage).await.unwrap();
    assert_eq!(together.len(), texts.len());
    for (text, together) in texts.iter().zip(together) {
        let difference = vector(text).await.iter().zip(together).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-5, "{difference} for {text:?}");
    }
    assert!(model.embed(&[], Purpose::Query).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_text_counts_up_to_what_the_model_reads_and_no_further() {
    let model = model().await;
    assert_eq!((model.model(), model.dimensions(), model.max_tokens()), ("all-MiniLM-L6-v2", 384, 256));
    let long = reference().into_iter().find(|reference| (129..256).contains(&reference.tokens)).unwrap().text;
    let pieces = model.tokenizer().pieces(&long).unwrap();
    let whole = vector(&long).await;
    // Where the file's own truncation would have cut it.
    let half = vector(&long[..pieces[126].start]).await;
    assert!(cosine(&whole, &half) < 0.95, "{}", cosine(&whole, &half));

    let longest = reference().into_iter().find(|reference| reference.tokens == 256).unwrap().text;
    let pieces = model.tokenizer().pieces(&longest).unwrap();
    let read = vector(&longest[..pieces[253].end]).await;
    assert!(cosine(&vector(&longest).await, &read) > 0.999_99);
    assert!(cosine(&vector(&longest.repeat(200)).await, &read) > 0.999_99);
}

#[tokio::test]
async fn pieces_are_where_the_text_has_them() {
    let tokenizer = model().await.tokenizer();
    let words = |text: &str| -> Vec<String> {
        tokenizer.pieces(text).unwrap().into_iter().map(|piece| text[piece].to_owned()).collect()
    };
    assert_eq!(
        words("Resetting the naïve café's 密码"),
        ["Reset", "ting", "the", "naïve", "café", "'", "s", "密", "码"]
    );
    assert_eq!(words(" \n\t "), Vec::<String>::new());
    for reference in reference() {
        let pieces = tokenizer.pieces(&reference.text).unwrap();
        assert!(pieces.is_sorted_by_key(|piece| piece.start), "{:?}", reference.text);
        assert!(pieces.iter().all(|piece| reference.text.get(piece.clone()).is_some_and(|piece| !piece.is_empty())));
        if reference.tokens < 256 {
            assert_eq!(pieces.len() + 2, reference.tokens, "{:?}", reference.text);
        } else {
            assert!(pieces.len() > 256, "the text is not cut for counting");
        }
    }
}

#[tokio::test]
async fn long_texts_have_the_pieces_of_their_parts() {
    let tokenizer = model().await.tokenizer();
    let sentence = "Der Kahn läuft am 3. Mai vom Stapel, nicht früher. ";
    let once = tokenizer.pieces(sentence).unwrap();
    let often = tokenizer.pieces(&sentence.repeat(3000)).unwrap();
    let expected = (0..3000).flat_map(|number| {
        let from = number * sentence.len();
        once.iter().map(move |piece| from + piece.start..from + piece.end)
    });
    assert!(often.into_iter().eq(expected));

    let without_spaces = "密码".repeat(40_000);
    let pieces = tokenizer.pieces(&without_spaces).unwrap();
    assert_eq!(pieces.len(), 80_000);
    assert!(pieces.iter().all(|piece| without_spaces.is_char_boundary(piece.start) && piece.len() == 3));
}

/// The model's folder with links to its files, but for those that the test replaces.
pub(crate) async fn folder_with(name: &str, replaced: &[(&str, Option<&str>)]) -> TestFolder {
    let folder = TestFolder::new(name);
    let from = model_folder().await;
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        let to = folder.path().join(file);
        match replaced.iter().find(|(name, _)| *name == file) {
            Some((_, Some(content))) => fs::write(to, content).unwrap(),
            Some((_, None)) => {}
            None => std::os::unix::fs::symlink(from.join(file), to).unwrap(),
        }
    }
    folder
}

fn open(folder: &Path) -> Result<LocalEmbedder, ragboard::domain::Error> {
    LocalEmbedder::open("x", folder, Threads { count: NonZeroUsize::MIN, queue: 1 })
}

#[tokio::test]
async fn what_cannot_be_computed_exactly_is_refused_with_the_reason() {
    let config = fs::read_to_string(model_folder().await.join("config.json")).unwrap();
    let other = |from: &str, to: &str| {
        assert!(config.contains(from));
        config.replace(from, to)
    };
    let (roberta, relu) = (other("\"bert\"", "\"roberta\""), other("\"gelu\"", "\"relu\""));
    let (heads, wide, layers) = (
        other("\"num_attention_heads\": 12", "\"num_attention_heads\": 7"),
        other("\"intermediate_size\": 1536", "\"intermediate_size\": 1024"),
        other("\"num_hidden_layers\": 6", "\"num_hidden_layers\": 7"),
    );
    let mut rules: Value =
        serde_json::from_slice(&fs::read(model_folder().await.join("tokenizer.json")).unwrap()).unwrap();
    let mut added = rules["added_tokens"][0].clone();
    (added["id"], added["content"]) = (json!(30_522), json!("[MORE]"));
    rules["added_tokens"].as_array_mut().unwrap().push(added);
    let more_tokens = rules.to_string();
    let dense = r#"[{"type": "sentence_transformers.models.Dense"}]"#;
    let maximum = r#"{"pooling_mode_max_tokens": true}"#;
    let cases = [
        (("config.json", None), "config.json is missing"),
        (("config.json", Some("{")), "config.json: EOF"),
        (("config.json", Some(roberta.as_str())), "\"roberta\""),
        (("config.json", Some(&relu)), "not gelu"),
        (("config.json", Some(&heads)), "do not fit"),
        (("config.json", Some(&wide)), "another size"),
        (("config.json", Some(&layers)), "it has no encoder.layer.6"),
        (("modules.json", Some(dense)), "models.Dense"),
        (("1_Pooling/config.json", Some(maximum)), "pooling"),
        (("tokenizer.json", None), "tokenizer.json"),
        (("tokenizer.json", Some(&more_tokens)), "belongs to another model"),
        (("model.safetensors", None), "model.safetensors cannot be read"),
        (("model.safetensors", Some("damaged")), "model.safetensors is damaged"),
    ];
    for ((file, content), why) in cases {
        let folder = folder_with("broken-model", &[(file, content)]).await;
        let error = open(folder.path()).err().unwrap_or_else(|| panic!("{file} with {content:?} was accepted"));
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(why), "{error}");
    }
}

#[tokio::test]
async fn prefixes_and_pooling_of_the_folder_are_used() {
    let prompts = r#"{"prompts": {"query": "query: ", "document": "passage: "}}"#;
    let folder = folder_with("prefixes", &[]).await;
    fs::write(folder.path().join("config_sentence_transformers.json"), prompts).unwrap();
    let with = open(folder.path()).unwrap();
    for (purpose, prefixed) in [(Purpose::Query, "query: the boat"), (Purpose::Passage, "passage: the boat")] {
        let found = with.embed(&["the boat".to_owned()], purpose).await.unwrap().remove(0);
        assert!(cosine(&found, &vector(prefixed).await) > 0.999_99);
    }

    let first = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    let folder = folder_with("first-token", &[("1_Pooling/config.json", Some(first))]).await;
    let found = open(folder.path()).unwrap().embed(&["the boat".to_owned()], Purpose::Query).await.unwrap().remove(0);
    assert!(cosine(&found, &vector("the boat").await) < 0.99);
}

#[tokio::test]
async fn settings_open_a_model_or_say_why_there_is_none() {
    let config =
        |variables: &[(&str, &str)]| Config::load(&Sources::from_variables(variables.iter().copied())).unwrap();
    let (none, failure) = embedder::open(&config(&[("RAGBOARD_SEARCH_EMBEDDER", "none")])).await;
    assert!(none.first().is_none() && failure.is_none());

    let (none, failure) = embedder::open(&config(&[("RAGBOARD_SEARCH_MODEL_FOLDER", "/nowhere")])).await;
    assert!(none.first().is_none());
    assert!(failure.unwrap().to_string().contains("The model in /nowhere cannot be used"));

    let folder = folder_with("named-model", &[]).await;
    let path = folder.path().to_str().unwrap();
    let (found, failure) = embedder::open(&config(&[("RAGBOARD_SEARCH_MODEL_FOLDER", path)])).await;
    assert!(failure.is_none());
    assert_eq!(found.first().unwrap().embedder.model(), folder.path().file_name().unwrap().to_str().unwrap());
}
