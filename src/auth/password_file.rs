//! The password file on disk: read at the node's start, changed by `flockmq passwd`.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::credentials::{Credentials, Line, LineError, unknown_users_line, user_line};
use super::user_name::UserName;
use super::verifier::Verifier;

/// Bytes of a password file: a million users fit, and more is the wrong file.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Write permission of the group and of all others.
#[cfg(unix)]
const OTHERS_WRITE: u32 = 0o022;
/// Nobody but the owner.
#[cfg(unix)]
const OWNER_ONLY: u32 = 0o600;

/// Why a password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// The system refused.
    #[error("cannot {verb} the password file {path}: {error}", path = .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is a directory or a device.
    #[error("the password file {path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// Somebody else could add a user.
    #[error(
        "others than its owner may write the password file {path} (mode {mode:o}): chmod go-w {path}",
        path = .path.display()
    )]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any password file.
    #[error("the password file {path} has {bytes} bytes, the limit is {FILE_BYTES_MAX}", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A line is wrong.
    #[error("{path}:{line}: {error}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        error: LineError,
    },
    /// It is being changed, or a change did not come to its end.
    #[error("{path} exists: another change is under way; if not, remove it", path = .0.display())]
    Locked(PathBuf),
}

/// Reads the credentials.
pub(super) fn load(path: &Path) -> Result<Credentials, PasswordFileError> {
    let file = File::open(path).map_err(|error| io_error("open", path, error))?;
    let (text, _) = read(path, file)?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Credentials, PasswordFileError> {
    Credentials::parse(text).map_err(|(line, error)| PasswordFileError::Line {
        path: path.to_owned(),
        line,
        error,
    })
}

/// Reads the file if it is one that can be trusted.
fn read(path: &Path, mut file: File) -> Result<(String, Metadata), PasswordFileError> {
    let metadata = file.metadata().map_err(|error| io_error("read", path, error))?;
    if !metadata.is_file() {
        return Err(PasswordFileError::NotAFile(path.to_owned()));
    }
    check_mode(path, &metadata)?;
    let bytes = metadata.len();
    if bytes > FILE_BYTES_MAX {
        return Err(PasswordFileError::TooLarge { path: path.to_owned(), bytes });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| io_error("read", path, error))?;
    Ok((text, metadata))
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), PasswordFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(PasswordFileError::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &Metadata) -> Result<(), PasswordFileError> {
    Ok(()) // Access lists are the administrator's there.
}

/// A password file that is being changed. Comments and the order of lines stay. Nothing is changed until
/// [`PasswordFile::save`]; until then, or until it is dropped, nobody else can open it for a change.
#[derive(Debug)]
pub struct PasswordFile {
    path: PathBuf,
    lines: Vec<String>,
    /// Of the file that is replaced; `None` for a new one.
    replaced: Option<Metadata>,
    new: NewFile,
}

impl PasswordFile {
    /// Opens the file, or begins a new one. `random` becomes a new file's key for unknown users.
    ///
    /// # Errors
    /// When the file is there and a node would not take it, or is being changed.
    pub fn open(path: &Path, random: [u8; 32]) -> Result<Self, PasswordFileError> {
        // A link stays one: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let new = NewFile::create(&path)?;
        let (text, replaced) = match File::open(&path) {
            Ok(file) => read(&path, file).map(|(text, metadata)| (text, Some(metadata)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (unknown_users_line(&random), None),
            Err(error) => return Err(io_error("open", &path, error)),
        };
        parse(&path, &text)?;
        Ok(Self { path, lines: text.lines().map(str::to_owned).collect(), replaced, new })
    }

    /// Gives the user this verifier. True when the user is new.
    pub fn set(&mut self, name: &UserName, verifier: &Verifier) -> bool {
        let line = user_line(name, verifier);
        match self.lines.iter_mut().find(|line| is_line_of(line, name)) {
            Some(old) => {
                *old = line;
                false
            }
            None => {
                self.lines.push(line);
                true
            }
        }
    }

    /// Removes the user. False when there was none.
    pub fn remove(&mut self, name: &UserName) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !is_line_of(line, name));
        self.lines.len() != before
    }

    /// Replaces the file in one step: whoever reads it sees all of the old one or all of the new one. A new file
    /// is for its owner alone; an old one keeps its owner, group and mode.
    ///
    /// # Errors
    /// When it cannot be written; the old file stands then.
    pub fn save(self) -> Result<(), PasswordFileError> {
        let mut text = self.lines.join("\n");
        text.push('\n');
        parse(&self.path, &text)?;
        let written = self.new.write(&text, self.replaced.as_ref(), &self.path);
        written.map_err(|error| io_error("write", &self.path, error))
    }
}

fn is_line_of(line: &str, name: &UserName) -> bool {
    matches!(Line::parse(line), Ok(Line::User(of, _)) if of == name.as_str())
}

/// The file that takes the place of the old one. That it exists keeps others from changing the old one; it goes
/// when it is not needed.
#[derive(Debug)]
struct NewFile {
    file: File,
    path: PathBuf,
    /// It has taken the place, so what stands at `path` now is somebody else's.
    is_renamed: bool,
}

impl NewFile {
    fn create(replaces: &Path) -> Result<Self, PasswordFileError> {
        let mut name = replaces.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = replaces.with_file_name(name);
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
        match options.open(&path) {
            Ok(file) => Ok(Self { file, path, is_renamed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(PasswordFileError::Locked(path))
            }
            Err(error) => Err(io_error("write", &path, error)),
        }
    }

    fn write(mut self, text: &str, replaced: Option<&Metadata>, over: &Path) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        if let Some(replaced) = replaced {
            self.resemble(replaced)?;
        }
        self.file.sync_all()?;
        fs::rename(&self.path, over)?;
        self.is_renamed = true;
        let directory = over.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }

    /// Gives the file the owner, the group and the mode of the old one, so that whoever could read it still can.
    #[cfg(unix)]
    fn resemble(&self, old: &Metadata) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let own = self.file.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
        }
        self.file.set_permissions(old.permissions())
    }

    #[cfg(not(unix))]
    fn resemble(&self, old: &Metadata) -> io::Result<()> {
        self.file.set_permissions(old.permissions())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            // What stays behind is named in the error that the next change gets.
            _ = fs::remove_file(&self.path);
        }
    }
}

