//! A clock that goes on while the machine is suspended, and a timer that runs by it: a lease runs out at the server
//! whether or not its owner's machine is awake.

use super::{Descriptor, Ready, wait};
use crate::deadline::Deadline;
use std::io;
use std::mem::MaybeUninit;
use std::ops::{Add, Sub};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

/// A moment by `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootTime(Duration);

impl BootTime {
    /// The moment of the call.
    pub(crate) fn now() -> BootTime {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: fills the structure given; the clock exists since Linux 2.6.39.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, time.as_mut_ptr()) };
        if result != 0 {
            return BootTime::default();
        }
        // SAFETY: filled by the call, which has succeeded.
        let time = unsafe { time.assume_init() };
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        BootTime(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
    }

    /// The moment so long after the clock's beginning.
    pub(crate) const fn since_boot(time: Duration) -> BootTime {
        BootTime(time)
    }

    /// How long after the clock's beginning it is.
    pub(crate) fn get(self) -> Duration {
        self.0
    }

    /// How long it is until then from `now`; zero where it has passed.
    pub(crate) fn left(self, now: BootTime) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = BootTime;

    fn add(self, time: Duration) -> BootTime {
        BootTime(self.0.saturating_add(time))
    }
}

impl Sub<Duration> for BootTime {
    type Output = BootTime;

    fn sub(self, time: Duration) -> BootTime {
        BootTime(self.0.saturating_sub(time))
    }
}

/// A descriptor that is readable from a moment on, also where that has passed in a suspended machine.
#[derive(Debug)]
pub(crate) struct Timer(Descriptor);

impl Timer {
    /// One that is not set.
    pub(crate) fn new() -> io::Result<Timer> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        Descriptor::opened(fd).map(Timer)
    }

    /// Readable from then on, and not before.
    pub(crate) fn set(&self, at: BootTime) -> io::Result<()> {
        // All zero would mean never.
        let at = at.0.max(Duration::from_nanos(1));
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let at = libc::timespec {
            tv_sec: libc::time_t::try_from(at.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(at.subsec_nanos() as i32),
        };
        let setting = libc::itimerspec { it_interval: never, it_value: at };
        // SAFETY: reads a live structure, and writes nothing where the last pointer is NULL.
        let result = unsafe {
            libc::timerfd_settime(self.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const setting, ptr::null_mut())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until its moment has come. After that it is not set.
    pub(crate) fn wait(&self) -> io::Result<()> {
        wait([(self.as_raw_fd(), Ready::Read)], Deadline::NEVER)?;
        let mut count = 0_u64;
        // SAFETY: reads eight bytes into a live integer; the descriptor doesn't block. It has failed where the timer was set
        // anew meanwhile, and then there is nothing to be read.
        unsafe { libc::read(self.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        Ok(())
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn is_readable(timer: &Timer, limit: Duration) -> bool {
        wait([(timer.as_raw_fd(), Ready::Read)], Deadline::after(limit)).unwrap().contains(&true)
    }

    #[test]
    fn a_timer_is_readable_from_its_moment_on_and_not_before() {
        let timer = Timer::new().unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "not set");
        let at = BootTime::now() + Duration::from_millis(30);
        timer.set(at).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(10)));
        assert!(BootTime::now() >= at);
        timer.set(BootTime::now() + Duration::from_secs(3600)).unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "set anew");
        timer.set(BootTime::default()).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(10)), "a moment that has passed");
    }

    #[test]
    fn a_timer_that_was_waited_for_is_not_set() {
        let timer = Timer::new().unwrap();
        let at = BootTime::now() + Duration::from_millis(30);
        timer.set(at).unwrap();
        timer.wait().unwrap();
        assert!(BootTime::now() >= at);
        assert!(!is_readable(&timer, Duration::ZERO));
    }

    #[test]
    fn what_is_left_is_never_less_than_nothing() {
        let now = BootTime::now();
        assert_eq!((now + Duration::from_secs(2)).left(now), Duration::from_secs(2));
        assert_eq!((now - Duration::from_millis(1)).left(now), Duration::ZERO);
    }
}
