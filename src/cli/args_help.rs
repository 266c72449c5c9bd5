//! What `--help` teaches beside the flags: examples, exit codes, files.
//!
//! Owns: texts. A test of [`super::args`] runs every example line through the parser.

/// Below the list of commands.
pub const ENGINE: &str = "\
Try it without any target of your own:
  engine start --demo

One target, now:
  engine check https://example.org

Exit codes:
  0   fine; check: every target is up
  1   check: a target is down; validate: errors in the file; doctor: something fails; else: failed
  2   wrong usage
  3   check: it could not be told whether a target is up (our own trouble, not the target's)
  78  start: the host or the configuration is not fit for a start; engine doctor says why";

/// Below the flags of `start`.
pub const START: &str = "\
Examples:
  engine start --demo                                 # scripted targets, nothing else needed
  engine start --config monitors.yaml
  engine start -c monitors.yaml --cores=4 --data-dir /var/lib/engine
  engine start -c monitors.yaml --listen 0.0.0.0:8787 --log-format json
  engine start --demo --duration 30s
  engine start -c monitors.yaml --chunk=2-300         # monitors 301 to 600

The data folder is $STATE_DIRECTORY where systemd sets it, else $XDG_DATA_HOME/engine or
~/.local/share/engine. On a terminal a live table is shown; q or Ctrl-C stops in order.

Exit codes: 0 stopped in order, 1 failed, 2 wrong usage, 78 the host or the configuration is not
fit for a start: the line on standard error says what to change.";

/// Below the flags of `config`.
pub const CONFIG: &str = "\
Examples:
  engine config
  engine config --config monitors.yaml --cores 4 --json

A flag goes before the environment, that before `.env` (looked for here and in the folders above),
that before the file, and all before the default. Secrets are not shown.";

/// Below the flags of `test` and `performance`.
pub const TRIAL: &str = "\
Examples:
  engine test --config monitors.yaml
  engine performance --config monitors.yaml --limit=1000";

/// Below the flags of `status` and `stop`.
pub const REMOTE: &str = "\
Examples:
  engine status
  engine stop --chunk=2-300

Address, name and password are those that a start with the same settings uses.";

/// Below the flags of `check`.
pub const CHECK: &str = "\
Examples:
  engine check https://example.org
  engine check https://example.org/health --contains '\"ok\"' --status 200
  engine check db.example:5432 --timeout 2s           # TCP connect
  engine check tls://mail.example:993 --expire-days 21
  engine check 192.0.2.1                              # ICMP echo
  engine check db.example:23 --type open_port_tcp_then_error
  engine check https://10.0.0.5 --server-name shop.example --ca-file ca.pem
  engine check https://a.example https://b.example --json

Exit codes: 0 all up, 1 a target is down, 2 wrong usage, 3 none is down but one could not be told.";

/// Below the flags of `validate`.
pub const VALIDATE: &str = "\
Examples:
  engine validate monitors.yaml
  engine validate monitors.yaml --json

Exit codes: 0 no errors, 1 errors, 2 wrong usage.";

/// Below the flags of `monitors`.
pub const MONITORS: &str = "\
Examples:
  engine monitors
  engine monitors --verdict down
  engine monitors --tag shop --name api --limit 50
  engine monitors --data-dir /var/lib/engine --json
  engine monitors add type=ping_web target=https://shop.example name=shop tags=shop
  engine monitors edit shop interval=30s tags=shop tags=eu timeout=
  engine monitors pause shop
  engine monitors import monitors.yaml
  engine monitors export > monitors.ndjson

Changes are for monitors that were added so; those of the file are changed in the file.";

/// Below the flags of `results`.
pub const RESULTS: &str = "\
Examples:
  engine results shop-https
  engine results 42 --limit 100
  engine results shop-https --since 24h --json";

/// Below the flags of `incidents`.
pub const INCIDENTS: &str = "\
Examples:
  engine incidents --open
  engine incidents --monitor shop-https --limit 20 --json";

/// Below the flags of `doctor`.
pub const DOCTOR: &str = "\
Examples:
  engine doctor
  engine doctor --cores 8 --json

Exit codes: 0 the engine can start, 1 it cannot.";

/// Below the flags of `bench`.
pub const BENCH: &str = "\
Examples:
  engine bench                                        # 100,000 HTTP monitors at 60 s, 3 minutes
  engine bench --quick                                # under 2 minutes
  engine bench --mix fleet --monitors 1000000 --cores 2 --html report.html --json report.json
  engine bench --mix tcp --interval 10s --find-limit
  engine bench --quick --database-url postgres://postgres@127.0.0.1/postgres
  engine bench --mix icmp --sweep 1000,10000,100000,1000000 --html sweep.html

The reference is the smallest epoll client (for ICMP a bare loop of sendmmsg) that does the same
exchanges at the same pace, before and after the engine, on the CPU of its first shard. Keys of the
JSON: cpu_us_per_check (shards only), ratio_to_reference, missed, lag_p99_ms,
rss_bytes_per_monitor and many more, each one described in the documentation of bench::report.

Exit codes: 0 measured, 1 failed, 2 wrong usage.";

/// Below the flags of `completions`.
pub const COMPLETIONS: &str = "\
Examples:
  engine completions bash > /etc/bash_completion.d/engine
  engine completions fish > ~/.config/fish/completions/engine.fish";

/// Below the flags of `token`.
pub const TOKEN: &str = "\
Examples:
  engine token add grafana                            # may look at everything
  engine token add deploy --scope write               # may change monitors too
  engine token list
  engine token rm grafana

A program sends it as `Authorization: Bearer eng_…`; /api/v1/openapi.json says what it may ask.";

/// Below the commands of `hist`.
pub const HIST: &str = "\
Examples:
  engine hist show                                    # of the running engine, since its start
  engine hist show --monitor shop --from 30d          # of one monitor, from the stored hours
  engine hist show --subject ping_web --measure total
  engine hist show hist/intervals.hlog --by-shard
  engine hist dump --dir hist                         # .hlog, .hgrm, .json and .svg
  engine hist merge monday.hlog tuesday.hlog -o both.hlog
  engine hist diff before.hlog after.hlog

Measures: resolve, connect, tls, wait and transfer are the phases; total counts from the actual
start, since_due from the intended one, lag is the time between the two. Our own trouble is in lag
only. A monitor with the tag `histogram` has histograms of its own: monitor-N.

Exit codes: 0 done, 1 not, 2 wrong usage.";

/// Below the flags of `top`.
pub const TOP: &str = "\
Examples:
  engine top
  engine top --verdict down --tag shop
  engine top --listen 192.0.2.1:8787 --interval 5s
  engine top --filter api                             # printed once where it is piped

Keys: q ends, the arrows choose, Enter shows one monitor closely, / filters by text, v goes through
the verdicts, s through the orders. It asks the API of the engine that a start with the same
settings runs.";

/// Below the flags of `tail`.
pub const TAIL: &str = "\
Examples:
  engine tail
  engine tail --changes
  engine tail --tag shop --verdict down --json
  engine tail --count 10";

/// Below the flags of `import`.
pub const IMPORT: &str = "\
Examples:
  engine import original dump.sql --dry-run           # only say what would be carried over
  engine import original monitor_items.csv -o monitors.yaml
  engine import kuma Uptime_Kuma_Backup.json
  engine import gatus config.yaml --json
  engine import prometheus prometheus.yml -o probes.yaml
  engine import list hosts.txt --force

Every monitor that is written passes `engine validate`; what could not be carried over is told by
name.

Exit codes: 0 done, 1 the file cannot be read or written, 2 wrong usage.";

/// Below the commands of `alert`.
pub const ALERT: &str = "\
Examples:
  engine alert test ops                               # does the channel `ops` take a notice?
  engine alert list
  engine alert list --json

Exit codes: 0 done, 1 not, 2 wrong usage.";
