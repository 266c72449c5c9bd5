//! Good and bad targets of every type.

use super::*;

fn web(text: &str) -> String {
    http_url(text, Preset::Standard)
        .map_or_else(|error| error.problem.into_owned(), |url| url.to_string())
}

#[test]
fn web_targets_become_what_is_sent() {
    for (text, url) in [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM:443/a b?q=ä#top", "https://example.com/a%20b?q=%C3%A4"),
        ("https://bücher.example./", "https://xn--bcher-kva.example/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://a_b.example:80/?x=http://y", "http://a_b.example/?x=http://y"),
        ("  https://user:pw@h/p  ", "https://h/p"),
        ("http://[fe80::1%25lo]/", "http://[fe80::1%1]/"),
        ("http://[fe80::1%1]:81/", "http://[fe80::1%1]:81/"),
    ] {
        assert_eq!(web(text), url, "{text}");
    }
}

#[test]
fn bad_web_targets_say_why() {
    for (text, problem) in [
        ("", "is empty"),
        ("example.com", "names no scheme"),
        ("ftp://example.com", "has a scheme that is not HTTP"),
        ("http://", "names no host"),
        ("http:///example.com", "has no host after ://"),
        ("http://a\\b/", "has no host after ://"),
        ("http://h:0/", "has a bad port"),
        ("http://h:65536/", "has a bad port"),
        ("http://h:x/", "has a bad port"),
        ("http://1.2.3.256/", "has a bad IPv4 address"),
        ("http://[::1/", "has a bad IPv6 address"),
        ("http://a..b/", "has a bad host name"),
        ("http://-a.example/", "has a bad host name"),
        ("http://a\u{0}b/", "has a control character"),
        ("http://a\nb/", "has a control character"),
        ("http://[fe80::1]/", "is link-local and names no interface"),
        ("http://[fe80::1%nosuch0]/", "names an interface that this host has not"),
        ("http://[2001:db8::1%lo]/", "names an interface but is not link-local"),
        ("http://a%3Ab:c@h/", "has a colon in its user name"),
    ] {
        assert_eq!(web(text), problem, "{text}");
    }
    let long = format!("http://{}.example/", "a".repeat(64));
    assert_eq!(web(&long), "has a bad host name");
    assert_eq!(web(&format!("http://h/{}", "a".repeat(2_048))), "is longer than 2048 bytes");
}

#[test]
fn the_original_preset_takes_a_missing_scheme_as_https() {
    let url = |text| http_url(text, Preset::Original).unwrap().to_string();
    assert_eq!(url("example.com/a"), "https://example.com/a");
    assert_eq!(url("HTTP://x"), "http://x/");
    assert_eq!(url("h/?u=http://x"), "https://h/?u=http://x");
    assert_eq!(url("localhost:8080"), "https://localhost:8080/");
    assert!(http_url("ftp://x", Preset::Original).is_err());
}

#[test]
fn the_user_of_a_url_is_decoded_and_its_password_never_shown() {
    let credentials = |text| http_target(text, Preset::Standard).unwrap().credentials;
    assert_eq!(credentials("http://me:p%40ss%3a@h/").as_deref(), Some(&b"me:p@ss:"[..]));
    assert_eq!(credentials("http://me@h/").as_deref(), Some(&b"me:"[..]));
    assert_eq!(credentials("http://h/@x:y"), None);
    assert_eq!(masked("https://me:secret@h/p@q"), "https://me:***@h/p@q");
    assert_eq!(masked("me:se@cret@h:80"), "me:***@h:80");
    assert_eq!(masked("http://h:80/?a=b:c@d"), "http://h:80/?a=b:c@d");
    assert_eq!(masked_widely("https://me:sec/ret@h"), "https://me:***@h");
}

