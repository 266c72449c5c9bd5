//! What /etc/resolv.conf and /etc/hosts say, read once at the edge.
//!
//! Owns: reading both files into a [`ResolverConfig`]. Leaves to others: asking. The files are read
//! with blocking calls: do it before the shards run, or on another thread, and give every shard a
//! clone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::net::if_::if_nametoindex;
use probes::spec::Family;
use resolv_conf::ScopedIp;

use crate::limits::{RESOLVE_ROUNDS_MAX, RESOLVE_SERVERS_MAX, RESOLVE_TRY_MS_MAX};

/// Port of a name server (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// How names are resolved. Clones share the hosts table.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Whom to ask, in order; never empty when it comes from [`ResolverConfig::from_system`].
    pub servers: Vec<SocketAddr>,
    /// Wait for one server before the next is asked, in milliseconds.
    pub try_ms: u64,
    /// Times that every server is asked before the lookup fails.
    pub rounds: u32,
    /// Start each query at the next server instead of at the first.
    pub rotate: bool,
    /// Names that are never asked for.
    pub hosts: Arc<Hosts>,
}

/// A file that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}; names cannot be resolved as this host does")]
pub struct ConfigUnreadable {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl ResolverConfig {
    /// Reads hosts(5) and resolv.conf(5). A file that is not there counts as empty, and an empty
    /// list of servers means this host, as in glibc. Search lists and ndots are not used: the name
    /// of a target is absolute.
    ///
    /// # Errors
    ///
    /// A file is there and cannot be read.
    pub fn from_system(
        hosts: &Path,
        resolv_conf: &Path,
    ) -> Result<ResolverConfig, ConfigUnreadable> {
        let hosts = Hosts::parse(&read_or_empty(hosts)?);
        Ok(ResolverConfig::parse(&read_or_empty(resolv_conf)?, hosts))
    }

    /// The same from the text of resolv.conf(5). Lines that cannot be read are passed over, as
    /// glibc does. Waits and rounds are cut to [`RESOLVE_TRY_MS_MAX`] and [`RESOLVE_ROUNDS_MAX`].
    pub fn parse(resolv_conf: &[u8], hosts: Hosts) -> ResolverConfig {
        let (read, _bad_lines) = resolv_conf::Config::parse_with_errors(resolv_conf);
        let mut servers: Vec<SocketAddr> = read.nameservers.iter().filter_map(server).collect();
        servers.truncate(RESOLVE_SERVERS_MAX);
        if servers.is_empty() {
            servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT)));
        }
        ResolverConfig {
            servers,
            try_ms: (u64::from(read.timeout) * 1_000).clamp(1_000, RESOLVE_TRY_MS_MAX),
            rounds: read.attempts.clamp(1, RESOLVE_ROUNDS_MAX),
            rotate: read.rotate,
            hosts: Arc::new(hosts),
        }
    }
}

fn read_or_empty(path: &Path) -> Result<Vec<u8>, ConfigUnreadable> {
    match std::fs::read(path) {
        Ok(text) => Ok(text),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ConfigUnreadable { path: path.to_path_buf(), source }),
    }
}

/// The socket address of a server; `None` for a zone that is no interface of this host.
fn server(ip: &ScopedIp) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(ip) => Some(SocketAddr::from((*ip, DNS_PORT))),
        ScopedIp::V6(ip, None) => Some(SocketAddr::from((*ip, DNS_PORT))),
        ScopedIp::V6(ip, Some(zone)) => {
            let scope = zone.parse().ok().or_else(|| if_nametoindex(zone.as_str()).ok())?;
            Some(SocketAddrV6::new(*ip, DNS_PORT, 0, scope).into())
        }
    }
}

/// The table of hosts(5): names with their addresses, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: HashMap<Box<str>, Addresses>,
}

#[derive(Clone, Debug)]
struct Addresses {
    v4: Arc<[IpAddr]>,
    v6: Arc<[IpAddr]>,
}

