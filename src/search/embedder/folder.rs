//! Reads a sentence model from its folder, as sentence-transformers writes it.
//!
//! Needed are `config.json`, `tokenizer.json`, `model.safetensors`; `1_Pooling/config.json`, `modules.json`,
//! `sentence_bert_config.json` and `config_sentence_transformers.json` are read when they are there. What this program cannot
//! compute exactly is refused, never approximated.

use std::{fs, path::Path};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    bert::{Bert, Layer, Pooling},
    matrix::{Linear, Norm},
};
use crate::domain::{Code, Error, Result};

/// Sizes that no model of this family reaches; a wrong file should not ask for all memory.
const MAX_LAYERS: usize = 100;
const MAX_WIDTH: usize = 16_000;

/// What a folder says beside the weights.
pub(super) struct Description {
    /// Tokens of a text that are read, special ones included.
    pub(super) max_tokens: usize,
    /// Length of the vectors.
    pub(super) dimensions: usize,
    pub(super) query_prefix: String,
    pub(super) passage_prefix: String,
}

#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    layer_norm_eps: f32,
    max_position_embeddings: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct Module {
    r#type: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reading {
    max_seq_length: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    prompts: Prompts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Prompts {
    query: Option<String>,
    passage: Option<String>,
    document: Option<String>,
}

/// The model and its description.
///
/// # Errors
/// `InvalidArgument` with a sentence for the operator: a file is missing or damaged, or the model is of another kind.
pub(super) fn read(folder: &Path) -> Result<(Bert, Description)> {
    let config: Config = json(folder, "config.json")?.ok_or_else(|| unusable(folder, "config.json is missing"))?;
    let reading: Reading = json(folder, "sentence_bert_config.json")?.unwrap_or_default();
    let settings: Settings = json(folder, "config_sentence_transformers.json")?.unwrap_or_default();
    let modules: Vec<Module> = json(folder, "modules.json")?.unwrap_or_default();
    check(folder, &config, &modules)?;
    let pooling = pooling(folder)?;
    let bytes = fs::read(folder.join("model.safetensors"))
        .map_err(|error| unusable(folder, &format!("model.safetensors cannot be read: {error}")))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| unusable(folder, &format!("model.safetensors is damaged: {error}")))?;
    let bert = Weights { folder, tensors: &tensors, config: &config }.bert(pooling)?;
    let max_tokens = reading.max_seq_length.unwrap_or(usize::MAX).min(config.max_position_embeddings);
    if max_tokens < 3 {
        return Err(unusable(folder, "it reads no tokens"));
    }
    let Prompts { query, passage, document } = settings.prompts;
    let description = Description {
        max_tokens,
        dimensions: config.hidden_size,
        query_prefix: query.unwrap_or_default(),
        passage_prefix: passage.or(document).unwrap_or_default(),
    };
    Ok((bert, description))
}

fn check(folder: &Path, config: &Config, modules: &[Module]) -> Result<()> {
    let refuse = |what: &str| Err(unusable(folder, what));
    if config.model_type != "bert" {
        return refuse(&format!("it is a model of type {:?}; bert is what can be computed", config.model_type));
    }
    if config.hidden_act != "gelu" || config.position_embedding_type != "absolute" {
        return refuse("its activation is not gelu, or its positions are not absolute");
    }
    let (width, heads) = (config.hidden_size, config.num_attention_heads);
    if !(1..=MAX_WIDTH).contains(&width) || heads == 0 || width % heads != 0 || config.num_hidden_layers > MAX_LAYERS {
        return refuse("the sizes in its config.json do not fit each other");
    }
    let known = [".Transformer", ".Pooling", ".Normalize"];
    match modules.iter().find(|module| !known.iter().any(|known| module.r#type.ends_with(known))) {
        Some(module) => refuse(&format!("it has a module {:?}, which cannot be computed", module.r#type)),
        None => Ok(()),
    }
}

fn pooling(folder: &Path) -> Result<Pooling> {
    let Some(config) = json::<PoolingConfig>(folder, "1_Pooling/config.json")? else { return Ok(Pooling::Mean) };
    let others = config.pooling_mode_max_tokens
        || config.pooling_mode_mean_sqrt_len_tokens
        || config.pooling_mode_weightedmean_tokens
        || config.pooling_mode_lasttoken;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::First),
        _ => Err(unusable(folder, "its pooling is neither the mean nor the first token")),
    }
}

/// A file of the folder, `None` if it is not there.
fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let bytes = match fs::read(folder.join(name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(folder, &format!("{name} cannot be read: {error}"))),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(folder, &format!("{name}: {error}")))
}

