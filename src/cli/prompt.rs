//! Asking for a secret: on a terminal without showing what is typed, else as one line of stdin.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use super::console::Failure;

/// Bytes of a line that are read; what is asked for is much shorter.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The first line of stdin without its end.
pub(super) fn read_line(input: impl BufRead) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(unreadable)?;
    if line.len() == LINE_BYTES_MAX {
        return Err(Failure::new("the line on stdin is too long"));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Shows `prompt` and reads what is typed until Enter, unseen.
pub(super) fn ask(prompt: &str) -> Result<Vec<u8>, Failure> {
    let mut stderr = io::stderr();
    let _unseen = Unseen::begin()?;
    let _ = write!(stderr, "{prompt}: ");
    let _ = stderr.flush();
    let mut line = Vec::new();
    let outcome = io::stdin().lock().bytes().find_map(|byte| match byte {
        Ok(byte) => on_key(&mut line, byte),
        Err(error) => Some(Err(unreadable(error))),
    });
    let _ = writeln!(stderr);
    outcome.unwrap_or_else(|| Err(interrupted()))?;
    Ok(line)
}

/// Changes the line by one byte from the terminal; something once it is complete or given up.
fn on_key(line: &mut Vec<u8>, byte: u8) -> Option<Result<(), Failure>> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL_LINE: u8 = 0x15;
    const QUIT: u8 = 0x1C;
    const DELETE: u8 = 0x7F;
    match byte {
        b'\n' | b'\r' => return Some(Ok(())),
        INTERRUPT | QUIT => return Some(Err(interrupted())),
        END if line.is_empty() => return Some(Err(interrupted())),
        KILL_LINE => line.clear(),
        // The whole character, not only its last byte.
        BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
        byte if line.len() < LINE_BYTES_MAX => line.push(byte),
        _ => {}
    }
    None
}

fn interrupted() -> Failure {
    Failure::new("interrupted, nothing was changed")
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(format!("cannot read stdin: {error}"))
}

/// While it lives the terminal shows nothing that is typed, and passes on each key as it comes: also those that
/// would end this process with the terminal left as it is now.
#[cfg(unix)]
struct Unseen(rustix::termios::Termios);

#[cfg(unix)]
impl Unseen {
    fn begin() -> Result<Self, Failure> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let unusable = |error| Failure::new(format!("cannot switch off the terminal's echo: {error}"));
        let before = tcgetattr(io::stdin()).map_err(unusable)?;
        let mut unseen = before.clone();
        unseen.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        // What was typed too early is thrown away: it was shown.
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen).map_err(unusable)?;
        Ok(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Unseen {
    fn drop(&mut self) {
        let now = rustix::termios::OptionalActions::Now;
        _ = rustix::termios::tcsetattr(io::stdin(), now, &self.0);
    }
}

#[cfg(not(unix))]
struct Unseen;

#[cfg(not(unix))]
impl Unseen {
    fn begin() -> Result<Self, Failure> {
        Err(Failure::new("there is no way here to type a password unseen: give it as one line on stdin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read() {
        let check = |input: &str, expected: &str| {
            assert_eq!(read_line(input.as_bytes()).unwrap(), expected.as_bytes(), "{input:?}");
        };
        check("feather", "feather");
        check("feather\n", "feather");
        check("feather\r\n", "feather");
        check("feather\nquill\n", "feather");
        check(" feather \n", " feather ");
        check("\n", "");
        check("", "");
        assert!(read_line(io::BufReader::new(io::repeat(b'x'))).is_err());
    }

    #[test]
    fn keys_make_a_line() {
        let check = |keys: &str, expected: Option<&str>| {
            let mut line = Vec::new();
            let outcome = keys.bytes().find_map(|byte| on_key(&mut line, byte));
            let line = outcome.expect("an end").ok().map(|()| String::from_utf8(line).unwrap());
            assert_eq!(line.as_deref(), expected, "{keys:?}");
        };
        check("feather\n", Some("feather"));
        check("feather\r", Some("feather"));
        check("fex\x7fathä\x08er\n", Some("feather"));
        check("\x7f\x7ffeather\n", Some("feather"));
        check("quill\x15feather\n", Some("feather"));
        check("fea\x04ther\n", Some("fea\x04ther"));
        check("fea\x03", None);
        check("\x04", None);
        check("\x1c", None);
    }
}