impl Hosts {
    /// Reads hosts(5): an address, then names, `#` starts a comment. Lines that cannot be read and
    /// addresses with a zone are passed over. `localhost` is always there (RFC 6761 section 6.3).
    pub fn parse(text: &[u8]) -> Hosts {
        let mut read: HashMap<Box<str>, (Vec<IpAddr>, Vec<IpAddr>)> = HashMap::new();
        for line in String::from_utf8_lossy(text).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str();
                let (v4, v6) = read.entry(name).or_default();
                let list = if ip.is_ipv4() { v4 } else { v6 };
                if !list.contains(&ip) {
                    list.push(ip);
                }
            }
        }
        read.entry("localhost".into()).or_insert_with(|| {
            (vec![Ipv4Addr::LOCALHOST.into()], vec![Ipv6Addr::LOCALHOST.into()])
        });
        let names = read.into_iter().map(|(name, (v4, v6))| {
            let addresses = Addresses { v4: v4.into(), v6: v6.into() };
            (name, addresses)
        });
        Hosts { names: names.collect() }
    }

    /// The addresses of a name in lower case, IPv4 first where both may be used; `None` where the
    /// table has none of the wanted family and the servers are to be asked.
    pub fn get(&self, name: &str, family: Family) -> Option<Arc<[IpAddr]>> {
        let Addresses { v4, v6 } = self.names.get(name)?;
        let list = match family {
            Family::V4 => v4,
            Family::V6 => v6,
            Family::Any if v4.is_empty() => v6,
            Family::Any => v4,
        };
        (!list.is_empty()).then(|| Arc::clone(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str, name: &str, family: Family) -> Vec<String> {
        let found = Hosts::parse(text.as_bytes()).get(name, family);
        found.iter().flat_map(|list| list.iter()).map(IpAddr::to_string).collect()
    }

    #[test]
    fn hosts_lines_give_every_name_its_addresses_and_comments_give_none() {
        let text = "# 10.9.9.9 ghost\n10.0.0.1\tDB.example.net db # 10.0.0.9\n\n10.0.0.2 db\n\
                    2001:db8::1 db v6only.\nnot-an-address web\nfe80::1%eth0 zoned\n10.0.0.1 db";
        assert_eq!(hosts(text, "db", Family::V4), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(hosts(text, "db", Family::Any), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(hosts(text, "db", Family::V6), ["2001:db8::1"]);
        assert_eq!(hosts(text, "db.example.net", Family::V4), ["10.0.0.1"]);
        assert_eq!(hosts(text, "v6only", Family::Any), ["2001:db8::1"]);
        for absent in ["ghost", "web", "zoned", "10.0.0.9"] {
            assert!(hosts(text, absent, Family::Any).is_empty(), "{absent}");
        }
        assert!(hosts(text, "db.example.net", Family::V6).is_empty());
    }

    #[test]
    fn localhost_is_this_host_even_without_a_hosts_file_and_the_file_wins() {
        assert_eq!(hosts("", "localhost", Family::Any), ["127.0.0.1"]);
        assert_eq!(hosts("", "localhost", Family::V6), ["::1"]);
        assert_eq!(hosts("127.0.0.9 localhost", "localhost", Family::Any), ["127.0.0.9"]);
    }

    #[test]
    fn resolv_conf_gives_servers_wait_rounds_and_rotation_within_bounds() {
        let text =
            b"nameserver 10.0.0.53\nnameserver 2001:db8::53\nbroken line\nnameserver fe80::1%1\n\
                     search example.net\noptions timeout:30 attempts:9 rotate\n";
        let config = ResolverConfig::parse(text, Hosts::default());
        let servers: Vec<String> = config.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[2001:db8::53]:53", "[fe80::1%1]:53"]);
        assert_eq!((config.try_ms, config.rounds, config.rotate), (RESOLVE_TRY_MS_MAX, 5, true));
    }

    #[test]
    fn no_server_means_this_host() {
        let config = ResolverConfig::parse(b"", Hosts::default());
        assert_eq!(config.servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
        assert!(!config.rotate);
    }

    #[test]
    fn missing_files_count_as_empty_and_a_directory_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let config = ResolverConfig::from_system(&missing, &missing).unwrap();
        assert_eq!(config.servers.len(), 1);
        let error = ResolverConfig::from_system(&missing, dir.path()).unwrap_err();
        assert!(error.to_string().contains(&dir.path().display().to_string()));
    }
}
