use super::*;
use serde_json::json;

fn load(value: Value) -> Result<Settings> {
    let Value::Object(map) = value else {
        unreachable!("cases are objects")
    };
    Settings::from_map(map, Some(Path::new("preset.toml")))
}

#[test]
fn settings_are_flat_and_checked_by_name() {
    let settings = load(
        json!({"learning_rate": 1, "prompt_loss_weight": 0.1, "packing": "shortest-pack-first"}),
    )
    .expect("valid settings");
    assert_eq!(
        (
            settings.training.learning_rate,
            settings.loss.prompt_loss_weight
        ),
        (1.0, 0.1)
    );
    for (case, says) in [
        (
            json!({"learning_rte": 1}),
            "`learning_rte` in preset.toml is not a setting",
        ),
        (
            json!({"learning_rate": "fast"}),
            "the setting `learning_rate` is \"fast\"",
        ),
        (
            json!({"packing": "tight"}),
            "the setting `packing` is \"tight\"",
        ),
    ] {
        let error = load(case).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn settings_that_no_run_can_have_are_refused_before_anything_is_read() {
    for (case, says) in [
        (
            json!({"cross_document_attention": true}),
            "cross_document_attention",
        ),
        (json!({"packing_window": 0}), "packing_window"),
        (json!({"lora_r": 0}), "r must be from 1 to 65536, not 0"),
        (json!({"lora_r": 4, "lora_dropout": 1.0}), "dropout"),
        (json!({"lora_alpha": 32}), "lora_alpha was 16.0, is 32.0"),
        (
            json!({"dtype": "bfloat16"}),
            "dtype is for weights that are not trained",
        ),
        (json!({"max_steps": 0}), "max_steps is 0"),
        (json!({"num_train_epochs": 0}), "num_train_epochs is 0"),
        (json!({"learning_rate": -1}), "learning_rate"),
        (json!({"load_best_model_at_end": true}), "load_best"),
    ] {
        let settings = load(case).expect("each is a setting");
        let error = settings.check().expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_environment_variable_is_read_as_its_setting_is() {
    for (name, text, value) in [
        ("learning_rate", "1e-4", json!(1e-4)),
        ("model", "135", json!("135")),
        ("limit", "7", json!(7)),
        ("shuffle", "false", json!(false)),
        ("option_separator", " ", json!(" ")),
        (
            "lora_target_modules",
            "q_proj,k_proj",
            json!(["q_proj", "k_proj"]),
        ),
        ("learning_rate", "fast", json!("fast")),
    ] {
        assert_eq!(Settings::typed(name, text), value, "{name}={text}");
    }
}

#[test]
fn what_is_no_finite_number_is_said_so() {
    let error = load(json!({"prompt_loss_weight": f64::NAN})).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the setting `prompt_loss_weight` is not a finite number"
    );
}

#[test]
fn what_toml_cannot_hold_is_refused() {
    let error = load(json!({"seed": u64::MAX})).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the setting `seed` is 18446744073709551615: \
         the largest integer in TOML is 9223372036854775807"
    );
}

#[test]
fn a_guess_is_made_only_where_names_are_alike() {
    let known = Settings::default().to_map().expect("a table");
    assert_eq!(nearest(&known, "learning_rat"), Some("learning_rate"));
    assert_eq!(nearest(&known, "nonsense"), None);
}

#[test]
fn resolved_settings_read_back() {
    let settings = load(json!({"max_steps": 7, "model": "m", "seed": 5})).expect("valid settings");
    let table = settings.resolved().expect("resolved").table;
    let value = serde_json::to_value(table).expect("json");
    assert_eq!(load(value).expect("valid settings"), settings);
}
