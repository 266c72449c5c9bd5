//! Has this host a way out? Its routes and links, as the kernel shows them.
//!
//! Owns: the reading of `/proc/net/route`, `/proc/net/ipv6_route` and the carrier of links. What
//! cannot be read says nothing: a host without these files is not cut off for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits::ROUTES_BYTES_MAX;

/// The way is up (RTF_UP of route(8)).
const UP: u32 = 0x1;
/// The way only refuses (RTF_REJECT).
const REJECT: u32 = 0x200;

/// True where no default route leads over a link with carrier, of either family.
pub fn no_way_out() -> bool {
    let v4 = read(Path::new("/proc/net/route"));
    let v6 = read(Path::new("/proc/net/ipv6_route"));
    let (Ok(v4), v6) = (v4, v6.unwrap_or_default()) else { return false };
    let mut links = v4.lines().filter_map(default_v4).chain(v6.lines().filter_map(default_v6));
    !links.any(|link| has_carrier(Path::new("/sys/class/net"), link))
}

/// The link of a default route of IPv4: name, destination, gateway, flags, …, mask.
fn default_v4(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [link, "00000000", _, flags, _, _, _, "00000000", ..] = fields[..] else { return None };
    leads_on(flags).then_some(link)
}

/// The link of a default route of IPv6: destination, its length, …, flags, name.
fn default_v6(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [to, "00", _, _, _, _, _, _, flags, link] = fields[..] else { return None };
    (to.bytes().all(|byte| byte == b'0') && link != "lo" && leads_on(flags)).then_some(link)
}

fn leads_on(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0 && flags & REJECT == 0)
}

/// A link that is down gives an error instead of a number; one that is not shown here (a network
/// namespace of its own) counts as good.
fn has_carrier(links: &Path, link: &str) -> bool {
    match read(&links.join(link).join("carrier")) {
        Ok(text) => text.trim() != "0",
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The start of a file: default routes stand before all others.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ROUTES_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_told_from_other_routes_and_from_one_that_refuses() {
        let routes = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth1\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
*\t00000000\t00000000\t0200\t0\t0\t900\t00000000\t0\t0\t0
";
        assert_eq!(routes.lines().filter_map(default_v4).collect::<Vec<_>>(), ["eth0"]);
        let zeros = "0".repeat(32);
        let six = format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 \
             00000003     eth0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n\
             fe800000000000000000000000000000 40 {zeros} 00 {zeros} 00000100 00000001 00000000 \
             00000001     eth1"
        );
        assert_eq!(six.lines().filter_map(default_v6).collect::<Vec<_>>(), ["eth0"]);
    }

    #[test]
    fn a_link_without_carrier_leads_nowhere_and_an_unknown_one_is_not_held_against_us() {
        let links = tempfile::tempdir().unwrap();
        for (link, carrier) in [("up", "1\n"), ("down", "0\n")] {
            std::fs::create_dir(links.path().join(link)).unwrap();
            std::fs::write(links.path().join(link).join("carrier"), carrier).unwrap();
        }
        let carrier = |link| has_carrier(links.path(), link);
        assert!(carrier("up") && !carrier("down") && carrier("elsewhere"));
    }
}
