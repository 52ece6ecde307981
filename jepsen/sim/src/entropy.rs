//! The only source of randomness in this program: seeded, one for each thread.
//!
//! The system's `getrandom` is replaced, so that hash seeds, keys and every `rand::rng()` of a run follow from its
//! seed. A run has a thread of its own, because the standard library reads its hash keys once for each thread.

use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

thread_local! {
    static ENTROPY: RefCell<SmallRng> = RefCell::new(SmallRng::seed_from_u64(0));
}

/// Seeds this thread. To be called before anything else on it.
pub fn seed(seed: u64) {
    ENTROPY.with_borrow_mut(|entropy| *entropy = SmallRng::seed_from_u64(seed));
}

/// Takes the place of the system's function of that name.
///
/// # Safety
/// `buffer` points to `len` bytes that may be written, as the system's function asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    if buffer.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: the caller keeps the contract above.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, len) };
    // A thread that ends may ask after its own randomness is gone.
    let filled = ENTROPY.try_with(|entropy| entropy.borrow_mut().fill_bytes(bytes));
    if filled.is_err() {
        bytes.fill(0);
    }
    isize::try_from(len).unwrap_or(isize::MAX)
}
