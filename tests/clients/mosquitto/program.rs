//! One running mosquitto client and the lines that it prints.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::support::mosquitto::command;
use crate::support::mqtt::Version;
use crate::support::{PATIENCE, wait_for};

/// How subscribers print a message: topic, payload, QoS, and the RETAIN flag.
pub(crate) const FORMAT: &str = "> %t %p q%q r%r";

/// A program that was started; it is killed when this is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    lines: mpsc::Receiver<String>,
    /// All lines so far, for the failure's sake.
    printed: Vec<String>,
}

impl Program {
    /// Starts `mosquitto_sub` and the like, with the lines of `-d`.
    pub(crate) fn start(program: &str, node: SocketAddr, version: Version, arguments: &[&str]) -> Self {
        Self::spawn(command(program, node, version).arg("-d").args(arguments), program)
    }

    fn spawn(command: &mut Command, name: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} does not start: {error}; run scripts/setup-tests");
        });
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().expect("stdout is a pipe");
        let errors = child.stderr.take().expect("stderr is a pipe");
        let also = sender.clone();
        thread::spawn(move || forward(output, &sender));
        thread::spawn(move || forward(errors, &also));
        Self { name: format!("{name} {:?}", command.get_args()), child, lines, printed: Vec::new() }
    }

    /// Starts a subscriber and waits for its SUBACK.
    #[track_caller]
    pub(crate) fn subscriber(node: SocketAddr, version: Version, arguments: &[&str]) -> Self {
        let arguments = [&["-F", FORMAT], arguments].concat();
        let mut subscriber = Self::start("mosquitto_sub", node, version, &arguments);
        subscriber.line("received SUBACK");
        subscriber
    }

    /// The next line that contains `part`; others before it are read over.
    #[track_caller]
    pub(crate) fn line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{} does not print {part:?}; what it prints: {:#?}", self.name, self.printed);
            };
            self.printed.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next messages, as [`FORMAT`] prints them.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&mut self, messages: [&str; N]) {
        for message in messages {
            let line = self.line("> ");
            assert_eq!(line, format!("> {message}"), "{} among {messages:?}", self.name);
        }
    }

    /// Gives lines to its standard input, and ends that.
    pub(crate) fn feed(&mut self, lines: &[&str]) {
        let mut input = self.child.stdin.take().expect("stdin is a pipe");
        for line in lines {
            writeln!(input, "{line}").expect("the program reads its input");
        }
    }

    /// SIGKILL: the connection breaks.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the program runs");
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let Self { name, child, .. } = self;
        let what = format!("{name} ends");
        wait_for(&what, PATIENCE, || child.try_wait().expect("the program can be waited for"))
    }

    /// Waits for the end, which must be a success.
    #[track_caller]
    pub(crate) fn done(mut self) {
        let status = self.wait();
        // The pipes end with the program, so this does.
        self.printed.extend(self.lines.iter());
        assert!(status.success(), "{} ends with {status}: {:#?}", self.name, self.printed);
    }
}

fn forward(output: impl std::io::Read, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
