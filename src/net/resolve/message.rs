//! Queries and answers as bytes (RFC 1035 section 4), as far as a stub resolver needs them.
//!
//! Owns: building a query and judging what comes back. Leaves to others: sockets, servers, caches.
//! A reply is hostile until its id and its question are ours; what it then says is bounded.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::limits::{
    RESOLVE_ADDRESSES_MAX, RESOLVE_CNAMES_MAX, RESOLVE_NEGATIVE_TTL_S_MAX, RESOLVE_TTL_S_MAX,
    RESOLVE_TTL_S_MIN,
};

/// Records of the answer section that are looked at: all that may be used, and some to spare.
const ANSWERS_READ_MAX: usize = RESOLVE_ADDRESSES_MAX + 2 * RESOLVE_CNAMES_MAX;
/// Records of the authority section that are looked at; the SOA is the first one by custom.
const AUTHORITIES_READ_MAX: usize = 16;

/// The two types of record that hold an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// IPv4.
    A = 0,
    /// IPv6 (RFC 3596).
    Aaaa = 1,
}

impl RecordKind {
    fn record_type(self) -> RecordType {
        match self {
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
        }
    }
}

/// What a server said about a name, and for how many seconds it holds, already within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its addresses, at least one.
    Addresses(Arc<[IpAddr]>, u32),
    /// There is no such name.
    NameNotFound(u32),
    /// The name has no address of this family.
    NoAddress(u32),
}

/// What a message is to the query that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Not the answer to this query: forged, late or broken.
    Foreign,
    /// The answer does not fit in a datagram: ask again over TCP (RFC 1035 section 4.2.1).
    Truncated,
    /// The server cannot or will not say (SERVFAIL, REFUSED, nonsense): ask another one.
    ServerError,
    /// The answer.
    Answer(Answer),
}

/// A query that was built, to compare replies with.
#[derive(Clone, Debug)]
pub struct Question {
    query: Query,
}

impl Question {
    /// The question for `name`, which is absolute; `None` where DNS cannot carry such a name.
    pub fn new(name: &str, kind: RecordKind) -> Option<Question> {
        let mut name = Name::from_ascii(name).ok()?;
        name.set_fqdn(true);
        Some(Question { query: Query::query(name, kind.record_type()) })
    }

    /// The query as sent, with recursion asked for; `None` where it cannot be encoded.
    pub fn encode(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        message.to_vec().ok()
    }

    /// Judges a message that came where the answer to query `id` is expected.
    pub fn read_reply(&self, id: u16, bytes: &[u8]) -> Reply {
        let mut decoder = BinDecoder::new(bytes);
        let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else {
            return Reply::Foreign;
        };
        let expected = metadata.id == id
            && metadata.message_type == MessageType::Response
            && metadata.op_code == OpCode::Query
            && counts.queries == 1;
        if !expected || !Query::read(&mut decoder).is_ok_and(|query| self.is(&query)) {
            return Reply::Foreign;
        }
        if metadata.truncation {
            return Reply::Truncated;
        }
        if !matches!(metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Reply::ServerError;
        }
        let answers = usize::from(counts.answers);
        let authorities = usize::from(counts.authorities).min(AUTHORITIES_READ_MAX);
        let Some(records) = read_records(&mut decoder, answers.min(ANSWERS_READ_MAX)) else {
            return Reply::ServerError;
        };
        // Past a cut answer section the authority section cannot be found, nor is it needed.
        let authority = match answers > ANSWERS_READ_MAX {
            true => Some(Vec::new()),
            false => read_records(&mut decoder, authorities),
        };
        match authority {
            Some(authority) => self.judge(&metadata, &records, &authority),
            None => Reply::ServerError,
        }
    }

    /// True where `query` asks what we asked; names are compared without case (RFC 4343).
    fn is(&self, query: &Query) -> bool {
        query.query_type == self.query.query_type
            && query.query_class == DNSClass::IN
            && query.name == self.query.name
    }

    fn judge(&self, metadata: &Metadata, answers: &[Record], authority: &[Record]) -> Reply {
        let negative_ttl = negative_ttl(authority);
        if metadata.response_code == ResponseCode::NXDomain {
            return Reply::Answer(Answer::NameNotFound(negative_ttl));
        }
        // A server that neither recurses nor owns the name only points elsewhere.
        let knows = metadata.recursion_available || metadata.authoritative;
        if answers.is_empty() && !knows {
            return Reply::ServerError;
        }
        match self.follow(answers) {
            Some((addresses, _)) if addresses.is_empty() => {
                Reply::Answer(Answer::NoAddress(negative_ttl))
            }
            Some((addresses, ttl)) => {
                let ttl = ttl.clamp(RESOLVE_TTL_S_MIN, RESOLVE_TTL_S_MAX);
                Reply::Answer(Answer::Addresses(addresses.into(), ttl))
            }
            None => Reply::ServerError,
        }
    }

