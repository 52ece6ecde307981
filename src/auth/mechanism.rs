//! What an enhanced authentication is to the rest: data in, data out, until one side is convinced [MQTT5-4.12].

use std::fmt;

use super::user_name::UserName;

/// Random bytes that an exchange gets for whatever must never repeat.
pub const RANDOM_BYTES: usize = 24;

/// One Authentication Method.
pub trait Mechanism: Send + Sync + fmt::Debug {
    /// The Authentication Method of CONNECT and AUTH that selects it, byte for byte.
    fn name(&self) -> &'static str;

    /// Begins one authentication of one client. `random` comes from the caller and is used for it alone.
    fn start(&self, random: [u8; RANDOM_BYTES]) -> Box<dyn Exchange>;
}

/// One authentication under way. Takes any bytes without a panic; holds little, and nothing grows with time.
pub trait Exchange: Send {
    /// Takes the client's Authentication Data, empty when the packet had none. After [`Step::Done`] and
    /// [`Step::Denied`] every further step is denied.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What follows from the client's data.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// Send this data and wait for the answer.
    Continue(Vec<u8>),
    /// The client is who it says.
    Done {
        /// The last data for the client; may be empty.
        data: Vec<u8>,
        /// Who it is.
        user: UserName,
    },
    /// It is not, or its data makes no sense. Which of the two is nobody's business.
    Denied,
}

/// Without the data: it must not end in a log.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue(data) => write!(f, "Continue({} bytes)", data.len()),
            Self::Done { data, user } => write!(f, "Done({} bytes, {user:?})", data.len()),
            Self::Denied => f.write_str("Denied"),
        }
    }
}
