//! Passwords and tokens: wiped from memory when freed, and shown by nothing.
//!
//! The buffers of the library that a secret was written to or read into are wiped as well, as soon as it has been sent
//! or taken out. What TLS and the kernel copy on its way is out of reach.

use std::fmt;
use zeroize::Zeroizing;

/// A text that nobody else is to read.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// For what must go out in clear.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
