//! Interrupted downloads, and two processes that download one file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use plw_hub::{Hub, Progress};

use crate::repository::{CONTENT, ETAG, FILE, RESOLVE, download, honest, hub, part, stored};
use crate::server::{Reply, Request, Server, head};

fn unfinished(cache: &Path) -> PathBuf {
    cache.join(format!("datasets--owner--name/blobs/{ETAG}.incomplete"))
}

/// Leaves the bytes of an interrupted download in a new cache.
fn interrupted(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = unfinished(folder.path());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
    folder
}

/// The offsets from which the content was asked for.
fn offsets(server: &Server) -> Vec<usize> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.path == "/store")
        .map(|request| request.from())
        .collect()
}

#[track_caller]
fn assert_downloaded(hub: &Hub, cache: &Path) {
    let files = download(hub).expect("a file");
    assert_eq!(std::fs::read(&files[0].path).expect("a file"), CONTENT);
    assert!(!unfinished(cache).exists());
}

#[test]
fn what_an_earlier_process_left_is_continued_if_it_fits() {
    let cases: [(&[u8], &[usize]); 6] = [
        (b"0123456", &[7]),
        (b"0123456789abcde", &[15]),
        // Complete, but not yet renamed.
        (b"0123456789abcdef", &[]),
        // Other bytes, and more than the file has.
        (b"xxxxxxx", &[7, 0]),
        (b"0123456789abcdefg", &[0]),
        (b"xxxxxxxxxxxxxxxx", &[0]),
    ];
    for (left, expected) in cases {
        let folder = interrupted(left);
        let server = Server::start(honest);
        assert_downloaded(&hub(&server.address, folder.path()), folder.path());
        assert_eq!(offsets(&server), expected, "{left:?}");
    }
}

#[test]
fn servers_without_parts_send_the_whole_file() {
    let whole: fn(&Request) -> Reply = |_| part(CONTENT, 0);
    let none: fn(&Request) -> Reply = |request| match request.from() {
        0 => part(CONTENT, 0),
        _ => part(CONTENT, 99),
    };
    let other: fn(&Request) -> Reply = |request| match request.from() {
        0 => part(CONTENT, 0),
        from => part(CONTENT, from + 1),
    };
    let cases: [(_, &[usize]); 3] = [(whole, &[7]), (none, &[7, 0]), (other, &[7, 0])];
    for (answer, expected) in cases {
        let folder = interrupted(b"0123456");
        let server = Server::start(move |request| match request.path.as_str() {
            "/store" => answer(request),
            _ => honest(request),
        });
        assert_downloaded(&hub(&server.address, folder.path()), folder.path());
        assert_eq!(offsets(&server), expected);
    }
}

/// Four bytes of the content, then the connection ends.
fn four_bytes(request: &Request) -> Reply {
    let (from, all) = (request.from(), CONTENT.len());
    let length = (all - from).to_string();
    let range = format!("bytes {from}-{}/{all}", all - 1);
    let headers = [
        ("Content-Length", length.as_str()),
        ("Content-Range", range.as_str()),
    ];
    let part = &CONTENT[from..all.min(from + 4)];
    Reply::Bytes([head("206 Partial Content", &headers).as_slice(), part].concat())
}

#[test]
fn a_connection_that_is_cut_is_continued() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(|request| match request.path.as_str() {
        "/store" => four_bytes(request),
        _ => honest(request),
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let hub = Hub {
        progress: Some(Arc::new(move |progress: Progress<'_>| {
            listener
                .lock()
                .expect("no panic")
                .push(format!("{progress:?}"));
        })),
        ..hub(&server.address, folder.path())
    };
    assert_downloaded(&hub, folder.path());
    assert_eq!(offsets(&server), [0, 4, 8, 12]);
    let told = told.lock().expect("no panic");
    let file = format!("hub:owner/name/{FILE}");
    let last = Progress::Downloaded {
        file: &file,
        bytes: 16,
        total: 16,
    };
    assert_eq!(told.last(), Some(&format!("{last:?}")));
}

#[test]
fn what_arrived_before_the_last_failure_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let served = AtomicUsize::new(0);
    let server = Server::start(move |request| match request.path.as_str() {
        "/store" if served.fetch_add(1, Ordering::SeqCst) == 0 => four_bytes(request),
        "/store" => Reply::Bytes(Vec::new()),
        _ => honest(request),
    });
    assert!(download(&hub(&server.address, folder.path())).is_err());
    assert_eq!(
        std::fs::read(unfinished(folder.path())).expect("a part"),
        b"0123"
    );
    let server = Server::start(honest);
    assert_downloaded(&hub(&server.address, folder.path()), folder.path());
    assert_eq!(offsets(&server), [4]);
}

#[test]
fn what_no_digest_can_check_starts_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blob = folder.path().join("datasets--owner--name/blobs/opaque-1");
    std::fs::create_dir_all(blob.parent().expect("a folder")).expect("made");
    std::fs::write(blob.with_extension("incomplete"), "xxxxxxx").expect("written");
    let server = Server::start(|request| match request.path.as_str() {
        path if path.starts_with(RESOLVE) => stored("/store", "opaque-1"),
        _ => honest(request),
    });
    assert_downloaded(&hub(&server.address, folder.path()), folder.path());
    assert_eq!(offsets(&server), [0]);
    assert_eq!(std::fs::read(blob).expect("a blob"), CONTENT);
}

#[test]
fn a_blob_that_is_too_short_is_downloaded_again() {
    let folder = interrupted(b"");
    let blob = unfinished(folder.path()).with_extension("");
    std::fs::write(&blob, "0123").expect("written");
    let server = Server::start(honest);
    assert_downloaded(&hub(&server.address, folder.path()), folder.path());
    assert_eq!(std::fs::read(blob).expect("a blob"), CONTENT);
}

#[test]
fn of_two_processes_one_downloads_and_the_other_waits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (waits, waiting) = mpsc::channel();
    let waiting = Mutex::new(waiting);
    // The content is not sent before the second process waits for it.
    let server = Server::start(move |request| {
        if request.path == "/store" {
            waiting
                .lock()
                .expect("no panic")
                .recv()
                .expect("a second process");
        }
        honest(request)
    });
    let hub = Hub {
        progress: Some(Arc::new(move |progress: Progress<'_>| {
            if let Progress::Waiting { .. } = progress {
                waits.send(()).expect("the server runs");
            }
        })),
        ..hub(&server.address, folder.path())
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_downloaded(&hub, folder.path()));
        }
    });
    assert_eq!(offsets(&server), [0]);
}
