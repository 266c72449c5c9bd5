//! Firebase: a statement signed by the service account is traded for a token, and both messages
//! carry it. The endpoint verifies the signature with the account's public key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::alert::channel::Maker;
use engine::alert::http::Roots;
use engine::alert::{Facts, Person};
use engine::clock::wall_millis;
use engine::config::channels::ChannelSpec;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::bench::{Memory, down, eventually, named, outbox, start, up};
use crate::recorder::{Answer, Recorder, Request};
use crate::secure;

/// A key of the account, as Google gives it: PKCS #8 in PEM.
pub fn key(folder: &Path) -> String {
    let file = folder.join("key.pem");
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(&file)
        .status();
    assert!(made.expect("openssl is missing: apt-get install openssl").success());
    std::fs::read_to_string(file).unwrap()
}

/// The file of a service account.
pub fn account(folder: &Path, pem: &str, token_uri: &str) -> PathBuf {
    let file = folder.join("account.json");
    let content = json!({
        "type": "service_account", "project_id": "p1", "client_email": "robot@project.example",
        "private_key": pem, "token_uri": token_uri,
    });
    std::fs::write(&file, content.to_string()).unwrap();
    file
}

/// What Google's token endpoint makes of a request (RFC 7523).
fn trade(request: &Request, public: &[u8], audience: &str) -> Result<Answer, String> {
    let form: HashMap<String, String> =
        form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let grant = form.get("grant_type").map(String::as_str);
    if grant != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
        return Err("unsupported_grant_type".to_owned());
    }
    let assertion = form.get("assertion").ok_or("no assertion")?;
    let (signed, signature) = assertion.rsplit_once('.').ok_or("no signature")?;
    let (head, claims) = signed.split_once('.').ok_or("no claims")?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let json = |part: &str| -> Result<Value, String> {
        serde_json::from_slice(&bytes(part)?).map_err(|error| error.to_string())
    };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &bytes(signature)?)
        .map_err(|_| "Invalid JWT Signature".to_owned())?;
    let (head, claims) = (json(head)?, json(claims)?);
    let (issued, expires) = (claims["iat"].as_u64(), claims["exp"].as_u64());
    let (issued, expires) = (issued.ok_or("iat")?, expires.ok_or("exp")?);
    let now = wall_millis() / 1_000;
    let good = head == json!({"alg": "RS256", "typ": "JWT"})
        && claims["iss"] == "robot@project.example"
        && claims["aud"] == audience
        && claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        && (now - 60..=now).contains(&issued)
        && (1..=3_600).contains(&(expires - issued));
    let said = json!({"access_token": "ya29.t0ken", "expires_in": 3599, "token_type": "Bearer"});
    if good { Ok((200, String::new(), said.to_string())) } else { Err(claims.to_string()) }
}

/// What FCM makes of a message.
fn message(request: &Request) -> Answer {
    let said = |status: u16, text: &str| (status, String::new(), text.to_owned());
    if request.header("authorization") != Some("Bearer ya29.t0ken") {
        return said(401, "UNAUTHENTICATED");
    }
    let body = request.json();
    let message = &body["message"];
    let texts =
        |value: &Value| value.as_object().is_none_or(|map| map.values().all(Value::is_string));
    if message["token"] != "phone" || !texts(&message["data"]) || !texts(&message["notification"]) {
        return said(400, "INVALID_ARGUMENT");
    }
    said(200, "{\"name\":\"projects/p1/messages/1\"}")
}

#[test]
fn a_telephone_gets_both_messages_under_a_token_that_the_account_has_signed_for() {
    let place = tempfile::tempdir().unwrap();
    let (tls, authority) = secure::server(place.path());
    let pem = key(place.path());
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = pair.public().as_ref().to_vec();
    let server = Recorder::serving(Some(Arc::clone(&tls)), move |request, number| {
        match (request.path.as_str(), number) {
            (_, 0) => (503, String::new(), String::new()),
            ("/token", _) => {
                let audience = format!("https://{}/token", request.header("host").unwrap());
                let traded = trade(request, &public, &audience);
                traded.unwrap_or_else(|wrong| (400, String::new(), wrong))
            }
            ("/v1/projects/p1/messages:send", _) => message(request),
            (other, _) => (404, String::new(), other.to_owned()),
        }
    });
    let account = account(place.path(), &pem, &secure::url(&server, "/token"));
    let spec = json!({"type": "firebase", "account": account, "api": secure::url(&server, "")});
    let spec = ChannelSpec::read(spec.as_object().unwrap()).unwrap();
    let roots = Roots::load(Some(&authority)).unwrap();
    let channel = Maker { env: &|_| None, roots, domain: None }.make(&spec).unwrap();
    let memory = Memory::of(1);
    let person = Person { firebase_token: Some("phone".into()), ..Person::default() };
    memory.know(1, Facts { person: Some(person), ..named(1) });
    let alerts = start(place.path(), vec![channel], &memory);
    alerts.teller().changes(vec![down(1, 1_000), up(1, 2_000)]);
    eventually("both notices", || {
        let lines = outbox(place.path());
        let delivered = lines.iter().filter(|line| line.ends_with(" delivered")).count();
        (delivered == 2).then_some(())
    });
    alerts.stop();
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let send = "/v1/projects/p1/messages:send";
    // A token serves all messages until it expires.
    assert_eq!(paths, ["/token", "/token", send, send, send, send]);
}
