//! The bytes of a connection: a version, then packets one after the other until one is refused.

#![no_main]

use flockmq_fuzz::codec::{connect_version, peek};
use flockmq_fuzz::{check_frame, version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let version = version(choice);
    let _ = connect_version(rest);
    while let Ok(Some(header)) = peek(rest, 1 << 20) {
        let Some((frame, after)) = rest.split_at_checked(header.total_len) else { return };
        check_frame(version, frame);
        rest = after;
    }
});
