//! Reads a certificate for people and for its end date, as far as it can be read.
//!
//! Owns: [`CertInfo`] from DER (RFC 5280 §4.1). Trusts nothing and judges nothing: `verify` does.
//! Every field is read on its own, so a broken one costs only itself. The target chooses these
//! bytes: lengths and counts are capped, and what could disturb a terminal is escaped.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::certificate::Validity;
use x509_parser::extensions::{GeneralName, X509ExtensionParser};
use x509_parser::nom::Parser;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::outcome::CertInfo;

/// Certificates of a chain that are described, from the leaf on. Real chains have two to five; the
/// handshake message of 64 KiB that rustls takes at the most has room for thousands of tiny ones.
pub const CHAIN_CERTS_MAX: usize = 16;
/// Names of one certificate that are kept. Let's Encrypt issues no certificate with more.
pub const CERT_NAMES_MAX: usize = 100;
/// Attributes of one distinguished name that are kept. Real ones have fewer than ten.
pub const CERT_ATTRIBUTES_MAX: usize = 32;
/// Longest text of a certificate that is kept, in characters: a host name has at most 253.
pub const CERT_TEXT_CHARS_MAX: usize = 256;

/// Tags of the universal class (X.680 §8.4) and of the fields of TBSCertificate.
const TAG_SEQUENCE: u32 = 16;
const TAG_BMP_STRING: u32 = 30;
const TAG_VERSION: u32 = 0;
const TAG_EXTENSIONS: u32 = 3;

/// Content of the object identifier of subjectAltName, 2.5.29.17.
const OID_SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Describes one certificate. What cannot be read stays empty, or zero for a time; the
/// fingerprint is always there.
pub fn cert_info(der: &[u8]) -> CertInfo {
    let mut info = CertInfo { sha256: hex(digest(&SHA256, der).as_ref()), ..CertInfo::default() };
    let tbs = content(der, TAG_SEQUENCE).and_then(|cert| content(cert, TAG_SEQUENCE));
    if let Some(tbs) = tbs {
        read_tbs(tbs, &mut info);
    }
    info
}

/// Whole days from `wall_unix_s` to `not_after_unix_s`, rounded down: negative after the end.
pub fn days_left(not_after_unix_s: i64, wall_unix_s: u64) -> i64 {
    let wall = i64::try_from(wall_unix_s).unwrap_or(i64::MAX);
    not_after_unix_s.saturating_sub(wall).div_euclid(86_400)
}

/// A number of days in words.
pub fn in_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// `text` with control, direction and invisible characters escaped as in Rust source, at most
/// `chars_max` characters of it and then an ellipsis.
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        match char {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                out.extend(char.escape_unicode());
            }
            '\u{feff}' => out.extend(char.escape_unicode()),
            _ if char.is_control() => out.extend(char.escape_default()),
            _ => out.push(char),
        }
    }
    out
}

/// The fields of TBSCertificate in their order (RFC 5280 §4.1): version, serial, signature
/// algorithm, issuer, validity, subject, key, and the extensions somewhere behind.
fn read_tbs(tbs: &[u8], info: &mut CertInfo) {
    let mut fields = Fields(tbs).peekable();
    // Version 1 leaves the version out.
    fields.next_if(|(_, any)| any.header.is_contextspecific() && any.tag().0 == TAG_VERSION);
    if let Some((_, serial)) = fields.next() {
        info.serial = hex(&serial.data[..serial.data.len().min(CERT_TEXT_CHARS_MAX / 2)]);
    }
    fields.next();
    if let Some((raw, _)) = fields.next() {
        info.issuer = distinguished_name(raw);
    }
    if let Some((_, validity)) = fields.next().and_then(|(raw, _)| Validity::from_der(raw).ok()) {
        info.not_before = validity.not_before.timestamp();
        info.not_after = validity.not_after.timestamp();
    }
    if let Some((raw, _)) = fields.next() {
        info.subject = distinguished_name(raw);
    }
    for (_, field) in fields {
        if field.header.is_contextspecific() && field.tag().0 == TAG_EXTENSIONS {
            read_extensions(field.data, info);
        }
    }
}

