#![no_main]

use flockmq_fuzz::packets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| packets::v5(input));
