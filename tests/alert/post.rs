//! A mail server that takes every mail: EHLO, STARTTLS, AUTH PLAIN, and keeps what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One mail.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// Who signed in, and with which password.
    pub login: String,
    pub to: Vec<String>,
    /// Head and body as they came.
    pub text: String,
}

pub struct Post {
    pub address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Post {
    pub fn start(tls: Arc<ServerConfig>) -> Post {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mails = Arc::<Mutex<Vec<Mail>>>::default();
        let kept = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, kept) = (Arc::clone(&tls), Arc::clone(&kept));
                std::thread::spawn(move || greet(stream, tls, &kept));
            }
        });
        Post { address, mails }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

/// In the clear it takes nothing but STARTTLS.
fn greet(mut stream: TcpStream, tls: Arc<ServerConfig>, kept: &Mutex<Vec<Mail>>) {
    stream.write_all(b"220 post\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let Some(line) = line(&mut reader) else { return };
        let answer: &[u8] = match line.to_ascii_uppercase().as_str() {
            text if text.starts_with("EHLO") => b"250-post\r\n250 STARTTLS\r\n",
            "STARTTLS" => {
                let mut stream = reader.into_inner();
                stream.write_all(b"220 go\r\n").unwrap();
                let session = ServerConnection::new(tls).unwrap();
                return take(StreamOwned::new(session, stream), kept);
            }
            "QUIT" => return,
            _ => b"530 STARTTLS first\r\n",
        };
        reader.get_mut().write_all(answer).unwrap();
    }
}

fn take(stream: impl Read + Write, kept: &Mutex<Vec<Mail>>) {
    let mut reader = BufReader::new(stream);
    let mut mail = Mail::default();
    while let Some(text) = line(&mut reader) {
        let upper = text.to_ascii_uppercase();
        let mut answer = "250 ok\r\n";
        if upper.starts_with("EHLO") {
            answer = "250-post\r\n250 AUTH PLAIN\r\n";
        } else if let Some(given) = upper.strip_prefix("AUTH PLAIN ") {
            let given = &text[text.len() - given.len()..];
            let login = base64::engine::general_purpose::STANDARD.decode(given).unwrap();
            mail.login = String::from_utf8(login).unwrap().replace('\0', " ").trim().to_owned();
            answer = "235 in\r\n";
        } else if upper.starts_with("RCPT TO:") {
            mail.to.push(text[8..].trim_matches(['<', '>', ' ']).to_owned());
        } else if upper == "DATA" {
            reader.get_mut().write_all(b"354 go\r\n").unwrap();
            reader.get_mut().flush().unwrap();
            while let Some(line) = line(&mut reader).filter(|line| line != ".") {
                mail.text += &(line + "\n");
            }
            kept.lock().unwrap().push(std::mem::take(&mut mail));
        } else if upper == "QUIT" {
            return;
        }
        let stream = reader.get_mut();
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let count = reader.read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
