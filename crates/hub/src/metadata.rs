//! What the hub says about one file: the ETag that its content has, and its length.

use ureq::http::header;

use crate::client::{Answer, Client, Request, unexpected};
use crate::error::RequestError;
use crate::etag::Etag;
use crate::url::Url;

/// The ETag that the hub gives a file that is stored elsewhere; that of the answer is not the
/// file's.
const LINKED_ETAG: &str = "x-linked-etag";
const LINKED_SIZE: &str = "x-linked-size";
const COMMIT: &str = "x-repo-commit";

/// What is known of a file before it is downloaded.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) etag: Etag,
    pub(crate) size: Option<u64>,
}

/// Asks about the file of a commit at `url`. Redirects within the hub (of a repository that was
/// renamed) are followed, those to the store of large files are not.
pub(crate) fn metadata(client: &Client, url: &Url, commit: &str) -> Result<Metadata, RequestError> {
    let is_of_store = |answer: &Answer, location: &Url| {
        answer.headers.contains_key(LINKED_ETAG) || !location.same_origin(&client.endpoint)
    };
    let answer = client.request(Request::Head, url, is_of_store)?;
    let text = |name: &str| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let untrusted = |problem| RequestError::Untrusted {
        url: url.to_string(),
        problem,
    };
    if let Some(other) = text(COMMIT).filter(|other| !other.eq_ignore_ascii_case(commit)) {
        return Err(untrusted(format!(
            "answers with commit {other:?} for commit {commit}"
        )));
    }
    let etag = text(LINKED_ETAG).or_else(|| text(header::ETAG.as_str()));
    let etag = etag.ok_or_else(|| unexpected(url, "sends no ETag header"))?;
    let own_size = || match answer.location {
        // The length of the redirect itself.
        Some(_) => None,
        None => text(header::CONTENT_LENGTH.as_str()),
    };
    let size = text(LINKED_SIZE)
        .or_else(own_size)
        .and_then(|size| size.parse().ok());
    let etag = Etag::from_header(etag).map_err(untrusted)?;
    Ok(Metadata { etag, size })
}
