//! Parts of the table: never two engines on one row, whatever is enabled and disabled meanwhile.

use cluster::Cluster;

use crate::bench::{Database, Plan, Running, eventually};

fn part(database: &Database<'_>, number: u64) -> Running {
    Plan::new(database).of_slice(number, 3).start()
}

#[test]
fn parts_are_of_enabled_rows_and_keep_their_rows() {
    let database = Database::new(Cluster::shared());
    database.rows(8);
    database.sql("UPDATE monitor_items SET enable = 0 WHERE id IN (2, 3)");
    let (one, two, three) = (part(&database, 1), part(&database, 2), part(&database, 3));
    one.wait_checked("part 1", &[1, 4, 5]);
    two.wait_checked("part 2", &[6, 7, 8]);
    three.wait_checked("part 3", &[]);
    // Rows stay where they are.
    database.sql("UPDATE monitor_items SET enable = 0 WHERE id IN (1, 8)");
    database.sql("UPDATE monitor_items SET enable = 1 WHERE id IN (2, 3)");
    one.wait_checked("part 1", &[2, 3, 4, 5]);
    two.wait_checked("part 2", &[6, 7]);
    // The last part takes new rows until it is full.
    database.rows(2);
    two.wait_checked("part 2", &[6, 7, 9]);
    three.wait_checked("part 3", &[10]);
    one.wait_checked("part 1", &[2, 3, 4, 5]);
    for feed in [one, two, three] {
        feed.stop();
    }
}

#[test]
fn engines_that_start_at_once_agree_on_the_parts() {
    let database = Database::new(Cluster::shared());
    database.rows(10);
    let feeds: Vec<_> = (1..=4).map(|number| part(&database, number)).collect();
    let wanted: [&[u64]; 4] = [&[1, 2, 3], &[4, 5, 6], &[7, 8, 9], &[10]];
    for (feed, wanted) in feeds.iter().zip(wanted) {
        feed.wait_checked("part", wanted);
    }
    for feed in feeds {
        feed.stop();
    }
}

#[test]
fn a_limit_is_the_first_part_and_a_part_can_be_of_it() {
    let database = Database::new(Cluster::shared());
    database.rows(6);
    let limited = Plan::new(&database).of_slice(1, 4).start();
    limited.wait_checked("limit", &[1, 2, 3, 4]);
    let mut both = Plan::new(&database).of_slice(1, 4);
    both.slices.extend(Plan::new(&database).of_slice(2, 3).slices);
    let both = both.start();
    both.wait_checked("part 2 of the first 4", &[4]);
    eventually("connected", || (both.count("engine_feed_connected") == 1).then_some(()));
    limited.stop();
    both.stop();
}

#[test]
fn marks_of_an_earlier_run_go_with_the_start_of_the_part_and_those_of_other_parts_stay() {
    let database = Database::new(Cluster::shared());
    database.rows(6);
    database.sql("INSERT INTO engine.mark SELECT n, 2, 1 FROM generate_series(1, 6) n");
    // A monitor of the engine's own is forgotten with the start of a run.
    database.sql("INSERT INTO engine.mark VALUES (1::bigint << 40, 2, 1)");
    let one = part(&database, 1);
    one.wait_checked("part 1", &[1, 2, 3]);
    let left = "SELECT string_agg(monitor_id::text, ' ' ORDER BY monitor_id) FROM engine.mark";
    assert_eq!(database.sql(left), "4 5 6 1099511627776");
    let all = Plan::new(&database).start();
    all.wait_checked("all", &[1, 2, 3, 4, 5, 6]);
    assert_eq!(database.sql(left), "1099511627776");
    one.stop();
    all.stop();
}
