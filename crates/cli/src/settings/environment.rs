//! The settings that environment variables give.

use std::ffi::OsString;

use miette::{Result, WrapErr, miette};
use serde_json::{Map, Value};

use plw_data::TokenCache;

use super::wording::nearest;
use crate::logging;

/// What a setting's environment variable begins with.
const PREFIX: &str = "PLW_";

/// Variables with that prefix that are not settings: the log's filter, where tokens are kept, where
/// xtask looks for shared files, how much tests try, and what plw-kernels leaves out on CUDA.
const OTHER_VARIABLES: [&str; 6] = [
    logging::FILTER,
    TokenCache::VARIABLE,
    "PLW_SHARED",
    "PLW_FUZZ",
    "PLW_CUBLASLT",
    "PLW_FLASH_ATTENTION",
];

/// The environment variable of a setting.
pub(crate) fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.to_uppercase())
}

/// The setting of an environment variable.
fn setting_of(variable: &str) -> String {
    let setting = variable.strip_prefix(PREFIX).unwrap_or(variable);
    setting.to_lowercase()
}

/// Whether an environment variable is meant as a setting.
pub(crate) fn is_setting(variable: &str) -> bool {
    variable.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&variable)
}

/// The variables of this process that are settings, for one on another machine.
pub(crate) fn environment_of_settings() -> Vec<(String, String)> {
    let all = std::env::vars_os();
    let given = all.filter_map(|(name, text)| Some((name.into_string().ok()?, text)));
    given
        .filter(|(name, _)| is_setting(name))
        .filter_map(|(name, text)| Some((name, text.into_string().ok()?)))
        .collect()
}

/// The settings that environment variables give, except those in `decided`. A variable is text: it
/// stays text where the setting is text, and is else read as a number, a boolean or a list
/// separated by commas, whichever the setting takes. `check` refuses a table with values that its
/// settings do not take; `known` holds the name of every setting.
pub(super) fn given_by(
    variables: impl Iterator<Item = (OsString, OsString)>,
    decided: &[String],
    known: &Map<String, Value>,
    check: impl Fn(Map<String, Value>) -> Result<()>,
) -> Result<Map<String, Value>> {
    let mut given = Map::new();
    for (name, text) in variables {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // The name of a setting is UTF-8.
        let own = name.to_str().ok_or_else(|| {
            miette!(
                help = "unset it; `plw train --help` names every setting's variable",
                "the environment variable {name:?} is not a setting"
            )
        })?;
        let setting = setting_of(own);
        if decided.contains(&setting) || OTHER_VARIABLES.contains(&own) {
            continue;
        }
        if !known.contains_key(&setting) {
            let meant = nearest(known, &setting).map(variable);
            return Err(miette!(
                help = meant.map_or(
                    "unset it; `plw train --help` names every setting's variable".to_string(),
                    |meant| format!("did you mean {meant}? If not, unset it")
                ),
                "the environment variable {own} is not a setting"
            ));
        }
        let Some(text) = text.to_str() else {
            return Err(miette!(
                help = "set it to text in UTF-8, or unset it",
                "the environment variable {own} is {text:?}, which is not UTF-8"
            ));
        };
        let alone = |value: &Value| Map::from_iter([(setting.clone(), value.clone())]);
        let value = reading(text, |value| check(alone(value)).is_ok());
        check(alone(&value))
            .wrap_err_with(|| format!("the environment variable {own} cannot be used"))?;
        given.insert(setting, value);
    }
    Ok(given)
}

/// The first reading of a text that its setting accepts, else the text itself.
fn reading(text: &str, is_accepted: impl Fn(&Value) -> bool) -> Value {
    let list = text.split(',').map(|item| Value::from(item.trim()));
    let readings = [
        Some(Value::from(text)),
        text.parse::<u64>().ok().map(Value::from),
        text.parse::<f64>().ok().map(Value::from),
        text.parse::<bool>().ok().map(Value::from),
        Some(list.collect()),
    ];
    readings
        .into_iter()
        .flatten()
        .find(|reading| !reading.is_null() && is_accepted(reading))
        .unwrap_or_else(|| Value::from(text))
}
