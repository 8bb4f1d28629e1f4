//! Jobs for clusters, as text.

use std::error::Error;

use plw_sweep::{ClusterSettings, Job, kubernetes_manifest, slurm_script};

fn job() -> Job {
    Job {
        name: "My grid!".to_string(),
        runs: 12,
        workers: 4,
        program: "/opt/plw".into(),
        arguments: [
            "sweep",
            "--config",
            "my preset.toml",
            "--output-dir",
            "/data/grid",
        ]
        .map(str::to_string)
        .into(),
        working_directory: "/data".into(),
        output_directory: "/data/grid".into(),
        environment: vec![("PLW_TRAIN_DATA".to_string(), "it's here".to_string())],
    }
}

#[test]
fn a_slurm_script_asks_for_what_the_settings_say() -> Result<(), Box<dyn Error>> {
    let settings: ClusterSettings = toml::from_str(
        "[slurm]\npartition = 'gpu'\ntime = '12:00:00'\ncpus_per_task = 8\ngpus = 1\n\
         memory = '32G'\noptions = ['--constraint=a100']\nsetup = ['module load cuda']\n",
    )?;
    let script = slurm_script(&job(), &settings.slurm)?;
    let expected = r#"#!/bin/bash
#SBATCH --job-name=plw-my-grid
#SBATCH --array=0-11%4
#SBATCH --requeue
#SBATCH --signal=USR1@60
#SBATCH --output="/data/grid/logs/slurm-%a.log"
#SBATCH --open-mode=append
#SBATCH --partition=gpu
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gpus=1
#SBATCH --constraint=a100

module load cuda
export PLW_TRAIN_DATA='it'\''s here'
cd /data || exit 1
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
export RAYON_NUM_THREADS="$SRUN_CPUS_PER_TASK"
export SLURM_EXIT_ERROR=75
srun /opt/plw sweep --config 'my preset.toml' --output-dir /data/grid --stop-within 20
code=$?
if [ "$code" -eq 0 ]; then
    /opt/plw sweep --status /data/grid --index "$SLURM_ARRAY_TASK_ID" > /dev/null
    code=$?
fi
if [ "$code" -eq 75 ] || [ "$code" -ge 128 ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && sleep 60
    fi
fi
exit "$code"
"#;
    assert_eq!(script, expected);
    let shared: ClusterSettings =
        toml::from_str("[slurm]\nprocesses = 4\nmpi = 'pmix'\ngpus = 1\n")?;
    let script = slurm_script(&job(), &shared.slurm)?;
    assert!(
        script.contains("\nsrun --mpi=pmix /opt/plw sweep"),
        "{script}"
    );
    let broken: ClusterSettings = toml::from_str("[slurm]\npartition = \"a\\nrm -rf ~\"\n")?;
    assert!(slurm_script(&job(), &broken.slurm).is_err());
    for (text, part) in [
        ("partition = 'a b'", "--partition"),
        ("processes = 0", "processes"),
        ("cpus_per_task = 0", "cpus_per_task"),
        ("options = ['exclusive']", "exclusive"),
        ("options = ['--array=1']", "--array"),
        ("options = ['--no-requeue']", "--no-requeue"),
        ("options = ['-a1']", "-a1"),
        ("options = ['--arr=1']", "--arr=1"),
        ("options = ['--wrap=rm']", "--wrap"),
    ] {
        let refused: ClusterSettings = toml::from_str(&format!("[slurm]\n{text}"))?;
        let error = slurm_script(&job(), &refused.slurm).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut quoted = job();
    quoted.output_directory = "/data/a\"b".into();
    assert!(slurm_script(&quoted, &shared.slurm).is_err());
    let limit = ["--stop-within".to_string(), "7".to_string()];
    quoted.arguments.extend(limit);
    quoted.output_directory = "/data".into();
    let stops = slurm_script(&quoted, &shared.slurm)?;
    assert!(stops.contains("--stop-within 7\n"), "{stops}");
    assert!(
        script.contains("#SBATCH --ntasks=4\n#SBATCH --gpus-per-task=1\n"),
        "{script}"
    );
    Ok(())
}

#[test]
fn a_kubernetes_manifest_tells_which_exits_are_final() -> Result<(), Box<dyn Error>> {
    let nothing = ClusterSettings::default();
    let error = kubernetes_manifest(&job(), &nothing.kubernetes).expect_err("no image");
    assert!(error.to_string().contains("image"), "{error}");
    let settings: ClusterSettings = toml::from_str(
        "[kubernetes]\nimage = 'registry/plw:1'\ncpus = '8'\ngpus = 1\nclaim = 'data'\n\
         namespace = 'research'\n[kubernetes.pod]\nnodeSelector = {gpu = 'a100'}\n\
         volumes = [{name = 'shm'}]\n\
         [kubernetes.container]\nenv = [{name = 'A', value = 'b'}]\n",
    )?;
    let manifest = kubernetes_manifest(&job(), &settings.kubernetes)?;
    for line in [
        "completionMode: Indexed",
        "completions: 12",
        "parallelism: 4",
        "backoffLimitPerIndex: 3",
        "namespace: research",
        "restartPolicy: Never",
        "claimName: data",
        "mountPath: /data",
        "gpu: a100",
        "name: shm",
        "name: shared",
        "name: A",
        "action: FailIndex",
        "- 78",
        "- --stop-within",
    ] {
        assert!(manifest.contains(line), "{line} is not in\n{manifest}");
    }
    for (table, part) in [
        ("claim = ''\n", "claim"),
        (
            "[kubernetes.pod]\nrestartPolicy = 'Always'\n",
            "restartPolicy",
        ),
        ("[kubernetes.container]\nname = 'mine'\n", "`name`"),
        (
            "claim = 'data'\n[kubernetes.pod]\nvolumes = 3\n",
            "`volumes` is 3",
        ),
        (
            "claim = 'data'\nmount_path = '/scratch'\n",
            "/data/grid is not on",
        ),
    ] {
        let text = format!("[kubernetes]\nimage = 'a'\n{table}");
        let refused: ClusterSettings = toml::from_str(&text)?;
        let error = kubernetes_manifest(&job(), &refused.kubernetes).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
    Ok(())
}

#[test]
fn settings_of_a_cluster_that_nobody_reads_are_refused() {
    for text in [
        "[slurm]\npartitoin = 'gpu'",
        "[lsf]\nqueue = 'gpu'",
        "[slurm]\ngpus = 'two'",
    ] {
        assert!(toml::from_str::<ClusterSettings>(text).is_err(), "{text}");
    }
}
