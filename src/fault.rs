//! Our own troubles: why a check says nothing about its target.
//!
//! Owns: the faults and the owner of every errno. The rule: what the engine, its host or its
//! network did is a [`Fault`] and gives the verdict unknown; only what the target did is a
//! [`probes::Failure`]. Numbers are stored, so they never change.

use nix::errno::Errno;
use probes::End;

macro_rules! faults {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $fix:literal; )*) => {
        /// Why a check says nothing about its target.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Fault { $( $(#[$doc])* $name = $code, )* }

        impl Fault {
            /// Every fault, in the order of its number.
            pub const ALL: &'static [Fault] = &[ $( Fault::$name, )* ];

            /// The stable word of this fault, in snake_case.
            pub fn name(self) -> &'static str {
                match self { $( Fault::$name => $word, )* }
            }

            /// What the operator can do about it.
            pub fn fix(self) -> &'static str {
                match self { $( Fault::$name => $fix, )* }
            }

            /// The fault with this stored number.
            pub fn from_code(code: u16) -> Option<Fault> {
                match code { $( $code => Some(Fault::$name), )* _ => None }
            }
        }
    };
}

faults! {
    /// EMFILE, ENFILE.
    Descriptors = 1001, "local_descriptors",
        "raise LimitNOFILE (ulimit -n) or lower --max-in-flight";
    /// EADDRNOTAVAIL, EADDRINUSE.
    Ports = 1002, "local_ports",
        "widen net.ipv4.ip_local_port_range or spread the targets over more addresses";
    /// ENOMEM, ENOBUFS.
    Memory = 1003, "local_memory", "give the host more memory or larger socket buffers";
    /// EPERM, EACCES.
    NotPermitted = 1004, "local_not_permitted",
        "look at the host's output firewall; for ICMP at net.ipv4.ping_group_range or CAP_NET_RAW";
    /// ENETUNREACH, EHOSTUNREACH without an ICMP message, ENETDOWN, ENODEV.
    NoRoute = 1005, "local_no_route", "look at the host's routes and links";
    /// No resolver gave an answer.
    Resolver = 1006, "resolver", "look at the name servers in /etc/resolv.conf";
    /// The shard did not look at its sockets in time.
    Late = 1007, "late", "the host is overloaded: fewer monitors, longer intervals or more cores";
    /// A bug in a probe. The shard goes on.
    Panic = 1008, "panic", "report the log line with this monitor's id";
    /// The check was ended by a change of its monitor or by the stop of the engine.
    Cancelled = 1009, "cancelled", "nothing to do";
    /// Replies were dropped in our own receive buffer.
    ReceiveBuffer = 1010, "local_receive_buffer", "raise net.core.rmem_max";
    /// The roots or certificates named by the monitor cannot be read.
    TlsSetup = 1011, "local_tls_setup", "look at the monitor's ca_file";
    /// The guard says that this host is cut off: a failure says nothing about the target.
    Isolated = 1012, "vantage_isolated", "look at this host's own connection";
    /// The address is one that such a check may not go to.
    Egress = 1013, "egress_refused", "widen --probe-allow, where the target is meant to be checked";
    /// An errno that no rule above owns.
    Other = 1099, "local_other", "report the log line with this monitor's id";
}

impl Fault {
    /// The stored number.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Whose doing an errno of a socket call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The target's: the stream ended this way.
    Target(End),
    /// Ours.
    Engine(Fault),
}

/// The owner of an errno that a stream socket gave (connect(2), send(2), recv(2), SO_ERROR).
///
/// EHOSTUNREACH and ENETUNREACH are the target's only after the connect began: at the call itself
/// they mean that this host has no route.
pub fn owner_of(errno: Errno, connect_began: bool) -> Owner {
    use Errno::*;
    match errno {
        ECONNREFUSED => Owner::Target(End::Refused),
        ECONNRESET | EPIPE | ECONNABORTED => Owner::Target(End::Reset),
        ETIMEDOUT => Owner::Target(End::TimedOut),
        EHOSTUNREACH | ENETUNREACH | EHOSTDOWN if connect_began => Owner::Target(End::Unreachable),
        EPROTO | ENOPROTOOPT if connect_began => Owner::Target(End::Unreachable),
        EMFILE | ENFILE => Owner::Engine(Fault::Descriptors),
        EADDRNOTAVAIL | EADDRINUSE => Owner::Engine(Fault::Ports),
        ENOMEM | ENOBUFS => Owner::Engine(Fault::Memory),
        EPERM | EACCES => Owner::Engine(Fault::NotPermitted),
        EHOSTUNREACH | ENETUNREACH | EHOSTDOWN | ENETDOWN | ENODEV | ENONET => {
            Owner::Engine(Fault::NoRoute)
        }
        ECANCELED => Owner::Engine(Fault::Cancelled),
        _ => Owner::Engine(Fault::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_again_by_its_code() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_code(fault.code()), Some(*fault));
            assert!(fault.code() >= 1000, "failures of targets are below 1000");
        }
    }

    #[test]
    fn lack_of_descriptors_ports_and_rights_is_never_the_target() {
        for errno in [Errno::EMFILE, Errno::EADDRNOTAVAIL, Errno::EPERM, Errno::ENOBUFS] {
            assert!(matches!(owner_of(errno, true), Owner::Engine(_)), "{errno}");
        }
    }

    #[test]
    fn an_unreachable_host_is_ours_at_the_call_and_the_targets_after_an_icmp_message() {
        let at_call = owner_of(Errno::EHOSTUNREACH, false);
        let later = owner_of(Errno::EHOSTUNREACH, true);
        assert_eq!(at_call, Owner::Engine(Fault::NoRoute));
        assert_eq!(later, Owner::Target(End::Unreachable));
    }
}
