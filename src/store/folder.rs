//! The data folder: its rights, its lock, and whether a database may live there.
//!
//! Owns: the folder and the lock file in it. The lock is flock(2) on a file of its own, which the
//! kernel drops when the process ends in whatever way; the file stays and tells the holder's pid.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs};

use super::StoreError;

/// The database in the folder.
const DATABASE_FILE: &str = "engine.db";
/// The lock in the folder.
const LOCK_FILE: &str = "engine.lock";
/// statfs(2): cifs and smb2 mounts.
const CIFS_SUPER_MAGIC: FsType = FsType(0xff53_4d42);
const SMB2_SUPER_MAGIC: FsType = FsType(0xfe53_4d42);

/// A folder that no other engine uses while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Where the database of a data folder is.
pub(super) fn database_path(folder: &Path) -> PathBuf {
    folder.join(DATABASE_FILE)
}

impl Folder {
    /// Makes the folder (rights 0700) where it is missing, locks it, and makes an empty database
    /// file (rights 0600) where there is none; SQLite gives its side files the same rights. The
    /// rights of a folder that is there already are the administrator's business.
    ///
    /// # Errors
    ///
    /// `NetworkFilesystem`, `InUse`, and `Folder` for whatever else the operating system refuses.
    pub fn open(path: &Path) -> Result<Folder, StoreError> {
        let lock = take(path)?;
        let database = database_path(path);
        private_file(&database).map_err(|error| refused(&database, &error))?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        database_path(&self.path)
    }
}

/// Makes a folder where it is missing and locks it for as long as the file given back is open.
///
/// # Errors
///
/// As [`Folder::open`].
pub(super) fn take(path: &Path) -> Result<File, StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(|e| refused(path, &e))?;
    refuse_network_filesystem(path)?;
    lock(path)
}

fn refuse_network_filesystem(path: &Path) -> Result<(), StoreError> {
    let found = statfs(path).map_err(|errno| refused(path, &errno.into()))?.filesystem_type();
    let network = [NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC];
    if network.contains(&found) {
        return Err(StoreError::NetworkFilesystem { path: path.to_owned() });
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let mut file = private_file(&path).map_err(|error| refused(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Whoever holds the lock may be about to write its pid: then it is not known yet.
            let _ = (&file).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "not known" } else { pid.trim() }.to_owned();
            return Err(StoreError::InUse { path: folder.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(refused(&path, &error)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(|error| refused(&path, &error))?;
    Ok(file)
}

/// Opens a file for reading and writing, made with rights 0600 where it is missing.
fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn refused(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_and_files_are_for_the_owner_only() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/data");
        let folder = Folder::open(&path).unwrap();
        let rights = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(rights(&path), 0o700);
        assert_eq!(rights(&folder.database()), 0o600);
        assert_eq!(rights(&path.join(LOCK_FILE)), 0o600);
    }

    #[test]
    fn a_second_engine_is_refused_with_the_pid_of_the_first_until_it_ends() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::open(place.path()).unwrap();
        let error = Folder::open(place.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        assert!(Folder::open(place.path()).is_ok());
    }

    #[test]
    fn a_path_that_is_a_file_is_an_error_that_names_it() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::open(place.path()).unwrap_err().to_string();
        assert!(error.contains(place.path().to_str().unwrap()), "{error}");
    }
}
