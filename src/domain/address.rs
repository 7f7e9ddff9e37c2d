//! The one notion of a client's address: what limits, attempts and turns count by.
//!
//! Reading an address from a request (forwarded headers, trusted proxies) is `http/identity.rs`; which addresses the
//! program itself may connect to is `outbound/address.rs`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// Where a client comes from: an IPv4 address, or the /64 network of an IPv6 address. Whoever has one IPv6 address has the
/// 2⁶⁴ of its network, so anything finer is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress(IpAddr);

impl From<IpAddr> for ClientAddress {
    /// An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address.
    fn from(address: IpAddr) -> Self {
        ClientAddress(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

impl ClientAddress {
    /// The address in part, for showing where somebody was: three numbers of IPv4, 48 bits of IPv6.
    #[must_use]
    pub fn shortened(self) -> String {
        match self.0 {
            IpAddr::V4(address) => {
                let [first, second, third, _] = address.octets();
                format!("{first}.{second}.{third}.x")
            }
            IpAddr::V6(network) => format!("{}/48", Ipv6Addr::from_bits(network.to_bits() & !(u128::MAX >> 48))),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::1").shortened(), "2001:db8:1::/48");
        assert_eq!(of("192.0.2.77").shortened(), "192.0.2.x");
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }
}
