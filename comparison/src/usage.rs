//! What the kernel says a process has used.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// In user and system mode, all threads.
    pub cpu: Duration,
    /// Of that, in system mode.
    pub system: Duration,
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Of this process so far.
    pub fn own() -> Self {
        // SAFETY: zero is valid for a struct of integers.
        let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
        // SAFETY: writes one `rusage`.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
        Self::from(usage)
    }
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Self {
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            system: time(usage.ru_stime),
            peak_rss_bytes: usage.ru_maxrss as u64 * 1024,
        }
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    /// What was used since `earlier`; memory as it is now.
    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            system: self.system.saturating_sub(earlier.system),
            ..self
        }
    }
}
