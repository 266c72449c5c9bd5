//! The pages of the API: login and dashboard, as plain HTML.
//!
//! Owns: the markup. Every text that a user or a target chose is escaped, and the policy forbids
//! scripts altogether.

use std::fmt::Write;

use super::view::{Item, Totals, local};
use crate::limits::DASHBOARD_ROWS_MAX;

/// Nothing is loaded but our own style sheet, and nobody may frame us (CSP level 3).
pub const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// The style sheet.
pub const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #ddd;overflow-wrap:anywhere}th{font-weight:600}
.up{color:#15702c}.down{color:#b3261e}.none{color:#777}pre{background:#f5f5f5;padding:1rem;
overflow-x:auto;font-size:13px}nav{display:flex;gap:1rem;align-items:center}
input,button{font:inherit;padding:.3rem .6rem}label{display:block;margin:.6rem 0}
.bad{color:#b3261e}
";

/// What the dashboard shows.
#[derive(Clone, Debug, Default)]
pub struct Dashboard {
    /// How many monitors there are.
    pub totals: Totals,
    /// Those on this page.
    pub items: Vec<Item>,
    /// Monitors before this page.
    pub offset: usize,
    /// The last lines of the log.
    pub log: Vec<String>,
    /// Host of the Home link.
    pub domain: String,
    /// The word that the stop button sends.
    pub word: String,
}

/// The login page; `wrong` after a wrong password.
pub fn login(wrong: bool) -> String {
    let said = match wrong {
        true => "<p class=\"bad\" role=\"alert\">Invalid username or password</p>",
        false => "",
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Log in · engine</title>\
         <link rel=\"stylesheet\" href=\"/assets/page.css\"></head>\
         <body class=\"login\"><form class=\"panel\" method=\"post\" action=\"/login\">\
         <h1 class=\"brand\">engine</h1>{said}\
         <label>Username <input name=\"username\" autocomplete=\"username\" required autofocus>\
         </label><label>Password <input name=\"password\" type=\"password\" \
         autocomplete=\"current-password\" required></label>\
         <button class=\"button primary\">Log in</button></form></body></html>\n"
    )
}

/// The dashboard.
pub fn dashboard(page: &Dashboard) -> String {
    let mut body = String::from("<h1>Monitor Service</h1><nav>");
    let _ = write!(
        body,
        "<a href=\"/legacy\">Refresh</a> <a href=\"https://{0}/\">Home</a> \
         <a href=\"/logout\">Logout</a>\
         <form method=\"post\" action=\"/api/shutdown\">\
         <input type=\"hidden\" name=\"word\" value=\"{1}\"><button>Shutdown</button></form></nav>",
        escaped(&page.domain),
        escaped(&page.word)
    );
    let Totals { total, enabled, running } = page.totals;
    let _ = write!(
        body,
        "<p>{total} monitors, {enabled} enabled, {running} running</p><table><tr><th>ID</th>\
         <th>Name</th><th>Type</th><th>Target</th><th>Status</th><th>Last check</th>\
         <th>Errors</th><th>Online</th><th>Offline</th></tr>"
    );
    page.items.iter().for_each(|item| row(&mut body, item));
    body.push_str("</table>");
    links(&mut body, page);
    let log: Vec<String> = page.log.iter().map(|line| escaped(line)).collect();
    let _ = write!(body, "<h2>Log</h2><pre>{}</pre>", log.join("\n"));
    frame("Monitor Service", "<meta http-equiv=\"refresh\" content=\"30\">", &body)
}

fn row(body: &mut String, item: &Item) {
    let (class, status) = match (item.enabled, item.last_status) {
        (false, _) => ("none", "disabled"),
        (true, Some(1)) => ("up", "OK"),
        (true, Some(_)) => ("down", "ERROR"),
        (true, None) => ("none", "not known"),
    };
    let _ = write!(
        body,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{status}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        item.id,
        escaped(&item.name),
        escaped(item.kind),
        escaped(&item.target),
        item.last_check_ms.map(local).unwrap_or_default(),
        item.consecutive_errors,
        item.count_online,
        item.count_offline
    );
}

fn links(body: &mut String, page: &Dashboard) {
    if page.offset > 0 {
        let before = page.offset.saturating_sub(DASHBOARD_ROWS_MAX);
        let _ = write!(body, "<a href=\"/legacy?offset={before}\">Previous</a> ");
    }
    let next = page.offset.saturating_add(DASHBOARD_ROWS_MAX);
    if (next as u64) < page.totals.total {
        let _ = write!(body, "<a href=\"/legacy?offset={next}\">Next</a>");
    }
}

fn frame(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <link rel=\"stylesheet\" href=\"/style.css\">{head}</head><body>{body}</body></html>\n"
    )
}

/// Text for HTML, between tags and inside quotes alike.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_monitor_or_a_log_line_becomes_markup() {
        let hostile = "<script>alert('x')</script>\"&";
        let item = Item { name: hostile.into(), target: hostile.into(), ..Item::default() };
        let page = dashboard(&Dashboard {
            items: vec![item],
            log: vec![hostile.into()],
            domain: hostile.into(),
            word: hostile.into(),
            ..Dashboard::default()
        });
        assert!(!page.contains("<script"), "{page}");
        let safe = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;";
        assert_eq!(page.matches(safe).count(), 5);
    }

    #[test]
    fn a_long_list_has_links_to_its_other_pages() {
        let totals = Totals { total: 500, ..Totals::default() };
        let page = |offset| dashboard(&Dashboard { totals, offset, ..Dashboard::default() });
        assert!(page(0).contains("?offset=200\"") && !page(0).contains("Previous"));
        assert!(page(200).contains("?offset=0\"") && page(200).contains("?offset=400\""));
        assert!(!page(400).contains("Next"));
    }
}
