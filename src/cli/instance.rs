//! One engine for each chunk: the lock file in the data folder.
//!
//! Owns: the file, which names its holder in JSON and is there only while the holder runs. The lock
//! is flock(2), which the kernel drops when the process ends in whatever way.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::style::{printable, rfc3339};
use crate::clock::wall_millis;

/// Longest holder that is repeated, in bytes.
const HOLDER_BYTES_MAX: u64 = 512;

/// The lock of one chunk, held until this value goes.
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    _lock: File,
}

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another engine has it.
    #[error(
        "{} is in use by another engine ({holder}): stop it first, or choose another --chunk or \
         data folder",
        path.display()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Its pid, address and start.
        holder: String,
    },
    /// The file cannot be made.
    #[error("{}: {source}", path.display())]
    Refused {
        /// The lock file.
        path: PathBuf,
        /// The error of open(2), flock(2) or write(2).
        source: io::Error,
    },
}

impl Instance {
    /// Takes the lock for an engine that listens on `listen`.
    ///
    /// # Errors
    ///
    /// `Held` with the holder, or `Refused`.
    pub fn take(path: &Path, listen: SocketAddr) -> Result<Instance, InstanceError> {
        let refused = |source| InstanceError::Refused { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder).map_err(refused)?;
        }
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.mode(0o600).open(path).map_err(refused)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(path, &file)),
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
            // The holder before may have removed the file after it was opened here.
            if !is_at(&file, path).map_err(refused)? {
                continue;
            }
            write_holder(&mut file, listen).map_err(refused)?;
            return Ok(Instance { path: path.to_owned(), _lock: file });
        }
    }
}

impl Instance {
    /// Looks whether another engine has the lock, without taking it.
    ///
    /// # Errors
    ///
    /// `Held` with the holder. A file that cannot be read is for [`Instance::take`] to tell.
    pub fn look(path: &Path) -> Result<(), InstanceError> {
        let Ok(file) = File::open(path) else { return Ok(()) };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(held(path, &file)),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A file that stays is in nobody's way: the lock itself goes with the process.
        let _ = fs::remove_file(&self.path);
    }
}

fn held(path: &Path, file: &File) -> InstanceError {
    let mut holder = String::new();
    // Whoever holds the lock may be about to write: then it is not known yet.
    let _ = { file }.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let known = serde_json::from_str(&holder).unwrap_or(Value::Null);
    let holder = match (&known["pid"], &known["host"], &known["port"], &known["started_at"]) {
        (Value::Number(pid), Value::String(host), Value::Number(port), Value::String(start)) => {
            let text = format!("pid {pid}, address {host} port {port}, since {start}");
            printable(&text).into_owned()
        }
        _ => "not known yet".to_owned(),
    };
    InstanceError::Held { path: path.to_owned(), holder }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_holder(file: &mut File, listen: SocketAddr) -> io::Result<()> {
    let holder = json!({
        "pid": std::process::id(),
        "port": listen.port(),
        "started_at": rfc3339(wall_millis()),
        "host": listen.ip().to_string(),
    });
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_engine_is_refused_with_the_holder_until_the_first_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data/monitor_service.lock");
        let listen = "127.0.0.1:5005".parse().unwrap();
        assert!(Instance::look(&path).is_ok());
        let first = Instance::take(&path, listen).unwrap();
        assert!(Instance::look(&path).unwrap_err().to_string().contains(" port 5005"));
        let error = Instance::take(&path, listen).unwrap_err().to_string();
        let holder = format!("pid {}, address 127.0.0.1 port 5005", std::process::id());
        assert!(error.contains(&holder), "{error}");
        drop(first);
        assert!(!path.exists());
        assert!(Instance::take(&path, listen).is_ok());
    }

    #[test]
    fn a_file_left_by_a_killed_engine_is_in_nobodys_way() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("monitor_service.lock");
        fs::write(&path, "{\"pid\":1}").unwrap();
        let _lock = Instance::take(&path, "127.0.0.1:1".parse().unwrap()).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("\"pid\":1,"));
    }
}
