//! What the hub says about a repository: the commit that a revision stands for, and its files.

use std::io::Read;

use serde::Deserialize;

use crate::client::{Client, Request, unexpected};
use crate::error::RequestError;
use crate::names::{is_commit, stays_inside};
use crate::repository::Repository;
use crate::url::Url;

/// The longest listing that is read: some 500 000 files.
const LONGEST: u64 = 64 << 20;

/// A commit and the names of its files.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: Vec<String>,
}

/// The hub's answer; it says more.
#[derive(Deserialize)]
struct Information {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Asks for the listing of a repository.
pub(crate) fn listing(client: &Client, repository: &Repository) -> Result<Listing, RequestError> {
    let url = client.url(&repository.listing_path())?;
    let answer = client.request(Request::Document, &url, |_, _| false)?;
    let mut text = Vec::new();
    let mut body = answer.body.into_reader().take(LONGEST + 1);
    let read = body.read_to_end(&mut text);
    read.map_err(|error| client.failed(Request::Document, &url, error.into()))?;
    if text.len() as u64 > LONGEST {
        return Err(unexpected(
            &url,
            format!("sends a listing of more than {LONGEST} bytes"),
        ));
    }
    checked(&text, &url, repository.revision())
}

/// The listing that a text holds.
fn checked(text: &[u8], url: &Url, revision: &str) -> Result<Listing, RequestError> {
    let information: Information = serde_json::from_slice(text).map_err(|error| {
        unexpected(
            url,
            format!("sends something else than a repository's listing ({error})"),
        )
    })?;
    let untrusted = |problem: String| RequestError::Untrusted {
        url: url.to_string(),
        problem,
    };
    let commit = information.sha;
    if !is_commit(&commit) {
        return Err(untrusted(format!(
            "names the commit {commit:?}, which is not 40 hex digits"
        )));
    }
    if is_commit(revision) && !commit.eq_ignore_ascii_case(revision) {
        return Err(untrusted(format!(
            "answers with commit {commit} for commit {revision}"
        )));
    }
    let files = information.siblings.into_iter().map(|file| file.rfilename);
    let files: Vec<String> = files.collect();
    match files.iter().find(|file| !stays_inside(file)) {
        Some(file) => Err(untrusted(format!(
            "names the file {file:?}, which cannot be a path"
        ))),
        None => Ok(Listing { commit, files }),
    }
}
