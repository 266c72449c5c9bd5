//! The secrets that an installation makes for itself: the password and the key of the API.
//!
//! Owns: two files in the data folder, readable by their owner only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::database::Secret;

const PASSWORD_FILE: &str = "admin-password";
const KEY_FILE: &str = "token-key";
/// Random bytes of a password, in bytes: 144 bits, 24 letters.
const PASSWORD_BYTES: usize = 18;
/// Random bytes of the key that signs tokens, in bytes (RFC 7518 section 3.2: 256 bits or more).
const KEY_BYTES: usize = 32;

/// A secret that can neither be read nor made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct KeyError {
    path: PathBuf,
    source: io::Error,
}

/// A secret, and whether it was made just now.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// The secret.
    pub secret: Secret,
    /// True where nobody has seen it before.
    pub is_new: bool,
}

/// The password that was made at the first start in `folder`; made now where there is none.
///
/// # Errors
///
/// The file cannot be read or made.
pub fn password(folder: &Path) -> Result<Kept, KeyError> {
    kept(folder, PASSWORD_FILE, PASSWORD_BYTES)
}

/// The password that was made at the first start in `folder`; `None` where there is none.
pub fn known_password(folder: &Path) -> Option<Secret> {
    let text = fs::read_to_string(folder.join(PASSWORD_FILE)).ok()?;
    Some(Secret::new(text.trim())).filter(|secret| !secret.reveal().is_empty())
}

/// The key that signs tokens, made at the first start in `folder`.
///
/// # Errors
///
/// The file cannot be read or made.
pub fn token_key(folder: &Path) -> Result<Secret, KeyError> {
    Ok(kept(folder, KEY_FILE, KEY_BYTES)?.secret)
}

fn kept(folder: &Path, name: &str, bytes: usize) -> Result<Kept, KeyError> {
    let path = folder.join(name);
    let failed = |source| KeyError { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => {
            return Ok(Kept { secret: Secret::new(text.trim()), is_new: false });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut random = vec![0; bytes];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| failed(io::Error::other("the system gives no random bytes")))?;
    let text = URL_SAFE_NO_PAD.encode(random);
    write_new(folder, &path, &text).map_err(failed)?;
    Ok(Kept { secret: Secret::new(text), is_new: true })
}

/// Written under another name first, so that nobody ever reads half a secret.
fn write_new(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_for_the_owner_only() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(known_password(place.path()), None);
        let first = password(place.path()).unwrap();
        let second = password(place.path()).unwrap();
        assert!(first.is_new && !second.is_new);
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.secret.reveal().len(), 24);
        assert_eq!(known_password(place.path()), Some(second.secret));
        let rights = fs::metadata(place.path().join(PASSWORD_FILE)).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600);
    }

    #[test]
    fn two_installations_have_different_keys() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(token_key(one.path()).unwrap(), token_key(other.path()).unwrap());
    }
}
