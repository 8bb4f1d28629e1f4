//! A server on this machine that answers what a test says: a hub, a store of large files, or one
//! that does harm.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Request {
    /// Its first byte, by its header `Range: bytes=5-`.
    pub(crate) fn from(&self) -> usize {
        let range = self
            .range
            .as_ref()
            .and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| {
            range.trim_end_matches('-').parse().expect("an offset")
        })
    }
}

/// What a server sends, byte for byte.
pub(crate) enum Reply {
    /// These bytes; then it closes the connection.
    Bytes(Vec<u8>),
    /// These bytes; then it is silent and keeps the connection open.
    Silence(Vec<u8>),
    /// The first bytes, then the second ones again and again, with short pauses.
    Endless(Vec<u8>, Vec<u8>),
}

/// A complete answer.
pub(crate) fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        headers.push(("Content-Length", length.as_str()));
    }
    Reply::Bytes([head(status, &headers).as_slice(), body].concat())
}

/// The start of an answer.
pub(crate) fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Request>>,
    silent: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State::default());
        let (shared, answer) = (state.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, answer) = (shared.clone(), answer.clone());
                // A client may close its connection early.
                std::thread::spawn(move || stream.and_then(|s| serve(s, &shared, &*answer)));
            }
        });
        let thread = Some(thread);
        Self {
            address,
            state,
            thread,
        }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().expect("no panic").clone()
    }

    /// How many requests have this method and a path that contains `part`.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.requests();
        let is_meant = |request: &&Request| request.method == method && request.path.contains(part);
        requests.iter().filter(is_meant).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server did not panic");
        }
    }
}

fn serve(
    mut stream: TcpStream,
    state: &State,
    answer: &dyn Fn(&Request) -> Reply,
) -> std::io::Result<()> {
    let request = read(&stream)?;
    state
        .requests
        .lock()
        .expect("no panic")
        .push(request.clone());
    match answer(&request) {
        Reply::Bytes(bytes) => stream.write_all(&bytes),
        Reply::Silence(bytes) => {
            stream.write_all(&bytes)?;
            state.silent.lock().expect("no panic").push(stream);
            Ok(())
        }
        Reply::Endless(first, again) => {
            stream.write_all(&first)?;
            while !state.stop.load(Ordering::SeqCst) {
                stream.write_all(&again)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}