/// Why the model in this folder is not used.
pub(super) fn unusable(folder: &Path, why: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("The model in {} cannot be used: {why}", folder.display()))
}

/// Finds the matrices by their names and checks their sizes.
struct Weights<'a> {
    folder: &'a Path,
    tensors: &'a SafeTensors<'a>,
    config: &'a Config,
}

impl Weights<'_> {
    fn bert(&self, pooling: Pooling) -> Result<Bert> {
        let width = self.config.hidden_size;
        let mut places = self.numbers("embeddings.position_embeddings.weight")?;
        let kinds = self.numbers("embeddings.token_type_embeddings.weight")?;
        let words = self.numbers("embeddings.word_embeddings.weight")?;
        if places.len() != self.config.max_position_embeddings * width
            || kinds.len() < width
            || words.len() % width != 0
        {
            return Err(unusable(self.folder, "its embeddings have other sizes than config.json says"));
        }
        for place in places.chunks_exact_mut(width) {
            place.iter_mut().zip(&kinds).for_each(|(place, kind)| *place += kind);
        }
        let layers = (0..self.config.num_hidden_layers).map(|number| self.layer(number)).collect::<Result<_>>()?;
        let norm = self.norm("embeddings.LayerNorm")?;
        Ok(Bert { words, places, norm, layers, width, heads: self.config.num_attention_heads, pooling })
    }

    fn layer(&self, number: usize) -> Result<Layer> {
        let (width, wide) = (self.config.hidden_size, self.config.intermediate_size);
        let named = |rest: &str| format!("encoder.layer.{number}.{rest}");
        let (mut mix, mut bias) = (Vec::with_capacity(3 * width * width), Vec::with_capacity(3 * width));
        for part in ["query", "key", "value"] {
            mix.extend(self.numbers(&named(&format!("attention.self.{part}.weight")))?);
            bias.extend(self.numbers(&named(&format!("attention.self.{part}.bias")))?);
        }
        Ok(Layer {
            mix: self.linear(&mix, bias, width, 3 * width)?,
            join: self.named_linear(&named("attention.output.dense"), width, width)?,
            joined: self.norm(&named("attention.output.LayerNorm"))?,
            widen: self.named_linear(&named("intermediate.dense"), width, wide)?,
            narrow: self.named_linear(&named("output.dense"), wide, width)?,
            narrowed: self.norm(&named("output.LayerNorm"))?,
        })
    }

    fn named_linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weights = self.numbers(&format!("{name}.weight"))?;
        self.linear(&weights, self.numbers(&format!("{name}.bias"))?, inputs, outputs)
    }

    fn linear(&self, weights: &[f32], bias: Vec<f32>, inputs: usize, outputs: usize) -> Result<Linear> {
        if bias.len() != outputs || weights.len() != inputs * outputs {
            return Err(unusable(self.folder, "a matrix has another size than config.json says"));
        }
        Linear::new(weights, bias, inputs)
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        let scale = self.numbers(&format!("{name}.weight"))?;
        let shift = self.numbers(&format!("{name}.bias"))?;
        if scale.len() != self.config.hidden_size || shift.len() != scale.len() {
            return Err(unusable(self.folder, "a normalisation has another size than config.json says"));
        }
        Ok(Norm { scale, shift, epsilon: self.config.layer_norm_eps })
    }

    /// Some files have all names under `bert.`.
    fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        let found = self.tensors.tensor(name).or_else(|_| self.tensors.tensor(&format!("bert.{name}")));
        let tensor = found.map_err(|_| unusable(self.folder, &format!("it has no {name}")))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(unusable(self.folder, &format!("{name} is {:?}, not F32", tensor.dtype())));
        }
        Ok(tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}
