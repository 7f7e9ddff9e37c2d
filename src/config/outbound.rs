//! What outgoing HTTP may reach although it is not a global address, or not https.
//!
//! | key in `[outbound]` | variable                  | default |
//! |---------------------|---------------------------|---------|
//! | `allow`             | `RAGBOARD_OUTBOUND_ALLOW` | none    |
//!
//! An entry is a name (`minio.internal`, `minio.internal:9000`), an address (`10.0.0.5`, `127.0.0.1:9000`, `[::1]:9000`)
//! or a block (`10.0.0.0/8`). A name is reached at whatever it resolves to, and an entry with a port only at that port.
//! An address or block without a port also covers names that resolve into it; http to those stays refused, as the
//! decision about http is made before a name is resolved.

use std::{fmt, net::IpAddr};

use super::{
    Network,
    reader::Reader,
    values::{List, Parsed},
    web_address::split_host,
};

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A host by its name, in lower case.
    Name {
        /// The name as URLs write it.
        host: String,
        /// The only port, or all of them.
        port: Option<u16>,
    },
    /// Addresses.
    Addresses {
        /// Which.
        network: Network,
        /// The only port, or all of them.
        port: Option<u16>,
    },
}

impl Allowed {
    fn parse(text: &str) -> Option<Self> {
        if let Some(network) = Network::parse(text) {
            return Some(Allowed::Addresses { network, port: None });
        }
        let (host, port) = split_host(text)?;
        match Network::parse(host) {
            Some(network) => Some(Allowed::Addresses { network, port }),
            // Digits and dots that are no address are a slip, not a name.
            None if host.chars().all(|c| c.is_ascii_digit() || c == '.') => None,
            None => Some(Allowed::Name { host: host.to_ascii_lowercase(), port }),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self {
            Allowed::Name { host, port } => {
                f.write_str(host)?;
                port
            }
            Allowed::Addresses { network, port: None } => return write!(f, "{network}"),
            Allowed::Addresses { network, port } => {
                let network = network.to_string();
                let address = network.split('/').next().unwrap_or_default();
                if address.contains(':') {
                    write!(f, "[{address}]")?
                } else {
                    f.write_str(address)?
                }
                port
            }
        };
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What outgoing HTTP may reach beyond global addresses by https.
#[derive(Clone, Debug, Default)]
pub struct OutboundConfig {
    /// The entries.
    pub allow: Vec<Allowed>,
}

impl OutboundConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let entries = List(Parsed::new("HOST, HOST:PORT, an address or a block such as 10.0.0.0/8", Allowed::parse));
        OutboundConfig { allow: reader.value("outbound.allow", &["RAGBOARD_OUTBOUND_ALLOW"], &entries, Vec::new()) }
    }

    /// Whether an entry covers this host of a URL, a name or an address without brackets, at this port.
    #[must_use]
    pub fn names(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        self.allow.iter().any(|entry| match (entry, address) {
            (Allowed::Name { host: name, port: at }, None) => {
                name.eq_ignore_ascii_case(host) && at.is_none_or(|at| at == port)
            }
            (Allowed::Addresses { network, port: at }, Some(address)) => {
                network.contains(address) && at.is_none_or(|at| at == port)
            }
            _ => false,
        })
    }

    /// Whether an entry covers this name at some port.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let is_it = |entry: &Allowed| matches!(entry, Allowed::Name { host, .. } if host.eq_ignore_ascii_case(name));
        self.allow.iter().any(is_it)
    }

    /// Whether an entry covers an address that a name resolved to, whatever the port.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        let is_in =
            |entry: &Allowed| matches!(entry, Allowed::Addresses { network, port: None } if network.contains(address));
        self.allow.iter().any(is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_as_they_print() {
        for text in ["minio.internal", "minio.internal:9000", "127.0.0.1:9000", "[::1]:9000", "10.0.0.0/8", "fd00::/8"]
        {
            assert_eq!(Allowed::parse(text).map(|entry| entry.to_string()).as_deref(), Some(text));
        }
        for text in ["", "http://x", "10.0.0.0/40", "10.0.0.0/8:80", "x:0", "x:y", "10.0.0", "[::1", "a b"] {
            assert_eq!(Allowed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_narrows_an_entry() {
        let allow =
            ["minio.internal:9000", "127.0.0.1:8080", "10.0.0.0/8"].map(|text| Allowed::parse(text).unwrap()).to_vec();
        let config = OutboundConfig { allow };
        assert!(config.names("MINIO.internal", 9000) && !config.names("minio.internal", 22));
        assert!(config.names("127.0.0.1", 8080) && !config.names("127.0.0.1", 8081));
        assert!(config.names("10.1.2.3", 1) && !config.names("11.1.2.3", 1));
        assert!(config.knows("minio.internal") && !config.knows("localhost"));
        assert!(config.covers("10.1.2.3".parse().unwrap()) && !config.covers("127.0.0.1".parse().unwrap()));
    }
}
