//! One line for each thing that an operator may want to know, to whoever asked for it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// How much a line matters; the numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

/// Takes lines, on whichever thread they arise and never under a lock of the library.
pub trait LogSink: Send + Sync {
    /// Whether lines of this level are wanted at all.
    fn wants(&self, level: Level) -> bool;
    /// Takes one line, without its end.
    fn log(&self, level: Level, line: &str);
}

/// The library's end of it: silent without a sink.
#[derive(Clone, Default)]
pub(crate) struct Logger(Option<Arc<dyn LogSink>>);

impl Logger {
    pub(crate) fn new(sink: Option<Arc<dyn LogSink>>) -> Logger {
        Logger(sink)
    }

    /// Never to be called under a lock: the sink may take as long as it likes, and call the library. What it does there
    /// is not logged, or there would be no end.
    pub(crate) fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        if let Some(sink) = self.0.as_ref().filter(|sink| sink.wants(level)) {
            if let Some(_entered) = Entered::enter() {
                sink.log(level, &line.to_string());
            }
        }
    }
}

thread_local! {
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// A sink is at work on this thread.
struct Entered;

impl Entered {
    /// None: it is already, or the thread is ending.
    fn enter() -> Option<Entered> {
        let was_logging = IS_LOGGING.try_with(|is_logging| is_logging.replace(true));
        (was_logging == Ok(false)).then_some(Entered)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = IS_LOGGING.try_with(|is_logging| is_logging.set(false));
    }
}
