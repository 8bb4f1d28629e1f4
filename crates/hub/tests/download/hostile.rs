//! Servers that are broken or mean harm: each is an error that says so, leaves nothing outside the
//! cache, and does not spoil the next download.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plw_hub::Timeouts;

use crate::check::{Step, check, check_with};
use crate::repository::{
    COMMIT, CONTENT, ETAG, FILE, LISTING, RESOLVE, download, honest, hub, listing, stored,
};
use crate::server::{Reply, Request, Server, head, reply};

#[test]
fn names_that_leave_the_cache_are_refused() {
    for commit in [
        "../../../../outside",
        "/outside",
        "..",
        "",
        "main",
        "1\u{1b}[2J",
    ] {
        let shown = format!("{commit:?}");
        let answer = move |_: &Request| listing(commit, &[FILE]);
        check(
            Step::Listing,
            answer,
            &["commit", &shown, "do not use this server"],
        );
    }
    for file in [
        "../outside",
        "/outside",
        "a/../../../outside",
        "a//b",
        "",
        "a\u{1b}[2J",
        "a\0",
    ] {
        let shown = format!("{file:?}");
        let answer = move |_: &Request| listing(COMMIT, &[FILE, file]);
        check(Step::Listing, answer, &["names the file", &shown]);
    }
    for etag in [
        "../../../outside",
        "/outside",
        "..",
        "",
        "a/b",
        ".hidden",
        "x.incomplete",
    ] {
        let answer = move |_: &Request| stored("/store", etag);
        check(
            Step::Metadata,
            answer,
            &["ETag", etag, "hub:owner/name/data/rows.bin"],
        );
    }
    let other = "2222222222222222222222222222222222222222";
    let answer =
        move |_: &Request| reply("200 OK", &[("ETag", "x"), ("X-Repo-Commit", other)], b"");
    check(Step::Metadata, answer, &[COMMIT, other]);
}

#[test]
fn redirects_are_bounded_and_go_to_encrypted_or_plain_http_alone() {
    for (step, name) in [
        (Step::Listing, "hub:owner/name"),
        (Step::Metadata, "hub:owner/name/data/rows.bin"),
        (Step::Content, "hub:owner/name/data/rows.bin"),
    ] {
        let nowhere = |_: &Request| reply("302 Found", &[], b"");
        check(step, nowhere, &[name, "without a Location header"]);
        let own_path = |request: &Request| {
            let location = format!("{}/./", request.path);
            reply(
                "307 Temporary Redirect",
                &[("Location", location.as_str())],
                b"",
            )
        };
        check(step, own_path, &[name, "redirects more than 10 times"]);
        for location in [
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "http://",
            "http://u:p@127.0.0.1",
        ] {
            let elsewhere = move |_: &Request| reply("302 Found", &[("Location", location)], b"");
            check(step, elsewhere, &[name, location, "do not use this server"]);
        }
    }
}

#[test]
fn answers_that_no_hub_gives_are_told_apart() {
    for step in [Step::Listing, Step::Metadata, Step::Content] {
        check(
            step,
            |_| Reply::Bytes(b"220 ftp ready\r\n".to_vec()),
            &["does not speak HTTP"],
        );
        let endless = |_: &Request| {
            Reply::Endless(
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                b"X-Again: and again\r\n".to_vec(),
            )
        };
        check(step, endless, &["does not speak HTTP"]);
        check(
            step,
            |_| Reply::Bytes(Vec::new()),
            &["gives no answer", "check the network"],
        );
    }
    let portal = |_: &Request| reply("200 OK", &[], b"<html>Please log in</html>");
    check(
        Step::Listing,
        portal,
        &["something else than a repository's listing", "the proxy"],
    );
    let endless = |_: &Request| Reply::Endless(head("200 OK", &[]), vec![b' '; 1 << 16]);
    check(
        Step::Listing,
        endless,
        &["a listing of more than 67108864 bytes"],
    );
    check(
        Step::Metadata,
        |_| reply("200 OK", &[], b""),
        &["sends no ETag"],
    );
}

type Headers = &'static [(&'static str, &'static str)];

/// An answer with its length, as far as `headers` do not say another.
fn body(headers: Headers, body: &'static [u8]) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |_| reply("200 OK", headers, body)
}

/// An answer whose length only `headers` tell.
fn rest(headers: Headers, body: &'static [u8]) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |_| Reply::Bytes([head("200 OK", headers).as_slice(), body].concat())
}

#[test]
fn lengths_and_digests_are_checked() {
    let step = Step::Content;
    check(
        step,
        body(&[], b"01234567"),
        &["sends 8 bytes instead of the 16"],
    );
    check(
        step,
        body(&[], b"0123456789abcdef!"),
        &["sends 17 bytes instead of the 16"],
    );
    check(
        step,
        body(&[], b"0123456789abcdeF"),
        &["other bytes than the ETag", ETAG],
    );
    check(
        step,
        body(&[("Content-Encoding", "gzip")], CONTENT),
        &["compressed"],
    );
    // Without a length in advance.
    let chunked: Headers = &[("Transfer-Encoding", "chunked")];
    check(
        step,
        rest(chunked, b"8\r\n01234567\r\n0\r\n\r\n"),
        &["broke off after 8 of 16"],
    );
    check(
        step,
        rest(chunked, b"11\r\n0123456789abcdef!\r\n0\r\n\r\n"),
        &["more than the 16"],
    );
    check(
        step,
        rest(&[], b"0123"),
        &["broke off after 4 of 16 bytes", "is kept"],
    );
    let endless = |_: &Request| Reply::Endless(head("200 OK", &[]), vec![b'0'; 1 << 16]);
    check(step, endless, &["more than the 16"]);
    // A part that was not asked for.
    let range = |_: &Request| {
        reply(
            "206 Partial Content",
            &[("Content-Range", "bytes 8-15/16")],
            b"89abcdef",
        )
    };
    check(step, range, &["a part that nobody asked for"]);
}

