//! A checkpoint that is not as it was written is not used, and the error names what is wrong.

use std::fs;
use std::path::Path;

use crate::cases::{Case, copy, remains, tiny_llama};
use crate::changes::{
    change_state, change_tensors, flip_a_bit, make_earlier, reseal, round_to_bf16,
};
use burn::tensor::Device;
use plw_model::{Llama, LlamaConfig, WeightType, save_llama};
use plw_record::{RunDirectory, latest_checkpoint, update_latest};
use plw_train::{Beginning, Observer, Outcome, Plan, check_saved_model};
use safetensors::Dtype;

const MOMENTS: &str = "trainer_state/optimizer.safetensors";
const WEIGHTS: &str = "model.safetensors";
const MATRIX: &str = "first.model.layers.1.self_attn.q_proj.weight";

/// A run of 8 steps that was stopped after 4, with checkpoints of steps 2 and 4.
fn stopped_run(case: &Case, directory: &Path) {
    let stopped = case.train(directory, false, 4).expect("stopped");
    assert_eq!(stopped, Outcome::Stopped { step: 4 });
}

type Damage = fn(&Path);

/// Damages the last checkpoint of a run, and checks that the run says so, and resumes with the bits
/// of an undamaged run once the checkpoint is removed.
fn check(table: &[(Damage, &[&str])]) {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    case.train(&whole, false, u64::MAX).expect("trained");
    stopped_run(&case, &stopped);
    for (number, (damage, says)) in table.iter().enumerate() {
        let directory = folder.path().join(format!("damaged-{number}"));
        copy(&stopped, &directory);
        let run = RunDirectory::new(&directory);
        damage(&run.checkpoints().join("step-4"));
        let log = fs::read(run.metrics()).expect("written");
        let error = case.train(&directory, true, u64::MAX).expect_err(says[0]);
        let error = error.to_string();
        assert!(
            says.iter().all(|part| error.contains(part)),
            "{says:?}: {error}"
        );
        assert_eq!(fs::read(run.metrics()).expect("written"), log, "{error}");
        let damaged = latest_checkpoint(run.checkpoints()).expect("read");
        fs::remove_dir_all(damaged.expect("there is one")).expect("removed");
        case.train(&directory, true, u64::MAX)
            .expect("resumed from step 2");
        assert_eq!(remains(&directory), remains(&whole), "{error}");
    }
}

#[test]
fn every_file_of_a_checkpoint_is_covered_by_a_digest() {
    check(&[
        (
            |c| flip_a_bit(&c.join(WEIGHTS)),
            &["step-4/model.safetensors", "digest", "remove"],
        ),
        (
            |c| flip_a_bit(&c.join(MOMENTS)),
            &["optimizer.safetensors", "digest", "remove"],
        ),
        (
            |c| flip_a_bit(&c.join("config.json")),
            &["config.json", "digest"],
        ),
        (
            |c| drop(fs::write(c.join(WEIGHTS), "no weights")),
            &["step-4/model.safetensors", "digest"],
        ),
        (
            |c| drop(fs::remove_file(c.join(MOMENTS))),
            &["optimizer.safetensors: the file is missing", "remove"],
        ),
        (
            |c| change_state(c, |keys| drop(keys.insert("tokens".into(), 1.into()))),
            &["state.json", "digest is another"],
        ),
        (
            |c| change_state(c, |keys| drop(keys.insert("step".into(), 999.into()))),
            &["state.json", "digest is another"],
        ),
        (
            |c| change_state(c, |keys| drop(keys.shift_remove("digest"))),
            &["state.json: its digest is missing"],
        ),
        (
            |c| change_state(c, |keys| drop(keys.shift_remove("files"))),
            &["state.json", "digest is another"],
        ),
        (
            |c| drop(fs::write(c.join("trainer_state/state.json"), "{")),
            &["state.json", "EOF"],
        ),
        (
            |c| {
                let checkpoints = c.parent().expect("there");
                fs::rename(c, checkpoints.join("step-7")).expect("renamed");
                update_latest(checkpoints, "step-7").expect("written");
            },
            &["it is of step 4, under the name of step 7"],
        ),
        (
            |c| {
                reseal(c, |keys| {
                    drop(keys.insert("run".into(), "0123456789ab".into()))
                })
            },
            &["step-4 is of another run"],
        ),
    ]);
}

