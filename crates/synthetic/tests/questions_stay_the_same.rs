//! The bytes of the default experiment's questions. What `results/` tells of accuracies and digests
//! was measured on them.

use std::path::Path;

use plw_files::digest_file;
use plw_synthetic::{SyntheticConfig, write_synthetic};

/// The SHA-256 of each file. If only the parquet library changed, the rows are the same: then the
/// digests here and in `results/default.json` change together.
const DIGESTS: [(&str, &str); 6] = [
    (
        "middle/train-00000-of-00001.parquet",
        "b694da8ce539037e45f76e32d254a99e4634377d460835154afe50d42063328b",
    ),
    (
        "middle/validation-00000-of-00001.parquet",
        "430e4bdd49782fc35cee40a6795f25f953db736e2f154101f6173fa97a1bd1b2",
    ),
    (
        "middle/test-00000-of-00001.parquet",
        "7e92f1fae2662761cce5a7a9ae98fe318861a072eb49f410833a924448942726",
    ),
    (
        "high/train-00000-of-00001.parquet",
        "977edfc7dc96c3ecfdccbb03168cc9fb55d21caa8fb20cccc451da69cf278d58",
    ),
    (
        "high/validation-00000-of-00001.parquet",
        "669a350abe0960bf5529410be71d020a749eddfbcb3f2f6e1905194709ba563c",
    ),
    (
        "high/test-00000-of-00001.parquet",
        "03caf3a9f4e3065cd418a13e5c3b8253a7600678c9012a8e3e9a836086a5d34c",
    ),
];

#[test]
fn the_default_questions_have_the_bytes_that_results_were_measured_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = write_synthetic(folder.path(), &SyntheticConfig::default());
    let written: Vec<(String, String)> = written
        .expect("the folder can be written")
        .into_iter()
        .map(|(path, _)| {
            let name = path.strip_prefix(folder.path()).unwrap_or(Path::new(""));
            (
                name.display().to_string(),
                digest_file(&path).expect("it is there"),
            )
        })
        .collect();
    let written: Vec<(&str, &str)> = written
        .iter()
        .map(|(name, digest)| (name.as_str(), digest.as_str()))
        .collect();
    assert_eq!(written, DIGESTS);
}