    /// The addresses at the end of the chain of aliases (RFC 1034 section 3.6.2) and the smallest
    /// TTL on the way; `None` for a loop or a chain past [`RESOLVE_CNAMES_MAX`].
    fn follow(&self, answers: &[Record]) -> Option<(Vec<IpAddr>, u32)> {
        let mut owner = &self.query.name;
        let mut ttl = u32::MAX;
        for _ in 0..=RESOLVE_CNAMES_MAX {
            let mut addresses = Vec::new();
            let mut alias = None;
            for record in answers.iter().filter(|record| record.name == *owner) {
                match &record.data {
                    RData::A(ip) if self.query.query_type == RecordType::A => {
                        addresses.push(IpAddr::V4(ip.0));
                    }
                    RData::AAAA(ip) if self.query.query_type == RecordType::AAAA => {
                        addresses.push(IpAddr::V6(ip.0));
                    }
                    RData::CNAME(target) if alias.is_none() => alias = Some(&target.0),
                    _ => continue,
                }
                ttl = ttl.min(seconds(record.ttl));
            }
            match alias {
                Some(target) if addresses.is_empty() => owner = target,
                _ => {
                    addresses.truncate(RESOLVE_ADDRESSES_MAX);
                    return Some((addresses, ttl));
                }
            }
        }
        None
    }
}

fn read_records(decoder: &mut BinDecoder<'_>, count: usize) -> Option<Vec<Record>> {
    (0..count).map(|_| Record::read(decoder).ok()).collect()
}

/// How long a negative answer holds: the smaller of the SOA's TTL and its minimum (RFC 2308
/// section 5); the shortest time where there is no SOA.
fn negative_ttl(authority: &[Record]) -> u32 {
    let ttl = authority.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(seconds(record.ttl).min(seconds(soa.minimum))),
        _ => None,
    });
    ttl.unwrap_or(0).clamp(RESOLVE_TTL_S_MIN, RESOLVE_NEGATIVE_TTL_S_MAX)
}

