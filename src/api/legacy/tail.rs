//! The last lines of a log file.
//!
//! Owns: reading from the end, so that a large file costs no more than a small one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::limits::{LOG_TAIL_BYTES_MAX, LOG_TAIL_LINES_MAX};

/// The last lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The lines, oldest first, without their ends.
    pub lines: Vec<String>,
    /// Lines of the whole file; by their mean length where only its end was read.
    pub total: u64,
}

/// Reads at most `lines` lines, `LOG_TAIL_LINES_MAX` and `LOG_TAIL_BYTES_MAX`. `None` where there
/// is no file. Bytes that are no text are replaced.
///
/// # Errors
///
/// The file cannot be read.
pub fn tail(path: &Path, lines: usize) -> io::Result<Option<Tail>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let start = size.saturating_sub(LOG_TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    let read = bytes.len() as u64;
    let text = String::from_utf8_lossy(&bytes);
    let mut all: Vec<&str> = text.lines().collect();
    let mut total = all.len() as u64;
    if start > 0 && all.len() > 1 {
        all.remove(0); // Its start was not read.
        total = (total as f64 * size as f64 / read.max(1) as f64) as u64;
    }
    let skipped = all.len().saturating_sub(lines.min(LOG_TAIL_LINES_MAX));
    let lines = all[skipped..].iter().map(|line| (*line).to_owned()).collect();
    Ok(Some(Tail { lines, total }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_lines_are_read_and_the_rest_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log_main.txt");
        assert_eq!(tail(&path, 5).unwrap(), None);
        fs::write(&path, "one\ntwo\nthr\u{fffd}e").unwrap();
        let found = tail(&path, 2).unwrap().unwrap();
        assert_eq!((found.lines, found.total), (vec!["two".into(), "thr\u{fffd}e".into()], 3));
        assert_eq!(tail(&path, 0).unwrap().unwrap().lines, Vec::<String>::new());
    }

    #[test]
    fn of_a_large_file_only_the_end_is_read_and_half_a_line_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log_main.txt");
        let count = LOG_TAIL_BYTES_MAX / 10 * 3;
        fs::write(&path, "123456789\n".repeat(count as usize)).unwrap();
        let found = tail(&path, usize::MAX).unwrap().unwrap();
        assert_eq!(found.lines.len(), LOG_TAIL_LINES_MAX);
        assert!(found.lines.iter().all(|line| line == "123456789"));
        assert!(found.total.abs_diff(count) < count / 100, "{}", found.total);
    }
}
