//! The token goes to the hub, and to nobody whom the hub names.

use plw_hub::Hub;

use crate::repository::{
    COMMIT, CONTENT, ETAG, FILE, LISTING, RESOLVE, download, honest, hub, listing, part, stored,
};
use crate::server::{Reply, Request, Server, reply};

fn with_token(endpoint: &str, cache: &std::path::Path) -> Hub {
    Hub {
        token: Some("sesame".to_owned()),
        ..hub(endpoint, cache)
    }
}

#[track_caller]
fn assert_authorizations(server: &Server, expected: Option<&str>) {
    let requests = server.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
}

#[test]
fn a_store_elsewhere_does_not_see_the_token() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Server::start(|request| part(CONTENT, request.from()));
    let location = format!("{}/store", store.address);
    let server = Server::start(move |request| match request.path.as_str() {
        path if path.starts_with(RESOLVE) => stored(&location, ETAG),
        _ => honest(request),
    });
    download(&with_token(&server.address, folder.path())).expect("a file");
    assert_authorizations(&server, Some("Bearer sesame"));
    assert_authorizations(&store, None);
    // Nor does the hub's host on another port, which is another server.
    assert_ne!(server.address, store.address);
}

#[test]
fn no_redirect_takes_the_token_along() {
    // Of the listing and of the metadata, with every status, to a server that plays the hub.
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let other = Server::start(honest);
        let address = other.address.clone();
        let server = Server::start(move |request| {
            let location = format!("{address}{}", request.path);
            let etag = format!("\"{ETAG}\"");
            let headers = [("Location", location.as_str()), ("ETag", etag.as_str())];
            reply(status, &headers, b"")
        });
        download(&with_token(&server.address, folder.path())).expect("a file");
        assert_authorizations(&server, Some("Bearer sesame"));
        assert_authorizations(&other, None);
    }
}

#[test]
fn a_repository_that_was_renamed_is_found_with_the_token() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let renamed = |request: &Request, from: &str, to: &str| -> Reply {
        let location = request.path.replacen(from, to, 1);
        reply(
            "307 Temporary Redirect",
            &[("Location", location.as_str())],
            b"",
        )
    };
    let server = Server::start(move |request| match request.path.as_str() {
        LISTING => renamed(request, "owner/name", "new/name"),
        "/api/datasets/new/name/revision/main" => listing(COMMIT, &[FILE]),
        path if path.starts_with(RESOLVE) => renamed(request, "owner/name", "new/name"),
        path if path.starts_with("/datasets/new/name/resolve/") => stored("../../../x", ETAG),
        // A path that is relative to that of the request.
        "/datasets/new/name/x" => part(CONTENT, request.from()),
        _ => reply("404 Not Found", &[], b""),
    });
    let files = download(&with_token(&server.address, folder.path())).expect("a file");
    assert_eq!(std::fs::read(&files[0].path).expect("a file"), CONTENT);
    assert_authorizations(&server, Some("Bearer sesame"));
}

#[test]
fn errors_speak_of_the_token_that_was_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(|_| reply("401 Unauthorized", &[], b""));
    let error = download(&with_token(&server.address, folder.path())).expect_err("refused");
    let error = error.to_string();
    assert!(
        error.contains("check that your token") && !error.contains("sesame"),
        "{error}"
    );
}
