//! The logits of a question's options, and whether its answer has the greatest of all.

use burn::tensor::{Bool, Int, Tensor, TensorData};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::embedding::select_rows;
use crate::flex;
use crate::flex::tensor::{as_slice, from_flex, from_vec, into_flex};
use crate::logits::logits;

/// Which logits of which rows are wanted: a line for each answer. Several may be about one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerTable {
    /// `[answers]`: the row of the hidden states that predicts the answer.
    rows: Vec<u32>,
    /// `[answers]`: the token of the answer.
    answers: Vec<u32>,
    /// `[answers + 1]`: the options of line l are `options[starts[l]..starts[l + 1]]`.
    starts: Vec<u32>,
    /// The tokens of the options, which may be any number for each answer.
    options: Vec<u32>,
}

/// What the logits of a row come to.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerLogits {
    /// The logit of each option.
    pub options: Vec<f32>,
    /// Whether the answer has the greatest logit of the vocabulary; of equals, the first has it.
    /// It says nothing where not all logits are finite.
    pub is_greatest: bool,
    /// Whether all logits of the vocabulary are finite.
    pub is_finite: bool,
}

/// The answer has the greatest logit.
pub(crate) const GREATEST: f32 = 0.0;
/// Another token has.
pub(crate) const BEATEN: f32 = 1.0;
/// Some logit is NaN or infinite.
pub(crate) const NOT_FINITE: f32 = 2.0;

impl AnswerTable {
    /// Appends an answer that the hidden states of `row` predict: the option of this index.
    ///
    /// # Panics
    ///
    /// Where there is no such option, which is a bug of the caller.
    pub fn push(&mut self, row: u32, options: &[u32], answer: usize) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.rows.push(row);
        self.answers.push(options[answer]);
        self.options.extend(options);
        self.starts.push(self.options.len() as u32);
    }

    /// Number of answers.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether there is no answer.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// What was read of the result of [`answer_logits`], answer by answer.
    ///
    /// # Panics
    ///
    /// Where these are not the values of this table, which is a bug of the caller.
    pub fn of_values(&self, values: &[f32]) -> Vec<AnswerLogits> {
        let (verdicts, logits) = values.split_at(self.len());
        assert_eq!(logits.len(), self.options.len(), "the values of this table");
        let of_line = |(line, &verdict): (usize, &f32)| AnswerLogits {
            options: logits[self.range(line)].to_vec(),
            is_greatest: verdict == GREATEST,
            is_finite: verdict != NOT_FINITE,
        };
        verdicts.iter().enumerate().map(of_line).collect()
    }

    /// `[answers]`.
    pub(crate) fn answers(&self) -> &[u32] {
        &self.answers
    }

    /// `[answers + 1]`: where the options of each answer begin.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// The options of all answers.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn options(&self) -> &[u32] {
        &self.options
    }

    /// The options of a line.
    pub(crate) fn options_of(&self, line: usize) -> &[u32] {
        &self.options[self.range(line)]
    }

    fn range(&self, line: usize) -> std::ops::Range<usize> {
        self.starts[line] as usize..self.starts[line + 1] as usize
    }

    fn check(&self, rows: usize, vocab: usize) {
        assert!(!self.is_empty(), "a table without answers asks nothing");
        assert!(
            self.rows.iter().all(|&row| (row as usize) < rows),
            "an answer's row is out of range"
        );
        let mut tokens = self.answers.iter().chain(&self.options);
        assert!(
            tokens.all(|&token| (token as usize) < vocab),
            "a token of an answer is not in the vocabulary"
        );
    }
}

/// What the logits `hidden * lm_head^T` come to for the answers of a table, for
/// [`AnswerTable::of_values`] to tell apart: a number for each answer, then the logits of the
/// options. It is in no graph. The rest of the logits, which may be megabytes, stays on the device.
///
/// `hidden` is `[rows, hidden]`, `lm_head` is `[vocab, hidden]`. Where the hidden states are in
/// half precision, the head is rounded to their type before it is multiplied.
///
/// # Panics
///
/// Where the table is empty, hidden states and head differ in width, or a row or token is out of
/// range. Each is a bug of the caller.
pub fn answer_logits(hidden: Tensor<2>, lm_head: Tensor<2>, table: &AnswerTable) -> Tensor<1> {
    let (selected, lm_head) = operands(hidden, lm_head, table);
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if cube::supports(&selected) {
        let [selected, lm_head] = [selected, lm_head].map(cube::tensor::into_cube);
        let found = cube::answer_logits::answer_logits(selected, lm_head, table);
        return cube::tensor::from_cube(found);
    }
    let logits = logits(selected, lm_head);
    if !flex::supports(&logits) {
        return from_logits(logits, table);
    }
    let [_, vocab] = logits.dims();
    let logits = into_flex(logits).to_contiguous();
    let values = flex::answer_logits::answer_logits(as_slice(&logits), vocab, table);
    let count = values.len();
    from_flex(from_vec(values, [count].into()))
}

/// [`answer_logits`] as a chain of Burn operations.
pub fn answer_logits_reference(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    table: &AnswerTable,
) -> Tensor<1> {
    let (selected, lm_head) = operands(hidden, lm_head, table);
    from_logits(logits(selected, lm_head), table)
}

/// The hidden states of each answer and the head, without a graph.
fn operands(hidden: Tensor<2>, lm_head: Tensor<2>, table: &AnswerTable) -> (Tensor<2>, Tensor<2>) {
    let ([rows, width], [vocab, head_width]) = (hidden.dims(), lm_head.dims());
    assert_eq!(
        width, head_width,
        "hidden states and lm_head must have one width"
    );
    table.check(rows, vocab);
    (select_rows(hidden.inner(), &table.rows), lm_head.inner())
}

/// The result for logits `[answers, vocab]`.
fn from_logits(logits: Tensor<2>, table: &AnswerTable) -> Tensor<1> {
    let ([answers, vocab], device) = (logits.dims(), logits.device());
    let integers = |values: Vec<i64>| {
        let count = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
    };
    let tokens: Vec<i64> = table.answers.iter().map(|&token| token.into()).collect();
    let tokens = integers(tokens).reshape([answers, 1]);
    let own = logits.clone().gather(1, tokens.clone());
    let own = own.expand([answers, vocab]);
    let columns = integers((0..vocab as i64).collect()).reshape([1, vocab]);
    let is_before = columns
        .expand([answers, vocab])
        .lower(tokens.expand([answers, vocab]));
    let is_better = logits
        .clone()
        .greater(own.clone())
        .bool_or(logits.clone().equal(own).bool_and(is_before));
    // The difference of infinities is NaN, which nothing equals.
    let is_not_finite = (logits.clone() - logits.clone()).equal_elem(0).bool_not();
    let verdict = |is_found: Tensor<2, Bool>, verdict: f32| {
        let found = is_found.any_dim(1).float().reshape([answers]);
        found.mul_scalar(verdict)
    };
    let verdicts = verdict(is_better, BEATEN).max_pair(verdict(is_not_finite, NOT_FINITE));
    let flat = |line: usize| {
        let options = table.options_of(line).iter();
        options.map(move |&token| (line * vocab) as i64 + i64::from(token))
    };
    let options = integers((0..answers).flat_map(flat).collect());
    let logits = logits.reshape([answers * vocab]).select(0, options);
    Tensor::cat(vec![verdicts, logits], 0)
}

#[cfg(test)]
mod tests;
