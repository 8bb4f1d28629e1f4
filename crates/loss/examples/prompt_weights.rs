//! One batch under three prompt loss weights: the loss, its parts, and the norm of its gradient.

use burn::tensor::{Device, Distribution, Int, Tensor};
use plw_batch::{Segment, Sequence, concatenate};
use plw_loss::{
    DEFAULT_CHUNK, LossTotals, Normalizer, Objective, TokenWeights, WeightError, WeightedTargets,
    linear_cross_entropy,
};

fn main() -> Result<(), WeightError> {
    let sequence = |example, token_ids: &[u32]| Sequence {
        example,
        group: 0,
        token_ids: token_ids.to_vec(),
        segments: Segment::prompt_and_completion(token_ids.len() - 2, token_ids.len()),
        answer: None,
    };
    let batch = concatenate(&[
        sequence(0, &[3, 1, 4, 1, 5, 9, 2]),
        sequence(1, &[6, 5, 3, 5]),
    ]);
    let device = Device::flex().autodiff();
    device.seed(1);
    // What a model would give: a hidden state for every position, and its lm_head.
    let states = [batch.positions(), 16];
    let hidden = Tensor::<2>::random(states, Distribution::Default, &device).require_grad();
    let lm_head = Tensor::<2>::random([10, 16], Distribution::Default, &device);
    for prompt_loss_weight in [0.0, 0.1, 1.0] {
        let objective = Objective::weight_sum(TokenWeights::new(prompt_loss_weight, 1.0)?);
        let step = Normalizer::of_step(&batch.sequences, objective)?;
        let targets = WeightedTargets::new(&batch, &step);
        let rows = Tensor::<1, Int>::from_data(targets.rows.as_slice(), &device);
        let needed = hidden.clone().select(0, rows);
        let result = linear_cross_entropy(needed, lm_head.clone(), &targets, DEFAULT_CHUNK);
        let mut losses = LossTotals::default();
        let target_losses: Vec<f32> = result.target_losses.into_data().iter().collect();
        losses.add(&batch, &targets, &target_losses);
        let gradients = result.loss.clone().backward();
        let grad_hidden = hidden
            .grad(&gradients)
            .map(|grad| grad.powi_scalar(2).sum());
        println!(
            "prompt_loss_weight {prompt_loss_weight}: loss {:.4}, {:?}, |grad_hidden| {:.4}",
            result.loss.into_scalar::<f32>(),
            losses.means(),
            grad_hidden.map_or(0.0, |square| square.into_scalar::<f32>().sqrt())
        );
    }
    Ok(())
}
