//! What rows of logits say of answers.

use crate::answer_logits::{AnswerTable, BEATEN, GREATEST, NOT_FINITE};

/// For logits `[answers, vocab]` of a table a verdict for each answer, then the logits of the
/// options.
pub(crate) fn answer_logits(logits: &[f32], vocab: usize, table: &AnswerTable) -> Vec<f32> {
    let rows = || table.answers().iter().zip(logits.chunks(vocab));
    let mut values: Vec<f32> = rows()
        .map(|(&answer, row)| verdict(row, answer as usize))
        .collect();
    for (line, (_, row)) in rows().enumerate() {
        let options = table.options_of(line).iter();
        values.extend(options.map(|&token| row[token as usize]));
    }
    values
}

fn verdict(row: &[f32], answer: usize) -> f32 {
    if row.iter().any(|logit| !logit.is_finite()) {
        return NOT_FINITE;
    }
    let (before, others) = row.split_at(answer);
    let own = row[answer];
    match before.iter().any(|&logit| logit >= own) || others.iter().any(|&logit| logit > own) {
        true => BEATEN,
        false => GREATEST,
    }
}
