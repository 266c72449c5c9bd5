//! Sessions: statements, COPY, deadlines, hosts, poolers, notices.

use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use cluster::Cluster;
use engine::pg::{Kind, Session, Type};

use crate::{block_on, open, options};

#[test]
fn statements_and_copy_work_and_errors_are_classed() {
    let cluster = Cluster::shared();
    let url = cluster.url(&cluster.new_database());
    block_on(async {
        let session = open(&url).await.unwrap();
        session.run("CREATE TABLE t (n int PRIMARY KEY); BEGIN").await.unwrap();
        let data = Bytes::from_static(b"1\n2\n");
        assert_eq!(session.copy("COPY t FROM STDIN", data).await.unwrap(), 2);
        session.commit().await.unwrap();
        let one = 1i32;
        let added = session.execute("INSERT INTO t VALUES ($1)", &[(&one, Type::INT4)]).await;
        let error = added.unwrap_err();
        assert_eq!(error.kind, Kind::Poison);
        assert!(error.to_string().contains("constraint t_pkey"), "{error}");
        let rows = session.query("SELECT n FROM t ORDER BY n", &[]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(session.run("SELECT 1 FROM nowhere").await.unwrap_err().kind, Kind::Refused);
        session.close().await;
    });
}

#[test]
fn a_server_that_is_not_there_is_away_and_a_wrong_database_is_refused() {
    let cluster = Cluster::shared();
    block_on(async {
        let error = open("postgres://u:s3cret@127.0.0.1:1/n").await.unwrap_err();
        assert_eq!(error.kind, Kind::Away);
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let error = open(&cluster.url("nowhere")).await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(error.to_string().contains("POSTGRES_NAME"), "{error}");
    });
}

#[test]
fn a_frozen_server_is_away_after_the_deadline_and_a_stopped_one_at_once() {
    let mut cluster = Cluster::start(&["fsync=off"]);
    block_on(async {
        let session = open(&cluster.url("postgres")).await.unwrap().waiting(300);
        cluster.freeze();
        let error = session.run("SELECT 1").await.unwrap_err();
        assert_eq!(
            (error.kind, error.to_string().as_str()),
            (Kind::Away, "no answer within 300 ms")
        );
        cluster.thaw();
        let session = open(&cluster.url("postgres")).await.unwrap();
        session.run("BEGIN").await.unwrap();
        cluster.stop_immediate();
        assert_eq!(session.commit().await.unwrap_err().kind, Kind::InDoubt);
        assert!(!session.is_open());
    });
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_used_also_after_a_failover() {
    let mut first = Cluster::start(&["fsync=off"]);
    let standby = first.standby();
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        standby.port(),
        first.port()
    );
    let writing = options(&both).writing();
    block_on(async {
        let port = |session: Session| async move {
            let rows = session.query("SELECT current_setting('port')", &[]).await.unwrap();
            rows[0].get::<_, String>(0).parse::<u16>().unwrap()
        };
        assert_eq!(port(Session::open(&writing).await.unwrap()).await, first.port());
        let reader = open(&standby.url("postgres")).await.unwrap();
        let error = reader.run("CREATE TABLE t ()").await.unwrap_err();
        assert_eq!(error.kind, Kind::ReadOnly);
        let only = options(&standby.url("postgres")).writing();
        assert_eq!(Session::open(&only).await.unwrap_err().kind, Kind::ReadOnly);
        first.stop_immediate();
        standby.promote();
        assert_eq!(port(Session::open(&writing).await.unwrap()).await, standby.port());
    });
}

#[test]
fn two_sessions_share_one_connection_of_a_pooler() {
    let cluster = Cluster::shared();
    let database = cluster.new_database();
    cluster.psql(&database, "CREATE TABLE t (n int)");
    let bouncer = cluster.bouncer();
    let url = bouncer.url(&database);
    block_on(async {
        let (one, other) = tokio::join!(open(&url), open(&url));
        let work = |session: Session| async move {
            for n in 0..100i32 {
                session.run("BEGIN; SET LOCAL statement_timeout = 5000").await.unwrap();
                session.execute("INSERT INTO t VALUES ($1)", &[(&n, Type::INT4)]).await.unwrap();
                let data = Bytes::from(format!("{n}\n"));
                session.copy("COPY t FROM STDIN", data).await.unwrap();
                session.commit().await.unwrap();
            }
        };
        tokio::join!(work(one.unwrap()), work(other.unwrap()));
    });
    assert_eq!(cluster.psql(&database, "SELECT count(*), sum(n) FROM t"), "400|19800");
}

#[test]
fn a_notice_comes_while_the_session_waits() {
    let cluster = Cluster::shared();
    let database = cluster.new_database();
    let (sender, notices) = channel();
    block_on(async {
        let listening = options(&cluster.url(&database));
        let session = Session::open_with(&listening, move |notice| {
            sender.send(notice.payload().to_owned()).unwrap();
        });
        let session = session.await.unwrap();
        session.run("LISTEN changed").await.unwrap();
        cluster.psql(&database, "NOTIFY changed, '42'");
        tokio::time::timeout(Duration::from_secs(10), async {
            while notices.try_recv().as_deref() != Ok("42") {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}