#[test]
fn tcp_targets_need_a_host_and_a_port() {
    let read = |text: &str| host_port(text).map(|(host, port)| format!("{host}:{port}"));
    for (text, target) in [
        ("Example.com:443", "example.com:443"),
        ("192.0.2.1:22", "192.0.2.1:22"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("[fe80::1%lo]:80", "[fe80::1%1]:80"),
        ("tcp://h:80/", "h:80"),
        ("http://h", "h:80"),
        ("HTTPS://h/", "h:443"),
        ("h:80/", "h:80"),
        ("bücher.example:1", "xn--bcher-kva.example:1"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(target), "{text}");
    }
    for (text, problem) in [
        ("h", "names no port"),
        ("tcp://h", "names no port"),
        ("h:", "has a bad port"),
        ("h:0", "has a bad port"),
        ("h:65536", "has a bad port"),
        ("h:+80", "has a bad port"),
        ("h:http", "has a bad port"),
        (":80", "names no host"),
        ("::1:80", "has more than one colon"),
        ("[::1]80", "has text after the bracket"),
        ("[::1:80", "has no closing bracket"),
        ("[h]:80", "has no IPv6 address in its brackets"),
        ("h:80/x", "has a path"),
        ("010.0.0.1:80", "is an odd spelling of 8.0.0.1"),
        ("127.1:80", "is an odd spelling of 127.0.0.1"),
        ("a b:80", "has a bad host name"),
        ("a%62:80", "has a % in its host name"),
    ] {
        assert_eq!(read(text).unwrap_err().problem, problem, "{text}");
    }
}

#[test]
fn certificate_targets_default_to_port_443() {
    let read = |text: &str, preset| {
        tls_host_port(text, preset).map(|(host, port)| format!("{host}:{port}"))
    };
    for (text, target) in [
        ("h", "h:443"),
        ("h:8443", "h:8443"),
        ("https://h/path", "h:443"),
        ("https://u:p@h:1/", "h:1"),
        ("[::1]", "[::1]:443"),
    ] {
        assert_eq!(read(text, Preset::Standard).as_deref(), Ok(target), "{text}");
        assert_eq!(read(text, Preset::Original).as_deref(), Ok(target), "{text}");
    }
    assert_eq!(read("http://h", Preset::Original).as_deref(), Ok("h:80"));
    let error = read("http://h", Preset::Standard).unwrap_err();
    assert_eq!(error.problem, "is plain HTTP and has no certificate");
    assert_eq!(read("h:x", Preset::Original).unwrap_err().problem, "has a bad port");
}

#[test]
fn icmp_targets_may_be_urls_or_bare_addresses() {
    for (text, target) in [
        ("example.com.", "example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("fe80::1%lo", "[fe80::1%1]"),
        ("https://user:pw@h:80/path", "h"),
        ("h/path", "h"),
    ] {
        assert_eq!(host(text).unwrap().to_string(), target, "{text}");
    }
    for text in ["", " ", "https://", "h:99999", "1.2.3", "0x7f000001", "a..b", "-", "fe80::1"] {
        assert!(host(text).is_err(), "{text}");
    }
}

#[test]
fn a_redirect_is_resolved_against_where_it_came_from() {
    let base = http_url("https://h:8443/a/b?c", Preset::Standard).unwrap();
    let to = |location: &str| redirect(&base, location).map(|url| url.to_string());
    for (location, url) in [
        ("d", "https://h:8443/a/d"),
        ("/d#frag", "https://h:8443/d"),
        ("?e", "https://h:8443/a/b?e"),
        ("//other/x", "https://other/x"),
        ("http://u:p@other:81/ä", "http://other:81/%C3%A4"),
        ("../../../x", "https://h:8443/x"),
    ] {
        assert_eq!(to(location).as_deref(), Ok(url), "{location}");
    }
    for location in
        ["", "ftp://x/", "javascript:alert(1)", "http://", "http://h:0/", "http://a..b/"]
    {
        assert!(to(location).is_err(), "{location}");
    }
    assert!(to(&"a".repeat(LOCATION_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_link_local_target_keeps_its_interface_over_a_redirect_to_itself() {
    let base = http_url("http://[fe80::1%lo]/", Preset::Standard).unwrap();
    assert_eq!(redirect(&base, "/x").unwrap().to_string(), "http://[fe80::1%1]/x");
    assert!(redirect(&base, "http://[fe80::2]/").is_err());
}
