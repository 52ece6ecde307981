//! `flockmq passwd`: users and passwords in a file that nodes read.

use std::path::PathBuf;

use super::console::{Failure, say, visible};
use super::prompt;
use crate::auth::{ITERATIONS, Password, PasswordFile, UserName, Verifier};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq passwd /etc/flockmq/passwords fin
  pwgen 20 1 | tee fin.txt | flockmq passwd passwords fin
  flockmq passwd passwords fin --delete

A new file can be read by its owner alone; a file that is there keeps its owner and mode. What is
stored allows to check a password, by CONNECT or by SCRAM-SHA-256, not to learn it. Names and
passwords are the UTF-8 bytes as typed; control characters are refused. Nodes read the file of
auth.password_file when they start.")]
pub(super) struct Arguments {
    /// The password file; created when it is missing
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user whose password is set
    #[arg(value_name = "USER")]
    user: String,
    /// Remove the user instead
    #[arg(short, long)]
    delete: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(error.to_string());
    let user = UserName::parse(&arguments.user).map_err(|error| failed(&error))?;
    let open = || PasswordFile::open(&arguments.file, rand::random()).map_err(|error| failed(&error));
    let done = if arguments.delete {
        let mut file = open()?;
        if !file.remove(&user) {
            let (user, file) = (visible(user.as_str()), arguments.file.display());
            return Err(Failure::new(format!("there is no user {user:?} in {file}")));
        }
        file.save().map_err(|error| failed(&error))?;
        "removed"
    } else {
        let password = read_password()?;
        let verifier = Verifier::new(&password, &rand::random(), ITERATIONS);
        let mut file = open()?;
        let is_new = file.set(&user, &verifier);
        file.save().map_err(|error| failed(&error))?;
        if is_new { "added" } else { "changed" }
    };
    say(format_args!("{user}: {done}"))
}

fn read_password() -> Result<Password, Failure> {
    let line = if prompt::can_ask() {
        let line = prompt::ask("Password")?;
        // A slip of the finger would show only when the client is turned away.
        if prompt::ask("The same again")? != line {
            return Err(Failure::new("the two passwords differ, nothing was changed"));
        }
        line
    } else {
        prompt::read_line(std::io::stdin().lock())?
    };
    Password::parse(&line).map_err(|error| Failure::new(error.to_string()))
}
