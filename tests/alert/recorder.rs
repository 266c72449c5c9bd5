//! A receiver of notices: keeps every request and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Status, further header lines and body of an answer.
pub type Answer = (u16, String, String);

type Behaviour = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// An HTTP server on loopback.
#[derive(Clone)]
pub struct Recorder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    /// Takes everything.
    pub fn start() -> Recorder {
        Recorder::answering(|_, _| (200, String::new(), "{}".to_owned()))
    }

    /// Answers as `behaviour` says for the request and its number from 0. What it answers with
    /// anything but a 2xx is kept too.
    pub fn answering(
        behaviour: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Recorder {
        Recorder::serving(None, behaviour)
    }

    /// Speaks TLS with these settings, where there are any.
    pub fn serving(
        tls: Option<Arc<ServerConfig>>,
        behaviour: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, behaviour) = (Arc::clone(&kept), Arc::clone(&behaviour));
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => serve(stream, &kept, behaviour.as_ref()),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(session, stream), &kept, behaviour.as_ref());
                    }
                });
            }
        });
        Recorder { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The value of a key in every body so far.
    pub fn values(&self, key: &str) -> Vec<String> {
        let text = |request: Request| request.json()[key].as_str().unwrap_or_default().to_owned();
        self.requests().into_iter().map(text).collect()
    }
}

fn serve(stream: impl Read + Write, kept: &Mutex<Vec<Request>>, behaviour: &Behaviour) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push(request.clone());
            kept.len() - 1
        };
        let (status, headers, body) = behaviour(&request, number);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
        let stream = reader.get_mut();
        if stream.write_all((head + &body).as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    let mut next = |reader: &mut dyn BufRead| {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let text = line.trim_end().to_owned();
        (!line.is_empty()).then_some(text)
    };
    // No channel asks for anything: what is no POST gets no answer.
    let path = next(reader)?.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = next(reader)?;
        match line.split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut request = Request { path, headers, body: String::new() };
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
