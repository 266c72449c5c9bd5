//! Real servers on loopback: nginx, the kernel's own echo, and names of /etc/hosts.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::harness::{Engine, ask, command, eventually, text};

const NEEDLE: &str = "engine room";

/// An nginx of Debian with a folder of its own.
struct Nginx {
    child: Child,
    plain: u16,
    tls: u16,
}

impl Nginx {
    fn start(folder: &Path) -> Nginx {
        write_certificates(folder);
        fs::create_dir(folder.join("www")).unwrap();
        // Server-side includes have no length, so nginx sends them in chunks.
        let page =
            format!("<p>{}</p><!--#echo var=\"document_uri\" -->{NEEDLE}", "x".repeat(8_192));
        fs::write(folder.join("www/index.html"), page).unwrap();
        // Held until both are known, so that they differ.
        let held = [0, 1].map(|_| TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap());
        let [plain, tls] = held.map(|held| held.local_addr().unwrap().port());
        let conf = folder.join("nginx.conf");
        fs::write(&conf, configuration(folder, plain, tls)).unwrap();
        let child = command("nginx")
            .args(["-p", text(folder), "-c", text(&conf), "-e", text(&folder.join("error.log"))])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx starts: apt-get install nginx-light");
        let nginx = Nginx { child, plain, tls };
        eventually("nginx listens", || TcpStream::connect((Ipv6Addr::LOCALHOST, tls)).ok());
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // With `master_process off` this one process is all there is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, plain: u16, tls: u16) -> String {
    let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path temp_{name};"));
    let temps = temps.join(" ");
    let folder = text(folder);
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; {temps} default_type text/html; gzip on;
  server {{
    listen 127.0.0.1:{plain}; listen [::1]:{plain}; root {folder}/www;
    location /moved {{ return 301 /; }}
    location /gone {{ return 410; }}
    location /chunked {{ alias {folder}/www/; ssi on; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl; listen [::1]:{tls} ssl; root {folder}/www;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
  }}
}}
"
    )
}

/// `ca.pem`, and `chain.pem` with `key.pem` for localhost and both loopback addresses.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the server");
    let leaf = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("chain.pem"), leaf.pem() + &authority.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn a_real_web_server_and_the_kernel_answer_as_they_should() {
    let place = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(place.path());
    let ca_file = place.path().join("ca.pem");
    let (plain, tls) = (nginx.plain, nginx.tls);
    let secure = format!("ca_file: '{}'", text(&ca_file));
    let trusting = format!("tls_verify: true, {secure}");
    let contains = format!("contains: ['{NEEDLE}']");
    let raw = format!("{contains}, compression: false");
    let web = |rest: &str| format!("http://127.0.0.1:{plain}{rest}");
    let monitors: Vec<(&str, &str, String, &str, &str)> = vec![
        ("home", "ping_web", web("/"), "", "ok"),
        ("moved", "ping_web", web("/moved"), "", "ok"),
        ("missing", "ping_web", web("/missing"), "", "http_status"),
        ("gone", "ping_web", web("/gone"), "statuses: [410]", "ok"),
        ("gzip", "web_content", web("/"), &contains, "ok"),
        ("plain", "web_content", web("/"), &raw, "ok"),
        ("chunked", "web_content", web("/chunked/index.html"), &raw, "ok"),
        ("chunked-gzip", "web_content", web("/chunked/index.html"), &contains, "ok"),
        ("head", "ping_web", web("/"), "method: HEAD", "ok"),
        ("six", "ping_web", format!("http://[::1]:{plain}/"), "", "ok"),
        ("by-name", "web_content", format!("http://localhost:{plain}/"), &contains, "ok"),
        ("secure", "ping_web", format!("https://127.0.0.1:{tls}/"), &trusting, "ok"),
        ("secure-six", "ping_web", format!("https://[::1]:{tls}/"), &trusting, "ok"),
        ("secure-name", "ping_web", format!("https://localhost:{tls}/"), &trusting, "ok"),
        (
            "untrusted",
            "ping_web",
            format!("https://localhost:{tls}/"),
            "tls_verify: true",
            "cert_untrusted",
        ),
        ("http-on-tls", "ping_web", format!("http://127.0.0.1:{tls}/"), "", "http_status"),
        ("tls-on-http", "ssl_expired_check", format!("127.0.0.1:{plain}"), "", "tls_protocol"),
        ("cert", "ssl_expired_check", format!("localhost:{tls}"), &secure, "ok"),
        ("port", "tcp", format!("localhost:{plain}"), "", "ok"),
        ("port-six", "tcp", format!("[::1]:{plain}"), "", "ok"),
        ("ping", "ping_icmp", "127.0.0.1".to_owned(), "", "ok"),
        ("ping-net", "ping_icmp", "127.77.66.55".to_owned(), "", "ok"),
        ("ping-six", "ping_icmp", "::1".to_owned(), "", "ok"),
        ("ping-name", "ping_icmp", "localhost".to_owned(), "", "ok"),
    ];
    let lines = monitors.iter().map(|(name, kind, target, more, _)| {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        format!("  - {{name: {name}, type: {kind}, target: '{target}', interval: 1s{more}}}\n")
    });
    let file = place.path().join("monitors.yaml");
    fs::write(&file, format!("monitors:\n{}", lines.collect::<String>())).unwrap();

    let engine = Engine::with_config(&place.path().join("data"), &file);
    for (name, _, _, _, result) in &monitors {
        let found = engine.wait_verdict(name, if *result == "ok" { "up" } else { "down" });
        assert_eq!(found["result"], *result, "{found}");
    }
    let last = |name: &str| engine.results(name).swap_remove(0);
    let size = last("plain")["body_bytes"].clone();
    assert!(size.as_u64() > Some(8_192), "{size}");
    assert_eq!(last("gzip")["body_bytes"], size, "counted after decompression");
    for (name, status) in [("missing", 404), ("gone", 410), ("http-on-tls", 400), ("moved", 200)] {
        assert_eq!(last(name)["http_status"], status, "{name}");
    }
    assert_ne!(last("secure")["phases"]["tls"], Value::Null);
    assert_ne!(last("secure-name")["phases"]["resolve"], Value::Null);
    engine.metrics().assert_balanced();
    engine.stop();
    assert_chain_is_whole(&ca_file, SocketAddr::from(([127, 0, 0, 1], tls)));
}

/// The server sends its certificate and that of its authority.
fn assert_chain_is_whole(ca_file: &Path, server: SocketAddr) {
    let target = format!("tls://{server}");
    let said = ask(&["check", &target, "--ca-file", text(ca_file), "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let cert = said.json()["cert"].clone();
    let chain = cert["chain"].as_array().unwrap();
    let subjects: Vec<_> = chain.iter().map(|cert| cert["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["the server", "test authority"], "{cert}");
    assert!(chain.iter().all(|cert| cert["issuer"] == "test authority"), "{cert}");
    assert_eq!(chain[0]["names"], serde_json::json!(["localhost", "127.0.0.1", "::1"]));
    assert_ne!(chain[0]["sha256"], chain[1]["sha256"]);
}
