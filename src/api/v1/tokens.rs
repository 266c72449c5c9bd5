//! Tokens of programs: what they may do, and the file that keeps them hashed.
//!
//! Owns: `api-tokens.json` in the data folder, readable by its owner only. A token is 256 random
//! bits, so its SHA-256 is as good as the token is long; what is in the file lets nobody in. The
//! file is looked at again whenever it changed, so a removed token ends at once.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::{API_TOKEN_NAME_BYTES_MAX, API_TOKENS_MAX};

/// The file in the data folder.
const FILE: &str = "api-tokens.json";
/// What every token begins with: tells it from a password, and lets scanners of leaks find it.
const PREFIX: &str = "eng_";
/// Random bytes of a token: 256 bits.
const TOKEN_BYTES: usize = 32;

/// What somebody may do. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Change monitors too.
    Write,
    /// All there is.
    Admin,
}

impl Scope {
    /// Every scope, the least first.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Admin];

    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

/// One token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What people call it; unique.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// SHA-256 of the token, in base64url.
    pub sha256: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// Why the tokens cannot be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The name cannot be used.
    #[error("{name:?}: {problem}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The tokens of one data folder.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What was read, and of which state of the file.
#[derive(Debug, Default)]
struct Known {
    mark: Option<(u64, i64, i64, u64)>,
    tokens: Vec<Token>,
}

impl Tokens {
    /// The tokens kept in `folder`; the file is made with the first token.
    pub fn of_folder(folder: &Path) -> Tokens {
        Tokens { path: folder.join(FILE), known: Mutex::default() }
    }

    /// The scope and the name of a token; `None` for one that is not known.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read: nobody is let in then.
    pub fn scope_of(&self, token: &str) -> Result<Option<(Scope, String)>, TokenError> {
        if !token.starts_with(PREFIX) {
            return Ok(None);
        }
        let hash = hashed(token);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = fs::metadata(&self.path)
            .ok()
            .map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.size()));
        if known.mark != mark || mark.is_none() {
            known.tokens = self.list()?;
            known.mark = mark;
        }
        // Hashes of random tokens: how long a comparison takes tells nothing about the token.
        let found = known.tokens.iter().find(|token| token.sha256 == hash);
        Ok(found.map(|token| (token.scope, token.name.clone())))
    }

    /// All tokens, in the order they were made.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not ours.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        };
        serde_json::from_str(&text).map_err(|error| self.failed(io::Error::other(error)))
    }

    /// Makes a token and returns it: it is not kept anywhere and cannot be shown again.
    ///
    /// # Errors
    ///
    /// The name is taken or cannot be used, or the file cannot be written.
    pub fn add(&self, name: &str, scope: Scope, now_ms: u64) -> Result<String, TokenError> {
        let bad = |problem: &str| TokenError::Name { name: name.into(), problem: problem.into() };
        if name.is_empty() || name.len() > API_TOKEN_NAME_BYTES_MAX {
            return Err(bad(&format!("write 1 to {API_TOKEN_NAME_BYTES_MAX} bytes")));
        }
        if name.chars().any(char::is_control) {
            return Err(bad("has a control character; leave it out"));
        }
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(bad("is there already; `engine token rm` removes it"));
        }
        if tokens.len() >= API_TOKENS_MAX {
            return Err(bad(&format!("there are {API_TOKENS_MAX} tokens already; remove some")));
        }
        let mut random = [0; TOKEN_BYTES];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| self.failed(io::Error::other("the system gives no random bytes")))?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let sha256 = hashed(&token);
        tokens.push(Token { name: name.to_owned(), scope, sha256, created_ms: now_ms });
        self.write(&tokens)?;
        Ok(token)
    }

    /// Removes the token with this name: it lets nobody in from now on. False where there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn remove(&self, name: &str) -> Result<bool, TokenError> {
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() < before {
            self.write(&tokens)?;
        }
        Ok(tokens.len() < before)
    }

    /// Two commands at once would lose a token.
    fn lock(&self) -> Result<File, TokenError> {
        let lock = || {
            if let Some(folder) = self.path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(self.path.with_extension("lock"))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| self.failed(error))
    }

    /// Written under another name first, so that nobody ever reads half a list.
    fn write(&self, tokens: &[Token]) -> Result<(), TokenError> {
        let write = || {
            let draft = self.path.with_extension("new");
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&draft)?;
            serde_json::to_writer_pretty(&mut file, tokens)?;
            writeln!(file)?;
            file.sync_all()?;
            fs::rename(draft, &self.path)
        };
        write().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> TokenError {
        TokenError::File { path: self.path.clone(), source }
    }
}

fn hashed(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_lets_in_until_it_is_removed_and_is_nowhere_in_the_file() {
        let place = tempfile::tempdir().unwrap();
        let (command, engine) = (Tokens::of_folder(place.path()), Tokens::of_folder(place.path()));
        assert_eq!(engine.scope_of("eng_x").unwrap(), None);
        let token = command.add("grafana", Scope::Read, 5).unwrap();
        let other = command.add("deploy", Scope::Write, 6).unwrap();
        assert_eq!(engine.scope_of(&token).unwrap(), Some((Scope::Read, "grafana".into())));
        assert_eq!(engine.scope_of(&other).unwrap(), Some((Scope::Write, "deploy".into())));
        let path = place.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&token) && !text.contains(&token[PREFIX.len()..]), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(command.remove("grafana").unwrap() && !command.remove("grafana").unwrap());
        assert_eq!(engine.scope_of(&token).unwrap(), None);
        assert!(engine.scope_of(&other).unwrap().is_some());
    }

    #[test]
    fn a_name_is_there_once_and_has_no_control_characters() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::of_folder(place.path());
        tokens.add("a", Scope::Admin, 0).unwrap();
        for (name, said) in [("a", "is there already"), ("", "1 to"), ("a\u{1b}[2J", "control")] {
            let error = tokens.add(name, Scope::Read, 0).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(tokens.list().unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_lets_nobody_in() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::of_folder(place.path());
        let token = tokens.add("a", Scope::Read, 0).unwrap();
        fs::write(place.path().join(FILE), "[{").unwrap();
        assert!(tokens.scope_of(&token).is_err());
    }
}
