//! A name server for tests, on a free port of this host.
//!
//! Owns: what each name under `.test` has. Its thread ends with the process of the test.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

/// Starts a server that knows these names and their addresses, in order. Beside them it knows
/// `empty.test`, which has no address, and `broken.test`, which it fails to look up; it says
/// nothing at all about `silent.test`. No other name exists.
pub fn name_server(names: &[(&str, &[&str])]) -> SocketAddr {
    let names: Vec<(String, Vec<IpAddr>)> = names
        .iter()
        .map(|(name, ips)| (format!("{name}."), ips.iter().map(|ip| ip.parse().unwrap()).collect()))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            if let Some(reply) = answer(&names, &query) {
                socket.send_to(&reply.to_vec().unwrap(), peer).unwrap();
            }
        }
    });
    address
}

fn answer(names: &[(String, Vec<IpAddr>)], query: &Message) -> Option<Message> {
    let question = &query.queries[0];
    let asked = question.name().to_ascii();
    let known = names.iter().find(|(name, _)| *name == asked);
    let code = match (asked.as_str(), known) {
        ("silent.test.", _) => return None,
        ("broken.test.", _) => ResponseCode::ServFail,
        ("empty.test.", _) | (_, Some(_)) => ResponseCode::NoError,
        _ => ResponseCode::NXDomain,
    };
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.response_code = code;
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.iter().cloned());
    for ip in known.into_iter().flat_map(|(_, ips)| ips) {
        let data = match (ip, question.query_type()) {
            (IpAddr::V4(ip), RecordType::A) => RData::A(A(*ip)),
            (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(AAAA(*ip)),
            _ => continue,
        };
        reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
    }
    Some(reply)
}
