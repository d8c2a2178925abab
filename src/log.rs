//! One line for each thing that an operator may want to know, to whoever asked for it.

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

    pub(crate) fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        if let Some(sink) = self.0.as_ref().filter(|sink| sink.wants(level)) {
            sink.log(level, &line.to_string());
        }
    }
}
