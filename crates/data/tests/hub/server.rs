//! A server on this machine that has the routes of the hub.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use plw_data::{Question, write_questions};
use plw_hub::{Hub, Timeouts};

pub(crate) const FIRST: &str = "1111111111111111111111111111111111111111";
pub(crate) const SECOND: &str = "2222222222222222222222222222222222222222";
pub(crate) const FILES: [&str; 5] = [
    "README.md",
    "all/train-00000-of-00001.parquet",
    "high/train-00000-of-00001.parquet",
    "middle/train-00000-of-00001.parquet",
    "middle/validation-00000-of-00001.parquet",
];

/// The state and the requests of the server.
#[derive(Default)]
pub(crate) struct State {
    /// Requests as `path` or `path bytes=range`, in order.
    requests: Mutex<Vec<String>>,
    /// The commit that `main` stands for; empty if there is no `main`.
    pub(crate) main: Mutex<&'static str>,
    /// Whether the next download breaks off halfway.
    pub(crate) breaks_off: AtomicBool,
    stop: AtomicBool,
}

/// A hub with one data set, `ehovy/race`, whose files depend on the commit. Like the real one it
/// answers 401 for a data set that it does not have, and redirects downloads.
pub(crate) struct Server {
    pub(crate) state: Arc<State>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            main: Mutex::new(FIRST),
            ..State::default()
        });
        let (shared, host) = (state.clone(), address.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client may close its connection early.
                let _ = stream.and_then(|stream| answer(stream, &shared, &host));
            }
        });
        let thread = Some(thread);
        Self {
            state,
            address,
            thread,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server did not panic");
        }
    }

    pub(crate) fn hub(&self, cache: &Path) -> Hub {
        // What fails is repeated at once.
        let timeouts = Timeouts {
            pause: Duration::from_millis(1),
            ..Timeouts::default()
        };
        Hub {
            timeouts,
            ..Hub::new(format!("http://{}", self.address), cache)
        }
    }

    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().expect("no panic"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The bytes of a file: one question, whose id names the commit and the file.
pub(crate) fn content(commit: &str, file: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file.parquet");
    let example = Question {
        file: "".into(),
        row: 0,
        example_id: format!("{}-{file}", &commit[..1]),
        level: String::new(),
        article: Some("A passage.".into()),
        question: "What?".into(),
        options: vec!["this".into(), "that".into()],
        answer: 1,
        columns: Default::default(),
    };
    write_questions(&path, [example]).expect("a file");
    std::fs::read(path).expect("a file")
}

/// A response: status, headers, body, and how many bytes of the body are sent.
struct Response {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
    sent: usize,
}

impl Response {
    fn new(status: &'static str, headers: String, body: Vec<u8>) -> Self {
        let sent = body.len();
        Self {
            status,
            headers,
            body,
            sent,
        }
    }

    fn empty(status: &'static str) -> Self {
        Self::new(status, String::new(), Vec::new())
    }
}

fn answer(mut stream: TcpStream, state: &State, host: &str) -> std::io::Result<()> {
    let (path, range) = request(&stream)?;
    let shown = range
        .as_ref()
        .map(|range| format!(" {range}"))
        .unwrap_or_default();
    let mut requests = state.requests.lock().expect("no panic");
    requests.push(format!("{path}{shown}"));
    drop(requests);
    let response = respond(&path, &range.unwrap_or_default(), state, host);
    let head = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
        response.status,
        response.body.len(),
        response.headers
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&response.body[..response.sent])
}

/// The path of a request, and the value of its header `Range`.
fn request(stream: &TcpStream) -> std::io::Result<(String, Option<String>)> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        range = line.strip_prefix("range: ").map(str::to_owned).or(range);
    }
    Ok((path, range))
}

fn respond(path: &str, range: &str, state: &State, host: &str) -> Response {
    let main = *state.main.lock().expect("no panic");
    let commit = |revision: &str| match revision {
        "main" | "refs%2Fpr%2F1" => Some(main).filter(|main| !main.is_empty()),
        FIRST => Some(FIRST),
        SECOND => Some(SECOND),
        _ => None,
    };
    if let Some(revision) = path.strip_prefix("/api/datasets/ehovy/race/revision/") {
        return commit(revision).map_or(Response::empty("404 Not Found"), listing);
    }
    let resolve = path
        .strip_prefix("/datasets/ehovy/race/resolve/")
        .and_then(|rest| rest.split_once('/'));
    if let Some((Some(commit), file)) = resolve.map(|(revision, file)| (commit(revision), file)) {
        return redirect(commit, file, host);
    }
    match path
        .strip_prefix("/store/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((commit, file)) => part(&content(commit, file), range, state),
        None => Response::empty("401 Unauthorized"),
    }
}

/// The listing of a commit.
fn listing(commit: &str) -> Response {
    let siblings: Vec<_> = FILES
        .iter()
        .map(|file| serde_json::json!({ "rfilename": file }))
        .collect();
    let info = serde_json::json!({ "id": "ehovy/race", "sha": commit, "siblings": siblings });
    let headers = "Content-Type: application/json\r\n".to_owned();
    Response::new("200 OK", headers, info.to_string().into_bytes())
}

/// Where the file of a commit is.
fn redirect(commit: &str, file: &str, host: &str) -> Response {
    let tag = format!("{}-{}", &commit[..1], file.replace('/', "-"));
    let headers = [
        format!("Location: http://{host}/store/{commit}/{file}\r\n"),
        format!("X-Repo-Commit: {commit}\r\n"),
        format!("X-Linked-Etag: \"{tag}\"\r\n"),
        "ETag: \"x\"\r\n".to_owned(),
    ];
    Response::new("302 Found", headers.concat(), Vec::new())
}

/// The part of a file in `range`, of which only half is sent if the download is to break off.
fn part(bytes: &[u8], range: &str, state: &State) -> Response {
    let (first, last) = range
        .trim_start_matches("bytes=")
        .split_once('-')
        .unwrap_or(("0", ""));
    let first: usize = first.parse().unwrap_or(0);
    let last = last.parse().unwrap_or(bytes.len() - 1);
    let headers = format!("Content-Range: bytes {first}-{last}/{}\r\n", bytes.len());
    let part = bytes[first..=last].to_vec();
    let mut response = Response::new("206 Partial Content", headers, part);
    if response.body.len() > 1 && state.breaks_off.swap(false, Ordering::SeqCst) {
        response.sent /= 2;
    }
    response
}
