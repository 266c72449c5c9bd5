//! The database goes away and comes back; a start without it.

use cluster::Cluster;

use crate::bench::{Database, Plan};

#[test]
fn what_changed_while_the_connection_was_lost_is_found_when_it_is_back() {
    let mut cluster = Cluster::start(&["fsync=off"]);
    let name = {
        let database = Database::new(&cluster);
        database.rows(3);
        database.name
    };
    let plan = Plan::new(&Database { cluster: &cluster, name: name.clone() });
    let feed = plan.start();
    feed.wait_checked("start", &[1, 2, 3]);
    cluster.stop_immediate();
    feed.wait_count("engine_feed_connected", 0);
    assert_eq!(feed.checked(), [1, 2, 3]);
    cluster.start_again();
    let database = Database { cluster: &cluster, name };
    database.sql("DELETE FROM monitor_items WHERE id = 2");
    feed.wait_checked("back", &[1, 3]);
    feed.stop();
}

#[test]
fn a_start_without_the_database_runs_the_rows_of_the_last_time_and_ends_their_pauses() {
    let mut cluster = Cluster::start(&["fsync=off"]);
    let database = Database::new(&cluster);
    database.rows(4);
    database.sql("UPDATE monitor_items SET type = 'dns' WHERE id = 3");
    database.sql("UPDATE monitor_items SET \"stopTo\" = now()::timestamp + '4 s' WHERE id = 4");
    let (options, name) = (database.options(""), database.name.clone());
    let feed = Plan::new(&database).start();
    feed.wait_count("engine_feed_rows", 4);
    feed.wait_checked("start", &[1, 2]);
    let folder = feed.stop();
    cluster.stop_immediate();

    let plan = Plan { options, slices: Vec::new(), only_polls: false, folder };
    let feed = plan.start();
    feed.wait_count("engine_feed_rows", 4);
    feed.wait_checked("a pause ends", &[1, 2, 4]);
    cluster.start_again();
    feed.wait_count("engine_feed_connected", 1);
    Database { cluster: &cluster, name }.sql("UPDATE monitor_items SET enable = 0 WHERE id = 1");
    feed.wait_checked("back", &[2, 4]);
    feed.stop();
}
