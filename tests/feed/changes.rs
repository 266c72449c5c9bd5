//! Every change of a row reaches the shards, told by the trigger or found by looking.

use cluster::{Bouncer, Cluster};
use engine::config::database::Secret;
use engine::pg::PgOptions;

use crate::bench::{Database, Plan, Running, eventually};

/// Runs every sort of change against a running feed.
fn every_change(database: &Database<'_>, feed: &Running) {
    feed.wait_checked("start", &[1, 2, 3]);
    database.sql("UPDATE monitor_items SET check_interval_seconds = 5 WHERE id = 1");
    eventually("an edit", || (feed.monitor(1)?.timing.interval_ms == 5_000).then_some(()));
    database.sql("UPDATE monitor_items SET enable = 0 WHERE id = 1");
    feed.wait_checked("disable", &[2, 3]);
    database.sql("UPDATE monitor_items SET enable = 1 WHERE id = 1");
    feed.wait_checked("enable", &[1, 2, 3]);
    database.sql("UPDATE monitor_items SET \"stopTo\" = now()::timestamp + '1 hour' WHERE id = 2");
    feed.wait_checked("pause", &[1, 3]);
    database.sql("UPDATE monitor_items SET \"stopTo\" = now()::timestamp + '2 s' WHERE id = 2");
    feed.wait_checked("a pause that ends", &[1, 2, 3]);
    database.sql("UPDATE monitor_items SET deleted_at = now() WHERE id = 2");
    feed.wait_checked("soft delete", &[1, 3]);
    database.sql("DELETE FROM monitor_items WHERE id = 3");
    feed.wait_checked("hard delete", &[1]);
    database.sql("UPDATE monitor_items SET deleted_at = NULL WHERE id = 2");
    feed.wait_checked("undelete", &[1, 2]);
    database.rows(1);
    feed.wait_checked("insert", &[1, 2, 4]);
    database.sql("UPDATE monitor_items SET type = 'dns' WHERE id = 4");
    feed.wait_checked("a type that nobody knows", &[1, 2]);
    let problem = database.sql("SELECT problem FROM engine.problem WHERE monitor_id = 4");
    assert!(problem.contains("type: dns is not a type"), "{problem}");
    database.sql("UPDATE monitor_items SET type = 'tcp' WHERE id = 4");
    feed.wait_checked("a type that is known again", &[1, 2, 4]);
    assert_eq!(database.sql("SELECT count(*) FROM engine.problem"), "0");
    database.sql("TRUNCATE monitor_items");
    feed.wait_checked("truncate", &[]);
}

#[test]
fn a_table_with_a_trigger_tells_of_every_change() {
    let database = Database::new(Cluster::shared());
    database.rows(3);
    let feed = Plan::new(&database).start();
    every_change(&database, &feed);
    assert_eq!(feed.count("engine_feed_listening"), 1);
    feed.stop();
}

#[test]
fn a_table_without_a_trigger_is_looked_at() {
    let database = Database::new(Cluster::shared());
    database.rows(3);
    let feed = Plan::new(&database).polled().start();
    every_change(&database, &feed);
    assert_eq!(feed.count("engine_feed_listening"), 0);
    assert_eq!(database.sql("SELECT count(*) FROM pg_trigger"), "0");
    feed.stop();
}

#[test]
fn behind_a_pooler_changes_are_told_over_the_direct_way() {
    let database = Database::new(Cluster::shared());
    database.rows(3);
    let bouncer = database.cluster.bouncer();
    let options = pooled(&database, &bouncer).with_direct(database.options(""));
    let feed = Plan { options, ..Plan::new(&database) }.start();
    every_change(&database, &feed);
    assert_eq!(feed.count("engine_feed_listening"), 1);
    feed.stop();
}

#[test]
fn behind_a_pooler_without_a_direct_way_the_table_is_looked_at() {
    let database = Database::new(Cluster::shared());
    database.rows(3);
    let bouncer = database.cluster.bouncer();
    let options = pooled(&database, &bouncer);
    let feed = Plan { options, ..Plan::new(&database) }.start();
    every_change(&database, &feed);
    assert_eq!(feed.count("engine_feed_listening"), 0);
    feed.stop();
}

fn pooled(database: &Database<'_>, bouncer: &Bouncer) -> PgOptions {
    PgOptions::read(&Secret::new(bouncer.url(&database.name)), "here".into()).unwrap()
}

#[test]
fn a_role_without_the_right_to_a_trigger_polls() {
    let database = Database::new(Cluster::shared());
    database.rows(1);
    let role = format!("poller_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE, CREATE ON SCHEMA engine TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA engine TO {role};
         GRANT SELECT, UPDATE ON monitor_items TO {role}"
    ));
    let plan = Plan { options: database.options(&format!("?user={role}")), ..Plan::new(&database) };
    let feed = plan.start();
    feed.wait_checked("start", &[1]);
    feed.wait_count("engine_feed_connected", 1);
    database.rows(1);
    feed.wait_checked("insert", &[1, 2]);
    assert_eq!(feed.count("engine_feed_listening"), 0);
    feed.stop();
}

#[test]
fn writing_results_tells_nothing_and_changes_nothing() {
    let database = Database::new(Cluster::shared());
    database.rows(2);
    let feed = Plan::new(&database).start();
    feed.wait_checked("start", &[1, 2]);
    eventually("the trigger", || (feed.count("engine_feed_listening") == 1).then_some(()));
    database.sql(
        "UPDATE monitor_items SET last_check_status = 1, last_check_time = now(),
             count_online = count_online + 1, updated_at = now() WHERE id = 1",
    );
    // Notices come in order: this one shows that there was none before.
    database.sql("UPDATE monitor_items SET name = 'other' WHERE id = 2");
    eventually("the other change", || (feed.count("engine_feed_changes") == 3).then_some(()));
    feed.stop();
}

#[test]
fn a_large_table_without_a_trigger_shows_new_and_updated_rows_at_once() {
    let database = Database::new(Cluster::shared());
    database.rows(20_000);
    let feed = Plan::new(&database).polled().start();
    feed.wait_count("engine_feed_rows", 20_000);
    eventually("all of them", || (feed.checked().len() == 20_000).then_some(()));
    database
        .sql("UPDATE monitor_items SET enable = 0, updated_at = now() + '1 s' WHERE id = 15000");
    database.rows(1);
    eventually("the change", || feed.monitor(15_000)?.paused.then_some(()));
    eventually("the new one", || feed.monitor(20_001));
    feed.stop();
}

#[test]
fn a_row_goes_on_from_what_the_original_knew() {
    let database = Database::new(Cluster::shared());
    database.rows(3);
    database.sql(
        "UPDATE monitor_items SET last_check_status = -1, last_check_time = '2026-01-01',
             count_online = 7, count_offline = 3 WHERE id = 2",
    );
    let feed = Plan::new(&database).start();
    feed.wait_checked("start", &[1, 2, 3]);
    let states = "SELECT monitor_id, verdict, since_ms, count_up, count_down FROM engine.state
                  ORDER BY monitor_id";
    assert_eq!(database.sql(states), "1|0|0|0|0\n2|2|1767225600000|7|3\n3|0|0|0|0");
    feed.stop();
}
