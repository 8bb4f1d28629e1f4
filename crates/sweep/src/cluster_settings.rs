//! What a preset says of clusters.

use serde::{Deserialize, Serialize};

use crate::kubernetes_settings::KubernetesSettings;
use crate::slurm_settings::SlurmSettings;

/// The table `cluster` of a preset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// For Slurm.
    pub slurm: SlurmSettings,
    /// For Kubernetes.
    pub kubernetes: KubernetesSettings,
}
