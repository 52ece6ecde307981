//! `flockmq passwd` as a process: the file it leaves, what it refuses, and what a terminal sees of it.
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use flockmq::auth::{Authenticator, Presented, Proof, Settings};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flockmq");

/// Runs `passwd` with a line on stdin.
#[track_caller]
fn passwd(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .arg("passwd")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that complains at once does not read.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn check_done(output: &Output, expected: &str) {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{expected}\n"));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[track_caller]
fn check_refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// Whether a node with this file would take the user.
fn is_taken(file: &Path, user: &str, password: &str) -> bool {
    let settings = Settings { allow_anonymous: false, password_file: Some(file.to_owned()) };
    let authenticator = Authenticator::new(&settings).unwrap();
    let presented =
        Presented { user_name: Some(user), password: Some(password.as_bytes()), ..Presented::default() };
    match authenticator.begin(&presented) {
        Ok(Proof::Password(check)) => check.run().is_some_and(|name| name.as_str() == user),
        _ => false,
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn users_are_added_changed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    check_done(&passwd(&file, &["fin"], "feather\n"), "fin: added");
    assert_eq!(mode(&file), 0o600);
    check_done(&passwd(&file, &["Jürgen, A=B"], " Federkiel weiß \r\n"), "Jürgen, A=B: added");
    assert!(is_taken(&file, "fin", "feather") && is_taken(&file, "Jürgen, A=B", " Federkiel weiß "));
    check_done(&passwd(&file, &["fin"], "quill"), "fin: changed");
    assert!(is_taken(&file, "fin", "quill") && !is_taken(&file, "fin", "feather"));
    check_done(&passwd(&file, &["fin", "--delete"], ""), "fin: removed");
    assert!(!is_taken(&file, "fin", "quill") && is_taken(&file, "Jürgen, A=B", " Federkiel weiß "));
    check_refused(&passwd(&file, &["fin", "-d"], ""), &["there is no user \"fin\"", "passwords"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("Federkiel") && !text.contains("quill"), "{text}");
}

#[test]
fn what_cannot_be_a_user_or_a_password_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    check_refused(&passwd(&file, &[""], "x\n"), &["the user name is empty"]);
    check_refused(&passwd(&file, &["a\nb"], "x\n"), &["the user name has a control character"]);
    check_refused(&passwd(&file, &["#fin"], "x\n"), &["does not begin with '#'"]);
    check_refused(&passwd(&file, &["fin"], "\n"), &["the password is empty"]);
    check_refused(&passwd(&file, &["fin"], ""), &["the password is empty"]);
    check_refused(&passwd(&file, &["fin"], "a\tb\n"), &["the password has a control character"]);
    check_refused(&passwd(&file, &["fin"], &"x".repeat(1_025)), &["the limit is 1024"]);
    assert!(!file.exists(), "nothing was done");
}

/// `check-config` and `serve` say what is wrong with the file and where.
#[test]
fn a_bad_file_is_named_before_a_node_starts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let config = directory.path().join("node.toml");
    let http = "[http]\nbind = \"127.0.0.1:0\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n";
    fs::write(&config, format!("{http}[auth]\npassword_file = {file:?}\n")).unwrap();
    let check = |parts: &[&str]| {
        for arguments in [&["check-config"][..], &["serve", "--config"]] {
            let output = Command::new(PROGRAM).args(arguments).arg(&config).output().unwrap();
            check_refused(&output, &[&["auth.password_file: "], parts].concat());
        }
    };
    check(&["cannot open", "passwords"]);
    check_done(&passwd(&file, &["fin"], "feather\n"), "fin: added");
    let output = Command::new(PROGRAM).arg("check-config").arg(&config).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::set_permissions(&file, Permissions::from_mode(0o660)).unwrap();
    check(&["others than its owner may write", "mode 660", "chmod go-w"]);
    check_refused(&passwd(&file, &["ann"], "down\n"), &["mode 660"]);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "# comment\nann:down\n").unwrap();
    check(&["passwords:2: expected name:SCRAM-SHA-256$"]);
    check_refused(&passwd(&file, &["ann"], "down\n"), &["passwords:2: "]);
}

/// A terminal with `passwd` on it.
struct Terminal {
    keyboard: File,
    other_side: File,
    child: Child,
    shown: String,
}

impl Terminal {
    fn start(file: &Path) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = PathBuf::from(ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap());
        let other_side = File::options().read(true).write(true).open(name).unwrap();
        let end = || other_side.try_clone().unwrap();
        let child = Command::new(PROGRAM)
            .args(["passwd".as_ref(), file.as_os_str(), "fin".as_ref()])
            .stdin(end())
            .stderr(end())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { keyboard: keyboard.into(), other_side, child, shown: String::new() }
    }

    /// Types the keys once the terminal shows this at its end.
    #[track_caller]
    fn answer(&mut self, prompt: &str, keys: &str) {
        while !self.shown.ends_with(prompt) {
            let mut chunk = [0; 256];
            let count = self.keyboard.read(&mut chunk).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// What the command said, and everything that was shown.
    fn end(mut self) -> (bool, String, String) {
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let is_success = self.child.wait().unwrap().success();
        let modes = tcgetattr(&self.other_side).unwrap().local_modes;
        let usual = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(modes.contains(usual), "the terminal is as it was: {modes:?}");
        self.other_side.write_all(b"$").unwrap();
        self.answer("$", "");
        (is_success, said, self.shown)
    }
}

#[test]
fn a_terminal_does_not_show_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let mut terminal = Terminal::start(&file);
    terminal.answer("Password: ", "featherx\x7f\r");
    terminal.answer("The same again: ", "feather\n");
    let (is_success, said, shown) = terminal.end();
    assert!(is_success, "{shown}");
    assert_eq!(said, "fin: added\n");
    assert_eq!(shown, "Password: \r\nThe same again: \r\n$");
    assert!(is_taken(&file, "fin", "feather"));
}

#[test]
fn a_slip_or_an_interrupt_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let mut terminal = Terminal::start(&file);
    terminal.answer("Password: ", "feather\n");
    terminal.answer("The same again: ", "feathre\n");
    let (is_success, _, shown) = terminal.end();
    assert!(!is_success && shown.contains("the two passwords differ"), "{shown}");
    let mut terminal = Terminal::start(&file);
    terminal.answer("Password: ", "feat\x03");
    let (is_success, _, shown) = terminal.end();
    assert!(!is_success && shown.contains("interrupted, nothing was changed"), "{shown}");
    assert!(!file.exists());
}
