//! The incidents of a public page as a feed (Atom, RFC 4287).
//!
//! Owns: the markup. An entry keeps its number while its incident is open and when it ends.

use std::fmt::Write;

use super::view::{PublicIncident, View};
use crate::api::markup::{Text, rfc3339};

/// The feed.
pub fn feed(view: &View) -> String {
    let mut out = String::with_capacity(4_096);
    let made = write(&mut out, view);
    debug_assert!(made.is_ok(), "a string takes everything");
    out
}

fn changed_ms(incident: &PublicIncident) -> u64 {
    incident.closed_ms.unwrap_or(incident.opened_ms)
}

fn write(out: &mut String, view: &View) -> std::fmt::Result {
    let (slug, title) = (&view.slug, Text(&view.title));
    // The same as long as nothing happens, so that readers have nothing to fetch.
    let updated = view.incidents.iter().map(changed_ms).max().unwrap_or(0);
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <feed xmlns=\"http://www.w3.org/2005/Atom\">\n<title>{title}</title>\n\
         <id>urn:engine:status:{slug}</id>\n<updated>{}</updated>\n\
         <author><name>{title}</name></author>\n\
         <link rel=\"self\" href=\"/status/{slug}.atom\"/>\n\
         <link rel=\"alternate\" type=\"text/html\" href=\"/status/{slug}\"/>\n",
        rfc3339(updated)
    )?;
    for one in &view.incidents {
        let (name, opened) = (Text(&one.name), rfc3339(one.opened_ms));
        let (state, text) = match one.closed_ms {
            None => ("is down", format!("Down since {opened}.")),
            Some(closed_ms) => {
                ("was down", format!("Down from {opened} to {}.", rfc3339(closed_ms)))
            }
        };
        let reason = one.result.map_or_else(String::new, |word| format!(" Reason: {word}."));
        write!(
            out,
            "<entry>\n<title>{name} {state}</title>\n\
             <id>urn:engine:incident:{slug}:{}:{}</id>\n<published>{opened}</published>\n\
             <updated>{}</updated>\n<link href=\"/status/{slug}\"/>\n\
             <content type=\"text\">{text}{reason}</content>\n</entry>\n",
            one.monitor,
            one.opened_ms,
            rfc3339(changed_ms(one))
        )?;
    }
    out.push_str("</feed>\n");
    Ok(())
}
