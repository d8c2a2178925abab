//! Which path a server's API has, by its version.

use super::json::Reader;

/// The API path of the server whose `GET /version` answered this. Pre-releases count as their release.
pub(crate) fn of_version_answer(body: &mut [u8]) -> Result<(&'static str, String), String> {
    let excerpt = super::http::excerpt(body);
    let mut version = String::new();
    let mut reader = Reader::new(body);
    let read = reader.object(&["etcdserver"], |reader, _| {
        version = reader.text()?;
        Ok(())
    });
    match read.ok().and_then(|()| of_version(&version)) {
        Some(path) => Ok((path, version)),
        None => Err(format!("GET /version gives {excerpt}")),
    }
}

/// By `major.minor` at the beginning of a version.
fn of_version(version: &str) -> Option<&'static str> {
    let mut parts = version.split('.');
    let major: u32 = parts.next()?.parse().ok()?;
    let minor: u32 = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    match (major, minor) {
        (0..=2, _) | (3, 0..=2) => Some("/v3alpha/"),
        (3, 3) => Some("/v3beta/"),
        _ => Some("/v3/"),
    }
}

/// An API path as a caller may write it, with a slash at each end; `None`: it can't stand in a URL.
pub(crate) fn normalize(path: &str) -> Option<String> {
    let trimmed = path.trim_matches('/');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte);
    (!trimmed.is_empty() && trimmed.bytes().all(fits)).then(|| format!("/{trimmed}/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_path_and_pre_releases_count_as_their_release() {
        for (version, path) in [
            ("3.2.32", Some("/v3alpha/")),
            ("3.3.27", Some("/v3beta/")),
            ("3.4.23", Some("/v3/")),
            ("3.6.0-rc.1", Some("/v3/")),
            ("3.8.0-alpha.0", Some("/v3/")),
            ("3.10.0", Some("/v3/")),
            ("4.0.0", Some("/v3/")),
            ("not_decided", None),
            ("3", None),
            ("", None),
        ] {
            assert_eq!(of_version(version), path, "{version}");
        }
    }

    #[test]
    fn an_api_path_may_be_given_with_and_without_slashes() {
        for given in ["/v3/", "/v3", "v3", "v3/"] {
            assert_eq!(normalize(given).unwrap(), "/v3/");
        }
        assert_eq!(normalize("/etcd/v3/").unwrap(), "/etcd/v3/");
        for refused in ["", "/", "/v 3", "/v3?x", "/v3\r\nHost: x"] {
            assert_eq!(normalize(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_version_answer_that_is_no_json_is_quoted() {
        let mut body = b"<html>".to_vec();
        assert!(of_version_answer(&mut body).unwrap_err().contains("<html>"));
        let mut body = br#"{"etcdserver":"3.5.35","etcdcluster":"3.5.0"}"#.to_vec();
        assert_eq!(of_version_answer(&mut body).unwrap(), ("/v3/", "3.5.35".to_owned()));
    }
}
