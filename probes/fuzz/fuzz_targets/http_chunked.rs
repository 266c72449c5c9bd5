//! Any bytes as a chunked body, plain or compressed by the third byte's choice.
#![no_main]

#[path = "../../tests/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(([flags, sizes, coding], body)) = data.split_first_chunk() else { return };
    let coding = ["identity", "gzip", "deflate", "br"][usize::from(coding % 4)];
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: ";
    let data = [&[*flags, *sizes], head.as_bytes(), coding.as_bytes(), b"\r\n\r\n", body].concat();
    harness::explore(&data);
});
