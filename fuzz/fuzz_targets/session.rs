#![no_main]

use flockmq_fuzz::session;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| session::check(input));
