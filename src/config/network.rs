//! A range of IP addresses, written as CIDR or as a single address.

use std::{fmt, net::IpAddr};

/// A block of addresses such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, `192.0.2.7` or `::1`. Bits behind the prefix must be zero, as they hint at a slip.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().ok()?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.unwrap_or(width);
        let network = Network { first, prefix_bits };
        (prefix_bits <= width && network.masked(first) == Some(bits(first))).then_some(network)
    }

    /// Whether the address lies in the block. An IPv4 address inside IPv6 is another address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.masked(address) == Some(bits(self.first))
    }

    fn masked(&self, address: IpAddr) -> Option<u128> {
        let free_bits = u32::from(if address.is_ipv4() { 32 } else { 128u8 }.checked_sub(self.prefix_bits)?);
        Some(bits(address) & u128::MAX.checked_shl(free_bits).unwrap_or(0))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_single_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false),
        ];
        for (network, address, inside) in cases {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn slips_are_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.1/8", "10.0.0/8", "example.com", "10.0.0.0/-1", "10.0.0.0/"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
