//! A public page as HTML: no script is needed, and every text of others is escaped.
//!
//! Owns: the markup. Days are elements without text, 17 bytes a good one, so that a page of 200
//! monitors stays below 400 KB. A verdict is a word and a shape beside its colour.

use std::fmt::Write;

use super::view::{Group, Overall, PublicIncident, PublicMonitor, PublicWindow, View};
use crate::api::markup::{Text, rfc3339, utc};
use crate::api::v1::uptime::DAY_MS;
use crate::sample::Verdict;

/// How times are written.
const MINUTE: &str = "%Y-%m-%d %H:%M UTC";

/// The whole page.
pub fn page(view: &View) -> String {
    let mut out = String::with_capacity(16_384);
    let made = write(&mut out, view);
    debug_assert!(made.is_ok(), "a string takes everything");
    out
}

fn write(out: &mut String, view: &View) -> std::fmt::Result {
    let (slug, title) = (&view.slug, Text(&view.title));
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}{title}</title>\n\
         <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/assets/page.css\">\n\
         <link rel=\"stylesheet\" href=\"/assets/status.css\">\n\
         <link rel=\"alternate\" type=\"application/atom+xml\" title=\"Incidents\" \
         href=\"/status/{slug}.atom\">\n\
         <script src=\"/assets/status.js\" defer></script>\n</head>\n\
         <body class=\"public\" data-made=\"{}\">\n\
         <header><h1><bdi>{title}</bdi></h1>",
        mark(view.overall),
        view.made_ms
    )?;
    if !view.description.is_empty() {
        write!(out, "<p class=\"soft\">{}</p>", Text(&view.description))?;
    }
    let (kind, head, more) = words(view);
    write!(
        out,
        "</header>\n<main id=\"main\">\n<section class=\"overall o-{kind}\" role=\"status\">\
         {}<div><h2>{head}</h2><p>{more}</p></div></section>\n",
        shape(kind, 28)
    )?;
    for window in &view.maintenance {
        announce(out, window)?;
    }
    let open = view.incidents.iter().filter(|incident| incident.closed_ms.is_none());
    if open.clone().next().is_some() {
        out.push_str("<section class=\"panel\"><h2>Open incidents</h2><ul class=\"list\">");
        open.clone().try_for_each(|one| incident(out, one, view.made_ms))?;
        out.push_str("</ul></section>\n");
    }
    for group in &view.groups {
        monitors(out, group, view)?;
    }
    if view.left_out > 0 {
        let left_out = view.left_out;
        writeln!(out, "<p class=\"empty\">{left_out} more are not shown, none of them worse.</p>")?;
    }
    past(out, view)?;
    write!(
        out,
        "</main>\n<footer class=\"note\"><span>As of <time datetime=\"{}\">{}</time></span>\
         <span><a href=\"/status/{slug}.atom\">Feed of incidents</a> \
         <a href=\"/status/{slug}.json\">JSON</a></span></footer>\n</body>\n</html>\n",
        rfc3339(view.made_ms),
        utc(view.made_ms, "%Y-%m-%d %H:%M:%S UTC"),
    )
}

/// A page that says why there is none.
pub fn notice(head: &str, text: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{head}</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/page.css\">\n\
         <link rel=\"stylesheet\" href=\"/assets/status.css\">\n</head>\n\
         <body class=\"public\">\n<main id=\"main\"><section class=\"panel\"><h1>{head}</h1>\
         <p class=\"soft\">{text}</p></section></main>\n</body>\n</html>\n"
    )
}

/// What the title of the window begins with, so that a tab tells it too.
fn mark(overall: Overall) -> &'static str {
    match overall {
        Overall::Down | Overall::Partly => "▼ ",
        _ => "",
    }
}

/// The kind of the banner, its head and what is below.
fn words(view: &View) -> (&'static str, &'static str, String) {
    let counts = &view.counts;
    let total = counts.total;
    let of = |count: u64, what: &str| format!("{count} of {total} {what}");
    let are = |count: u64| if count == 1 { "is" } else { "are" };
    match view.overall {
        Overall::Up if counts.up == total && total == 1 => {
            ("up", "Everything works", "It is up.".into())
        }
        Overall::Up if counts.up == total => {
            ("up", "Everything works", format!("All {total} are up."))
        }
        Overall::Up => (
            "up",
            "Everything works",
            of(counts.up, &format!("{} up, none is down.", are(counts.up))),
        ),
        Overall::Partly => {
            ("down", "Something is down", of(counts.down, &format!("{} down.", are(counts.down))))
        }
        Overall::Down => {
            ("down", "Nothing works", of(counts.down, &format!("{} down.", are(counts.down))))
        }
        Overall::Maintenance => {
            ("maintenance", "In maintenance", of(counts.up, &format!("{} up.", are(counts.up))))
        }
        Overall::Unknown => {
            let text = format!(
                "It cannot be told of {}; the trouble may be on our side.",
                of(counts.unknown, "now")
            );
            ("unknown", "Not certain", text)
        }
        Overall::Pending if total == 0 => {
            ("pending", "Nothing to show yet", "No monitor is on this page.".into())
        }
        Overall::Pending => ("pending", "Not known yet", "Nothing was looked at so far.".into()),
    }
}

