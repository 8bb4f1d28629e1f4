use super::*;
use plw_batch::{Segment, Sequence};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn sequences(groups: &[u32], length: usize) -> Sequences {
    (0u32..)
        .zip(groups)
        .map(|(example, &group)| Sequence {
            example,
            group,
            token_ids: vec![1; length],
            segments: Segment::prompt_and_completion(1, length),
            answer: None,
        })
        .collect()
}

fn members(packs: &[Pack]) -> Vec<u32> {
    packs.iter().flat_map(|pack| pack.members.clone()).collect()
}

fn arguments(batch_size: usize, max_steps: Option<u64>, epochs: f64) -> TrainingArguments {
    TrainingArguments {
        per_device_train_batch_size: batch_size,
        max_steps,
        num_train_epochs: epochs,
        ..TrainingArguments::default()
    }
}

#[test]
fn without_shuffling_examples_come_in_file_order_and_the_last_batch_is_kept() {
    let data = sequences(&[0, 1, 0, 1, 2], 4);
    let batching = BatchingArguments {
        shuffle: false,
        ..BatchingArguments::default()
    };
    let plan = plan(&data, &batching, &arguments(2, None, 2.0)).expect("valid");
    let flat: Vec<Vec<u32>> = plan
        .steps_after(0)
        .map(|step| members(&step.packs))
        .collect();
    assert_eq!(
        flat,
        [
            vec![0, 1],
            vec![2, 3],
            vec![4],
            vec![0, 1],
            vec![2, 3],
            vec![4]
        ]
    );
    let epochs: Vec<f64> = plan.steps_after(2).map(|step| step.epoch).collect();
    assert_eq!(epochs, [1.0, 1.4, 1.8, 2.0]);
    assert_eq!(plan.epochs(), 2.0);
}

#[test]
fn max_steps_wins_over_epochs() {
    let data = sequences(&[0; 4], 4);
    let batching = BatchingArguments::default();
    let plan = plan(&data, &batching, &arguments(3, Some(5), 1.0)).expect("valid");
    assert_eq!((plan.total_steps, plan.steps_after(0).count()), (5, 5));
    assert_eq!(plan.epochs(), 2.75);
}

#[test]
fn a_run_of_no_steps_is_refused() {
    let data = sequences(&[0; 4], 4);
    let batching = BatchingArguments::default();
    let error = plan(&data, &batching, &arguments(3, None, 1e-300)).expect_err("refused");
    assert!(matches!(error, TrainError::NoSteps), "{error}");
}

#[test]
fn the_number_of_steps_costs_nothing() {
    let data = sequences(&[0; 4], 4);
    let batching = BatchingArguments::default();
    let plan = plan(&data, &batching, &arguments(3, Some(1 << 40), 1.0)).expect("valid");
    assert_eq!(plan.steps_after(0).take(3).count(), 3);
}

#[test]
fn shuffling_moves_passages_whole_and_epochs_differ() {
    let groups: Vec<u32> = (0..60).map(|i| i / 3).collect();
    let data = sequences(&groups, 4);
    let batching = BatchingArguments::default();
    let plan = plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid");
    let steps = |plan: &Plan| -> Vec<Vec<u32>> {
        plan.steps_after(0)
            .map(|step| members(&step.packs))
            .collect()
    };
    let orders = steps(&plan);
    assert_ne!(orders[0], orders[1]);
    for order in &orders {
        assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 60);
        for passage in order.chunks(3) {
            assert!(passage.windows(2).all(|w| w[0] + 1 == w[1]), "{passage:?}");
        }
    }
    let again = super::plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid");
    assert_eq!(steps(&again), orders);
}

#[test]
fn packs_hold_passages_up_to_the_limit() {
    let groups: Vec<u32> = (0..40).map(|i| i / 4).collect();
    let data = sequences(&groups, 10);
    let batching = BatchingArguments {
        max_length: 35,
        packing: Packing::ShortestPackFirst,
        ..BatchingArguments::default()
    };
    let plan = plan(&data, &batching, &arguments(2, None, 1.0)).expect("valid");
    let packs: Vec<Pack> = plan.steps_after(0).flat_map(|step| step.packs).collect();
    assert!(packs.iter().all(|pack| pack.members.len() <= 3));
    assert_eq!(
        members(&packs).into_iter().collect::<BTreeSet<_>>().len(),
        40
    );
    let statistics = plan.packing.expect("packed");
    assert_eq!((statistics.sequences, statistics.packs), (40, packs.len()));
}

/// The steps as a loop over the epochs takes them: each step's members, and the epochs so far.
fn one_after_another(plan: &Plan, epochs: f64) -> Vec<(Vec<u32>, f64)> {
    let mut steps = Vec::new();
    for number in 0u64.. {
        let packs = plan.epoch(number).packs(plan.sequences, 0..usize::MAX);
        let mut seen = 0;
        for step in packs.chunks(plan.packs_per_step) {
            if number as f64 + seen as f64 / packs.len() as f64 >= epochs - 1e-9 {
                return steps;
            }
            seen += step.len();
            steps.push((
                members(step),
                number as f64 + seen as f64 / packs.len() as f64,
            ));
        }
    }
    unreachable!("epochs are counted without end")
}

proptest! {
    #[test]
    fn steps_are_the_same_wherever_a_run_resumes(
        groups in prop::collection::vec(0u32..9, 1..40), batch_size in 1usize..9,
        epochs in 0.1f64..3.5, resumed in 0.0f64..=1.0, packed: bool, shuffle: bool,
    ) {
        let data = sequences(&groups, 4);
        let batching = BatchingArguments {
            max_length: 14,
            packing: if packed { Packing::ShortestPackFirst } else { Packing::None },
            shuffle,
            ..BatchingArguments::default()
        };
        let plan = plan(&data, &batching, &arguments(batch_size, None, epochs)).expect("valid");
        let steps = |taken| -> Vec<(Vec<u32>, f64)> {
            let steps = plan.steps_after(taken);
            steps.map(|step| (members(&step.packs), step.epoch)).collect()
        };
        let all = steps(0);
        prop_assert_eq!(plan.total_steps, all.len() as u64);
        prop_assert_eq!(&all, &one_after_another(&plan, epochs));
        let taken = (resumed * all.len() as f64) as usize;
        prop_assert_eq!(&steps(taken as u64), &all[taken..]);
        prop_assert_eq!(plan.epochs(), all.last().map_or(0.0, |step| step.1));
    }
}
