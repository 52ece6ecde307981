//! The data directory and the node's identity in it.
//!
//! `identity.json` holds the Node Id, made at the first start, and the incarnation, which grows with every
//! start. It is replaced in one step and synced before the node uses the new incarnation, so that no
//! incarnation is ever used twice. A locked file keeps a second process out.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const IDENTITY_FILE: &str = "identity.json";
const LOCK_FILE: &str = "lock";
/// Far more than the file ever has; a larger one is not ours.
const IDENTITY_BYTES_MAX: u64 = 4_096;
/// The version of the file's form.
const FORM: u32 = 1;

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Who the node is and which of its lives this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The Node Id, 128 random bits.
    pub node: u128,
    /// Greater than in every earlier start.
    pub incarnation: u64,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refused.
    #[error("data_dir: cannot {verb} {path}: {error}", path = .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Another process has it.
    #[error("data_dir: {path} is in use by another process", path = .0.display())]
    InUse(PathBuf),
    /// The file is there and is not one of ours, or damaged.
    #[error("data_dir: {path} is damaged: {problem}; restore it, or remove it to start as a new node", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    form: u32,
    /// 32 hexadecimal digits.
    node: String,
    incarnation: u64,
}

impl DataDir {
    /// Creates the directory if need be and locks it.
    ///
    /// # Errors
    /// When it cannot be created or another process uses it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(|error| io_error("create", path, error))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(|error| io_error("open", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(io_error("lock", &lock_path, error)),
        }
    }

    /// Begins a new incarnation and stores it. `random` becomes the Node Id at the first start; `unix_ms` is
    /// the least incarnation, so that a node whose directory was lost still comes after its older self.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn next_incarnation(&self, random: u128, unix_ms: u64) -> Result<Incarnation, DataDirError> {
        let path = self.path.join(IDENTITY_FILE);
        let last = read(&path)?;
        let next = match last {
            None => Incarnation { node: random, incarnation: unix_ms.max(1) },
            Some(last) => {
                let incarnation = last.incarnation.saturating_add(1).max(unix_ms);
                Incarnation { node: last.node, incarnation }
            }
        };
        self.write(&path, next)?;
        Ok(next)
    }

    fn write(&self, path: &Path, identity: Incarnation) -> Result<(), DataDirError> {
        let stored =
            Stored { form: FORM, node: format!("{:032x}", identity.node), incarnation: identity.incarnation };
        let new_path = path.with_extension("new");
        let text = serde_json::to_string(&stored).map_err(io::Error::other);
        let written = text.and_then(|text| {
            let mut file = File::create(&new_path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new_path, path)?;
            File::open(&self.path)?.sync_all()
        });
        written.map_err(|error| io_error("write", path, error))
    }
}

fn read(path: &Path) -> Result<Option<Incarnation>, DataDirError> {
    let damaged = |problem: String| DataDirError::Damaged { path: path.to_owned(), problem };
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    };
    if size > IDENTITY_BYTES_MAX {
        return Err(damaged(format!("it has {size} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| io_error("read", path, error))?;
    let stored: Stored = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if stored.form != FORM {
        return Err(damaged(format!("its form is {}, this version knows {FORM}", stored.form)));
    }
    let node = u128::from_str_radix(&stored.node, 16).map_err(|error| damaged(format!("node: {error}")))?;
    Ok(Some(Incarnation { node, incarnation: stored.incarnation }))
}

fn io_error(verb: &'static str, path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io { verb, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_stays_and_its_incarnation_grows() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&directory.path().join("deep/down")).unwrap();
        let first = data_dir.next_incarnation(7, 1_000).unwrap();
        assert_eq!(first, Incarnation { node: 7, incarnation: 1_000 });
        // Within the same millisecond, or with the clock set back, it still grows.
        let second = data_dir.next_incarnation(8, 10).unwrap();
        assert_eq!(second, Incarnation { node: 7, incarnation: 1_001 });
        let third = data_dir.next_incarnation(9, 5_000).unwrap();
        assert_eq!(third, Incarnation { node: 7, incarnation: 5_000 });
    }

    #[test]
    fn a_directory_serves_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        assert!(matches!(DataDir::open(directory.path()), Err(DataDirError::InUse(_))));
        drop(first);
        assert!(DataDir::open(directory.path()).is_ok());
    }

    #[test]
    fn a_damaged_identity_is_reported_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(IDENTITY_FILE);
        let oversized = "x".repeat(5_000);
        let data_dir = DataDir::open(directory.path()).unwrap();
        for content in ["", "{", r#"{"form":2,"node":"07","incarnation":1}"#, &oversized] {
            fs::write(&file, content).unwrap();
            let error = data_dir.next_incarnation(1, 1).unwrap_err();
            assert!(matches!(error, DataDirError::Damaged { .. }), "{content:.20}: {error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }
}
