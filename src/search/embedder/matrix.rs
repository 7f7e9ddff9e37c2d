//! The few operations that a transformer is made of, over rows of floats that lie one after the other.
//!
//! The loops that cost are those of the `rten` crates, which choose the widest instructions of the machine; nothing about
//! models is known here. All of it runs on the calling thread.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::{SimdOp, SimdUnaryOp};
use rten_tensor::NdTensorView;
use rten_vecmath::{Gelu, Normalize, NormalizeOptions, Softmax, Sum, SumSquareSub};

use crate::domain::{Error, Result};

/// Multiplies matrices; made anew for each thread, which costs nothing.
pub(super) struct Multiplier(GemmExecutor);

impl Multiplier {
    pub(super) fn new() -> Self {
        Multiplier(GemmExecutor::new())
    }
}

/// A learned linear map with its bias. The weights are kept in the layout that the multiplication wants, which makes short
/// texts two to three times faster than rearranging them each time.
pub(super) struct Linear {
    weights: PackedBMatrix<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// `weights` has one row of `inputs` numbers for each output, as the files of models have it.
    ///
    /// # Errors
    /// When the numbers are not as many as that.
    pub(super) fn new(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Result<Self> {
        let view = NdTensorView::try_from_data([bias.len(), inputs], weights)
            .map_err(|_| Error::internal("a matrix of the model has another size than its configuration says"))?;
        let weights = Multiplier::new().0.prepack_b(view.transposed());
        Ok(Linear { weights, bias, inputs })
    }

    /// The map of each row.
    pub(super) fn apply(&self, with: &Multiplier, rows: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; rows.len() / self.inputs * self.bias.len()];
        self.multiply(with, rows, &mut out, 0.0)?;
        Ok(out)
    }

    /// Adds the map of each row to the row of `to`.
    pub(super) fn add_to(&self, with: &Multiplier, rows: &[f32], to: &mut [f32]) -> Result<()> {
        self.multiply(with, rows, to, 1.0)
    }

    fn multiply(&self, with: &Multiplier, rows: &[f32], out: &mut [f32], beta: f32) -> Result<()> {
        let view = matrix(rows, rows.len() / self.inputs, self.inputs)?;
        let options = GemmOptions { beta, bias: Some(BiasVector::Row(&self.bias)), ..GemmOptions::default() };
        let (a, b) = (GemmInputA::Unpacked(view), GemmInputB::Packed(&self.weights));
        with.0.gemm(out, a, b, options).map_err(Error::internal)
    }
}

/// Learned normalisation of rows to mean 0 and variance 1, then scaled and shifted.
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    pub(super) fn apply(&self, rows: &mut [f32]) {
        let width = self.scale.len();
        for row in rows.chunks_exact_mut(width) {
            let mean = Sum::new(row).dispatch() / width as f32;
            let variance = SumSquareSub::new(row, mean).dispatch() / width as f32;
            let options = NormalizeOptions {
                pre_scale_bias: mean,
                scale: (variance + self.epsilon).sqrt().recip(),
                element_scale: Some(&self.scale),
                element_bias: Some(&self.shift),
                ..NormalizeOptions::default()
            };
            Normalize::new_mut(row, options).dispatch();
        }
    }
}

/// The exact form (with the error function), which BERT was trained with.
pub(super) fn gelu(values: &mut [f32]) {
    Gelu {}.map_mut(values);
}

/// Attention of one text: `mixed` has a row per token with its query, key and value (each `heads * size` numbers), `out` a
/// row per token with what the heads found.
pub(super) fn attend(with: &Multiplier, mixed: &[f32], out: &mut [f32], heads: usize, size: usize) -> Result<()> {
    let width = heads * size;
    let tokens = out.len() / width;
    let mixed = matrix(mixed, tokens, 3 * width)?;
    let mut scores = vec![0.0; tokens * tokens];
    let mut found = vec![0.0; tokens * size];
    for head in 0..heads {
        let part = |which: usize| mixed.slice((.., which * width + head * size..which * width + (head + 1) * size));
        let (query, key, value) = (part(0), part(1), part(2));
        let options = GemmOptions { alpha: (size as f32).sqrt().recip(), ..GemmOptions::default() };
        let (a, b) = (GemmInputA::Unpacked(query), GemmInputB::Unpacked(key.transposed()));
        with.0.gemm(&mut scores, a, b, options).map_err(Error::internal)?;
        for row in scores.chunks_exact_mut(tokens) {
            Softmax::new_mut(row).dispatch();
        }
        let weights = GemmInputA::Unpacked(matrix(&scores, tokens, tokens)?);
        let options = GemmOptions::default();
        with.0.gemm(&mut found, weights, GemmInputB::Unpacked(value), options).map_err(Error::internal)?;
        for (row, found) in out.chunks_exact_mut(width).zip(found.chunks_exact(size)) {
            if let Some(place) = row.get_mut(head * size..(head + 1) * size) {
                place.copy_from_slice(found);
            }
        }
    }
    Ok(())
}

fn matrix(data: &[f32], rows: usize, columns: usize) -> Result<NdTensorView<'_, f32, 2>> {
    NdTensorView::try_from_data([rows, columns], data)
        .map_err(|_| Error::internal("a matrix has another size than was meant"))
}
