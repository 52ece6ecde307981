//! The newest changes of one owner, so that whoever lags a little gets a range and not everything.

use std::collections::VecDeque;

use super::key::Change;

/// Texts that one log keeps; longer filters make it shorter. 65,536 changes of ordinary filters fit.
pub const LOG_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// A bounded, gapless tail of one life's changes.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The number of the last change that is no longer (or was never) here.
    trimmed: u64,
    changes: VecDeque<Change>,
    text_bytes: usize,
    len_max: usize,
}

impl Log {
    pub(super) fn new(len_max: usize) -> Self {
        Self { trimmed: 0, changes: VecDeque::new(), text_bytes: 0, len_max }
    }

    /// Appends the change numbered one higher than the last.
    pub(super) fn push(&mut self, change: Change) {
        self.text_bytes += change.key().text_len();
        self.changes.push_back(change);
        while self.len_max < self.changes.len() || LOG_BYTES_MAX < self.text_bytes {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.text_bytes -= oldest.key().text_len();
            self.trimmed = self.trimmed.saturating_add(1);
        }
    }

    /// Forgets the changes; the next one will be numbered `seq + 1`.
    pub(super) fn restart_after(&mut self, seq: u64) {
        *self = Self { trimmed: seq, ..Self::new(self.len_max) };
    }

    /// The changes after number `seq`, oldest first, or `None` when the first of them is gone.
    pub(super) fn after(&self, seq: u64) -> Option<impl Iterator<Item = &Change>> {
        let skipped = seq.checked_sub(self.trimmed)?;
        let skipped = usize::try_from(skipped).ok()?.min(self.changes.len());
        Some(self.changes.range(skipped..))
    }
}