#[test]
fn a_file_without_a_length_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(|request| match Step::of(request) {
        Step::Metadata => Reply::Bytes(head("200 OK", &[("ETag", ETAG)])),
        Step::Content => Reply::Bytes([head("200 OK", &[]).as_slice(), CONTENT].concat()),
        Step::Listing => honest(request),
    });
    let error = download(&hub(&server.address, folder.path())).expect_err("no length");
    assert!(
        error
            .to_string()
            .contains("does not say how long the file is"),
        "{error}"
    );
}

#[test]
fn a_server_that_falls_silent_is_left() {
    const SHORT: Duration = Duration::from_millis(100);
    let patient = hub("", "".as_ref()).timeouts;
    let metadata = Timeouts {
        metadata: SHORT,
        ..patient
    };
    let download = Timeouts {
        download: SHORT,
        ..patient
    };
    for (step, timeouts, variable) in [
        (Step::Listing, metadata, "HF_HUB_ETAG_TIMEOUT"),
        (Step::Metadata, metadata, "HF_HUB_ETAG_TIMEOUT"),
        (Step::Content, download, "HF_HUB_DOWNLOAD_TIMEOUT"),
    ] {
        let parts = ["kept waiting for 0.1 s", variable];
        let nothing = |_: &Request| Reply::Silence(Vec::new());
        check_with(&timeouts, step, nothing, &parts);
        let half_a_head = |_: &Request| Reply::Silence(b"HTTP/1.1 200 OK\r\nX-Half: a".to_vec());
        check_with(&timeouts, step, half_a_head, &parts);
    }
    let half = [
        head("200 OK", &[("Content-Length", "16")]).as_slice(),
        b"0123",
    ]
    .concat();
    let half = move |_: &Request| Reply::Silence(half.clone());
    let parts = ["kept waiting for 0.1 s", "HF_HUB_DOWNLOAD_TIMEOUT"];
    check_with(&download, Step::Content, half, &parts);
    // Forever a byte more of a listing.
    let drip = |_: &Request| Reply::Endless(head("200 OK", &[]), vec![b' ']);
    let metadata = Timeouts {
        metadata: Duration::from_millis(20),
        ..patient
    };
    let parts = ["kept waiting", "HF_HUB_ETAG_TIMEOUT"];
    check_with(&metadata, Step::Listing, drip, &parts);
}

#[test]
fn an_error_status_says_what_to_do() {
    let of_file = "for hub:owner/name/data/rows.bin: ";
    for (status, remedy) in [
        ("401 Unauthorized", "set HF_TOKEN if you have access"),
        ("403 Forbidden", "ask for it on the page of the data set"),
        ("404 Not Found", "check the name"),
    ] {
        let number = &status[..3];
        let refuse = move |_: &Request| reply(status, &[], b"");
        check(
            Step::Listing,
            refuse,
            &[number, "for hub:owner/name: ", remedy],
        );
        check(Step::Metadata, refuse, &[number, of_file, remedy]);
    }
    for (status, remedy) in [
        ("429 Too Many Requests", "wait a few minutes"),
        ("500 Internal Server Error", "try again later"),
        ("503 Service Unavailable", "try again later"),
        ("204 No Content", "check HF_ENDPOINT"),
        ("418 I'm a teapot", "check HF_ENDPOINT"),
    ] {
        for step in [Step::Listing, Step::Metadata, Step::Content] {
            let refuse = move |_: &Request| reply(status, &[], b"");
            check(
                step,
                refuse,
                &[
                    "hub:owner/name",
                    &format!("answers {}", &status[..3]),
                    remedy,
                ],
            );
        }
    }
}

#[test]
fn an_error_that_passes_is_waited_for() {
    for step in [Step::Listing, Step::Metadata, Step::Content] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failures = AtomicU32::new(0);
        let server = Server::start(move |request| {
            let is_meant = Step::of(request) == step;
            if is_meant && failures.fetch_add(1, Ordering::SeqCst) < 3 {
                return reply("503 Service Unavailable", &[], b"");
            }
            honest(request)
        });
        let files = download(&hub(&server.address, folder.path())).expect("the fourth attempt");
        assert_eq!(std::fs::read(&files[0].path).expect("a file"), CONTENT);
    }
}

#[test]
fn the_paths_of_requests_are_those_of_huggingface_hub() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(honest);
    download(&hub(&server.address, folder.path())).expect("honest");
    let requests = server.requests();
    let lines: Vec<_> = requests
        .iter()
        .map(|r| format!("{} {}", r.method, r.path))
        .collect();
    let file = format!("{RESOLVE}{COMMIT}/{FILE}");
    let expected = [
        format!("GET {LISTING}"),
        format!("HEAD {file}"),
        format!("GET {file}"),
        "GET /store".to_owned(),
    ];
    assert_eq!(lines, expected);
}
