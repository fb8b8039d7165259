//! Windows of a run: parts of it in which new blocks are recorded. Between
//! them, blocks that were recorded before are followed to their end.

use crate::engine::Engine;
use crate::engine::control::Control;

impl Engine {
    /// From now on, new blocks and events are left out. Threads that were
    /// about to record one are through when this returns.
    pub(crate) fn shut_window(&'static self) {
        let own = self.this_thread();
        let registry = self.registry.lock();
        self.control.change(Control::SHUT, 0);
        self.timing.pause();
        self.pausing(&registry, own, || ());
    }

    /// From now on, new blocks and events are recorded again.
    pub(crate) fn open_window(&self) {
        let _registry = self.registry.lock();
        self.timing.resume();
        self.control.change(0, Control::SHUT);
    }

    /// Whether there may be a recorded block at `address`; if not, there is
    /// none. Outside of the gate.
    #[inline(always)]
    pub(crate) fn may_know(&self, address: usize) -> bool {
        self.recorder.may_know(address)
    }
}