#[test]
fn without_digests_names_shapes_types_and_counts_are_compared_with_the_model() {
    fn moments(checkpoint: &Path, change: impl FnOnce(&mut crate::changes::Tensors)) {
        make_earlier(checkpoint);
        change_tensors(&checkpoint.join(MOMENTS), change);
    }
    check(&[
        (
            |c| {
                make_earlier(c);
                let path = c.join(MOMENTS);
                let text = fs::read(&path).expect("there");
                let (from, to) = (b"\"steps\":\"4\"", b"\"steps\":\"9\"");
                let start = text.windows(from.len()).position(|part| part == from);
                let start = start.expect("the number of steps");
                fs::write(
                    &path,
                    [&text[..start], to, &text[start + to.len()..]].concat(),
                )
                .expect("written");
            },
            &["optimizer.safetensors: it is of step 9, and the checkpoint of step 4"],
        ),
        (
            |c| {
                make_earlier(c);
                change_state(c, |keys| drop(keys.insert("step".into(), 999.into())));
            },
            &["state.json: it is of step 999, under the name of step 4"],
        ),
        (
            |c| moments(c, |t| drop(t.remove(MATRIX))),
            &["step-4", MATRIX, "missing"],
        ),
        (
            |c| moments(c, |t| t.get_mut(MATRIX).expect("there").1 = vec![16, 16]),
            &[MATRIX, "[16, 16]", "[256]"],
        ),
        (
            |c| {
                moments(c, |t| {
                    drop(t.insert("more".into(), (Dtype::F32, vec![1], vec![0; 4])))
                })
            },
            &["`more`", "no place"],
        ),
        (
            |c| moments(c, |t| t.get_mut(MATRIX).expect("there").0 = Dtype::I32),
            &[MATRIX, "has type I32"],
        ),
        (
            |c| {
                make_earlier(c);
                round_to_bf16(&c.join(MOMENTS));
            },
            &["optimizer.safetensors", "has type BF16"],
        ),
        (
            |c| {
                make_earlier(c);
                round_to_bf16(&c.join(WEIGHTS));
            },
            &["step-4/model.safetensors", "has type BF16"],
        ),
        (
            |c| {
                make_earlier(c);
                let config = r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 8,
                    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "tie_word_embeddings": true}"#;
                let config = LlamaConfig::from_json(config).expect("valid");
                let other = Llama::init(&config, 1, &Device::flex());
                save_llama(&other, c, WeightType::F32).expect("saved");
            },
            &["model.embed_tokens.weight", "[23, 8]", "[23, 16]"],
        ),
        (
            |c| {
                make_earlier(c);
                let path = c.join(MOMENTS);
                let bytes = fs::read(&path).expect("there");
                fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
            },
            &[
                "optimizer.safetensors",
                "not a complete",
                "remove it to resume",
            ],
        ),
    ]);
}

#[test]
fn a_checkpoint_of_an_earlier_version_is_used_with_a_warning() {
    #[derive(Default)]
    struct Heard {
        warnings: Vec<String>,
        beginning: Option<Beginning>,
    }
    impl Observer for Heard {
        fn started(&mut self, _plan: &Plan, beginning: Beginning) {
            self.beginning = Some(beginning);
        }
        fn warned(&mut self, message: &str) {
            self.warnings.push(message.to_string());
        }
    }
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, directory] = ["whole", "stopped"].map(|name| folder.path().join(name));
    case.train(&whole, false, u64::MAX).expect("trained");
    stopped_run(&case, &directory);
    make_earlier(&RunDirectory::new(&directory).checkpoints().join("step-4"));
    let mut heard = Heard::default();
    case.observed(&directory, true, &mut heard)
        .expect("resumed");
    let [warning] = heard.warnings.as_slice() else {
        panic!("{:?}", heard.warnings)
    };
    assert!(
        warning.contains("step-4") && warning.contains("no digests"),
        "{warning}"
    );
    let (step, total_steps) = (4, 8);
    assert_eq!(
        heard.beginning,
        Some(Beginning::Checkpoint { step, total_steps })
    );
    assert_eq!(remains(&directory), remains(&whole));
}

#[test]
fn a_checkpoint_that_is_used_as_a_model_is_compared_too() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    stopped_run(&case, folder.path());
    let checkpoint = RunDirectory::new(folder.path())
        .checkpoints()
        .join("step-4");
    flip_a_bit(&checkpoint.join(MOMENTS));
    check_saved_model(&checkpoint).expect("the model is whole");
    flip_a_bit(&checkpoint.join(WEIGHTS));
    let error = check_saved_model(&checkpoint)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("step-4/model.safetensors") && error.contains("remove its trainer_state"),
        "{error}"
    );
    fs::remove_dir_all(checkpoint.join("trainer_state")).expect("removed");
    check_saved_model(&checkpoint).expect("any model may be used");
    let model = tiny_llama(3, &Device::flex());
    save_llama(&model, &folder.path().join("model"), WeightType::F32).expect("saved");
    check_saved_model(&folder.path().join("model")).expect("no checkpoint");
}
