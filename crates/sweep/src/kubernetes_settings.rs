//! What the pods of an Indexed Job are.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::SweepError;
use crate::job::{Job, text_or_number};

/// Seconds from the request to stop to the kill that are left after the run has ended.
pub(crate) const SECONDS_TO_END: u32 = 10;

/// Seconds from a pod's SIGTERM to its SIGKILL.
const GRACE_SECONDS: u32 = 60;

/// The table `cluster.kubernetes` of a preset: what a pod is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// The image that holds plw.
    pub image: Option<String>,
    /// plw in the image.
    pub program: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// Processors, such as `8` or `500m`.
    #[serde(deserialize_with = "text_or_number")]
    pub cpus: Option<String>,
    /// Memory, such as `32Gi`.
    #[serde(deserialize_with = "text_or_number")]
    pub memory: Option<String>,
    /// GPUs of NVIDIA's.
    pub gpus: Option<u32>,
    /// The claim of the volume that holds data and results, which all pods write to.
    pub claim: Option<String>,
    /// Where the volume is in a pod, as at the submission: the sweep's folder, the preset and the
    /// data are looked for by the same paths. By default the working directory of the submission.
    pub mount_path: Option<String>,
    /// Seconds from the request to stop to the kill.
    pub grace_seconds: u32,
    /// Failures of a run after which it is given up. Stops and pre-emptions do not count.
    pub backoff_limit_per_index: u32,
    /// Further fields of the pod's specification, such as `nodeSelector`. Lists, such as `volumes`,
    /// are added to those that are there.
    pub pod: Map<String, Value>,
    /// Further fields of its container, such as `env` and `volumeMounts`, likewise.
    pub container: Map<String, Value>,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            image: None,
            program: "plw".to_string(),
            namespace: None,
            cpus: None,
            memory: None,
            gpus: None,
            claim: None,
            mount_path: None,
            grace_seconds: GRACE_SECONDS,
            backoff_limit_per_index: 3,
            pod: Map::new(),
            container: Map::new(),
        }
    }
}

/// Fields of a pod that are not the user's.
const OURS: [&str; 3] = [
    "containers",
    "restartPolicy",
    "terminationGracePeriodSeconds",
];

/// Fields of its container that are not.
const OURS_OF_CONTAINER: [&str; 4] = ["name", "image", "command", "args"];

/// Bytes below which an amount of memory lacks its unit.
const LEAST_MEMORY: f64 = 1e6;

impl KubernetesSettings {
    /// Where a pod has the volume of the claim. None without a claim.
    pub fn volume<'a>(&'a self, job: &'a Job) -> Option<&'a Path> {
        self.claim.as_ref()?;
        let given = self.mount_path.as_ref().map(Path::new);
        Some(given.unwrap_or(&job.working_directory))
    }

    /// Checks what Kubernetes would refuse, or what would not be the job that plw writes.
    pub(crate) fn check(&self) -> Result<(), SweepError> {
        let refused = |problem: String| Err(SweepError::Job { problem });
        match self.image.as_deref() {
            None | Some("") => {
                return refused(
                    "no image is given: write `image = \"...\"` into the preset's table \
                     [cluster.kubernetes]"
                        .to_string(),
                );
            }
            Some(image) if image.contains(char::is_whitespace) => {
                return refused(format!("the image {image:?} has a space in its name"));
            }
            Some(_) => {}
        }
        if self.program.trim().is_empty() {
            return refused("`program` in [cluster.kubernetes] is empty".to_string());
        }
        if self.grace_seconds <= SECONDS_TO_END {
            return refused(format!(
                "grace_seconds in [cluster.kubernetes] is {}: a run needs more than \
                 {SECONDS_TO_END} s to stop",
                self.grace_seconds
            ));
        }
        if let Some(path) = &self.mount_path {
            if self.claim.is_none() {
                return refused(format!(
                    "mount_path in [cluster.kubernetes] is {path:?}, and no `claim` names the \
                     volume: give both, or none"
                ));
            }
            if !Path::new(path).is_absolute() || Path::new(path).parent().is_none() {
                return refused(format!(
                    "mount_path in [cluster.kubernetes] is {path:?}: it must be an absolute path \
                     below /"
                ));
            }
        }
        for (setting, name, longest, letters) in [
            ("claim", &self.claim, 253, "-."),
            ("namespace", &self.namespace, 63, "-"),
        ] {
            if let Some(name) = name
                .as_deref()
                .filter(|name| !is_name(name, longest, letters))
            {
                return refused(format!(
                    "{name:?} in [cluster.kubernetes] is no name of a {setting}: Kubernetes takes \
                     lower-case letters, digits and {letters:?}, at most {longest}, with a letter \
                     or a digit first and last; or leave it out"
                ));
            }
        }
        for (setting, value) in [("cpus", &self.cpus), ("memory", &self.memory)] {
            let is_refused = |value: &&str| match quantity(value) {
                Some(amount) => setting == "memory" && amount < LEAST_MEMORY,
                None => true,
            };
            if let Some(value) = value.as_deref().filter(is_refused) {
                return refused(format!(
                    "{value:?} in [cluster.kubernetes] is no quantity of `{setting}`: write a \
                     number, with m, k, M, G, Ki, Mi or Gi behind it if need be, such as 8, 500m \
                     or 32Gi"
                ));
            }
        }
        if self.backoff_limit_per_index > i32::MAX as u32 {
            let given = self.backoff_limit_per_index;
            return refused(format!(
                "backoff_limit_per_index in [cluster.kubernetes] is {given}: Kubernetes takes at \
                 most {}",
                i32::MAX
            ));
        }
        for (table, fields, ours) in [
            ("pod", &self.pod, OURS.as_slice()),
            ("container", &self.container, OURS_OF_CONTAINER.as_slice()),
        ] {
            if let Some(name) = ours.iter().find(|name| fields.contains_key(**name)) {
                return refused(format!(
                    "[cluster.kubernetes.{table}] has `{name}`, which plw decides: remove it"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a text is a name as Kubernetes takes it (RFC 1123).
fn is_name(text: &str, longest: usize, letters: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_label = |label: &str| label.starts_with(is_plain) && label.ends_with(is_plain);
    let is_known = |letter: char| is_plain(letter) || letters.contains(letter);
    text.len() <= longest && text.chars().all(is_known) && text.split('.').all(is_label)
}

/// A quantity as Kubernetes takes it: a decimal number with a suffix or an exponent.
fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 16] = [
        ("", 1.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("Ki", 1024.0),
        ("Mi", 1048576.0),
        ("Gi", 1073741824.0),
        ("Ti", 1099511627776.0),
        ("Pi", 1125899906842624.0),
        ("Ei", 1152921504606846976.0),
    ];
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let (_, unit) = SUFFIXES
        .into_iter()
        .find(|(suffix, _)| *suffix == &text[number.len()..])?;
    let number = number
        .bytes()
        .all(is_plain)
        .then(|| number.parse::<f64>().ok())?;
    number
        .map(|number| number * unit)
        .filter(|amount| *amount > 0.0 && amount.is_finite())
}
