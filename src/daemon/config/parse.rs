//! How values are written, on the command line, in the environment and in the file alike.

use crate::daemon::log;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::client::Percent;
use crate::limits::MAX_CONNECTIONS;

/// Reads `30s`, `5m`, or a plain number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Reads `500MB`, `10GiB`, or a plain number of bytes.
pub fn size(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>().map(|size| size.as_u64())
}

/// Reads `25` or `25%`.
pub fn percent(text: &str) -> Result<Percent, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse();
    number.ok().and_then(Percent::new).ok_or_else(|| "a number from 0 to 100 is needed".into())
}

/// Reads a number of bytes a second.
pub fn rate(text: &str) -> Result<NonZeroU32, String> {
    let bytes = u32::try_from(size(text)?).map_err(|_| "a limit is below 4 GiB a second")?;
    NonZeroU32::new(bytes).ok_or_else(|| "nothing could move; leave it out".into())
}

/// Reads the number of connections to peers.
pub fn peers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("nobody could connect".into()),
        Ok(count) if count <= MAX_CONNECTIONS => Ok(count),
        Ok(_) => Err(format!("at most {MAX_CONNECTIONS}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the address of a tracker.
pub fn tracker(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" | "udp" if url.has_host() => Ok(text.to_owned()),
        _ => Err("a tracker has an http, https or udp address".into()),
    }
}

/// Reads the name or address of a node and its port.
pub fn entry(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("a node has an address HOST:PORT")?;
    let port: u16 = port.parse().map_err(|_| "its port is no number up to 65535")?;
    if host.is_empty() || port == 0 {
        return Err("a node has an address HOST:PORT".into());
    }
    Ok(text.to_owned())
}

/// Reads the name of an HTTP server, without a port: a host name, an IPv4 address, or an IPv6
/// address in brackets.
pub fn host(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(fits);
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_v6 = inner.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    if is_name || is_v6 {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is no host name or address without a port"))
}

/// Reads what to log.
pub fn log_filter(text: &str) -> Result<String, String> {
    log::parse(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
    }

    #[test]
    fn reads_percentages() {
        assert_eq!((percent("25"), percent("100%")), (Ok(share(25)), Ok(share(100))));
        for bad in ["101", "-1", "2.5", "%", "half", "300"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    fn share(percent: u8) -> Percent {
        Percent::new(percent).unwrap()
    }

    #[test]
    fn refuses_trackers_of_other_kinds() {
        assert!(tracker("udp://t.example:80").is_ok());
        for bad in ["file:///x", "t.example", "http://"] {
            assert!(tracker(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_has_no_port_and_nothing_else() {
        for good in ["offswarm.example", "192.0.2.7", "[::1]", "NAS"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:80", "::1", "[::1", "a/b", "*.example", "é.example"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
