//! A sweep as an Indexed Job of Kubernetes.

use std::path::Path;

use plw_files::digest;
use serde_json::{Map, Value, json};

use crate::SweepError;
use crate::job::{Job, NEVER, TRY_AGAIN, WRONG_ARGUMENTS, plain_name};
use crate::kubernetes_settings::{KubernetesSettings, SECONDS_TO_END};

/// Adds fields to an object: lists to lists, objects to objects, and else in the place of what is
/// there.
fn add(object: &mut Value, fields: &Map<String, Value>) -> Result<(), SweepError> {
    for (name, value) in fields {
        match (&mut object[name], value) {
            (Value::Array(list), Value::Array(more)) => list.extend(more.iter().cloned()),
            (inner @ Value::Object(_), Value::Object(more)) => add(inner, more)?,
            (Value::Array(_) | Value::Object(_), value) => {
                return Err(SweepError::Job {
                    problem: format!("`{name}` is {value}, and plw has a list or a table there"),
                });
            }
            (place, value) => *place = value.clone(),
        }
    }
    Ok(())
}

/// A text as Kubernetes gives it to a container, where `$(NAME)` stands for a variable's value.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The name of the Job: that of the sweep's folder, and letters that tell it from others of the
/// same name.
fn name(job: &Job) -> String {
    let path = job.output_directory.display().to_string();
    format!(
        "plw-{}-{}",
        plain_name(&job.name),
        &digest(path.as_bytes())[..6]
    )
}

/// The manifest of the Job, in YAML.
///
/// # Errors
///
/// If the settings name no image, or have fields that are not theirs.
pub fn kubernetes_manifest(job: &Job, settings: &KubernetesSettings) -> Result<String, SweepError> {
    settings.check()?;
    let working_directory = job.working_directory.display().to_string();
    let limit = settings.grace_seconds - SECONDS_TO_END;
    let command = job.command(Path::new(&settings.program), limit, limit)?;
    let command: Vec<String> = command.iter().map(|word| literal(word)).collect();
    let environment: Vec<Value> = job
        .environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": literal(value)}))
        .collect();
    let mut resources = Map::new();
    for (name, value) in [
        ("cpu", settings.cpus.clone()),
        ("memory", settings.memory.clone()),
        ("nvidia.com/gpu", settings.gpus.map(|gpus| gpus.to_string())),
    ] {
        resources.extend(value.map(|value| (name.to_string(), Value::from(value))));
    }
    let mut container = json!({
        "name": "plw",
        "image": settings.image,
        "command": command,
        "workingDir": working_directory,
    });
    if !environment.is_empty() {
        container["env"] = environment.into();
    }
    if !resources.is_empty() {
        container["resources"] = json!({"requests": resources, "limits": resources});
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.grace_seconds,
    });
    if let Some((claim, volume)) = settings.claim.as_ref().zip(settings.volume(job)) {
        let path = volume.display().to_string();
        if !job.output_directory.starts_with(volume) {
            return Err(SweepError::Job {
                problem: format!(
                    "the sweep's folder {} is not on the volume of the claim, which a pod has at \
                     {path}: set mount_path in [cluster.kubernetes], or choose another \
                     --output-dir",
                    job.output_directory.display()
                ),
            });
        }
        container["volumeMounts"] = json!([{"name": "shared", "mountPath": path}]);
        pod["volumes"] = json!([{"name": "shared", "persistentVolumeClaim": {"claimName": claim}}]);
    }
    add(&mut container, &settings.container)?;
    add(&mut pod, &settings.pod)?;
    pod["containers"] = json!([container]);
    let name = name(job);
    let mut metadata = json!({"name": name});
    if let Some(namespace) = &settings.namespace {
        metadata["namespace"] = namespace.clone().into();
    }
    let on_exit = |action: &str, codes: &[u8]| {
        json!({"action": action,
               "onExitCodes": {"containerName": "plw", "operator": "In", "values": codes}})
    };
    let manifest = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": job.runs,
            "parallelism": job.workers.min(job.runs),
            "backoffLimitPerIndex": settings.backoff_limit_per_index,
            "maxFailedIndexes": job.runs,
            "podFailurePolicy": {"rules": [
                {"action": "Ignore",
                 "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                on_exit("Ignore", &[TRY_AGAIN]),
                on_exit("FailIndex", &[WRONG_ARGUMENTS, NEVER]),
            ]},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    });
    serde_saphyr::to_string(&manifest).map_err(|error| SweepError::Job {
        problem: error.to_string(),
    })
}
