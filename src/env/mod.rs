//! The environment as the original service reads it: variables, `.env`, `.env.test`.
//!
//! Owns: which file is looked for where, and which value goes before which. The process
//! environment is read once and never changed. `dotenv` reads the syntax, `original` the names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::ENV_FILE_BYTES_MAX;

pub mod alerting;
pub mod dotenv;

pub mod original;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment of the process.
    Process,
    /// A file.
    File(Arc<Path>),
}

/// One variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its value.
    pub value: String,
    /// Where it was found.
    pub origin: Origin,
}

/// Without the value: any variable may hold a password.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// All variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    variables: BTreeMap<String, Variable>,
    /// What is wrong with a file, for people.
    pub notes: Vec<String>,
}

impl Env {
    /// Reads the environment of this process and the files that belong to the current folder.
    ///
    /// # Errors
    ///
    /// As for [`Env::read`], or the current folder is gone.
    pub fn of_process(test: bool) -> Result<Env, EnvError> {
        let folder = std::env::current_dir()
            .map_err(|source| EnvError { path: PathBuf::from("."), source })?;
        Env::read(std::env::vars_os(), &folder, test)
    }

    /// The variables in `process`, then those of the `.env` that is nearest to `folder`, in it or
    /// above it, that `process` does not have. With `test`, those of `.env.test` in `folder` go
    /// before all.
    ///
    /// # Errors
    ///
    /// A file is there and cannot be read.
    pub fn read(
        process: impl IntoIterator<Item = (OsString, OsString)>,
        folder: &Path,
        test: bool,
    ) -> Result<Env, EnvError> {
        let mut env = Env::default();
        for (name, value) in process {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            let variable = Variable { value: value.into_owned(), origin: Origin::Process };
            env.variables.insert(name.into_owned(), variable);
        }
        let above = folder.ancestors().map(|folder| folder.join(".env"));
        for path in above {
            if let Some(text) = read_text(&path)? {
                env.add(&path, &text, false);
                break;
            }
        }
        let path = folder.join(".env.test");
        if test && let Some(text) = read_text(&path)? {
            env.add(&path, &text, true);
        }
        Ok(env)
    }

    /// A variable; an empty one counts as one that is not there.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name).filter(|variable| !variable.value.trim().is_empty())
    }

    /// The value of a variable, without blanks around it; an empty one counts as one that is not
    /// there.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|variable| variable.value.trim())
    }

    /// The names of all variables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    fn add(&mut self, path: &Path, text: &str, overrides: bool) {
        let known = |name: &str| self.variables.get(name).map(|known| known.value.clone());
        let unknown = |_: &str| None;
        let parsed = match overrides {
            true => dotenv::parse(text, unknown, known),
            false => dotenv::parse(text, known, unknown),
        };
        let origin = Origin::File(Arc::from(path));
        for (name, value) in parsed.values {
            let variable = Variable { value, origin: origin.clone() };
            if overrides {
                self.variables.insert(name, variable);
            } else {
                self.variables.entry(name).or_insert(variable);
            }
        }
        let line = |line: usize| format!("{}:{line}: is not NAME=value", path.display());
        self.notes.extend(parsed.bad_lines.into_iter().map(line));
    }
}

/// A file of variables that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; make it readable, or move it away", path.display())]
pub struct EnvError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The text of a file; `None` where there is no file of this name.
fn read_text(path: &Path) -> Result<Option<String>, EnvError> {
    let failed = |source| EnvError { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    let read = file.take(ENV_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > ENV_FILE_BYTES_MAX {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 1 MiB")));
    }
    Ok(Some(text))
}

/// A truth value as the original reads it; `None` for anything else.
pub fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}