/// A TTL with the top bit set is zero (RFC 2181 section 8).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};

    use super::*;

    const ID: u16 = 0x1234;

    fn name(text: &str) -> Name {
        let mut name = Name::from_ascii(text).unwrap();
        name.set_fqdn(true);
        name
    }

    fn question(kind: RecordKind) -> Question {
        Question::new("www.example.net", kind).unwrap()
    }

    fn a(owner: &str, last: u8, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
    }

    fn cname(owner: &str, target: &str, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let data = SOA::new(name("ns.example.net"), name("root.example.net"), 1, 2, 3, 4, minimum);
        Record::from_rdata(name("example.net"), ttl, RData::SOA(data))
    }

    /// A reply of a recursive server to the question for A.
    fn reply(code: ResponseCode, answers: Vec<Record>, authority: Vec<Record>) -> Message {
        let mut message = Message::response(ID, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.recursion_available = true;
        message.add_query(question(RecordKind::A).query);
        message.add_answers(answers);
        message.add_authorities(authority);
        message
    }

    fn judge(message: &Message) -> Reply {
        question(RecordKind::A).read_reply(ID, &message.to_vec().unwrap())
    }

    fn addresses(last: &[u8], ttl: u32) -> Reply {
        let list: Vec<IpAddr> = last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect();
        Reply::Answer(Answer::Addresses(list.into(), ttl))
    }

    #[test]
    fn answer_gives_addresses_in_order_with_the_smallest_ttl() {
        let answers = vec![a("www.example.net", 7, 60), a("www.example.net", 3, 30)];
        assert_eq!(judge(&reply(ResponseCode::NoError, answers, vec![])), addresses(&[7, 3], 30));
    }

    #[test]
    fn names_in_a_reply_match_without_case() {
        let answers = vec![a("WWW.Example.NET", 7, 60)];
        assert_eq!(judge(&reply(ResponseCode::NoError, answers, vec![])), addresses(&[7], 60));
    }

    #[test]
    fn ttls_are_held_within_bounds_and_a_negative_one_is_zero() {
        for (ttl, kept) in [(0, 1), (7_200, 3_600), (0x8000_0000, 1), (u32::MAX, 1)] {
            let answers = vec![a("www.example.net", 7, ttl)];
            let message = reply(ResponseCode::NoError, answers, vec![]);
            assert_eq!(judge(&message), addresses(&[7], kept), "{ttl}");
        }
    }

    #[test]
    fn aliases_are_followed_in_any_order_of_records() {
        let answers = vec![
            a("c.example.org", 7, 300),
            cname("b.example.org", "c.example.org", 20),
            cname("www.example.net", "b.example.org", 100),
        ];
        assert_eq!(judge(&reply(ResponseCode::NoError, answers, vec![])), addresses(&[7], 20));
    }

    #[test]
    fn loop_of_aliases_and_endless_chain_are_errors_of_the_server() {
        let ring = vec![
            cname("www.example.net", "b.example.org", 9),
            cname("b.example.org", "www.example.net", 9),
        ];
        assert_eq!(judge(&reply(ResponseCode::NoError, ring, vec![])), Reply::ServerError);

        let mut chain = vec![cname("www.example.net", "n0.example.org", 9)];
        for n in 0..RESOLVE_CNAMES_MAX {
            chain.push(cname(&format!("n{n}.example.org"), &format!("n{}.example.org", n + 1), 9));
        }
        assert_eq!(judge(&reply(ResponseCode::NoError, chain, vec![])), Reply::ServerError);
    }

    #[test]
    fn missing_name_and_missing_address_differ_and_take_their_time_from_the_soa() {
        let nxdomain = reply(ResponseCode::NXDomain, vec![], vec![soa(3_600, 60)]);
        assert_eq!(judge(&nxdomain), Reply::Answer(Answer::NameNotFound(60)));
        let nodata = reply(ResponseCode::NoError, vec![], vec![soa(30, 60)]);
        assert_eq!(judge(&nodata), Reply::Answer(Answer::NoAddress(30)));
        let long = reply(ResponseCode::NoError, vec![], vec![soa(86_400, 86_400)]);
        assert_eq!(judge(&long), Reply::Answer(Answer::NoAddress(300)));
        let no_soa = reply(ResponseCode::NXDomain, vec![], vec![]);
        assert_eq!(judge(&no_soa), Reply::Answer(Answer::NameNotFound(1)));
    }

    #[test]
    fn records_of_other_names_and_types_are_not_addresses() {
        let v6 = Record::from_rdata(
            name("www.example.net"),
            9,
            RData::AAAA(AAAA::new(1, 2, 3, 4, 5, 6, 7, 8)),
        );
        let answers = vec![a("evil.example.net", 66, 9), v6];
        let message = reply(ResponseCode::NoError, answers, vec![]);
        assert_eq!(judge(&message), Reply::Answer(Answer::NoAddress(1)));
    }

    #[test]
    fn reply_with_another_id_question_or_direction_is_foreign() {
        let good = reply(ResponseCode::NoError, vec![a("www.example.net", 7, 9)], vec![]);
        let bytes = good.to_vec().unwrap();
        assert_eq!(question(RecordKind::A).read_reply(ID + 1, &bytes), Reply::Foreign);
        assert_eq!(question(RecordKind::Aaaa).read_reply(ID, &bytes), Reply::Foreign);
        let other = Question::new("ww.example.net", RecordKind::A).unwrap();
        assert_eq!(other.read_reply(ID, &bytes), Reply::Foreign);
        let mut query = good.clone();
        query.metadata.message_type = MessageType::Query;
        assert_eq!(judge(&query), Reply::Foreign);
        let mut none = good.clone();
        none.queries.clear();
        assert_eq!(judge(&none), Reply::Foreign);
    }

    #[test]
    fn truncated_reply_is_seen_even_when_cut_inside_a_record() {
        let mut message = reply(ResponseCode::NoError, vec![a("www.example.net", 7, 9)], vec![]);
        message.metadata.truncation = true;
        let bytes = message.to_vec().unwrap();
        assert_eq!(
            question(RecordKind::A).read_reply(ID, &bytes[..bytes.len() - 2]),
            Reply::Truncated
        );
    }

    #[test]
    fn refusals_referrals_and_broken_records_are_errors_of_the_server() {
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr] {
            assert_eq!(judge(&reply(code, vec![], vec![])), Reply::ServerError, "{code}");
        }
        let mut referral = reply(ResponseCode::NoError, vec![], vec![]);
        referral.metadata.recursion_available = false;
        assert_eq!(judge(&referral), Reply::ServerError);
        let good = reply(ResponseCode::NoError, vec![a("www.example.net", 7, 9)], vec![]);
        let bytes = good.to_vec().unwrap();
        let cut = &bytes[..bytes.len() - 2];
        assert_eq!(question(RecordKind::A).read_reply(ID, cut), Reply::ServerError);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic() {
        let good = reply(ResponseCode::NoError, vec![a("www.example.net", 7, 9)], vec![soa(1, 1)]);
        let bytes = good.to_vec().unwrap();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                question(RecordKind::A).read_reply(ID, &damaged);
                question(RecordKind::A).read_reply(ID, &damaged[..at]);
            }
        }
    }

    #[test]
    fn more_addresses_than_the_bound_are_cut() {
        let answers = (0..200).map(|last| a("www.example.net", last, 9)).collect();
        match judge(&reply(ResponseCode::NoError, answers, vec![])) {
            Reply::Answer(Answer::Addresses(list, 9)) => {
                assert_eq!(list.len(), RESOLVE_ADDRESSES_MAX);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn name_that_dns_cannot_carry_has_no_question() {
        assert!(Question::new(&"a".repeat(64), RecordKind::A).is_none());
        assert!(Question::new(&"abc.".repeat(80), RecordKind::A).is_none());
    }
}