fn announce(out: &mut String, window: &PublicWindow) -> std::fmt::Result {
    let head = if window.open { "Maintenance now" } else { "Maintenance planned" };
    let (kind, names) = (shape("maintenance", 18), window.names.join(", "));
    writeln!(
        out,
        "<section class=\"panel window\"><h2>{kind} {head}</h2><p><bdi>{}</bdi></p>\
         <p class=\"soft\">{} to {}</p></section>",
        Text(&names),
        time(window.from_ms),
        time(window.to_ms)
    )
}

fn time(unix_ms: u64) -> String {
    format!("<time datetime=\"{}\">{}</time>", rfc3339(unix_ms), utc(unix_ms, MINUTE))
}

fn incident(out: &mut String, one: &PublicIncident, now_ms: u64) -> std::fmt::Result {
    let lasted = duration(one.closed_ms.unwrap_or(now_ms).saturating_sub(one.opened_ms));
    let reason = one.result.map_or_else(String::new, |word| format!(" <code>{word}</code>"));
    let (kind, words) = match one.closed_ms {
        None => ("down", format!("down for {lasted}, since {}", time(one.opened_ms))),
        Some(_) => ("up", format!("was down for {lasted}, from {}", time(one.opened_ms))),
    };
    write!(
        out,
        "<li>{}<span class=\"grow\"><bdi class=\"name\">{}</bdi>{reason} \
         <span class=\"soft\">{words}</span></span></li>",
        shape(kind, 14),
        Text(&one.name)
    )
}

