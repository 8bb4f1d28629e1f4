//! A saved checkpoint loads again, and nothing is lost on the way.

mod cases;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, FloatDType};
use cases::*;
use plw_batch::Batch;
use plw_model::{
    CheckpointError, HeldWeights, LinearWeightType, Llama, LlamaConfig, LoraConfig, TargetModule,
    WeightType, load_adapter, load_llama, load_llama_as, save_adapter, save_llama,
};

fn equal(a: &Llama, b: &Llama) -> bool {
    let (a, b) = (a.values(), b.values());
    a.keys().eq(b.keys())
        && a.into_iter()
            .all(|(name, value)| values(value) == values(b[&name].clone()))
}

#[test]
fn a_saved_model_loads_identically() {
    // Every f16 and bf16 value is an f32 value, so nothing is lost on the way back.
    let cases = [
        ("grouped_tied", WeightType::F32),
        ("untied_sharded_bf16", WeightType::F32),
        ("untied_sharded_bf16", WeightType::Bf16),
        ("llama3_f16", WeightType::F16),
    ];
    for (case, weight_type) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let model = load_llama(&fixture(case), &training_device()).expect("a model");
        save_llama(&model, directory.path(), weight_type).expect("saved");
        let again = load_llama(directory.path(), &Device::flex()).expect("loaded");
        assert!(equal(&model, &again), "{case} {weight_type:?}");
        let read = |path: &Path| -> serde_json::Map<String, serde_json::Value> {
            serde_json::from_str(&std::fs::read_to_string(path.join("config.json")).expect("there"))
                .expect("JSON")
        };
        let (mut before, mut after) = (read(&fixture(case)), read(directory.path()));
        for keys in [&mut before, &mut after] {
            keys.remove("dtype");
            keys.remove("torch_dtype");
        }
        assert_eq!(before, after, "other keys are kept as they were");
    }
}

#[test]
fn weights_kept_in_the_files_type_compute_the_same_bits() {
    for (case, weight_type) in [
        ("untied_sharded_bf16", LinearWeightType::Bf16),
        ("llama3_f16", LinearWeightType::F16),
    ] {
        let lora = LoraConfig {
            r: 2,
            alpha: 4.0,
            dropout: 0.0,
            target_modules: TargetModule::ALL.into(),
        };
        let batch = pad(&Golden::read(case).sequences());
        let [wide, half] = [LinearWeightType::F32, weight_type].map(|weight_type| {
            let model =
                load_llama_as(&fixture(case), &training_device(), weight_type).expect("a model");
            model.with_lora(&lora, 3).expect("valid")
        });
        assert_eq!(computed(&wide, &batch), computed(&half, &batch), "{case}");
        assert!(equal(&wide, &half), "{case}");
        assert!(equal(&wide.merge_lora(), &half.merge_lora()), "{case}");
    }
}

/// Hidden states and the gradients of what is trained.
fn computed(model: &Llama, batch: &Batch) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let rows: Vec<u32> = (0..batch.positions() as u32).collect();
    let hidden = model.valid().forward(batch, &rows, None);
    let found = gradients(model, batch, 1.0, None).into_iter();
    let found = found.map(|(name, gradient)| (name, values(gradient)));
    (values(hidden.flatten::<1>(0, 1)), found.collect())
}

#[test]
fn tables_in_bf16_compute_what_rounded_ones_do() {
    let lora = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: TargetModule::ALL.into(),
    };
    for case in ["grouped_tied", "untied_sharded_bf16"] {
        let batch = pad(&Golden::read(case).sequences());
        let [wide, half] = [WeightType::F32, WeightType::Bf16].map(|tables| {
            let held_as = HeldWeights {
                linear: LinearWeightType::Bf16,
                tables,
            };
            let model = load_llama_as(&fixture(case), &training_device(), held_as);
            let model = model.expect("a model").with_activations(FloatDType::BF16);
            model.with_lora(&lora, 3).expect("valid")
        });
        assert_eq!(half.lm_head().dtype(), DType::BF16);
        assert_eq!(computed(&wide, &batch), computed(&half, &batch), "{case}");
    }
}

#[test]
fn weights_in_nf4_compute_what_their_values_in_f32_do() {
    let case = "grouped_tied";
    let directory = tempfile::tempdir().expect("a directory");
    let load = |path: &Path, held_as| load_llama_as(path, &training_device(), held_as);
    let nf4 = load(&fixture(case), LinearWeightType::Nf4).expect("a model");
    save_llama(&nf4, directory.path(), WeightType::F32).expect("saved");
    let dense = load(directory.path(), LinearWeightType::F32).expect("a model");
    let original = load(&fixture(case), LinearWeightType::F32).expect("a model");
    assert!(!equal(&dense, &original), "NF4 rounds");
    let batch = pad(&Golden::read(case).sequences());
    let lora = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: [TargetModule::QProj, TargetModule::DownProj].into(),
    };
    let adapted = |model: Llama| model.with_lora(&lora, 3).expect("valid");
    let (nf4, dense) = (adapted(nf4), adapted(dense));
    let (found, expected) = (computed(&nf4, &batch), computed(&dense, &batch));
    assert!(!found.1.is_empty());
    assert_eq!(found, expected);
    assert!(equal(&nf4.clone().merge_lora(), &dense.merge_lora()));
    // As where a run resumes: the base stays in NF4.
    save_adapter(&nf4, directory.path()).expect("saved");
    let again = load_adapter(nf4.clone(), directory.path()).expect("loaded");
    assert_eq!(again.parameters(), nf4.parameters());
    assert_eq!(computed(&again, &batch), found);
}

