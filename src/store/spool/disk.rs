//! What the spool asks of a disk, and the real one: files in a folder of their own.
//!
//! Owns: system calls, rights and the lock. Every call may fail at any time and a write may be
//! short; tests put a disk here that does both and loses what was not synced. The folder is 0700,
//! files are 0600, and one process at a time has them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use crate::store::{StoreError, folder};

/// Files of one folder, by name. What was written is durable after [`Disk::sync`], and a name
/// after [`Disk::sync_names`].
pub trait Disk: Send {
    /// Every file with its size in bytes, in no order.
    ///
    /// # Errors
    ///
    /// The operating system's; so for all methods.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;

    /// Reads at most `bytes_max` bytes from `at` on; fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn read(&mut self, name: &str, at: u64, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Makes an empty file in place of whatever had the name.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes bytes at a place and gives how many: it may be fewer.
    ///
    /// # Errors
    ///
    /// The operating system's; some of the bytes may have been written.
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Sets room aside for a file of so many bytes, without changing its size.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn reserve(&mut self, name: &str, bytes: u64) -> io::Result<()>;

    /// Cuts a file to so many bytes and gives back the room past them.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn cut(&mut self, name: &str, bytes: u64) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    ///
    /// # Errors
    ///
    /// The operating system's. Nobody knows then what is on the disk, and asking again does not
    /// tell: the bytes must be written elsewhere.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file the name of another, which is gone then.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes names durable: files made, renamed and removed.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A folder on a local disk.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
    /// Files that are being written, the latest last: an error of writing back in the kernel is
    /// told to a descriptor that was open when it happened.
    open: Vec<(String, File)>,
    _lock: File,
}

/// Files kept open for writing: the segment that grows, and one that is rewritten.
const OPEN_MAX: usize = 2;

impl FolderDisk {
    /// Takes a folder; makes it where it is missing.
    ///
    /// # Errors
    ///
    /// `InUse` with the pid of the holder, `NetworkFilesystem`, or `Folder`.
    pub fn open(path: &Path) -> Result<FolderDisk, StoreError> {
        let lock = folder::take(path)?;
        Ok(FolderDisk { path: path.to_owned(), open: Vec::new(), _lock: lock })
    }

    /// Bytes of the disk that are free for us (statvfs(3)).
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let found = statvfs(&self.path)?;
        Ok(found.blocks_available().saturating_mul(found.fragment_size()))
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        let at = match self.open.iter().position(|(open, _)| open == name) {
            Some(at) => at,
            None => {
                let file = OpenOptions::new().write(true).open(self.path.join(name))?;
                self.keep(name, file)
            }
        };
        Ok(&self.open[at].1)
    }

    fn keep(&mut self, name: &str, file: File) -> usize {
        self.forget(name);
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((name.to_owned(), file));
        self.open.len() - 1
    }

    fn forget(&mut self, name: &str) {
        self.open.retain(|(open, _)| open != name);
    }
}

impl Disk for FolderDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // Our names are ASCII: others are none of our business.
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                files.push((name, meta.len()));
            }
        }
        Ok(files)
    }

    fn read(&mut self, name: &str, at: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let left = file.metadata()?.len().saturating_sub(at);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max)];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(self.path.join(name))?;
        self.keep(name, file);
        Ok(())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file(name)?.write_at(bytes, at)
    }

    fn reserve(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        let length = i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(fallocate(self.file(name)?, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length)?)
    }

    fn cut(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.file(name)?.set_len(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        self.forget(to);
        for (name, _) in self.open.iter_mut().filter(|(name, _)| name == from) {
            *name = to.to_owned();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn folder_and_files_are_for_the_owner_only_and_one_process_has_them() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("spool");
        let mut disk = FolderDisk::open(&path).unwrap();
        disk.create("a").unwrap();
        let rights = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((rights(&path), rights(&path.join("a"))), (0o700, 0o600));
        let error = FolderDisk::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        drop(disk);
        FolderDisk::open(&path).unwrap();
    }

    #[test]
    fn room_set_aside_does_not_change_the_size_and_a_cut_gives_it_back() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = FolderDisk::open(place.path()).unwrap();
        let blocks = || place.path().join("a").metadata().unwrap().blocks() * 512;
        disk.create("a").unwrap();
        disk.write("a", 0, b"hello").unwrap();
        disk.reserve("a", 1 << 20).unwrap();
        disk.sync("a").unwrap();
        assert!(blocks() >= 1 << 20);
        assert_eq!(disk.read("a", 1, 100).unwrap(), b"ello");
        disk.cut("a", 3).unwrap();
        assert!(blocks() < 1 << 20);
        assert_eq!(disk.read("a", 0, 100).unwrap(), b"hel");
    }

    #[test]
    fn a_renamed_file_goes_on_under_its_new_name() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = FolderDisk::open(place.path()).unwrap();
        for name in ["a", "b", "c"] {
            disk.create(name).unwrap();
            disk.write(name, 0, name.as_bytes()).unwrap();
        }
        disk.rename("c", "a").unwrap();
        disk.write("a", 1, b"!").unwrap();
        assert_eq!(disk.read("a", 0, 9).unwrap(), b"c!");
        disk.remove("b").unwrap();
        let names: Vec<String> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"a".to_owned()) && !names.contains(&"b".to_owned()), "{names:?}");
        assert!(disk.read("b", 0, 9).is_err());
    }
}
