//! Which addresses a check that somebody else asked for may go to.
//!
//! Owns: the policy, which is asked with the address that is really connected to: after names are
//! resolved and at each redirect, so a name cannot lead where its address may not. Nothing is
//! read or resolved here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    start: IpAddr,
    bits: u8,
}

impl Network {
    /// True where the address lies in it.
    fn holds(&self, ip: IpAddr) -> bool {
        let (start, ip, width) = match (self.start, ip) {
            (IpAddr::V4(start), IpAddr::V4(ip)) => {
                (start.to_bits().into(), ip.to_bits().into(), 32)
            }
            (IpAddr::V6(start), IpAddr::V6(ip)) => (start.to_bits(), ip.to_bits(), 128),
            _ => return false,
        };
        let kept = |bits: u128| bits.checked_shr(width - u32::from(self.bits)).unwrap_or(0);
        kept(start) == kept(ip)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no network; write it like 10.0.0.0/8 or 2001:db8::/32");
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let start: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if start.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() && address == text {
            width
        } else {
            bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?
        };
        Ok(Network { start, bits })
    }
}

/// Where checks may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Everywhere but to this host, to its links and to groups: not to loopback, link-local
    /// (cloud metadata among them), multicast and unspecified addresses, in no spelling.
    #[default]
    Public,
    /// To these networks only.
    Only(Vec<Network>),
}

impl Egress {
    /// True where a check may go to this address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        // An IPv4 address in IPv6 clothes is the same place.
        let ip = ip.to_canonical();
        match self {
            Egress::Only(networks) => networks.iter().any(|network| network.holds(ip)),
            Egress::Public => !(ip.is_loopback() || is_refused(ip)),
        }
    }
}

/// True for an address that nothing may be sent to: of links, groups and cloud metadata, in every
/// spelling.
pub fn is_refused(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => refused_v4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            let embedded = |high: u16, low: u16| {
                let [one, two] = high.to_be_bytes();
                let [three, four] = low.to_be_bytes();
                refused_v4(Ipv4Addr::new(one, two, three, four))
            };
            let last = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || a & 0xffc0 == 0xfe80
                || v6 == METADATA
                || (a == 0x2002 && embedded(b, c))
                || (a == 0x64 && b == 0xff9b && embedded(last[6], last[7]))
        }
    }
}

fn refused_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(egress: &Egress, ip: &str) -> bool {
        egress.allows(ip.parse().unwrap())
    }

    #[test]
    fn addresses_of_metadata_and_of_no_single_host_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(is_refused(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "::1", "fd12::1", "192.0.2.1", "2001:db8::1"] {
            assert!(!is_refused(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn by_default_this_host_and_its_metadata_are_out_of_reach() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
        ] {
            assert!(!allows(&Egress::Public, ip), "{ip}");
        }
        for ip in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1", "::ffff:192.0.2.1"] {
            assert!(allows(&Egress::Public, ip), "{ip}");
        }
    }

    #[test]
    fn a_list_of_networks_allows_those_only() {
        let networks = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/32"];
        let only = Egress::Only(networks.map(|text| text.parse().unwrap()).to_vec());
        for ip in ["10.255.0.1", "192.0.2.7", "2001:db8:1::", "::ffff:10.0.0.1", "0.0.0.0"] {
            assert!(allows(&only, ip), "{ip}");
        }
        for ip in ["11.0.0.0", "192.0.2.8", "2001:db9::", "127.0.0.1"] {
            assert!(!allows(&only, ip), "{ip}");
        }
        let all = Egress::Only(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        assert!(allows(&all, "127.0.0.1") && allows(&all, "fe80::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "host", "::/129", "1.2.3.4/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let ten = Network { start: Ipv4Addr::new(10, 0, 0, 0).into(), bits: 8 };
        assert_eq!("10.0.0.0/8".parse(), Ok(ten));
    }
}
