//! Where a server listens and a client calls.

use std::{fmt, str::FromStr};

/// A transport and an address, such as `tcp://127.0.0.1:7400`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// TCP, at `host:port`; the host may be a name, IPv6 stands in brackets.
    Tcp(String),
    /// UDP, at `host:port` as for TCP.
    Udp(String),
}

impl Endpoint {
    /// TCP at `address`, which is `host:port`.
    pub fn tcp(address: impl Into<String>) -> Self {
        Self::Tcp(address.into())
    }

    /// UDP at `address`, which is `host:port`.
    pub fn udp(address: impl Into<String>) -> Self {
        Self::Udp(address.into())
    }

    /// The `host:port` part.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        type New = fn(String) -> Endpoint;
        let (new, address): (New, _) = match text.split_once("://") {
            Some(("tcp", address)) => (Self::Tcp, address),
            Some(("udp", address)) => (Self::Udp, address),
            Some((other, _)) => return Err(EndpointError::Transport(other.to_owned())),
            None => return Err(EndpointError::without_transport(text)),
        };
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(new(address.to_owned()))
            }
            _ => Err(EndpointError::Address(address.to_owned())),
        }
    }
}

/// A text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No `tcp://` or `udp://` in front.
    #[error("`{0}` names no transport: write `tcp://{0}` or `udp://{0}`")]
    NoTransport(String),
    /// A transport without `//` behind it.
    #[error("`{found}` is not an endpoint: write `{meant}`")]
    Slashes {
        /// What was given.
        found: String,
        /// What it looks like.
        meant: String,
    },
    /// A transport that this version does not have.
    #[error("`{0}://` is not a transport here: use `tcp://` or `udp://`")]
    Transport(String),
    /// Not `host:port`.
    #[error("`{0}` is not `host:port` with a port from 0 to 65535, such as `127.0.0.1:7400`")]
    Address(String),
}

impl EndpointError {
    fn without_transport(text: &str) -> Self {
        match text.split_once(':') {
            Some((transport @ ("tcp" | "udp"), rest)) => Self::Slashes {
                found: text.to_owned(),
                meant: format!("{transport}://{}", rest.trim_start_matches('/')),
            },
            _ => Self::NoTransport(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_back_as_it_is_written() {
        for text in ["tcp://127.0.0.1:7400", "udp://[::1]:7400", "tcp://localhost:0"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_slip_is_named_with_its_mend() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error("127.0.0.1:7400"), EndpointError::NoTransport("127.0.0.1:7400".into()));
        assert_eq!(
            error("udp:/a:1"),
            EndpointError::Slashes { found: "udp:/a:1".into(), meant: "udp://a:1".into() }
        );
        assert_eq!(error("http://a:1"), EndpointError::Transport("http".into()));
        for address in ["localhost", "localhost:", ":7400", "localhost:70000"] {
            let text = format!("tcp://{address}");
            assert_eq!(error(&text), EndpointError::Address(address.into()));
        }
    }
}
