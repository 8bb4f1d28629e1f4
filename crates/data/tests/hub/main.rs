//! Data sets downloaded from a server on this machine that has the routes of the hub.

mod server;

use std::sync::atomic::Ordering;

use plw_data::{ColumnOptions, ReadOptions, Source, Split, read_example_files};
use plw_hub::Hub;

use crate::server::{FIRST, SECOND, Server, content};

/// The id, level and file of each question of a source.
fn read(source: &str, split: Split, hub: &Hub) -> Result<Vec<[String; 3]>, String> {
    let source: Source = source.parse().expect("a source");
    let files = source
        .files(split, || Ok(hub.clone()))
        .map_err(|error| error.to_string())?;
    let reader = read_example_files(files, &ColumnOptions::default(), &ReadOptions::default())
        .map_err(|error| error.to_string())?;
    reader
        .map(|row| {
            row.map(|e| [e.example_id(), e.level(), e.file()].map(str::to_owned))
                .map_err(|e| e.to_string())
        })
        .collect()
}

fn ids(rows: Result<Vec<[String; 3]>, String>) -> Vec<String> {
    rows.expect("questions")
        .into_iter()
        .map(|[id, ..]| id)
        .collect()
}

const MIDDLE: &str = "middle/train-00000-of-00001.parquet";
const HIGH: &str = "high/train-00000-of-00001.parquet";