#[test]
fn a_saved_adapter_loads_identically() {
    let directory = tempfile::tempdir().expect("a directory");
    let base = || load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    let model = load_adapter(base(), &fixture("grouped_tied/adapter_some")).expect("an adapter");
    save_adapter(&model, directory.path()).expect("saved");
    let again = load_adapter(base(), directory.path()).expect("loaded");
    assert!(equal(&model, &again));
    assert_eq!(model.lora(), again.lora());
    let written = directory.path().join("adapter_config.json");
    let keys: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(written).expect("there")).expect("JSON");
    let base_model = fixture("grouped_tied").display().to_string();
    assert_eq!(keys["base_model_name_or_path"], base_model.as_str());
    // In place of the adapter that a model has.
    let replaced = load_adapter(model, &fixture("grouped_tied/adapter_all")).expect("an adapter");
    assert_eq!(
        replaced.lora().map(|lora| lora.target_modules.len()),
        Some(7)
    );
}

#[test]
#[cfg(unix)]
fn saved_files_may_be_read_by_whom_the_umask_lets() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let mode = |path: &Path| {
        let file = std::fs::metadata(path).expect("there");
        file.permissions().mode()
    };
    std::fs::write(path("new"), "").expect("written");
    std::fs::create_dir(path("new_folder")).expect("made");
    let model = load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    save_llama(&model, &path("model"), WeightType::F32).expect("saved");
    let adapted = load_adapter(model, &fixture("grouped_tied/adapter_some")).expect("an adapter");
    save_adapter(&adapted, &path("adapter")).expect("saved");
    for folder in ["model", "adapter"].map(path) {
        assert_eq!(mode(&folder), mode(&path("new_folder")));
        for entry in std::fs::read_dir(folder).expect("there") {
            let file = entry.expect("readable").path();
            assert_eq!(mode(&file), mode(&path("new")), "{}", file.display());
        }
    }
}

#[test]
fn initialization_depends_on_the_seed_alone() {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 1, "num_attention_heads": 4}"#,
    )
    .expect("valid");
    let model = Llama::init(&config, 1, &Device::flex());
    assert!(equal(&model, &Llama::init(&config, 1, &training_device())));
    assert!(!equal(&model, &Llama::init(&config, 2, &Device::flex())));
    for (name, value) in model.values() {
        let value = values(value);
        let mean = value.iter().map(|&v| f64::from(v)).sum::<f64>() / value.len() as f64;
        let deviation = norm(&value) / (value.len() as f64).sqrt();
        let (expected_mean, expected) = match () {
            () if name.contains("norm") => (1.0, 1.0),
            () if name.contains("down_proj") => (0.0, 1.0 / 96f64.sqrt()),
            () => (0.0, 1.0 / 8.0),
        };
        // Four standard errors.
        let tolerance = 4.0 * expected / (value.len() as f64).sqrt();
        assert!(
            (mean - expected_mean).abs() < tolerance,
            "{name}: mean {mean}"
        );
        assert!(
            (deviation / expected - 1.0).abs() < 0.03,
            "{name}: deviation {deviation}"
        );
    }
    // The very bits: another machine must find them as well.
    let embeddings = values(model.values()["model.embed_tokens.weight"].clone());
    assert_eq!(
        embeddings[..3]
            .iter()
            .map(|v| v.to_bits())
            .collect::<Vec<_>>(),
        FIRST_BITS
    );
}

const FIRST_BITS: [u32; 3] = [3179503862, 3180380474, 1048418712];

#[test]
fn only_the_adapter_is_trained() {
    let lora = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: [TargetModule::VProj].into(),
    };
    let model = load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    let before = model.values();
    let model = model.with_lora(&lora, 3).expect("valid");
    let trainable: Vec<_> = model
        .parameters()
        .into_iter()
        .filter(|p| p.trainable)
        .map(|p| p.name)
        .collect();
    assert_eq!(trainable.len(), 4);
    let batch = pad(&Golden::read("grouped_tied").sequences());
    // B is zero, so A's gradient is zero and B's is not.
    let found = gradients(&model, &batch, 1.0, None);
    assert!(found.keys().eq(trainable.iter()));
    for (name, gradient) in &found {
        assert_eq!(
            norm(&values(gradient.clone())) > 0.0,
            name.contains("lora_B"),
            "{name}"
        );
    }
    let model = model.update(found, |_, value, gradient| value - gradient);
    assert!(
        model.parameters().iter().filter(|p| p.trainable).count() == 4,
        "updated parameters are leaves again"
    );
    for (name, value) in before {
        assert_eq!(
            values(model.values()[&name].clone()),
            values(value),
            "{name} is frozen"
        );
    }
    // The next step sees the new values: now A has a gradient as well.
    let next = gradients(&model, &batch, 1.0, None);
    assert!(
        next.values()
            .all(|gradient| norm(&values(gradient.clone())) > 0.0)
    );
    let without_graph = model.valid();
    assert!(
        without_graph
            .parameters()
            .iter()
            .all(|parameter| !parameter.trainable)
    );
    assert_eq!(
        values(logits(&without_graph, &batch, None)),
        values(logits(&model, &batch, None))
    );
}

#[test]
fn an_adapter_is_not_lost_silently() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = load_llama(&fixture("grouped_tied"), &Device::flex()).expect("a model");
    assert!(matches!(
        save_adapter(&model, directory.path()),
        Err(CheckpointError::AdapterState(_))
    ));
    let adapted = load_adapter(model, &fixture("grouped_tied/adapter_all")).expect("an adapter");
    let saved = save_llama(&adapted, directory.path(), WeightType::F32);
    assert!(matches!(saved, Err(CheckpointError::AdapterState(_))));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("there").count(),
        0,
        "nothing was written"
    );
}
