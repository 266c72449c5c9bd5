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

/// Name, expected result, type, target and further keys of every monitor. `PLAIN` and `TLS` stand
/// for the ports, `CA` for the file with the authority, `TEXT` and `RAW` for what must be there.
const MONITORS: &str = "
home         ok             ping_web          http://127.0.0.1:PLAIN/
moved        ok             ping_web          http://127.0.0.1:PLAIN/moved
missing      http_status    ping_web          http://127.0.0.1:PLAIN/missing
gone         ok             ping_web          http://127.0.0.1:PLAIN/gone  statuses: [410]
head         ok             ping_web          http://127.0.0.1:PLAIN/      method: HEAD
gzip         ok             web_content       http://127.0.0.1:PLAIN/      TEXT
plain        ok             web_content       http://127.0.0.1:PLAIN/      RAW
chunked      ok             web_content       http://127.0.0.1:PLAIN/chunked/index.html RAW
chunked-gzip ok             web_content       http://127.0.0.1:PLAIN/chunked/index.html TEXT
six          ok             ping_web          http://[::1]:PLAIN/
by-name      ok             web_content       http://localhost:PLAIN/      TEXT
secure       ok             ping_web          https://127.0.0.1:TLS/       tls_verify: true, CA
secure-six   ok             ping_web          https://[::1]:TLS/           tls_verify: true, CA
secure-name  ok             ping_web          https://localhost:TLS/       tls_verify: true, CA
untrusted    cert_untrusted ping_web          https://localhost:TLS/       tls_verify: true
http-on-tls  http_status    ping_web          http://127.0.0.1:TLS/
tls-on-http  tls_protocol   ssl_expired_check 127.0.0.1:PLAIN
cert         ok             ssl_expired_check localhost:TLS                CA
port         ok             tcp               localhost:PLAIN
port-six     ok             tcp               [::1]:PLAIN
ping         ok             ping_icmp         127.0.0.1
ping-net     ok             ping_icmp         127.77.66.55
ping-six     ok             ping_icmp         ::1
ping-name    ok             ping_icmp         localhost
";

/// The table of [`MONITORS`] as a configuration file, and each name with its expected result.
fn config(nginx: &Nginx, ca_file: &Path) -> (String, Vec<(&'static str, &'static str)>) {
    let mut yaml = String::from("monitors:\n");
    let mut expected = Vec::new();
    for line in MONITORS.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("name, result, type and target");
        let (name, result, kind, target) = (word(), word(), word(), word());
        let more = words.collect::<Vec<_>>().join(" ");
        let more = more
            .replace("RAW", "TEXT, compression: false")
            .replace("TEXT", &format!("contains: [{NEEDLE}]"))
            .replace("CA", &format!("ca_file: '{}'", text(ca_file)));
        let target = target
            .replace("PLAIN", &nginx.plain.to_string())
            .replace("TLS", &nginx.tls.to_string());
        yaml += &format!("  - {{name: {name}, type: {kind}, target: '{target}', interval: 1s");
        yaml += &if more.is_empty() { "}\n".to_owned() } else { format!(", {more}}}\n") };
        expected.push((name, result));
    }
    (yaml, expected)
}

#[test]
fn a_real_web_server_and_the_kernel_answer_as_they_should() {
    let place = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(place.path());
    let (file, ca_file) = (place.path().join("monitors.yaml"), place.path().join("ca.pem"));
    let (yaml, expected) = config(&nginx, &ca_file);
    fs::write(&file, yaml).unwrap();

    let engine = Engine::with_config(&place.path().join("data"), &file);
    for (name, result) in expected {
        let found = engine.wait_verdict(name, if result == "ok" { "up" } else { "down" });
        assert_eq!(found["result"], result, "{found}");
    }
    let last = |name: &str| {
        let results = engine.results(name);
        let ran = results.into_iter().find(|result| result["attempts"] != 0);
        ran.unwrap_or_else(|| panic!("{name} never ran"))
    };
    let size = last("plain")["body_bytes"].clone();
    assert!(size.as_u64() > Some(8_192), "{size}");
    assert_eq!(last("gzip")["body_bytes"], size, "counted after decompression");
    assert_eq!(last("chunked-gzip")["body_bytes"], last("chunked")["body_bytes"]);
    for (name, status) in [("missing", 404), ("gone", 410), ("http-on-tls", 400), ("moved", 200)] {
        assert_eq!(last(name)["http_status"], status, "{name}");
    }
    assert_ne!(last("secure")["phases"]["tls"], Value::Null);
    assert_ne!(last("secure-name")["phases"]["resolve"], Value::Null);
    engine.metrics().assert_balanced();
    engine.stop();
    assert_chain_is_whole(&ca_file, SocketAddr::from(([127, 0, 0, 1], nginx.tls)));
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
