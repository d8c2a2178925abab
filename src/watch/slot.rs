//! The place of a consumer that is called on the delivery thread.

use crate::net::Generation;
use crate::sync::{Mutex, lock};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A consumer. It is taken out while it runs, so that it may do what it likes with whatever calls it, and for good after
/// its last call.
pub(crate) struct Slot<T>(Mutex<Option<Consumer<T>>>);

type Consumer<T> = Box<dyn FnMut(T) + Send>;

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// It has come back, or there was nobody to be called any more.
    Back,
    /// It has panicked, and is dropped: that was its last call.
    Panicked,
    /// It has forked and come back in the child, where it is left as it is.
    InAChild,
}

impl<T> Slot<T> {
    pub(crate) fn new(consumer: Consumer<T>) -> Slot<T> {
        Slot(Mutex::new(Some(consumer)))
    }

    /// Calls the consumer. One thread at a time.
    pub(crate) fn call(&self, news: T) -> Called {
        let process = Generation::current();
        let taken = lock(&self.0).take();
        let Some(mut consumer) = taken else { return Called::Back };
        let called = catch_unwind(AssertUnwindSafe(|| consumer(news)));
        if !process.is_current() {
            std::mem::forget(consumer);
            return Called::InAChild;
        }
        if called.is_ok() {
            *lock(&self.0) = Some(consumer);
            return Called::Back;
        }
        drop_foreign(consumer);
        Called::Panicked
    }

    /// Drops the consumer, for good.
    pub(crate) fn empty(&self) {
        let consumer = lock(&self.0).take();
        drop_foreign(consumer);
    }
}

/// What is dropped is foreign, and may panic.
fn drop_foreign<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Panics when it is dropped, too, the first time.
    struct Foreign(Arc<AtomicUsize>);

    impl Drop for Foreign {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("dropped");
            }
        }
    }

    #[test]
    fn a_consumer_that_panics_has_had_its_last_call_and_is_dropped_once() {
        let (calls, drops) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, foreign) = (calls.clone(), Foreign(drops.clone()));
        let slot = Slot::new(Box::new(move |call| {
            let _ = &foreign;
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(call < 2, "it panics");
        }));
        assert_eq!((slot.call(1), slot.call(2), slot.call(3)), (Called::Back, Called::Panicked, Called::Back));
        slot.empty();
        assert_eq!((calls.load(Ordering::SeqCst), drops.load(Ordering::SeqCst)), (2, 1));
    }
}
