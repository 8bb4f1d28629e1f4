//! The variables that Python's huggingface_hub reads.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::HubError;
use crate::hub::{Hub, Timeouts};

impl Hub {
    /// From the environment: `HF_ENDPOINT`, `HF_HUB_CACHE` (else `hub` in `HF_HOME`, else in
    /// `huggingface` in the user's cache folder), `HF_HUB_OFFLINE` (1, on, yes or true), `HF_TOKEN`
    /// (else the file `token` in `HF_HOME`), `HF_HUB_ETAG_TIMEOUT` and `HF_HUB_DOWNLOAD_TIMEOUT`
    /// (in seconds).
    ///
    /// # Errors
    /// [`HubError::Setting`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(std::env::var_os)
    }

    /// Like [`Hub::from_env`], with a function that looks up variables; an empty one counts as
    /// unset.
    ///
    /// # Errors
    /// [`HubError::Setting`].
    pub fn from_variables(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, HubError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let path = |name| set(name).map(PathBuf::from);
        let text = |name| set(name).map(|value| to_text(name, value)).transpose();
        let home = path("HF_HOME").unwrap_or_else(|| {
            let user_cache = || std::env::home_dir().map(|home| home.join(".cache"));
            let cache = path("XDG_CACHE_HOME").or_else(user_cache);
            cache.unwrap_or_else(std::env::temp_dir).join("huggingface")
        });
        let offline = text("HF_HUB_OFFLINE")?.unwrap_or_default().to_lowercase();
        let token_of_file = || std::fs::read_to_string(home.join("token")).ok();
        let token = text("HF_TOKEN")?.or_else(token_of_file);
        let token = token.map(|token| token.trim().to_owned());
        let default = Timeouts::default();
        let timeout = |name, default| -> Result<Duration, HubError> {
            let value = text(name)?;
            value.map_or(Ok(default), |value| seconds(name, &value, default))
        };
        Ok(Self {
            endpoint: text("HF_ENDPOINT")?.unwrap_or_else(|| "https://huggingface.co".to_owned()),
            cache: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            offline: matches!(offline.as_str(), "1" | "on" | "yes" | "true"),
            token: token.filter(|token| !token.is_empty()),
            timeouts: Timeouts {
                metadata: timeout("HF_HUB_ETAG_TIMEOUT", default.metadata)?,
                download: timeout("HF_HUB_DOWNLOAD_TIMEOUT", default.download)?,
                ..default
            },
            progress: None,
        })
    }
}

fn to_text(variable: &'static str, value: OsString) -> Result<String, HubError> {
    // Without the value: a token must not reach a log.
    value.into_string().map_err(|_| HubError::Setting {
        variable,
        problem: "is not UTF-8".to_owned(),
    })
}

/// A time of up to a day; 0 stands for the default, as in huggingface_hub.
fn seconds(variable: &'static str, value: &str, default: Duration) -> Result<Duration, HubError> {
    const DAY: f64 = 86_400.0;
    match value.trim().parse::<f64>() {
        Ok(0.0) => Ok(default),
        Ok(seconds) if seconds > 0.0 && seconds <= DAY => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(HubError::Setting {
            variable,
            problem: format!("is {value:?}, which is not a number of seconds from 0 to 86400"),
        }),
    }
}
