//! Which addresses a check that somebody else asked for may go to.
//!
//! Owns: the policy, which is asked with the address that is really connected to: after names are
//! resolved and at each redirect, so a name cannot lead where its address may not. Nothing is
//! read or resolved here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
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

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.bits)
    }
}

/// Where checks may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Everywhere but to this host, to its links and to groups: not to loopback, link-local
    /// (cloud metadata among them), multicast and unspecified addresses.
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
            Egress::Public => match ip {
                IpAddr::V4(v4) => {
                    let this_network = v4.octets()[0] == 0;
                    let group = v4.is_multicast() || v4 == Ipv4Addr::BROADCAST;
                    !(this_network || group || v4.is_loopback() || v4.is_link_local())
                }
                IpAddr::V6(v6) => {
                    let group = v6.is_multicast() || v6.is_unspecified();
                    !(group || v6.is_loopback() || v6.is_unicast_link_local())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(egress: &Egress, ip: &str) -> bool {
        egress.allows(ip.parse().unwrap())
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
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}
