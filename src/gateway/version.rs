//! What a server's version says about its gateway.

use super::json::Reader;
use super::path;

/// The answer to `GET /version`. Pre-releases count as their release.
#[derive(Clone, Debug)]
pub(crate) struct ServerVersion {
    /// As the server wrote it.
    pub text: String,
    /// The API path of its gateway.
    pub api_path: &'static str,
    server: Release,
    /// What the members have agreed upon; none: nothing yet.
    cluster: Option<Release>,
}

/// Major, minor and patch.
type Release = (u32, u32, u32);

impl ServerVersion {
    pub(crate) fn of_answer(body: &mut [u8]) -> Result<ServerVersion, String> {
        let excerpt = super::http::excerpt(body);
        let (mut text, mut cluster) = (String::new(), String::new());
        let mut reader = Reader::new(body);
        let read = reader.object(&["etcdserver", "etcdcluster"], |reader, field| {
            *(if field == 0 { &mut text } else { &mut cluster }) = reader.text()?;
            Ok(())
        });
        match read.ok().and_then(|()| release(&text)) {
            Some(server) => {
                let api_path = path::of_release(server.0, server.1);
                Ok(ServerVersion { text, api_path, server, cluster: release(&cluster) })
            }
            None => Err(format!("GET /version gives {excerpt}")),
        }
    }

    /// Whether both the server and its cluster are 3.5 or newer: an upgrade to WebSocket kills servers of 3.4.25 to
    /// 3.4.39, and a cluster that is older may have members that are.
    pub(crate) fn takes_upgrades(&self) -> bool {
        let is_new = |release: Release| release >= (3, 5, 0);
        is_new(self.server) && self.cluster.is_some_and(is_new)
    }

    /// Whether its cluster has still to agree on a version, as one does in its first seconds.
    pub(crate) fn is_undecided(&self) -> bool {
        self.cluster.is_none()
    }

    /// Whether it is of 3.5, of which some builds speak the dialect of grpc-gateway v2 and leak the watches of a
    /// WebSocket that breaks.
    pub(crate) fn may_leak_watches(&self) -> bool {
        matches!(self.server, (3, 5, _))
    }

    /// Whether a WebSocket can carry a token; etcd-io/etcd: CHANGELOG of 3.5.32, 3.6.13 and 3.7.0.
    pub(crate) fn takes_tokens_on_upgrades(&self) -> bool {
        match self.server {
            (3, 5, patch) => patch >= 32,
            (3, 6, patch) => patch >= 13,
            later => later >= (3, 7, 0),
        }
    }

    /// Whether it forgets what was deleted at the very revision that its history is compacted at, and has a watch from there
    /// go on as if that had not happened; etcd-io/etcd#18089 and #19179, mended in 3.4.36 and 3.5.18.
    pub(crate) fn loses_deletions(&self) -> bool {
        match self.server {
            (3, 4, patch) => patch < 36,
            (3, 5, patch) => patch < 18,
            other => other < (3, 4, 0),
        }
    }

    /// Whether the answer to a progress request is in order with the events; etcd-io/etcd#15220.
    pub(crate) fn orders_requested_progress(&self) -> bool {
        self.server >= (3, 5, 8)
    }
}

/// `major.minor.patch` at the beginning of a version; a patch that is missing is 0.
fn release(version: &str) -> Option<Release> {
    let mut parts = version.split('.');
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let major = parts.next()?.parse().ok()?;
    let minor = number(parts.next()?)?;
    Some((major, minor, parts.next().and_then(number).unwrap_or(0)))
}

/// Whether the body of a 404 is of a gateway of v1, upstream's in 3.5.
pub(crate) fn is_v1_not_found(body: &[u8]) -> bool {
    body.trim_ascii() == b"Not Found"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn version(server: &str, cluster: &str) -> ServerVersion {
        let mut body =
            format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"3.6.0"}}"#).into_bytes();
        ServerVersion::of_answer(&mut body).unwrap()
    }

    #[test]
    fn a_version_answer_that_is_no_json_or_has_no_version_is_quoted() {
        for body in ["<html>", r#"{"etcdserver":"not_decided"}"#, r#"{"etcdserver":"3"}"#, "{}", ""] {
            let error = ServerVersion::of_answer(&mut body.as_bytes().to_vec()).unwrap_err();
            assert!(error.contains(&body.escape_debug().to_string()), "{error}");
        }
    }

    #[test]
    fn the_api_path_and_the_text_are_those_of_the_server() {
        let version = version("3.5.35", "3.5.0");
        assert_eq!((version.api_path, &*version.text), ("/v3/", "3.5.35"));
    }

    #[test]
    fn only_a_server_and_a_cluster_of_3_5_or_newer_are_asked_to_upgrade() {
        for (server, cluster, wanted) in [
            ("3.5.0", "3.5.0", true),
            ("3.7.3", "3.7.0", true),
            ("3.10.0", "3.10.0", true),
            ("3.6.0-rc.1", "3.5.0", true),
            ("4.0.0", "4.0.0", true),
            ("3.4.39", "3.4.0", false),
            ("3.5.35", "3.4.0", false),
            ("3.5.35", "not_decided", false),
            ("3.5.35", "", false),
        ] {
            assert_eq!(version(server, cluster).takes_upgrades(), wanted, "{server} in {cluster}");
        }
    }

    #[test]
    fn tokens_go_with_upgrades_from_the_versions_that_strip_bearer_on() {
        for (server, wanted) in [
            ("3.5.31", false),
            ("3.5.32", true),
            ("3.6.12", false),
            ("3.6.13", true),
            ("3.6.16", true),
            ("3.7.0", true),
            ("3.8.0-alpha.0", true),
            ("3.4.40", false),
        ] {
            assert_eq!(version(server, "3.5.0").takes_tokens_on_upgrades(), wanted, "{server}");
        }
    }

    #[test]
    fn requested_progress_is_trusted_from_3_5_8_on() {
        assert!(!version("3.5.7", "3.5.0").orders_requested_progress());
        assert!(version("3.5.8", "3.5.0").orders_requested_progress());
        assert!(version("3.6.0", "3.6.0").orders_requested_progress());
    }

    #[test]
    fn deletions_are_lost_by_compactions_until_3_4_36_and_3_5_18() {
        for (server, wanted) in [
            ("3.3.27", true),
            ("3.4.23", true),
            ("3.4.35", true),
            ("3.4.36", false),
            ("3.5.0", true),
            ("3.5.17", true),
            ("3.5.18", false),
            ("3.6.0", false),
            ("4.0.0", false),
        ] {
            assert_eq!(version(server, "3.4.0").loses_deletions(), wanted, "{server}");
        }
    }

    #[test]
    fn the_dialects_of_the_gateway_differ_in_what_they_say_of_an_unknown_path() {
        assert!(is_v1_not_found(b"Not Found\n"));
        assert!(!is_v1_not_found(br#"{"code":5,"message":"Not Found","details":[]}"#));
        assert!(!is_v1_not_found(b"<html>Not Found</html>"));
    }
}
