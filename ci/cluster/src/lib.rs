//! A throw-away PostgreSQL cluster from the installed binaries, on a port and in a folder of its
//! own. Root starts it as the user `postgres`: the server refuses to run as root.
//!
//! For tests only. A [`Cluster`] stops when it is dropped; [`Cluster::shared`] is one for all tests
//! of a process and stops with it. Whatever fails here panics with what the program said.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};

/// Where Debian keeps the server's programs; elsewhere they are looked for in PATH.
const BINARIES: [&str; 3] =
    ["/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/17/bin"];
/// Longest wait for a server to start or to stop.
const WAIT: Duration = Duration::from_secs(30);

/// A server with its folder.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    settings: Vec<String>,
}

impl Cluster {
    /// Starts an empty cluster that keeps what it committed, with further settings such as
    /// `max_connections=20`.
    pub fn start(settings: &[&str]) -> Cluster {
        let folder = new_folder();
        run(
            &folder,
            "initdb",
            &[
                "-D",
                "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ],
        );
        let mut cluster = Cluster {
            folder,
            port: free_port(),
            child: None,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
        };
        cluster.start_again();
        cluster
    }

    /// The one cluster of this process, for tests that do not stop it. It does not wait for the
    /// disk.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            Cluster::start(&["fsync=off", "full_page_writes=off", "max_connections=200"])
        })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder; `data` and `log` are in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Makes an empty database with a name of its own; gives the name.
    pub fn new_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL and gives what it prints, columns separated by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(program("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url(database)])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql: {said}\n{sql}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts the server again in the same folder and on the same port.
    pub fn start_again(&mut self) {
        let mut command = as_server(&self.folder, "postgres");
        command.args(["-D", "data", "-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=."]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(spawn(command));
        self.wait_ready();
    }

    /// Ends it as a crash does: nothing is written any more, clients lose their connections.
    pub fn stop_immediate(&mut self) {
        self.stop(Signal::SIGQUIT);
    }

    /// Ends it in order, with all its clients.
    pub fn stop_fast(&mut self) {
        self.stop(Signal::SIGINT);
    }

    /// All its processes stand still until [`Cluster::thaw`]: nothing is refused, nothing answers.
    pub fn freeze(&self) {
        self.processes().into_iter().for_each(|pid| kill(pid, Signal::SIGSTOP).unwrap());
    }

    /// The inverse of [`Cluster::freeze`].
    pub fn thaw(&self) {
        self.processes().into_iter().for_each(|pid| kill(pid, Signal::SIGCONT).unwrap());
    }

    /// CPU time that the server and its children, also those that ended, have used so far.
    pub fn cpu_time(&self) -> Duration {
        // Ticks of a hundredth of a second on every Linux; fields are counted after the name.
        let ticks = |pid: &Pid, first: usize, count: usize| -> u64 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            fields.skip(first).take(count).map(|field| field.parse::<u64>().unwrap_or(0)).sum()
        };
        let processes = self.processes();
        let own: u64 = processes.iter().map(|pid| ticks(pid, 11, 2)).sum();
        let ended: u64 = processes.first().map_or(0, |server| ticks(server, 13, 2));
        Duration::from_millis(10 * (own + ended))
    }

    /// Sets a setting such as `ssl=on` from the next start on.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Gives the server a certificate and its key in PEM, and starts it again with TLS.
    pub fn with_tls(&mut self, cert_pem: &str, key_pem: &str) {
        write_private(&self.folder.join("data/server.crt"), cert_pem);
        write_private(&self.folder.join("data/server.key"), key_pem);
        self.set("ssl=on");
        self.stop_fast();
        self.start_again();
    }

    /// Starts a standby that follows this cluster.
    pub fn standby(&self) -> Cluster {
        let folder = new_folder();
        let from = format!("host=127.0.0.1 port={} user=postgres", self.port);
        run(
            &folder,
            "pg_basebackup",
            &["-D", "data", "-d", &from, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        );
        let settings = self.settings.clone();
        let mut standby = Cluster { folder, port: free_port(), child: None, settings };
        standby.start_again();
        standby
    }

    /// Makes a standby take writes.
    pub fn promote(&self) {
        self.psql("postgres", "SELECT pg_promote(true, 30)");
    }

    /// Starts PgBouncer in transaction mode before it, with one connection for each database.
    pub fn bouncer(&self) -> Bouncer {
        Bouncer::start(self)
    }

    fn stop(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        self.processes().into_iter().for_each(|pid| kill(pid, Signal::SIGCONT).unwrap_or(()));
        let _ = kill(Pid::from_raw(child.id() as i32), signal);
        child.wait().unwrap();
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + WAIT;
        loop {
            let ready = Command::new(program("psql"))
                .args(["-XqAt", "-c", "SELECT 1", &self.url("postgres")])
                .stderr(Stdio::null())
                .output()
                .unwrap();
            if ready.status.success() {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended: {}", log());
            assert!(Instant::now() < deadline, "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The server and its children.
    fn processes(&self) -> Vec<Pid> {
        let Some(child) = &self.child else { return Vec::new() };
        let parent = child.id() as i32;
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(parent).chain(children).map(Pid::from_raw).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediate();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// PgBouncer in transaction mode.
pub struct Bouncer {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Bouncer {
    fn start(cluster: &Cluster) -> Bouncer {
        let folder = new_folder();
        let port = free_port();
        let settings = format!(
            "[databases]\n* = user=postgres host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 1\nunix_socket_dir =\nlogfile = bouncer.log\n",
            cluster.port
        );
        std::fs::write(folder.join("bouncer.ini"), settings).unwrap();
        let mut command = as_server(&folder, "pgbouncer");
        command.arg("bouncer.ini").stdout(Stdio::null()).stderr(Stdio::null());
        let bouncer = Bouncer { child: spawn(command), port, folder };
        let deadline = Instant::now() + WAIT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        bouncer
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A new folder that the server's user owns. Those of processes that are gone are deleted.
fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let place = std::env::temp_dir();
    for old in std::fs::read_dir(&place).unwrap().flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        let Some(pid) =
            name.strip_prefix("engine-cluster-").and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            // Thousands of files: nobody waits for it, and what is left the next process deletes.
            std::thread::spawn(move || std::fs::remove_dir_all(old.path()));
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = place.join(format!("engine-cluster-{}-{number}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    give_to_server(&folder);
    folder
}

/// Writes a file that only the server's user can read.
fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    give_to_server(path);
}

fn give_to_server(path: &Path) {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}

/// Whom the server runs as where we are root.
fn server_user() -> Option<User> {
    let named = |name| User::from_name(name).unwrap();
    Uid::effective()
        .is_root()
        .then(|| named("postgres").or_else(|| named("nobody")).expect("a user postgres or nobody"))
}

/// A command in a folder, as a user who may run the server, that ends when this process ends.
fn as_server(folder: &Path, name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = server_user() {
        command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
        command.arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program(name));
    command.current_dir(folder).stdin(Stdio::null()).env("PGTZ", "UTC");
    command
}

fn run(folder: &Path, name: &str, arguments: &[&str]) {
    let output = as_server(folder, name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

fn program(name: &str) -> PathBuf {
    let found = BINARIES.iter().map(|folder| Path::new(folder).join(name));
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}

/// What to start, and who wants the child.
type Order = (Command, Sender<Child>);

/// Starts a child from a thread that lives as long as this process: the kernel's signal for the
/// death of a parent means the thread that started the child, and tests end before.
fn spawn(command: Command) -> Child {
    static KEEPER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn().unwrap()).unwrap();
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = channel();
    KEEPER.lock().unwrap().send((command, reply)).unwrap();
    child.recv().expect("setpriv and PostgreSQL's programs: install util-linux and postgresql")
}
