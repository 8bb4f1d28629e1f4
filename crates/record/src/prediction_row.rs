//! The prediction for one example.

use plw_batch::ExampleKey;

/// The prediction of a model for one example: a multiple-choice question, or a prompt and
/// completions without options to choose among.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// The example. Its answer is none if it is no question.
    pub key: ExampleKey,
    /// The letter of the option with the highest logit; none if the example is no question.
    pub choice: Option<char>,
    /// The logit of each option's letter at the answer position, in the order of the options.
    pub logits: Vec<f32>,
    /// Whether the answer's letter has the highest logit of the whole vocabulary there: the
    /// accuracy of Vaughn 2024. False if the example is no question; the file has null there.
    pub argmax_is_answer: bool,
    /// Mean loss of the prompt tokens in nats, if it was computed.
    pub prompt_loss: Option<f32>,
    /// Mean loss of the completion tokens in nats; none if no such token has a loss weight.
    pub completion_loss: Option<f32>,
    /// Loss of the answer token in nats.
    pub answer_loss: Option<f32>,
    /// Number of completion tokens that `completion_loss` is the mean of. None in files of earlier
    /// versions, which have no such column.
    pub completion_tokens: Option<u64>,
}

impl PredictionRow {
    /// Whether the example is a question, with options to choose among.
    pub fn is_question(&self) -> bool {
        self.choice.is_some()
    }

    /// Whether the chosen option is correct. False if the example is no question.
    pub fn is_correct(&self) -> bool {
        self.choice.is_some() && self.key.answer == self.choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_can_be_right() {
        let of = |answer, choice| PredictionRow {
            key: ExampleKey {
                file: "validation.parquet".into(),
                row: 3,
                example_id: "chat-3".to_string(),
                level: "chats".into(),
                answer,
            },
            choice,
            logits: Vec::new(),
            argmax_is_answer: false,
            prompt_loss: None,
            completion_loss: Some(1.5),
            answer_loss: None,
            completion_tokens: Some(9),
        };
        for (answer, choice, is_question, is_correct) in [
            (Some('B'), Some('B'), true, true),
            (Some('B'), Some('A'), true, false),
            (None, None, false, false),
        ] {
            let row = of(answer, choice);
            assert_eq!(
                (row.is_question(), row.is_correct()),
                (is_question, is_correct)
            );
        }
    }
}
