//! One packet whose Remaining Length is always right, so that no input is lost to its header.

#![no_main]

use flockmq_fuzz::codec::PublishProperties;
use flockmq_fuzz::{check_frame, version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [choice, first_byte, body @ ..] = input else { return };
    let version = version(*choice);
    let mut frame = vec![*first_byte];
    let mut len = body.len();
    while len > 0x7F {
        frame.push((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    frame.push(len as u8);
    frame.extend_from_slice(body);
    check_frame(version, &frame);
    if let Ok(properties) = PublishProperties::from_forwarded(body) {
        assert_eq!(*properties.forwarded(), *body);
    }
});
