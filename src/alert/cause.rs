//! What many outages have in common.
//!
//! Owns: the properties of a monitor that may be a cause: its address block or domain, its reason,
//! its tags. Pure.

use std::net::IpAddr;

use url::Url;

use super::Facts;

/// A cause is named where at least so many percent share it.
const SHARE_PERCENT: u64 = 80;
/// Most causes named.
const CAUSES_MAX: usize = 4;

/// What a monitor could share with others that fail.
pub fn of(facts: &Facts, reason: &str) -> Vec<String> {
    let mut causes = Vec::with_capacity(2 + facts.tags.len());
    causes.extend(place(&facts.target));
    if !reason.is_empty() {
        causes.push(format!("reason {reason}"));
    }
    causes.extend(facts.tags.iter().map(|tag| format!("tag {tag}")));
    causes
}

/// Those of `counted` that most of `members` share, the most common first.
pub fn common(mut counted: Vec<(String, u64)>, members: u64) -> Vec<String> {
    counted.retain(|(_, count)| count * 100 >= members * SHARE_PERCENT);
    counted.sort_by(|(a, one), (b, two)| two.cmp(one).then_with(|| a.cmp(b)));
    counted.truncate(CAUSES_MAX);
    counted.into_iter().map(|(cause, _)| cause).collect()
}

/// The block of an address, or the last two labels of a name.
fn place(target: &str) -> Option<String> {
    let host = match Url::parse(target).ok().and_then(|url| url.host_str().map(str::to_owned)) {
        Some(host) => host,
        None => without_port(target).to_owned(),
    };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(format!("addresses {a}.{b}.{c}.0/24"))
        }
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            Some(format!("addresses {a:x}:{b:x}:{c:x}::/48"))
        }
        Err(_) => {
            let labels: Vec<&str> = host.trim_end_matches('.').rsplit('.').take(2).collect();
            let &[top, second] = labels.as_slice() else { return None };
            Some(format!("domain {second}.{top}"))
        }
    }
}

fn without_port(target: &str) -> &str {
    match target.rsplit_once(':') {
        Some((host, port))
            if port.parse::<u16>().is_ok() && (host.ends_with(']') || !host.contains("::")) =>
        {
            host
        }
        _ => target.split('/').next().unwrap_or(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_target(target: &str) -> Vec<String> {
        of(&Facts { target: target.to_owned(), ..Facts::default() }, "")
    }

    #[test]
    fn a_target_of_any_form_has_its_block_or_its_domain() {
        for (target, place) in [
            ("10.77.3.9", "addresses 10.77.3.0/24"),
            ("10.77.3.9:443", "addresses 10.77.3.0/24"),
            ("https://10.77.3.9/x", "addresses 10.77.3.0/24"),
            ("[2001:db8:7::1]:80", "addresses 2001:db8:7::/48"),
            ("2001:db8:7::1", "addresses 2001:db8:7::/48"),
            ("https://www.example.com:8443/a", "domain example.com"),
            ("db.example.com:5432", "domain example.com"),
        ] {
            assert_eq!(of_target(target), [place], "{target}");
        }
        assert!(of_target("localhost").is_empty());
    }

    #[test]
    fn only_what_four_in_five_share_is_a_cause() {
        let counted = [("tag a", 79), ("tag b", 80), ("reason timeout", 100)];
        let counted = counted.map(|(cause, count)| (cause.to_owned(), count)).to_vec();
        assert_eq!(common(counted, 100), ["reason timeout", "tag b"]);
    }
}
