//! The sealed byte stream of a mesh link: records of a length and a ciphertext. Sans-io.
//!
//! A record is a big-endian u16 length and that many bytes of a Noise transport message. Frames are cut
//! out of the opened bytes by others; a frame may span records.

use std::sync::Arc;

use snow::StatelessTransportState;

/// The bytes of a record's length field.
const LENGTH_BYTES: usize = 2;
/// What sealing adds to the plaintext of one record.
const TAG_BYTES: usize = 16;
/// The longest ciphertext of one record.
const SEALED_BYTES_MAX: usize = 65_535;
/// The longest plaintext of one record.
pub(super) const PLAIN_BYTES_MAX: usize = SEALED_BYTES_MAX - TAG_BYTES;
/// The bytes of the longest record, its length field included.
pub(super) const RECORD_BYTES_MAX: usize = LENGTH_BYTES + SEALED_BYTES_MAX;

/// A record that no holder of the session keys can have written in this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record does not open: it was damaged, replayed or forged")]
pub(super) struct RecordError;

/// Turns plaintext into records, in one direction of one connection.
pub(super) struct Sealer {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
}

/// Turns records back into plaintext, in one direction of one connection.
pub(super) struct Opener {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
}

/// Both directions of a connection whose Noise handshake is done.
pub(super) fn channel(noise: StatelessTransportState) -> (Sealer, Opener) {
    let noise = Arc::new(noise);
    (Sealer { noise: Arc::clone(&noise), nonce: 0 }, Opener { noise, nonce: 0 })
}

impl Sealer {
    /// Appends `plain` to `out` as records; an empty `plain` makes one empty record.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if plain.is_empty() {
            self.seal_record(plain, out);
        }
        for piece in plain.chunks(PLAIN_BYTES_MAX) {
            self.seal_record(piece, out);
        }
    }

    fn seal_record(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let sealed_len = plain.len() + TAG_BYTES;
        out.resize(start + LENGTH_BYTES + sealed_len, 0);
        let (length, sealed) = out[start..].split_at_mut(LENGTH_BYTES);
        let written = self.noise.write_message(self.nonce, plain, sealed);
        assert_eq!(written.ok(), Some(sealed_len), "a record within the limits always seals");
        // The chunk size above keeps it within u16.
        length.copy_from_slice(&u16::try_from(sealed_len).unwrap_or(u16::MAX).to_be_bytes());
        self.nonce += 1;
    }
}

impl Opener {
    /// Opens every complete record at the start of `sealed`, appends the plaintext to `plain` and says how
    /// many bytes of `sealed` it took.
    ///
    /// # Errors
    /// The first record that does not open. The connection is of no use after that.
    pub(super) fn open(&mut self, sealed: &[u8], plain: &mut Vec<u8>) -> Result<usize, RecordError> {
        let mut taken = 0;
        while let Some(record) = complete_record(&sealed[taken..])? {
            let start = plain.len();
            plain.resize(start + record.len() - TAG_BYTES, 0);
            self.noise.read_message(self.nonce, record, &mut plain[start..]).map_err(|_| RecordError)?;
            self.nonce += 1;
            taken += LENGTH_BYTES + record.len();
        }
        Ok(taken)
    }
}

/// The ciphertext of the record at the start of `bytes`, when all of it is there.
fn complete_record(bytes: &[u8]) -> Result<Option<&[u8]>, RecordError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < TAG_BYTES {
        return Err(RecordError);
    }
    Ok(rest.get(..length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two ends of a connection without a network: `(dialer, acceptor)`.
    pub(crate) fn pair() -> ((Sealer, Opener), (Sealer, Opener)) {
        let params: snow::params::NoiseParams = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
        let key = [7; 32];
        let mut dialer = snow::Builder::new(params.clone()).psk(0, &key).unwrap().build_initiator().unwrap();
        let mut acceptor = snow::Builder::new(params).psk(0, &key).unwrap().build_responder().unwrap();
        let (mut message, mut payload) = ([0; 256], [0; 256]);
        let n = dialer.write_message(&[], &mut message).unwrap();
        acceptor.read_message(&message[..n], &mut payload).unwrap();
        let n = acceptor.write_message(&[], &mut message).unwrap();
        dialer.read_message(&message[..n], &mut payload).unwrap();
        (
            channel(dialer.into_stateless_transport_mode().unwrap()),
            channel(acceptor.into_stateless_transport_mode().unwrap()),
        )
    }

    #[test]
    fn any_length_survives_any_cut() {
        for len in [0, 1, 100, PLAIN_BYTES_MAX, PLAIN_BYTES_MAX + 1, 3 * PLAIN_BYTES_MAX + 5] {
            let ((mut sealer, _), (_, mut opener)) = pair();
            let plain: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut sealed = Vec::new();
            sealer.seal(&plain, &mut sealed);
            let (mut waiting, mut opened) = (Vec::new(), Vec::new());
            for piece in sealed.chunks(7_919) {
                waiting.extend_from_slice(piece);
                let taken = opener.open(&waiting, &mut opened).unwrap();
                waiting.drain(..taken);
            }
            assert_eq!(opened, plain, "{len} bytes");
            assert!(waiting.is_empty());
        }
    }

    #[test]
    fn damaged_replayed_and_reflected_records_do_not_open() {
        let ((mut sealer, mut own_opener), (_, mut opener)) = pair();
        let mut sealed = Vec::new();
        sealer.seal(b"route", &mut sealed);
        let mut opened = Vec::new();

        let mut damaged = sealed.clone();
        damaged[5] ^= 1;
        assert_eq!(opener.open(&damaged, &mut opened), Err(RecordError));
        assert_eq!(own_opener.open(&sealed, &mut opened), Err(RecordError), "reflected to its writer");

        opened.clear();
        assert_eq!(opener.open(&sealed, &mut opened), Ok(sealed.len()));
        assert_eq!(opened, b"route");
        assert_eq!(opener.open(&sealed, &mut opened), Err(RecordError), "replayed");
        assert_eq!(opener.open(&[0, 3, 1, 2, 3], &mut opened), Err(RecordError), "shorter than a tag");
    }
}