fn monitors(out: &mut String, group: &Group, view: &View) -> std::fmt::Result {
    out.push_str("<section class=\"panel monitors\">");
    if let Some(name) = group.name.as_ref().filter(|_| view.groups.len() > 1) {
        write!(out, "<h2><bdi>{}</bdi></h2>", Text(name))?;
    }
    for one in &group.monitors {
        monitor(out, one, view)?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn monitor(out: &mut String, one: &PublicMonitor, view: &View) -> std::fmt::Result {
    let word = one.verdict.name();
    write!(out, "<article><div class=\"title-row\"><h3><bdi>{}</bdi></h3>", Text(&one.name))?;
    if one.maintenance {
        out.push_str("<span class=\"tag\">maintenance</span>");
    }
    write!(
        out,
        "<span class=\"end verdict v-{word} pill\">{}{word}</span></div>",
        shape(word, 12)
    )?;
    if let Some(target) = &one.target {
        write!(out, "<p class=\"note\"><bdi>{}</bdi></p>", Text(target))?;
    }
    days(out, one, view)?;
    out.push_str("<dl class=\"figures\">");
    let shares =
        [("24 h", one.up_1d), ("7 d", one.up_7d), ("30 d", one.up_30d), ("90 d", one.up_90d)];
    for (name, share) in shares {
        write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", percent(share))?;
    }
    let answers =
        one.response_us.filter(|_| one.verdict != Verdict::Paused).map_or("–".to_owned(), micros);
    write!(out, "<div><dt>answers in</dt><dd>{answers}</dd></div></dl></article>")
}

/// The bars of each day, and one text for those who cannot see them.
fn days(out: &mut String, one: &PublicMonitor, view: &View) -> std::fmt::Result {
    let known = one.days.iter().flatten().count();
    let bad = one.days_down_ms.iter().filter(|down_ms| **down_ms > 0).count();
    let all = one.days.len();
    write!(
        out,
        "<div class=\"days\" role=\"img\" aria-label=\"Last {all} days: {bad} with trouble, {} \
         without, {} not known\">",
        known - bad.min(known),
        all - known
    )?;
    for (at, (share, down_ms)) in (0u64..).zip(one.days.iter().zip(&one.days_down_ms)) {
        let Some(share) = share else {
            out.push_str("<i></i>");
            continue;
        };
        if *down_ms == 0 {
            out.push_str("<i class=\"d-up\"></i>");
            continue;
        }
        let kind = if *share >= 99.0 { "d-some" } else { "d-bad" };
        let date = utc(view.days_from_ms + at * DAY_MS, "%Y-%m-%d");
        let (share, down) = (percent(Some(*share)), duration(*down_ms));
        write!(out, "<i class=\"{kind}\" title=\"{date}: {share} up, {down} down\"></i>")?;
    }
    write!(out, "</div><div class=\"axis\"><span>{all} days ago</span><span>today</span></div>")
}

fn past(out: &mut String, view: &View) -> std::fmt::Result {
    let over = view.incidents.iter().filter(|incident| incident.closed_ms.is_some());
    out.push_str("<section class=\"panel\"><h2>Last 14 days</h2>");
    if over.clone().next().is_none() {
        out.push_str("<p class=\"empty\">No incident has ended.</p></section>\n");
        return Ok(());
    }
    out.push_str("<ul class=\"list\">");
    over.clone().try_for_each(|one| incident(out, one, view.made_ms))?;
    out.push_str("</ul></section>\n");
    Ok(())
}

/// The shape for a word: it says the same as the colour.
fn shape(word: &str, size: u32) -> String {
    let line = "fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" \
                stroke-linecap=\"round\" stroke-linejoin=\"round\"";
    let path = match word {
        "up" => format!("<path d=\"M2.5 6.4 5 8.8 9.5 3.6\" {line}/>"),
        "down" => format!("<path d=\"M3 3l6 6M9 3l-6 6\" {line}/>"),
        "paused" => format!("<path d=\"M4 2.5v7M8 2.5v7\" {line}/>"),
        "maintenance" => format!("<path d=\"M6 1.4a4.6 4.6 0 1 0 .01 0M6 3.6V6l1.7 1.2\" {line}/>"),
        "pending" => format!("<circle cx=\"6\" cy=\"6\" r=\"3.6\" {line}/>"),
        _ => "<path d=\"M6 1.5 11 10.3H1z\" fill=\"currentColor\"/>".to_owned(),
    };
    format!(
        "<svg class=\"s-{word}\" viewBox=\"0 0 12 12\" width=\"{size}\" height=\"{size}\" \
         aria-hidden=\"true\">{path}</svg>"
    )
}

/// A share for people, never rounded up to 100 %.
pub fn percent(share: Option<f64>) -> String {
    let Some(share) = share else { return "–".to_owned() };
    let digits = match share {
        100.0.. => 0,
        99.9.. => 3,
        90.0.. => 2,
        _ => 1,
    };
    let factor = 10f64.powi(digits);
    format!("{:.*} %", digits as usize, (share * factor).floor() / factor)
}

/// A time for people, in microseconds.
pub fn micros(us: u32) -> String {
    match us {
        ..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", f64::from(us) / 1e3),
        10_000..1_000_000 => format!("{} ms", (us + 500) / 1_000),
        _ => format!("{:.1} s", f64::from(us) / 1e6),
    }
}

/// A duration for people, in milliseconds: its two largest parts.
fn duration(ms: u64) -> String {
    let s = ms / 1_000;
    let parts = [(s / 86_400, "d"), (s / 3_600 % 24, "h"), (s / 60 % 60, "min"), (s % 60, "s")];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    // Seconds beside minutes say nothing.
    let count = if first >= 2 { 1 } else { 2 };
    let shown = parts.iter().skip(first).take(count).filter(|(number, _)| *number > 0);
    let shown: Vec<String> = shown.map(|(number, unit)| format!("{number} {unit}")).collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_have_units_and_are_never_rounded_up_to_all() {
        let shares = [(100.0, "100 %"), (99.999_9, "99.999 %"), (99.5, "99.50 %"), (7.77, "7.7 %")];
        for (share, wanted) in shares {
            assert_eq!(percent(Some(share)), wanted);
        }
        assert_eq!(percent(None), "–");
        let times = [(999, "999 µs"), (1_500, "1.5 ms"), (42_900, "43 ms"), (1_250_000, "1.2 s")];
        for (us, wanted) in times {
            assert_eq!(micros(us), wanted);
        }
        let lasting = [(0, "0 s"), (59_999, "59 s"), (61_000, "1 min"), (3_600_000, "1 h")];
        for (ms, wanted) in lasting {
            assert_eq!(duration(ms), wanted);
        }
        assert_eq!(duration(90_000_000), "1 d 1 h");
    }
}
