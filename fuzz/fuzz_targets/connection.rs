#![no_main]

use flockmq_fuzz::connection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| connection::check(input));
