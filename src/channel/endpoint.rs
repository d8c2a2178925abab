//! Where one member is.

use crate::error::{Error, Result};
use crate::net::{Target, without_zone};
use crate::stats::EndpointCounters;
use std::path::PathBuf;
use std::sync::Arc;

/// One member's address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As a user would write it: `http://[::1]:2379`.
    pub url: Arc<str>,
    /// For the `Host` line.
    pub host: String,
    pub target: Target,
    pub counters: EndpointCounters,
}

const DEFAULT_PORT: u16 = 2379;

impl Endpoint {
    fn new(url: &str, host: String, target: Target) -> Endpoint {
        Endpoint { url: Arc::from(url), host, target, counters: EndpointCounters::default() }
    }

    /// Reads one URL; `name` is that of the argument that has it.
    pub(super) fn parse(text: &str, name: &str) -> Result<Endpoint> {
        // A password may stand before the @.
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let refused = |why: &str| Error::invalid(format!("{name}: {shown:?}: {why}"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" if rest.starts_with('/') && !rest.contains('\0') => {
                return Ok(Endpoint::new(text, "localhost".to_owned(), Target::Unix(PathBuf::from(rest))));
            }
            "unix" => return Err(refused("the path of a unix socket must be absolute: unix:///path")),
            _ => return Err(refused("the scheme must be http, https or unix")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(refused("only a host and a port may stand after the scheme"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| refused("no host, or a port that is none"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(fits) {
            return Err(refused("no host name or address"));
        }
        let with_port =
            |host: &str| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", with_port(host));
        let target = Target::Tcp { host: host.to_owned(), port, tls };
        Ok(Endpoint::new(&url, with_port(without_zone(host)), target))
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.target, Target::Tcp { tls: true, .. })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.contains(':').then_some(())?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            if authority.ends_with(':') || port.contains(':') {
                return None;
            }
            (host, port)
        }
    };
    let number = if port.is_empty() { DEFAULT_PORT } else { port.parse().ok()? };
    (number != 0).then_some((host, number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<String> {
        Endpoint::parse(text, "endpoints").ok().map(|endpoint| endpoint.url.to_string())
    }

    #[test]
    fn urls_are_read_with_the_default_port_and_ipv6_literals() {
        for (text, wanted) in [
            ("http://127.0.0.1", "http://127.0.0.1:2379"),
            ("https://etcd.example:443/", "https://etcd.example:443"),
            ("HTTP://[::1]:2380", "http://[::1]:2380"),
            ("http://[fe80::1]", "http://[fe80::1]:2379"),
            ("localhost:2379", "http://localhost:2379"),
            ("unix:///run/etcd.sock", "unix:///run/etcd.sock"),
        ] {
            assert_eq!(url(text).unwrap(), wanted);
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_by_name() {
        for text in [
            "ftp://a",
            "http://",
            "http://a:",
            "http://a:0",
            "http://a:70000",
            "http://a:b",
            "http://::1:2379",
            "http://[::1",
            "http://[a]:1",
            "http://u:p@a",
            "http://a/v3",
            "http://a b",
            "unix://relative",
            "http://a\r\nX: y",
        ] {
            let error = Endpoint::parse(text, "endpoints").unwrap_err().to_string();
            assert!(error.starts_with("endpoints: "), "{text}: {error}");
        }
    }
}
