//! The cache, which Python's huggingface_hub shares.

use std::path::{Path, PathBuf};

use plw_hub::{Hub, HubError, Repository, RepositoryKind};

use crate::repository::{
    COMMIT, CONTENT, ETAG, FILE, README, README_ETAG, download, honest, hub, repository,
};
use crate::server::Server;

/// The files below a folder as `path` or `path -> target`, in the order of their names.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(folder)
                .expect("below")
                .display()
                .to_string();
            match std::fs::read_link(&path) {
                Ok(target) => found.push(format!("{name} -> {}", target.display())),
                Err(_) if path.is_dir() => folders.push(path),
                Err(_) => found.push(name),
            }
        }
    }
    found.sort();
    found
}

fn everything(hub: &Hub) -> Result<Vec<PathBuf>, HubError> {
    let files = hub.files(&repository(), |names| Ok::<_, HubError>(names.to_vec()))?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

#[cfg(unix)]
#[test]
fn the_layout_is_that_of_huggingface_hub() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(honest);
    let files = everything(&hub(&server.address, folder.path())).expect("files");
    let contents = files
        .iter()
        .map(|path| std::fs::read(path).expect("a file"));
    assert_eq!(contents.collect::<Vec<_>>(), [README, CONTENT]);
    let repository = "datasets--owner--name";
    assert_eq!(
        tree(folder.path()),
        [
            format!(".locks/{repository}/{ETAG}.lock"),
            format!(".locks/{repository}/{README_ETAG}.lock"),
            format!("{repository}/blobs/{ETAG}"),
            format!("{repository}/blobs/{README_ETAG}"),
            format!("{repository}/listings/{COMMIT}.json"),
            format!("{repository}/refs/main"),
            format!("{repository}/snapshots/{COMMIT}/README.md -> ../../blobs/{README_ETAG}"),
            format!("{repository}/snapshots/{COMMIT}/{FILE} -> ../../../blobs/{ETAG}"),
        ]
    );
    let reference = folder.path().join(repository).join("refs/main");
    assert_eq!(
        std::fs::read_to_string(reference).expect("a reference"),
        COMMIT
    );
}

#[test]
fn files_are_downloaded_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(honest);
    let online = hub(&server.address, folder.path());
    let files = everything(&online).expect("files");
    let before = server.requests().len();
    assert_eq!(everything(&online).expect("files"), files);
    // The hub is asked what `main` stands for, and for no file again.
    assert_eq!(server.requests().len(), before + 1);
    let offline = Hub {
        offline: true,
        ..online.clone()
    };
    assert_eq!(everything(&offline).expect("files"), files);
    // The hub is not asked about a commit again.
    let at_commit = Repository::new(RepositoryKind::Dataset, "owner/name", Some(COMMIT));
    let at_commit = at_commit.expect("a repository");
    assert_eq!(online.file(&at_commit, FILE).expect("a file"), files[1]);
    assert_eq!(server.requests().len(), before + 1);
    // With the server gone, the cache answers.
    drop(server);
    assert_eq!(everything(&online).expect("files"), files);
}

#[test]
fn what_the_cache_lacks_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(honest);
    let online = hub(&server.address, folder.path());
    let offline = Hub {
        offline: true,
        ..online.clone()
    };
    let error = download(&offline)
        .expect_err("nothing is there")
        .to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    assert!(
        error.contains("hub:owner/name is not in the cache"),
        "{error}"
    );

    online.file(&repository(), "README.md").expect("a file");
    let error = download(&offline)
        .expect_err("one file is there")
        .to_string();
    assert!(
        error.contains(&format!("hub:owner/name/{FILE} is not in the cache")),
        "{error}"
    );
    let error = online
        .file(&repository(), "config.json")
        .expect_err("no such file");
    assert!(
        error
            .to_string()
            .contains("hub:owner/name/config.json does not exist"),
        "{error}"
    );
    let address = server.address.clone();
    drop(server);
    let error = download(&online).expect_err("the hub is gone").to_string();
    assert!(
        error.contains(&address) && error.contains("check the network"),
        "{error}"
    );
}

#[test]
fn a_cache_that_huggingface_hub_filled_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = folder.path().join("datasets--owner--name");
    let file = repository.join("snapshots").join(COMMIT).join(FILE);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, CONTENT).expect("written");
    std::fs::create_dir_all(repository.join("refs")).expect("made");
    std::fs::write(repository.join("refs/main"), COMMIT).expect("written");
    let offline = Hub {
        offline: true,
        ..hub("http://127.0.0.1:9", folder.path())
    };
    assert_eq!(everything(&offline).expect("files"), [file]);

    // Online, the hub is asked which files it lacks: it may have been asked for one only.
    let at_commit = Repository::new(RepositoryKind::Dataset, "owner/name", Some(COMMIT));
    let server = Server::start(|request| {
        let mut request = request.clone();
        request.path = request
            .path
            .replace(&format!("revision/{COMMIT}"), "revision/main");
        honest(&request)
    });
    let online = hub(&server.address, folder.path());
    let all = |names: &[String]| Ok::<_, HubError>(names.to_vec());
    let files = online
        .files(&at_commit.expect("a repository"), all)
        .expect("files");
    assert_eq!(files.len(), 2);
    assert_eq!(server.count("GET", "/store"), 0);
}

#[test]
fn references_and_listings_in_the_cache_are_not_trusted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "secret").expect("written");
    let cache = folder.path().join("cache");
    let repository = cache.join("datasets--owner--name");
    for (reference, listing) in [
        ("../../..", r#"["outside"]"#),
        (COMMIT, r#"["../../../../outside"]"#),
        (COMMIT, "not JSON"),
    ] {
        for (path, content) in [
            (repository.join("refs/main"), reference),
            (repository.join(format!("listings/{COMMIT}.json")), listing),
        ] {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        let offline = Hub {
            offline: true,
            ..hub("http://127.0.0.1:9", &cache)
        };
        let error = everything(&offline).expect_err(listing).to_string();
        assert!(error.contains("is not in the cache"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    std::fs::write(&cache, "a file").expect("written");
    let server = Server::start(honest);
    let error = download(&hub(&server.address, &cache))
        .expect_err("a file")
        .to_string();
    assert!(
        error.contains("cache") && error.contains("HF_HUB_CACHE"),
        "{error}"
    );
}
