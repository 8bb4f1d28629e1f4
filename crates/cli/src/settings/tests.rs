use std::ffi::OsString;

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
        (
            json!({"lora_r": "8"}),
            "it must be a whole number of at least 0, without quotes: lora_r = 8",
        ),
        (
            json!({"lora_r": -1}),
            "the setting `lora_r` is -1: it must be a whole number of at least 0",
        ),
        (
            json!({"shuffle": "false"}),
            "it must be true or false, without quotes: shuffle = false",
        ),
        (json!({"model": 1}), "it must be text, in quotes"),
        (json!({"lora_target_modules": 1}), "it must be a list"),
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
        (json!({"lora_r": 0}), "must be from 1 to 65536, not 0"),
        (
            json!({"lora_r": 4, "lora_alpha": 0}),
            "lora_alpha must be a positive number that f32 holds, not 0.0",
        ),
        (json!({"lora_r": 4, "lora_dropout": 1.0}), "dropout"),
        (json!({"lora_alpha": 32}), "lora_alpha was 16.0, is 32.0"),
        (
            json!({"dtype": "bfloat16"}),
            "dtype is for weights that are not trained",
        ),
        (json!({"max_steps": 0}), "max_steps is 0"),
        (json!({"num_train_epochs": 0}), "num_train_epochs is 0"),
        (
            json!({"num_train_epochs": 0, "max_steps": 5}),
            "it must be a positive number, or left out",
        ),
        (json!({"learning_rate": -1}), "learning_rate"),
        (json!({"load_best_model_at_end": true}), "load_best"),
    ] {
        let mut settings = load(case).expect("each is a setting");
        settings.source.model = Some("model".into());
        settings.source.train_data = Some("rows.jsonl".into());
        let error = settings.check().expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_run_needs_one_kind_of_data_and_of_weights() {
    for (case, says) in [
        (json!({"model": "a"}), Some("what to train on")),
        (
            json!({"model": "a", "text": "b", "train_data": "c"}),
            Some("what to train on"),
        ),
        (json!({"text": "b"}), Some("--model and --init-config")),
        (
            json!({"text": "b", "model": "a", "init_config": "c"}),
            Some("--model and --init-config"),
        ),
        (json!({"text": "b", "init_config": "c"}), None),
        (json!({"train_data": "b", "model": "a"}), None),
    ] {
        let checked = load(case).expect("each is a setting").check();
        match says {
            None => checked.expect("a run can have these settings"),
            Some(says) => {
                let error = checked.expect_err("refused").to_string();
                assert!(error.contains(says), "{error}");
            }
        }
    }
}

fn given(name: OsString, text: OsString) -> Result<Map<String, Value>> {
    let variables = [("HOME", "/"), ("PLW_LOG", "debug"), ("PLW_SEED", "x")];
    let variables = variables.map(|(name, text)| (name.into(), text.into()));
    environment::given_by(
        variables.into_iter().chain([(name, text)]),
        &["seed".to_string()],
        &Settings::default_values(),
        |values| Settings::from_map(values, None).map(drop),
    )
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
    ] {
        let given = given(variable(name).into(), text.into()).expect("a setting");
        assert_eq!(
            given,
            Map::from_iter([(name.to_string(), value)]),
            "{name}={text}"
        );
    }
}

#[test]
fn an_environment_variable_that_is_no_setting_is_an_error() {
    for (name, text, says) in [
        ("PLW_LERNING_RATE", "1", "did you mean PLW_LEARNING_RATE?"),
        (
            "PLW_ZZZZZ",
            "1",
            "`plw train --help` names every setting's variable",
        ),
        ("PLW_LIMIT", "few", "PLW_LIMIT cannot be used"),
    ] {
        let error = given(name.into(), text.into()).expect_err("it is refused");
        let said = format!("{error}: {:?}", error.help().map(|help| help.to_string()));
        assert!(said.contains(name) && said.contains(says), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn only_the_text_of_a_setting_must_be_utf_8() {
    use std::os::unix::ffi::OsStringExt;

    let bad = || OsString::from_vec(vec![0xff]);
    for name in ["BAD".into(), bad()] {
        assert!(given(name, bad()).expect("no setting").is_empty());
    }
    let error = given("PLW_MODEL".into(), bad()).expect_err("it is refused");
    assert!(error.to_string().contains("PLW_MODEL"), "{error}");
    let name = OsString::from_vec(b"PLW_\xff".to_vec());
    let error = given(name, "1".into()).expect_err("it is refused");
    let says = "PLW_\\xFF\" is not a setting";
    assert!(error.to_string().contains(says), "{error}");
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
fn sources_that_no_command_can_use_are_refused() {
    for (case, says) in [
        (json!({"limit": 0}), "`limit` is 0, which leaves no row"),
        (json!({"eval_limit": 0}), "`eval_limit` is 0"),
        (
            json!({"init_adapter": "none/there"}),
            "`init_adapter` names",
        ),
    ] {
        let settings = load(case).expect("each is a setting");
        let error = settings.source.check().expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_is_asked_for_in_vain_is_said() {
    for (case, notes) in [
        (json!({"eval_steps": 5}), vec!["eval_steps is 5"]),
        (json!({"eval_limit": 5}), vec!["eval_limit is 5"]),
        (json!({"eval_limit": 5, "test_data": "rows"}), vec![]),
        (json!({"eval_steps": 5, "eval_data": "rows"}), vec![]),
        (json!({}), vec![]),
    ] {
        let said = load(case).expect("each is a setting").notes();
        assert_eq!(said.len(), notes.len(), "{said:?}");
        for (said, note) in said.iter().zip(notes) {
            assert!(said.starts_with(note), "{said}");
        }
    }
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
