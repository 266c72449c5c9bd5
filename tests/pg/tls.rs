//! TLS: what each `sslmode` accepts.

use std::path::Path;

use cluster::Cluster;
use engine::pg::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{block_on, open};

/// An authority; its certificate is written to a file.
fn authority(file: &Path) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(file, issuer.pem()).unwrap();
    issuer
}

#[test]
fn each_mode_accepts_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.pem"), folder.path().join("theirs.pem"));
    let issuer = authority(&ours);
    authority(&theirs);
    let key = KeyPair::generate().unwrap();
    let named = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = named.signed_by(&key, &issuer).unwrap();

    let mut cluster = Cluster::start(&["fsync=off"]);
    let place = |host: &str, mode: &str, roots: &Path| {
        let port = cluster.port();
        let roots = roots.display();
        format!("postgres://postgres@{host}:{port}/postgres?sslmode={mode}&sslrootcert={roots}")
    };
    let urls: Vec<(String, bool)> = vec![
        (place("localhost", "verify-full", &ours), true),
        (place("127.0.0.1", "verify-full", &ours), false),
        (place("127.0.0.1", "verify-ca", &ours), true),
        (place("127.0.0.1", "verify-ca", &theirs), false),
        (place("localhost", "verify-full", &theirs), false),
        (place("127.0.0.1", "require", &theirs), false),
        (
            format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", cluster.port()),
            true,
        ),
        (format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=prefer", cluster.port()), true),
    ];
    let plain = cluster.url("postgres");
    block_on(async {
        let error = open(&urls[0].0).await.unwrap_err();
        assert!(error.to_string().contains("does not support TLS"), "{error}");
        let session = open(&urls[7].0).await.unwrap();
        let rows = session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
        assert!(!rows.await.unwrap()[0].get::<_, bool>(0));
    });
    cluster.with_tls(&cert.pem(), &key.serialize_pem());
    block_on(async {
        for (url, accepted) in &urls {
            let session = match open(url).await {
                Ok(session) => session,
                Err(error) => {
                    assert!(!accepted && error.kind == Kind::Refused, "{url}: {error}");
                    continue;
                }
            };
            assert!(accepted, "{url}");
            let rows =
                session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
            assert!(rows.await.unwrap()[0].get::<_, bool>(0), "{url} is not encrypted");
        }
        let rows = open(&plain).await.unwrap();
        let rows = rows.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
        assert!(!rows.await.unwrap()[0].get::<_, bool>(0));
    });
}
