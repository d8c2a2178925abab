//! What is wrong with a TLS session, in words that say which certificate it is about and where that comes from.

use super::name_of;
use crate::config::TlsConfig;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use std::io;
use std::time::Duration;

/// The same error in such words, where there are some.
pub(super) fn explain(error: io::Error, config: &TlsConfig) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let text = match inner {
        Some(TlsError::InvalidCertificate(problem)) => of_server(problem, config),
        Some(TlsError::AlertReceived(alert)) => of_client(*alert, config),
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Some("the server does not speak TLS there".to_owned())
        }
        _ => None,
    };
    text.map_or(error, |text| io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Of the server's certificate, by this side.
fn of_server(problem: &CertificateError, config: &TlsConfig) -> Option<String> {
    match problem {
        CertificateError::Expired => Some("the server's certificate has expired".to_owned()),
        CertificateError::ExpiredContext { time, not_after } => {
            Some(format!("the server's certificate has expired {} ago", between(*not_after, *time)))
        }
        CertificateError::NotValidYet => Some("the server's certificate is not valid yet".to_owned()),
        CertificateError::NotValidYetContext { time, not_before } => Some(format!(
            "the server's certificate is not valid yet, but in {}: a clock may be wrong",
            between(*time, *not_before)
        )),
        // A bad signature is mostly that of an authority that was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let place = config.ca_cert.as_ref().map(|pem| name_of(pem, "ca_cert_pem"));
            let place = place.unwrap_or_else(|| "the system's certificate store".to_owned());
            Some(format!("the server's certificate is not signed by an authority in {place}"))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no name".to_owned() } else { names };
            Some(format!("the server's certificate is not for {}, but for {names}", expected.to_str()))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Some("the server's certificate may not be used by a server".to_owned())
        }
        _ => None,
    }
}

/// Of this side's certificate, by the server.
fn of_client(alert: AlertDescription, config: &TlsConfig) -> Option<String> {
    let says = match alert {
        AlertDescription::CertificateRequired => "it requires one",
        AlertDescription::BadCertificate => "it is bad",
        AlertDescription::UnsupportedCertificate => "it is of an unsupported kind",
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet",
        AlertDescription::CertificateUnknown => "something is wrong with it",
        AlertDescription::UnknownCA => "its authority is unknown",
        AlertDescription::AccessDenied => "its owner has no access",
        _ => return None,
    };
    Some(match &config.cert {
        Some(cert) => {
            let cert = name_of(cert, "cert_pem");
            format!("the server refuses the client certificate in {cert}: it says that {says} ({alert:?})")
        }
        None => format!("the server wants a client certificate, and none is given ({alert:?})"),
    })
}

/// `DnsName("a")` and `IpAddress(1.2.3.4)` without what is around the name.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// A length of time, to one unit.
fn between(from: UnixTime, to: UnixTime) -> String {
    let seconds = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs())).as_secs();
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds} seconds"), |(length, name)| format!("{} {name}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits_twice() {
        for (seconds, text) in [(0, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7_200, "2 hours")] {
            let from = UnixTime::since_unix_epoch(Duration::from_secs(1000));
            let to = UnixTime::since_unix_epoch(Duration::from_secs(1000 + seconds));
            assert_eq!(between(from, to), text);
        }
    }

    #[test]
    fn names_are_told_bare() {
        assert_eq!(bare("DnsName(\"etcd.example\")"), "etcd.example");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare("other"), "other");
    }
}
