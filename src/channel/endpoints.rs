//! The endpoints of a cluster: a list, of which one is in use until it fails.

use crate::error::{Error, Result};
use crate::net::{Target, lock};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// One member's address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As a user would write it: `http://[::1]:2379`.
    pub url: Arc<str>,
    /// For the `Host` line.
    pub host: String,
    pub target: Target,
}

const DEFAULT_PORT: u16 = 2379;

impl Endpoint {
    /// Reads one URL.
    fn parse(text: &str) -> Result<Endpoint> {
        let refused = |why: &str| Error::invalid(format!("endpoints: {text:?}: {why}"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" if rest.starts_with('/') && !rest.contains('\0') => {
                let target = Target::Unix(PathBuf::from(rest));
                return Ok(Endpoint { url: Arc::from(text), host: "localhost".to_owned(), target });
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
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let scheme = if tls { "https" } else { "http" };
        Ok(Endpoint {
            url: Arc::from(format!("{scheme}://{shown}")),
            host: shown,
            target: Target::Tcp { host: host.to_owned(), port, tls },
        })
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

/// The endpoints of a client.
pub(crate) struct Endpoints {
    state: Mutex<State>,
    /// Certificates were given: then no endpoint may do without.
    uses_tls: bool,
}

struct State {
    configured: Vec<Arc<Endpoint>>,
    list: Vec<Arc<Endpoint>>,
    current: Arc<Endpoint>,
}

impl State {
    fn new(list: Vec<Arc<Endpoint>>) -> Result<State> {
        let current = list.first().ok_or_else(|| Error::invalid("endpoints is empty"))?.clone();
        Ok(State { configured: list.clone(), list, current })
    }
}

impl Endpoints {
    pub(crate) fn new(list: Vec<Arc<Endpoint>>, uses_tls: bool) -> Result<Endpoints> {
        Ok(Endpoints { state: Mutex::new(State::new(list)?), uses_tls })
    }

    /// Reads a comma-separated list; none twice.
    pub(crate) fn parse(text: &str) -> Result<Vec<Arc<Endpoint>>> {
        let mut list: Vec<Arc<Endpoint>> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let endpoint = Endpoint::parse(part)?;
            if !list.iter().any(|known| known.target == endpoint.target) {
                list.push(Arc::new(endpoint));
            }
        }
        Ok(list)
    }

    /// Certificates for connections that use none would give a false sense of safety.
    pub(crate) fn check_tls(list: &[Arc<Endpoint>], uses_tls: bool) -> Result<()> {
        let plain = list.iter().find(|endpoint| matches!(endpoint.target, Target::Tcp { tls: false, .. }));
        match plain.filter(|_| uses_tls) {
            Some(endpoint) => {
                Err(Error::invalid(format!("TLS options are given, but {} does without TLS", endpoint.url)))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn set(&self, text: &str) -> Result<()> {
        let list = Endpoints::parse(text)?;
        Endpoints::check_tls(&list, self.uses_tls)?;
        *lock(&self.state) = State::new(list)?;
        Ok(())
    }

    /// The one in use.
    pub(crate) fn current(&self) -> Arc<Endpoint> {
        lock(&self.state).current.clone()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.state).list.len()
    }

    pub(crate) fn has(&self, url: &str) -> bool {
        lock(&self.state).list.iter().any(|endpoint| &*endpoint.url == url)
    }

    /// Goes on to the next one, unless another thread has done so already.
    pub(crate) fn leave(&self, url: &Arc<str>) {
        let mut state = lock(&self.state);
        if state.current.url == *url {
            let after = state.list.iter().skip_while(|endpoint| endpoint.url != *url).nth(1);
            let next = after.or_else(|| state.list.first()).cloned();
            state.current = next.unwrap_or_else(|| state.current.clone());
        }
    }

    /// The endpoint of one URL, of the same security as the configured ones.
    pub(crate) fn single(&self, url: &str) -> Result<Arc<Endpoint>> {
        let endpoint = Arc::new(Endpoint::parse(url)?);
        Endpoints::check_tls(std::slice::from_ref(&endpoint), self.uses_tls)?;
        Ok(endpoint)
    }

    /// Those of a member list that can be used: readable, none twice, and none without TLS where the configured ones
    /// have it.
    pub(crate) fn fitting(&self, urls: &[String]) -> Vec<Arc<Endpoint>> {
        let wants_tls = lock(&self.state).configured.iter().all(|endpoint| endpoint.is_tls());
        let mut fitting: Vec<Arc<Endpoint>> = Vec::new();
        for endpoint in urls.iter().filter_map(|url| Endpoint::parse(url).ok()) {
            let is_known = fitting.iter().any(|known| known.target == endpoint.target);
            if !is_known && (endpoint.is_tls() || !wants_tls) {
                fitting.push(Arc::new(endpoint));
            }
        }
        fitting
    }

    /// Uses these, and the configured ones after them; the endpoint in use stays in use.
    pub(crate) fn adopt(&self, found: Vec<Arc<Endpoint>>) {
        let mut state = lock(&self.state);
        let mut list = found;
        for endpoint in &state.configured {
            if !list.iter().any(|known| known.target == endpoint.target) {
                list.push(endpoint.clone());
            }
        }
        let in_use = list.iter().find(|endpoint| endpoint.target == state.current.target);
        if let Some(current) = in_use.or_else(|| list.first()).cloned() {
            state.current = current;
        }
        state.list = list;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<String> {
        Endpoint::parse(text).ok().map(|endpoint| endpoint.url.to_string())
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
            let error = Endpoints::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("endpoints: "), "{text}: {error}");
        }
        assert!(Endpoints::new(Endpoints::parse(" , ").unwrap(), false).is_err());
    }

    #[test]
    fn an_endpoint_that_fails_is_left_once_however_many_threads_saw_it_fail() {
        let endpoints =
            Endpoints::new(Endpoints::parse("http://a,http://b,http://c,http://a").unwrap(), false).unwrap();
        let first = endpoints.current().url.clone();
        endpoints.leave(&first);
        endpoints.leave(&first);
        assert_eq!(&*endpoints.current().url, "http://b:2379");
        assert_eq!(endpoints.count(), 3);
    }
}
