//! The log files: appended, few open at once, none too large.
//!
//! Owns: the folder, the open files and their sizes. A file that would grow past its bound is
//! renamed to `.1` first, in the place of the one before.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::lines::Place;
use crate::limits::{LOG_FILE_BYTES_MAX, LOG_FILES_OPEN_MAX};

struct Open {
    file: File,
    bytes: u64,
    /// When it was written last, in writes of any file.
    used: u64,
}

/// The log files.
pub struct Files {
    folder: PathBuf,
    /// The file for the engine's and the monitors' lines, where one is named.
    single: Option<PathBuf>,
    open: HashMap<PathBuf, Open>,
    writes: u64,
    bytes_max: u64,
}

impl Files {
    /// Files in `folder`, which is made where it is missing. `single` takes the lines of the main
    /// file and of the monitors.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn new(folder: &Path, single: Option<PathBuf>) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        Ok(Files { folder, single, open: HashMap::new(), writes: 0, bytes_max: LOG_FILE_BYTES_MAX })
    }

    /// Appends `text` to a file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, renamed or written; half of the text may be there.
    pub fn append(&mut self, place: Place, text: &str) -> io::Result<()> {
        let path = self.path(place);
        self.writes += 1;
        let size = text.len() as u64;
        let bytes_max = self.bytes_max;
        let full = |open: &Open| open.bytes > 0 && open.bytes + size > bytes_max;
        if !self.open.contains_key(&path) {
            self.make_room();
            let file = open(&path)?;
            self.open.insert(path.clone(), file);
        }
        if self.open.get(&path).is_some_and(full) {
            self.open.remove(&path);
            let mut old = path.clone().into_os_string();
            old.push(".1");
            fs::rename(&path, old)?;
            self.open.insert(path.clone(), open(&path)?);
        }
        let Some(open) = self.open.get_mut(&path) else { return Ok(()) };
        open.used = self.writes;
        open.bytes += size;
        let written = open.file.write_all(text.as_bytes());
        if written.is_err() {
            self.open.remove(&path); // Opened anew, with its true size.
        }
        written
    }

    fn path(&self, place: Place) -> PathBuf {
        let single = self.single.clone();
        match place {
            Place::Main => single.unwrap_or_else(|| self.folder.join("log_main.txt")),
            Place::Monitor(id) => {
                single.unwrap_or_else(|| self.folder.join(format!("log_{id}.txt")))
            }
            Place::User(id) => self.folder.join(format!("log_user_{id}.txt")),
            Place::Errors => self.folder.join("log.error"),
        }
    }

    /// Closes the file that was not written for longest, where there are too many.
    fn make_room(&mut self) {
        if self.open.len() < LOG_FILES_OPEN_MAX {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some(path) = oldest.map(|(path, _)| path.clone()) {
            self.open.remove(&path);
        }
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes, used: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MonitorId;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn each_place_has_its_file_and_files_are_appended() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("logs");
        for text in ["a\n", "b\n"] {
            let mut files = Files::new(&folder, None).unwrap();
            files.append(Place::Main, text).unwrap();
            files.append(Place::Errors, text).unwrap();
            files.append(Place::Monitor(MonitorId(7)), text).unwrap();
            files.append(Place::User(-1), text).unwrap();
        }
        for name in ["log_main.txt", "log.error", "log_7.txt", "log_user_-1.txt"] {
            assert_eq!(read(&folder, name), "a\nb\n", "{name}");
        }
    }

    #[test]
    fn one_named_file_takes_the_lines_of_all_but_users_and_errors() {
        let place = tempfile::tempdir().unwrap();
        let single = place.path().join("all.txt");
        let mut files = Files::new(place.path(), Some(single)).unwrap();
        files.append(Place::Main, "main\n").unwrap();
        files.append(Place::Monitor(MonitorId(7)), "seven\n").unwrap();
        files.append(Place::User(1), "user\n").unwrap();
        assert_eq!(read(place.path(), "all.txt"), "main\nseven\n");
        assert_eq!(read(place.path(), "log_user_1.txt"), "user\n");
    }

    #[test]
    fn a_file_that_is_full_makes_place_for_the_next_and_only_one_old_one_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut files = Files::new(place.path(), None).unwrap();
        files.bytes_max = 10;
        for text in ["one....\n", "two....\n", "three that is far too long\n", "four\n"] {
            files.append(Place::Main, text).unwrap();
        }
        assert_eq!(read(place.path(), "log_main.txt"), "four\n");
        assert_eq!(read(place.path(), "log_main.txt.1"), "three that is far too long\n");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn few_files_are_open_at_once_and_nothing_is_lost_by_it() {
        let place = tempfile::tempdir().unwrap();
        let mut files = Files::new(place.path(), None).unwrap();
        let monitors = 2 * LOG_FILES_OPEN_MAX as u64;
        for round in 0..2 {
            for id in 0..monitors {
                files.append(Place::Monitor(MonitorId(id)), &format!("{round}\n")).unwrap();
                assert!(files.open.len() <= LOG_FILES_OPEN_MAX);
            }
        }
        assert_eq!(read(place.path(), "log_0.txt"), "0\n1\n");
        assert_eq!(read(place.path(), &format!("log_{}.txt", monitors - 1)), "0\n1\n");
    }
}
