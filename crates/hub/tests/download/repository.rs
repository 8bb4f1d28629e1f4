//! The repository that the tests download, as an honest hub serves it.

use std::path::Path;
use std::time::Duration;

use plw_hub::{Hub, HubError, HubFile, Repository, RepositoryKind, Timeouts};

use crate::server::{Reply, Request, reply};

pub(crate) const COMMIT: &str = "1111111111111111111111111111111111111111";
pub(crate) const FILE: &str = "data/rows.bin";
/// The bytes of [`FILE`], and their SHA-256 digest.
pub(crate) const CONTENT: &[u8] = b"0123456789abcdef";
pub(crate) const ETAG: &str = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
pub(crate) const README: &[u8] = b"abc";
/// What `git hash-object` says of [`README`].
pub(crate) const README_ETAG: &str = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";

pub(crate) const LISTING: &str = "/api/datasets/owner/name/revision/main";
pub(crate) const RESOLVE: &str = "/datasets/owner/name/resolve/";

pub(crate) fn repository() -> Repository {
    Repository::new(RepositoryKind::Dataset, "owner/name", None).expect("a repository")
}

/// A hub whose failures are repeated at once.
pub(crate) fn hub(endpoint: &str, cache: &Path) -> Hub {
    Hub {
        timeouts: Timeouts {
            pause: Duration::from_millis(1),
            ..Timeouts::default()
        },
        ..Hub::new(endpoint, cache)
    }
}

/// Downloads [`FILE`].
pub(crate) fn download(hub: &Hub) -> Result<Vec<HubFile>, HubError> {
    hub.files(&repository(), |_| Ok(vec![FILE.to_owned()]))
}

/// The answer of an honest hub, which serves [`FILE`] at `/store`.
pub(crate) fn honest(request: &Request) -> Reply {
    let head = request.method == "HEAD";
    if request.path == LISTING {
        return listing(COMMIT, &["README.md", FILE]);
    }
    if request.path == format!("{RESOLVE}{COMMIT}/{FILE}") {
        return stored("/store", ETAG);
    }
    if request.path == format!("{RESOLVE}{COMMIT}/README.md") {
        let etag = format!("\"{README_ETAG}\"");
        let headers = [
            ("ETag", etag.as_str()),
            ("X-Repo-Commit", COMMIT),
            ("Content-Length", "3"),
        ];
        return reply("200 OK", &headers, if head { &[] } else { README });
    }
    if request.path == "/store" {
        return part(CONTENT, request.from());
    }
    reply("404 Not Found", &[], b"")
}

/// The listing of a commit.
pub(crate) fn listing(commit: &str, files: &[&str]) -> Reply {
    let files = files
        .iter()
        .map(|file| serde_json::json!({ "rfilename": file }));
    let siblings: Vec<_> = files.collect();
    let listing = serde_json::json!({ "sha": commit, "siblings": siblings }).to_string();
    reply(
        "200 OK",
        &[("Content-Type", "application/json")],
        listing.as_bytes(),
    )
}

/// The redirect to where [`FILE`] is stored.
pub(crate) fn stored(location: &str, etag: &str) -> Reply {
    let etag = format!("\"{etag}\"");
    let headers = [
        ("Location", location),
        ("X-Repo-Commit", COMMIT),
        ("X-Linked-Etag", etag.as_str()),
        ("X-Linked-Size", "16"),
        ("ETag", "\"of-the-redirect\""),
    ];
    reply("302 Found", &headers, b"")
}

/// The part of a file from a byte on.
pub(crate) fn part(content: &[u8], from: usize) -> Reply {
    if from == 0 {
        return reply("200 OK", &[], content);
    }
    if from >= content.len() {
        return reply("416 Range Not Satisfiable", &[], b"");
    }
    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
    reply(
        "206 Partial Content",
        &[("Content-Range", range.as_str())],
        &content[from..],
    )
}