fn read_extensions(field: &[u8], info: &mut CertInfo) {
    let Some(list) = content(field, TAG_SEQUENCE) else { return };
    for (raw, _) in Fields(list) {
        let parsed = X509ExtensionParser::new().with_deep_parse_extensions(false).parse(raw);
        let Ok((_, extension)) = parsed else { continue };
        if extension.oid.as_bytes() == OID_SUBJECT_ALT_NAME {
            read_names(extension.value, info);
        }
    }
}

/// GeneralNames (RFC 5280 §4.2.1.6): host names and addresses; the other sorts are left out.
fn read_names(value: &[u8], info: &mut CertInfo) {
    let Some(list) = content(value, TAG_SEQUENCE) else { return };
    for (raw, _) in Fields(list) {
        let name = match GeneralName::from_der(raw) {
            Ok((_, GeneralName::DNSName(name))) => printable(name, CERT_TEXT_CHARS_MAX),
            Ok((_, GeneralName::IPAddress(octets))) => match address(octets) {
                Some(ip) => ip.to_string(),
                None => continue,
            },
            _ => continue,
        };
        info.names_total = info.names_total.saturating_add(1);
        if info.names.len() < CERT_NAMES_MAX {
            info.names.push(name);
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn distinguished_name(raw: &[u8]) -> Vec<(String, String)> {
    let Ok((_, name)) = X509Name::from_der(raw) else { return Vec::new() };
    let attributes = name.iter_attributes().take(CERT_ATTRIBUTES_MAX);
    attributes.map(|attribute| (attribute_name(attribute.attr_type()), value(attribute))).collect()
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    let bytes = attribute.as_slice();
    if attribute.attr_value().tag().0 == TAG_BMP_STRING {
        let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
        return printable(&text, CERT_TEXT_CHARS_MAX);
    }
    printable(&String::from_utf8_lossy(bytes), CERT_TEXT_CHARS_MAX)
}

/// The long name that OpenSSL and Python use, or the identifier with dots.
fn attribute_name(oid: &Oid<'_>) -> String {
    let long = match oid.as_bytes() {
        [0x55, 0x04, number] => x520_name(*number),
        // PKCS #9 (1.2.840.113549.1.9.1)
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => Some("emailAddress"),
        // RFC 4519 (0.9.2342.19200300.100.1)
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => Some("userId"),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => Some("domainComponent"),
        // Extended validation (1.3.6.1.4.1.311.60.2.1)
        [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, number] => match number {
            1 => Some("jurisdictionLocalityName"),
            2 => Some("jurisdictionStateOrProvinceName"),
            3 => Some("jurisdictionCountryName"),
            _ => None,
        },
        _ => None,
    };
    match long {
        Some(name) => name.to_owned(),
        None => printable(&oid.to_id_string(), CERT_TEXT_CHARS_MAX),
    }
}

/// Attribute types of X.520, 2.5.4.n.
fn x520_name(number: u8) -> Option<&'static str> {
    Some(match number {
        3 => "commonName",
        4 => "surname",
        5 => "serialNumber",
        6 => "countryName",
        7 => "localityName",
        8 => "stateOrProvinceName",
        9 => "streetAddress",
        10 => "organizationName",
        11 => "organizationalUnitName",
        12 => "title",
        13 => "description",
        15 => "businessCategory",
        17 => "postalCode",
        41 => "name",
        42 => "givenName",
        43 => "initials",
        44 => "generationQualifier",
        46 => "dnQualifier",
        65 => "pseudonym",
        97 => "organizationIdentifier",
        _ => return None,
    })
}

/// The elements of a SEQUENCE's content, each with its own encoding, up to the first broken one.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], Any<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        let raw = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some((raw, any))
    }
}

