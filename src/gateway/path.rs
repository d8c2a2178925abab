//! Which path a server's API has, by its version.

/// The API path of a server of this release.
pub(crate) fn of_release(major: u32, minor: u32) -> &'static str {
    match (major, minor) {
        (0..=2, _) | (3, 0..=2) => "/v3alpha/",
        (3, 3) => "/v3beta/",
        _ => "/v3/",
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
    fn every_release_has_its_path() {
        for (major, minor, path) in
            [(3, 2, "/v3alpha/"), (3, 3, "/v3beta/"), (3, 4, "/v3/"), (3, 6, "/v3/"), (3, 10, "/v3/"), (4, 0, "/v3/")]
        {
            assert_eq!(of_release(major, minor), path, "{major}.{minor}");
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
}
