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
export SLURM_EXPORT_ENV=ALL
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
        ("options = ['-C a100 --array=0-9']", "one by one"),
        ("options = ['-N 2 --no-requeue']", "one by one"),
        ("options = ['-Ha0-1']", "one by one"),
        ("setup = ['#SBATCH --array=0-99']", "`options`"),
        ("mpi = 'p mix'", "`mpi`"),
        ("partition = 'a#b'", "`partition`"),
        ("memory = '32b'", "32b"),
        ("time = '99999999999999999999'", "no time limit"),
        ("time = 'soon'", "\"soon\" is no time limit"),
        ("time = '1:2:3:4'", "1:2:3:4"),
        ("time = '-2'", "\"-2\""),
        ("time = '1'", "leaves no time to train"),
        ("seconds_before_end = 65536", "more than Slurm takes"),
        ("seconds_before_end = 0", "no time to stop"),
        ("options = ['-t 0:30']", "write it there"),
        ("options = ['--time=30']", "write it there"),
        ("memory = 'much'", "\"much\" is no amount"),
        ("memory = 'G'", "\"G\""),
        ("memory = '32Gi'", "32Gi"),
        (
            "cpus_per_task = 2\noptions = ['--cpus-per-task=4']",
            "`cpus_per_task` is set",
        ),
        ("cpus_per_task = 2\noptions = ['-c4']", "`cpus_per_task`"),
        ("gpus = 1\noptions = ['-G', '2']", "`gpus` is set"),
        ("memory = '1G'\noptions = ['--mem 2G']", "`memory` is set"),
    ] {
        let refused: ClusterSettings = toml::from_str(&format!("[slurm]\n{text}"))?;
        let error = slurm_script(&job(), &refused.slurm).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
    for (text, option) in [
        ("time = '90'", "--time=90"),
        ("time = 90", "--time=90"),
        ("memory = 4096", "--mem=4096"),
        ("time = '1-12'", "--time=1-12"),
        ("time = '1-12:30:00'", "--time=1-12:30:00"),
        ("time = 'UNLIMITED'", "--time=UNLIMITED"),
        ("memory = '32768'", "--mem=32768"),
        ("memory = '32GB'", "--mem=32GB"),
        (
            "memory = '1G'\noptions = ['--mem-bind=local']",
            "--mem-bind=local",
        ),
        ("gpus = 0\noptions = ['-G1']", "-G1"),
    ] {
        let taken: ClusterSettings = toml::from_str(&format!("[slurm]\n{text}"))?;
        let script = slurm_script(&job(), &taken.slurm)?;
        assert!(script.contains(&format!("#SBATCH {option}\n")), "{script}");
        assert!(!script.contains("=0\n"), "{script}");
    }
    let mut quoted = job();
    quoted.output_directory = "/data/a\"b".into();
    assert!(slurm_script(&quoted, &shared.slurm).is_err());
    let limit = ["--stop-within".to_string(), "7".to_string()];
    quoted.arguments.extend(limit);
    quoted.output_directory = "/data".into();
    let stops = slurm_script(&quoted, &shared.slurm)?;
    assert!(stops.contains("--stop-within 7\n"), "{stops}");
    quoted.arguments.pop();
    quoted.arguments.push("56".to_string());
    let error = slurm_script(&quoted, &shared.slurm).expect_err("Slurm kills it before");
    assert!(error.to_string().contains("more than the 55 s"), "{error}");
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
        ("claim = 'Bad_Name'\n", "\"Bad_Name\""),
        ("claim = '-a'\n", "\"-a\""),
        ("claim = 'a..b'\n", "\"a..b\""),
        (
            "backoff_limit_per_index = 4294967295\n",
            "backoff_limit_per_index",
        ),
        ("namespace = 'a.b'\n", "namespace"),
        ("cpus = 'two'\n", "`cpus`"),
        ("cpus = '0'\n", "`cpus`"),
        ("memory = '32 Gi'\n", "`memory`"),
        ("memory = '32GB'\n", "`memory`"),
        ("memory = 32\n", "`memory`"),
        ("memory = '1e'\n", "`memory`"),
        ("cpus = 'inf'\n", "`cpus`"),
        ("program = ''\n", "`program`"),
        ("grace_seconds = 10\n", "grace_seconds"),
        ("mount_path = '/data'\n", "no `claim`"),
        ("claim = 'data'\nmount_path = ''\n", "absolute"),
        ("claim = 'data'\nmount_path = '/'\n", "below /"),
        ("[kubernetes.container]\nargs = ['a']\n", "`args`"),
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
    let mut priced = job();
    priced.environment[0].1 = "costs $(PRICE)".to_string();
    let manifest = kubernetes_manifest(&priced, &settings.kubernetes)?;
    assert!(manifest.contains("costs $$(PRICE)"), "{manifest}");
    let first_line = |job: &Job| -> Result<Option<String>, Box<dyn Error>> {
        let manifest = kubernetes_manifest(job, &settings.kubernetes)?;
        let name = manifest
            .lines()
            .find(|line| line.contains("name: plw-my-grid-"));
        Ok(name.map(str::to_string))
    };
    priced.output_directory = "/data/other/grid".into();
    assert!(first_line(&job())?.is_some() && first_line(&job())? != first_line(&priced)?);
    let text = "[kubernetes]\nimage = 'a'\ncpus = '1e0'\nmemory = '1.5Gi'\nclaim = 'a.b-1'\n";
    let taken: ClusterSettings = toml::from_str(text)?;
    kubernetes_manifest(&job(), &taken.kubernetes)?;
    Ok(())
}

#[test]
fn settings_of_a_cluster_that_nobody_reads_are_refused() {
    for text in [
        "[slurm]\npartitoin = 'gpu'",
        "[lsf]\nqueue = 'gpu'",
        "[slurm]\ngpus = 'two'",
        "[slurm]\ntime = true",
        "[kubernetes]\ncpus = 1.5",
    ] {
        assert!(toml::from_str::<ClusterSettings>(text).is_err(), "{text}");
    }
}