fn io_error(verb: &'static str, path: &Path, error: io::Error) -> PasswordFileError {
    PasswordFileError::Io { verb, path: path.to_owned(), error }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::auth::password::Password;

    fn verifier(password: &str) -> Verifier {
        let password = Password::parse(password.as_bytes()).unwrap();
        Verifier::new(&password, &[1; 16], 4_096.try_into().unwrap())
    }

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set(path: &Path, user: &str, password: &str) -> bool {
        let mut file = PasswordFile::open(path, [3; 32]).unwrap();
        let is_new = file.set(&name(user), &verifier(password));
        file.save().unwrap();
        is_new
    }

    fn has(path: &Path, user: &str, password: &str) -> bool {
        let claim = load(path).unwrap().claim(name(user));
        claim.is_known && claim.verifier.matches_password(&Password::parse(password.as_bytes()).unwrap())
    }

    #[test]
    fn users_come_change_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        assert!(set(&path, "fin", "feather"));
        assert_eq!(mode(&path), 0o600);
        assert!(set(&path, "ann", "down"));
        assert!(!set(&path, "fin", "quill"));
        assert!(has(&path, "fin", "quill") && has(&path, "ann", "down") && !has(&path, "fin", "feather"));
        let mut file = PasswordFile::open(&path, [4; 32]).unwrap();
        assert!(file.remove(&name("fin")));
        assert!(!file.remove(&name("fin")));
        file.save().unwrap();
        assert!(!has(&path, "fin", "quill") && has(&path, "ann", "down"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&unknown_users_line(&[3; 32])), "the first key stays: {text}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let line = |user| user_line(&name(user), &verifier("x"));
        fs::write(&path, format!("# the flock\n{}\n\n{}\n# end", line("fin"), line("ann"))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        set(&link, "fin", "x");
        set(&link, "bob", "x");
        let expected = format!("# the flock\n{}\n\n{}\n# end\n{}\n", line("fin"), line("ann"), line("bob"));
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        set(&path, "fin", "feather");
        let check = |mode: u32, is_taken: bool| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = load(&path);
            assert_eq!(loaded.is_ok(), is_taken, "{mode:o}: {loaded:?}");
            if let Err(error) = loaded {
                let expected = format!(
                    "others than its owner may write the password file {path} (mode {mode:o}): chmod go-w {path}",
                    path = path.display()
                );
                assert_eq!(error.to_string(), expected);
                assert!(matches!(
                    PasswordFile::open(&path, [0; 32]),
                    Err(PasswordFileError::Writable { .. })
                ));
            }
        };
        check(0o600, true);
        check(0o444, true);
        check(0o620, false);
        check(0o602, false);
        check(0o666, false);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let shown = path.display();
        let missing = load(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("cannot open the password file {shown}: ")), "{missing}");
        fs::write(&path, "# x\nfin:secret\n").unwrap();
        let expected = format!("{shown}:2: expected name:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey");
        assert_eq!(load(&path).unwrap_err().to_string(), expected);
        assert_eq!(PasswordFile::open(&path, [0; 32]).unwrap_err().to_string(), expected);
        assert!(matches!(load(directory.path()), Err(PasswordFileError::NotAFile(_))));
        fs::write(&path, [b'f', 0xFF]).unwrap();
        assert!(matches!(load(&path), Err(PasswordFileError::Io { verb: "read", .. })));
    }

    #[test]
    fn two_changes_at_once_do_not_lose_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let mut first = PasswordFile::open(&path, [3; 32]).unwrap();
        first.set(&name("fin"), &verifier("x"));
        assert!(matches!(PasswordFile::open(&path, [3; 32]), Err(PasswordFileError::Locked(_))));
        first.save().unwrap();
        drop(PasswordFile::open(&path, [3; 32]).unwrap());
        assert!(has(&path, "fin", "x"), "a change that is dropped changes nothing");
    }
}
