//! A real web server for the bench: Debian's nginx on its own ports and in its own folder.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running nginx; it ends when this is dropped.
pub struct Nginx {
    child: Child,
    /// Where it listens.
    pub targets: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts nginx on one CPU, listening on one port of every loopback address.
    pub fn start(cpu: usize, addresses: u8) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        fs::write(folder.path().join("1k"), vec![b'x'; 1_024]).unwrap();
        fs::write(folder.path().join("nginx.conf"), config(folder.path(), port)).unwrap();
        let child = Command::new("taskset")
            .args(["-c", &cpu.to_string(), "nginx", "-p"])
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx and taskset are needed: apt-get install nginx-light util-linux");
        let targets: Vec<_> =
            (1..=addresses).map(|last| (Ipv4Addr::new(127, 0, 1, last), port).into()).collect();
        let nginx = Nginx { child, targets, _folder: folder };
        for _ in 0..100 {
            if TcpStream::connect(nginx.targets[0]).is_ok() {
                return nginx;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nginx does not answer on port {port}");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 8192; multi_accept on; }}
        http {{
            access_log off; tcp_nodelay on; open_file_cache max=10;
            client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
            uwsgi_temp_path {folder}; scgi_temp_path {folder};
            server {{ listen {port} backlog=4096; root {folder}; }}
        }}"
    )
}
