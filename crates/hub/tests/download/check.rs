//! A download from a server that does harm at one step.

use std::path::Path;

use plw_hub::{Hub, Timeouts};

use crate::repository::{CONTENT, download, honest, hub};
use crate::server::{Reply, Request, Server};

/// The requests of a download.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Listing,
    Metadata,
    Content,
}

impl Step {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            request if request.path.starts_with("/api/") => Self::Listing,
            request if request.method == "HEAD" => Self::Metadata,
            _ => Self::Content,
        }
    }
}

/// Downloads from a hub that is honest but for one step. The error must have all `parts`.
#[track_caller]
pub(crate) fn check(
    step: Step,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    parts: &[&str],
) {
    check_with(&hub("", "".as_ref()).timeouts, step, answer, parts);
}

/// Like [`check`], with a client of this patience.
#[track_caller]
pub(crate) fn check_with(
    timeouts: &Timeouts,
    step: Step,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    parts: &[&str],
) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("a/cache");
    let server = Server::start(move |request| {
        if Step::of(request) == step {
            answer(request)
        } else {
            honest(request)
        }
    });
    let patient = hub(&server.address, &cache);
    let client = Hub {
        timeouts: *timeouts,
        ..patient
    };
    let error = download(&client).expect_err("hostile").to_string();
    let missing: Vec<_> = parts
        .iter()
        .filter(|part| !error.contains(**part))
        .collect();
    assert!(missing.is_empty(), "{missing:?} not in: {error}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
    assert_only(folder.path(), "a");
    assert_only(&folder.path().join("a"), "cache");
    let snapshot = cache.join("datasets--owner--name/snapshots");
    assert!(!snapshot.exists(), "a file was kept");

    let server = Server::start(honest);
    let files = download(&hub(&server.address, &cache)).expect("honest");
    assert_eq!(std::fs::read(&files[0].path).expect("a file"), CONTENT);
}

/// Whether a folder holds at most one entry, of this name.
#[track_caller]
fn assert_only(folder: &Path, name: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        assert_eq!(
            entry.expect("an entry").file_name(),
            name,
            "in {}",
            folder.display()
        );
    }
}