/// The content of the first element, where it has this tag of the universal class.
fn content(der: &[u8], tag: u32) -> Option<&[u8]> {
    let (_, any) = Any::from_der(der).ok()?;
    (any.header.is_universal() && any.tag().0 == tag).then_some(any.data)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, CustomExtension, DnType, KeyPair, SanType, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let dn = &mut params.distinguished_name;
        *dn = rcgen::DistinguishedName::new();
        dn.push(DnType::CountryName, "VN");
        dn.push(DnType::OrganizationName, "Ex\u{202e}ample\n");
        dn.push(DnType::CommonName, "a.example");
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
        params.not_before = date_time_ymd(2001, 9, 9);
        params.not_after = date_time_ymd(2033, 5, 18) + Duration::from_secs(3 * 3_600);
        params
    }

    fn der(params: &CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn every_field_is_read() {
        let mut params = params();
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::7".parse().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("x@a.example".try_into().unwrap()));
        let info = cert_info(&der(&params));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            info.subject,
            [
                pair("countryName", "VN"),
                pair("organizationName", "Ex\\u{202e}ample\\n"),
                pair("commonName", "a.example"),
            ]
        );
        assert_eq!(info.issuer, info.subject);
        assert_eq!(info.names, ["a.example", "192.0.2.7", "2001:db8::7"]);
        assert_eq!(info.names_total, 3);
        assert_eq!(info.serial, "0abc");
        assert_eq!(info.not_before, 999_993_600);
        assert_eq!(info.not_after, 1_999_998_000);
    }

    #[test]
    fn the_fingerprint_is_that_of_the_encoding_even_where_it_is_no_certificate() {
        let info = cert_info(b"abc");
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(info, CertInfo { sha256: sha.to_owned(), ..CertInfo::default() });
    }

    #[test]
    fn of_ten_thousand_names_a_hundred_are_kept_and_all_are_counted() {
        let names: Vec<String> = (0..10_000).map(|n| format!("n{n}.example")).collect();
        let info = cert_info(&der(&CertificateParams::new(names).unwrap()));
        assert_eq!(info.names.len(), CERT_NAMES_MAX);
        assert_eq!(info.names[99], "n99.example");
        assert_eq!(info.names_total, 10_000);
    }

    #[test]
    fn a_name_of_any_length_and_encoding_is_cut_and_escaped() {
        let mut san = vec![0x30, 0x82, 0x01, 0x30, 0x82, 0x82, 0x01, 0x2c];
        san.extend([0x1b; 300]);
        let mut params = params();
        params.subject_alt_names.clear();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], san));
        let info = cert_info(&der(&params));
        assert_eq!(info.names, [format!("{}…", "\\u{1b}".repeat(256))]);
    }

    #[test]
    fn a_certificate_cut_anywhere_still_gives_the_fields_before_the_cut() {
        let der = der(&params());
        for len in 0..der.len() {
            // The outer lengths no longer fit, so nothing but the fingerprint can be read.
            assert_eq!(cert_info(&der[..len]).subject, []);
        }
        let mut broken = der.clone();
        let at = der.windows(13).position(|w| w.starts_with(b"010909000000Z")).unwrap();
        broken[at] = b'x';
        let info = cert_info(&broken);
        assert_eq!((info.not_before, info.not_after), (0, 0));
        assert_eq!(info.serial, "0abc");
        assert_eq!(info.names, ["a.example"]);
    }

    #[test]
    fn days_are_rounded_down_on_both_sides_of_the_end() {
        assert_eq!(days_left(86_400, 0), 1);
        assert_eq!(days_left(86_399, 0), 0);
        assert_eq!(days_left(0, 1), -1);
        assert_eq!(days_left(0, u64::MAX), -106_751_991_167_301);
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_damage_give_bounded_facts(
            noise in proptest::collection::vec(any::<u8>(), 0..400),
            at in any::<prop::sample::Index>(),
        ) {
            let mut der = der(&params());
            let at = at.index(der.len());
            let end = (at + noise.len().min(8)).min(der.len());
            der[at..end].copy_from_slice(&noise[..end - at]);
            for bytes in [&der, &noise] {
                let info = cert_info(bytes);
                prop_assert_eq!(info.sha256.len(), 64);
                prop_assert!(info.names.len() <= CERT_NAMES_MAX);
                prop_assert!(info.subject.len() <= CERT_ATTRIBUTES_MAX);
            }
        }
    }
}