#[test]
fn files_are_downloaded_once() {
    let mut server = Server::start();
    let cache = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(cache.path());
    let expected = [HIGH, MIDDLE].map(|file| {
        let level = file.split('/').next().expect("a folder").to_owned();
        [format!("1-{file}"), level, format!("hub:ehovy/race/{file}")]
    });
    assert_eq!(
        read("hub:ehovy/race", Split::Train, &hub).expect("questions"),
        expected
    );
    let requests = server.take_requests();
    assert_eq!(requests[0], "/api/datasets/ehovy/race/revision/main");
    assert!(
        requests
            .iter()
            .all(|request| !request.contains("/all/") && !request.contains("validation"))
    );

    // The hub is asked what main stands for, and for no file again.
    assert_eq!(
        read("hub:ehovy/race", Split::Train, &hub).expect("questions"),
        expected
    );
    assert_eq!(
        server.take_requests(),
        ["/api/datasets/ehovy/race/revision/main"]
    );

    // Offline, and with the server gone, the cache answers.
    let offline = Hub {
        offline: true,
        ..hub.clone()
    };
    assert_eq!(
        read("hub:ehovy/race", Split::Train, &offline).expect("questions"),
        expected
    );
    assert_eq!(server.take_requests(), [""; 0]);
    server.stop();
    assert_eq!(
        read("hub:ehovy/race", Split::Train, &hub).expect("questions"),
        expected
    );
    assert_eq!(
        ids(read("hub:ehovy/race/middle", Split::Train, &hub)),
        [format!("1-{MIDDLE}")]
    );
    // Files that were never downloaded are an error, not left out.
    for (source, split, hub, parts) in [
        (
            "hub:ehovy/race",
            Split::Validation,
            &offline,
            ["HF_HUB_OFFLINE", "middle/validation-00000"],
        ),
        (
            "hub:ehovy/race/all",
            Split::Train,
            &hub,
            ["http://127", "hub:ehovy/race/all/train"],
        ),
        (
            "hub:ehovy/other",
            Split::Train,
            &offline,
            ["run once", "hub:ehovy/other is not in the cache"],
        ),
    ] {
        let error = read(source, split, hub).expect_err("not cached");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn revisions_folders_and_files_are_distinguished() {
    let server = Server::start();
    let cache = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(cache.path());
    assert_eq!(
        ids(read("hub:ehovy/race/middle", Split::Train, &hub)),
        [format!("1-{MIDDLE}")]
    );
    let pinned = format!("hub:ehovy/race/middle@{SECOND}");
    let [id, level, file] = read(&pinned, Split::Train, &hub)
        .expect("questions")
        .remove(0);
    assert_eq!([id, level], [format!("2-{MIDDLE}"), "middle".into()]);
    assert_eq!(file, format!("hub:ehovy/race/{MIDDLE}@{SECOND}"));
    assert_eq!(
        ids(read("hub:ehovy/race/all@refs/pr/1", Split::Train, &hub)).len(),
        1
    );
    assert_eq!(
        ids(read(&format!("hub:ehovy/race/{HIGH}"), Split::Test, &hub)),
        [format!("1-{HIGH}")]
    );

    // The hub is not asked about a commit again.
    server.take_requests();
    assert_eq!(
        ids(read(&pinned, Split::Train, &hub)),
        [format!("2-{MIDDLE}")]
    );
    assert_eq!(server.take_requests(), [""; 0]);

    // A branch that moves is followed.
    *server.state.main.lock().expect("no panic") = SECOND;
    assert_eq!(
        ids(read("hub:ehovy/race/middle", Split::Train, &hub)),
        [format!("2-{MIDDLE}")]
    );
    let offline = Hub {
        offline: true,
        ..hub
    };
    assert_eq!(
        ids(read("hub:ehovy/race/middle", Split::Train, &offline)),
        [format!("2-{MIDDLE}")]
    );
}

#[test]
fn errors_name_what_the_hub_does_not_have() {
    let server = Server::start();
    let cache = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(cache.path());
    for (source, split, parts) in [
        (
            "hub:ehovy/rice",
            Split::Train,
            ["401 for hub:ehovy/rice", "HF_TOKEN"],
        ),
        (
            "hub:ehovy/race@old",
            Split::Train,
            ["404 for hub:ehovy/race@old", "no such data set or revision"],
        ),
        (
            "hub:ehovy/race",
            Split::Test,
            ["holds no test file", "it has train and validation"],
        ),
        (
            "hub:ehovy/race/low",
            Split::Train,
            [
                "hub:ehovy/race/low holds no train",
                "no file of another split",
            ],
        ),
    ] {
        let error = read(source, split, &hub).expect_err("not there");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // The cache does not stand in for a revision that the hub no longer has.
    assert!(read("hub:ehovy/race/middle", Split::Train, &hub).is_ok());
    *server.state.main.lock().expect("no panic") = "";
    let error = read("hub:ehovy/race/middle", Split::Train, &hub).expect_err("gone");
    assert!(error.contains("404 for hub:ehovy/race: "), "{error}");
}

#[test]
fn an_interrupted_download_continues() {
    let server = Server::start();
    let cache = tempfile::tempdir().expect("a temporary folder");
    server.state.breaks_off.store(true, Ordering::SeqCst);
    let hub = server.hub(cache.path());
    assert_eq!(
        ids(read("hub:ehovy/race/middle", Split::Train, &hub)),
        [format!("1-{MIDDLE}")]
    );
    let requests = server.take_requests();
    let downloads: Vec<_> = requests
        .iter()
        .filter(|request| request.starts_with("/store/"))
        .collect();
    assert_eq!(downloads.len(), 2, "{requests:?}");
    assert!(
        downloads[1].ends_with('-'),
        "the second continues where the first broke off: {downloads:?}"
    );
}

#[test]
fn a_cache_that_another_program_filled_is_read() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let repository = cache.path().join("datasets--ehovy--race");
    let file = repository.join("snapshots").join(FIRST).join(MIDDLE);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, content(FIRST, MIDDLE)).expect("a file");
    std::fs::create_dir_all(repository.join("refs")).expect("a folder");
    std::fs::write(repository.join("refs/main"), FIRST).expect("a file");
    let hub = Hub {
        offline: true,
        ..Hub::new("http://127.0.0.1:9", cache.path())
    };
    for source in [
        "hub:ehovy/race",
        "hub:ehovy/race/middle",
        &format!("hub:ehovy/race/middle@{FIRST}"),
    ] {
        assert_eq!(
            ids(read(source, Split::Train, &hub)),
            [format!("1-{MIDDLE}")],
            "{source}"
        );
    }
    assert!(read("hub:ehovy/race/high", Split::Train, &hub).is_err());
}
