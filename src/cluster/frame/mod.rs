//! The bytes on a mesh link, inside its encryption; docs/mesh-protocol.md has them one by one. Sans-io.
//!
//! A frame is a length, a version, a kind and a body. Control frames have postcard bodies, made of structs that only
//! live here; PUBLISH is laid out by hand. Decoding checks everything: what comes out is made of proven types.

mod control;
mod data;
mod route;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::control::{Control, decode_control};
pub use self::data::{Data, Publish, decode_data, encode_data_ack};
pub use self::snapshot::{
    Assembly, AssemblyError, SNAPSHOT_KEYS_MAX, SnapshotBegin, SnapshotChunk, snapshot_frames,
};

use thiserror::Error;

use super::routes::DELTA_BYTES_MAX;
use crate::topic::TOPIC_BYTES_MAX;

/// The version of the frames described here.
pub const FRAME_VERSION: u8 = 1;
/// Length, version and kind.
pub const HEADER_LEN: usize = LENGTH_LEN + 2;
/// The longest control frame, header included.
pub const CONTROL_FRAME_LEN_MAX: usize = 1_024 * 1_024;
/// The longest data frame, header included: the longest MQTT packet and what a link adds to it.
pub const DATA_FRAME_LEN_MAX: usize = 268_435_455 + 128 * 1_024;

const LENGTH_LEN: usize = 4;
/// A filter, a share group, and what surrounds them in a frame.
const ROUTE_LEN_MAX: usize = 2 * TOPIC_BYTES_MAX + 8;
/// Owner, position, counts and flags beside the routes.
const ROUTES_HEAD_LEN_MAX: usize = 64;
const _: () =
    assert!(HEADER_LEN + ROUTES_HEAD_LEN_MAX + DELTA_BYTES_MAX + ROUTE_LEN_MAX <= CONTROL_FRAME_LEN_MAX);
const _: () = assert!(CONTROL_FRAME_LEN_MAX <= DATA_FRAME_LEN_MAX);

/// Why bytes are not a frame, or a value does not make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length field is above the limit or too small for a header.
    #[error("frame length {0} is out of bounds")]
    Length(usize),
    /// The slice is not exactly one frame.
    #[error("the frame is cut off or followed by something")]
    Incomplete,
    /// Made by a version of the protocol that this node does not speak.
    #[error("frame version {0} is unknown")]
    Version(u8),
    /// A kind that this stream does not carry.
    #[error("frame kind {0:#04x} is unknown")]
    Kind(u8),
    /// The body does not follow the layout of its kind.
    #[error("the frame's body is malformed: {0}")]
    Body(&'static str),
}

/// The length of the frame that `bytes` starts with, header included; `None` when not even that is there.
///
/// # Errors
/// When the length field is not one that a frame of at most `frame_len_max` bytes has, so that nothing is allocated for
/// it. The connection cannot be used any longer.
pub fn peek(bytes: &[u8], frame_len_max: usize) -> Result<Option<usize>, FrameError> {
    let Some((length, _)) = bytes.split_first_chunk::<LENGTH_LEN>() else { return Ok(None) };
    let len = (u32::from_be_bytes(*length) as usize).saturating_add(LENGTH_LEN);
    if len < HEADER_LEN || frame_len_max < len {
        return Err(FrameError::Length(len));
    }
    Ok(Some(len))
}

/// Splits exactly one frame into kind and body.
fn open(frame: &[u8], frame_len_max: usize) -> Result<(u8, &[u8]), FrameError> {
    if peek(frame, frame_len_max)? != Some(frame.len()) {
        return Err(FrameError::Incomplete);
    }
    match frame[LENGTH_LEN..HEADER_LEN] {
        [FRAME_VERSION, kind] => Ok((kind, &frame[HEADER_LEN..])),
        [version, _] => Err(FrameError::Version(version)),
        _ => Err(FrameError::Incomplete),
    }
}

/// Appends one frame whose body `write` appends. On an error `out` is as before.
fn append(
    out: &mut Vec<u8>,
    kind: u8,
    frame_len_max: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, FRAME_VERSION, kind]);
    let written = write(out).and_then(|()| {
        let len = out.len() - start;
        let body = u32::try_from(len - LENGTH_LEN).map_err(|_| FrameError::Length(len))?;
        if frame_len_max < len {
            return Err(FrameError::Length(len));
        }
        out[start..start + LENGTH_LEN].copy_from_slice(&body.to_be_bytes());
        Ok(())
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}
