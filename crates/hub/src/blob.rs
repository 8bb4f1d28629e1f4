//! Downloads the content of a file into `blobs`: continues what was interrupted, and keeps only
//! what has the right length and digest.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ureq::http::{HeaderMap, header};

use crate::client::{Answer, Client, Request, unexpected};
use crate::error::{HubError, RequestError};
use crate::etag::Etag;
use crate::lock::Lock;
use crate::metadata::Metadata;
use crate::progress::{Progress, ProgressFunction};
use crate::retry::Attempts;
use crate::url::Url;

/// The bytes that must arrive before failed attempts are forgotten.
const PROGRESS: u64 = 1 << 20;

/// A file to download.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    /// Its name in errors and in the progress.
    pub(crate) name: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) metadata: &'a Metadata,
    pub(crate) progress: Option<&'a ProgressFunction>,
}

/// Why a download ended.
pub(crate) enum Failure {
    /// The request failed.
    Request(RequestError),
    /// The cache cannot be written.
    Cache(HubError),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Cache(error)
    }
}

impl Download<'_> {
    /// Downloads the content to `blob`, unless it is there. Returns the blob's lock, whose path is
    /// given.
    pub(crate) fn to_blob(&self, blob: &Path, lock: &Path) -> Result<Lock, Failure> {
        let file = self.name;
        let lock = Lock::take(lock, || self.tell(Progress::Waiting { file }))?;
        let is_complete = std::fs::metadata(blob).is_ok_and(|blob| {
            // Other programs keep what a server sent, even if it was too short.
            blob.is_file() && self.metadata.size.is_none_or(|size| size == blob.len())
        });
        if is_complete {
            return Ok(lock);
        }
        let etag = &self.metadata.etag;
        let mut part = Part::open(part_of(blob, &lock), etag)?;
        // What an earlier process left may not fit: then once more from the start.
        for _ in 0..2 {
            if self.complete(&mut part)? && etag.fits(&part.path)? {
                part.publish(blob)?;
                return Ok(lock);
            }
            part.clear()?;
        }
        part.remove();
        let problem = format!(
            "sends other bytes than the ETag {} stands for",
            etag.as_str()
        );
        Err(unexpected(self.url, problem).into())
    }

    /// Downloads what a part lacks. False if the server has no such part of the file.
    fn complete(&self, part: &mut Part) -> Result<bool, Failure> {
        let mut attempts = Attempts::new(self.client.timeouts.pause);
        loop {
            let before = part.length;
            match self.continued(part) {
                Err(Failure::Request(failure)) => {
                    if part.length >= before + PROGRESS {
                        attempts.reset();
                    }
                    attempts.pause_after(failure)?;
                }
                done => return done,
            }
        }
    }

    /// One request for what a part lacks.
    fn continued(&self, part: &mut Part) -> Result<bool, Failure> {
        if self.metadata.size == Some(part.length) && part.length > 0 {
            return Ok(true);
        }
        if self.metadata.size.is_some_and(|size| size < part.length) {
            return Ok(false);
        }
        let request = Request::Bytes { from: part.length };
        let answer = self.client.request(request, self.url, |_, _| false)?;
        let total = match answer.status {
            416 => return Ok(false),
            200 => {
                // The server sends everything, whatever it was asked for.
                part.clear()?;
                number(&answer.headers, header::CONTENT_LENGTH.as_str())
            }
            _ => match content_range(&answer.headers) {
                Some((first, total)) if first == part.length => total,
                _ if part.length > 0 => return Ok(false),
                _ => {
                    return Err(
                        unexpected(&answer.url, "sends a part that nobody asked for").into(),
                    );
                }
            },
        };
        let total = self.total(&answer, total)?;
        self.receive(request, answer, part, total)?;
        Ok(true)
    }

    /// The length of the whole file, on which everybody agrees.
    fn total(&self, answer: &Answer, stated: Option<u64>) -> Result<u64, RequestError> {
        let encoding = answer.headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(unexpected(
                &answer.url,
                "sends the file compressed, though not asked to",
            ));
        }
        match (self.metadata.size, stated) {
            (Some(size), Some(stated)) if size != stated => Err(unexpected(
                &answer.url,
                format!("sends {stated} bytes instead of the {size} that the file has"),
            )),
            (Some(total), _) | (None, Some(total)) => Ok(total),
            (None, None) => Err(unexpected(&answer.url, "does not say how long the file is")),
        }
    }

    /// Appends an answer's bytes to a part, up to the length of the whole file.
    fn receive(
        &self,
        request: Request,
        answer: Answer,
        part: &mut Part,
        total: u64,
    ) -> Result<(), Failure> {
        let url = &answer.url;
        let mut body = answer.body.into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) if part.length == total => return Ok(()),
                Ok(0) => return Err(cut(url, part, total, "the connection ended").into()),
                Ok(read) => read,
                Err(error) => {
                    return Err(match self.client.failed(request, url, error.into()) {
                        RequestError::Connection { source, .. } => {
                            cut(url, part, total, &source.to_string())
                        }
                        failure => failure,
                    }
                    .into());
                }
            };
            if part.length + read as u64 > total {
                let problem = format!("sends more than the {total} bytes that the file has");
                return Err(unexpected(url, problem).into());
            }
            part.append(&buffer[..read])?;
            let (file, bytes) = (self.name, part.length);
            self.tell(Progress::Downloaded { file, bytes, total });
        }
    }

    fn tell(&self, progress: Progress<'_>) {
        if let Some(function) = self.progress {
            function(progress);
        }
    }
}

fn cut(url: &Url, part: &Part, total: u64, reason: &str) -> RequestError {
    RequestError::Cut {
        url: url.to_string(),
        received: part.length,
        total,
        reason: reason.to_owned(),
    }
}

/// Where the unfinished part of a blob is. Without a lock, each process has its own.
fn part_of(blob: &Path, lock: &Lock) -> PathBuf {
    let process = match lock {
        Lock::Held { .. } => String::new(),
        Lock::Unsupported => format!(".{}", std::process::id()),
    };
    let mut name = blob.as_os_str().to_owned();
    name.push(format!("{process}.incomplete"));
    name.into()
}

/// The number in a header.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The first byte and the length of the file in `Content-Range: bytes 5-9/10`; the length may be
/// `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (bytes, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let first = bytes.split_once('-')?.0.parse().ok()?;
    Some((first, total.parse().ok()))
}

/// The unfinished part of a blob.
struct Part {
    path: PathBuf,
    file: File,
    /// Its bytes so far.
    length: u64,
}

impl Part {
    /// Opens what an earlier process left, or an empty part. What no digest can check is not
    /// continued: after a power failure it may hold anything.
    fn open(path: PathBuf, etag: &Etag) -> Result<Self, HubError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(HubError::cache(folder))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(!etag.is_digest());
        let opened = options.open(&path).and_then(|mut file| {
            let length = file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        });
        let (file, length) = opened.map_err(HubError::cache(&path))?;
        Ok(Self { path, file, length })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file
            .write_all(bytes)
            .map_err(HubError::cache(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), HubError> {
        let cleared: io::Result<()> = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(HubError::cache(&self.path))?;
        self.length = 0;
        Ok(())
    }

    fn remove(self) {
        // What stays is refused again by its digest.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Gives the complete content its name.
    fn publish(self, blob: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(HubError::cache(&self.path))?;
        std::fs::rename(&self.path, blob).map_err(HubError::cache(blob))
    }
}
