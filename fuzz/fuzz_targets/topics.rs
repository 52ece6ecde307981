#![no_main]

use flockmq_fuzz::topics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| topics::check(input));
