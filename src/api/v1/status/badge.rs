//! Badges: one fact of a monitor or of a public page as a small picture (SVG).
//!
//! Owns: the picture, and who may see it: what is on a public page anybody, the rest whoever may
//! read the API. Both a badge that is not public and one that does not exist are answered alike.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::html::{micros, percent};
use super::read;
use super::view::{Overall, PublicMonitor, View};
use super::{CACHING, Page};
use crate::api::answer::Answer;
use crate::api::markup::Text;
use crate::api::problem::Problem;
use crate::api::v1::fleet::Place;
use crate::api::v1::reads::query;
use crate::api::v1::uptime::{DAY_MS, share};
use crate::api::v1::{Shared, V1};
use crate::ids::MonitorId;
use crate::limits::BADGE_LABEL_BYTES_MAX;
use crate::sample::Verdict;

/// A picture runs nothing and loads nothing, even where it is opened by itself.
const POLICY: &str = "default-src 'none'; sandbox";

/// What a badge tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Status,
    Uptime,
    Response,
}

/// How a badge is to look.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadgeQuery {
    /// 1, 7, 30 or 90; 30 where it is left out.
    days: Option<u64>,
    /// The text on the left.
    label: Option<String>,
}

/// The right side of a badge.
struct Value {
    text: String,
    colour: &'static str,
}

const GREEN: &str = "#1a7f4b";
const RED: &str = "#c4232f";
const AMBER: &str = "#8f5d00";
const GREY: &str = "#5d6877";

/// `/badge/{slug, number or name}/{status, uptime or response}.svg`.
pub async fn badge(
    State(api): Shared,
    Path((of, kind)): Path<(String, String)>,
    parts: Parts,
) -> Result<Response, Problem> {
    let fact = match kind.as_str() {
        "status.svg" => Fact::Status,
        "uptime.svg" => Fact::Uptime,
        "response.svg" => Fact::Response,
        _ => return Err(none()),
    };
    let asked: BadgeQuery = query(&parts.uri)?;
    let days = asked.days.unwrap_or(30);
    if ![1, 7, 30, 90].contains(&days) {
        return Err(Problem::field("days", format!("{days} is none of 1, 7, 30 and 90")));
    }
    let label = asked.label.unwrap_or_else(|| match fact {
        Fact::Status => "status".to_owned(),
        Fact::Uptime => format!("uptime {days} d"),
        Fact::Response => "answers in".to_owned(),
    });
    if label.len() > BADGE_LABEL_BYTES_MAX {
        return Err(Problem::field("label", format!("at most {BADGE_LABEL_BYTES_MAX} bytes")));
    }
    let (value, caching) = api.value(&of, fact, days, &parts).await?;
    let answer = Answer::of("image/svg+xml", svg(&label, &value).into(), caching);
    let mut response = answer.to(&parts.headers);
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

fn none() -> Problem {
    let detail = "there is no such badge, or it is not public; a badge is /badge/PAGE/status.svg, \
                  /badge/NUMBER/uptime.svg or /badge/NAME/response.svg";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

impl V1 {
    async fn value(
        &self,
        of: &str,
        fact: Fact,
        days: u64,
        parts: &Parts,
    ) -> Result<(Value, &'static str), Problem> {
        if let Some(page) = self.setup.status.of(of) {
            return Ok((of_page(&self.page(&page).await?.view, fact, days), CACHING));
        }
        let Some((id, pages)) = self.shown_on(of) else { return Err(none()) };
        for page in pages {
            let made = self.page(&page).await?;
            let mut shown = made.view.groups.iter().flat_map(|group| &group.monitors);
            if let Some(one) = shown.find(|one| one.id == id) {
                return Ok((of_monitor(one, fact, days), CACHING));
            }
        }
        self.allow(parts).map_err(|_| none())?;
        let now_ms = (self.setup.clock)();
        let monitor = self.monitor(id).await?;
        let value = match fact {
            Fact::Status => of_status(monitor.verdict, monitor.marks.contains(&"maintenance")),
            Fact::Uptime => {
                let known =
                    self.readers.read(move |reader| read::history(reader, &monitor, now_ms));
                let from_ms = now_ms.saturating_sub(days * DAY_MS);
                of_share(share(&known.await?.spans, from_ms, now_ms).up_percent)
            }
            Fact::Response => {
                let read = self.readers.read(move |reader| read::response(reader, id, now_ms));
                of_response(read.await?)
            }
        };
        Ok((value, "private, no-cache"))
    }

    /// The monitor with this number or name, and the pages that select it.
    fn shown_on(&self, of: &str) -> Option<(MonitorId, Vec<Arc<Page>>)> {
        let index = self.setup.fleet.index();
        let by_number = || of.parse().ok().and_then(|number| index.place(MonitorId(number)));
        let place = index.named(of).or_else(by_number)?;
        let name = index.details().name(place.at());
        let has_tag = |place: Place<'_>, page: &Page| {
            let mut tags = place.tags().iter().map(|tag| &index.tags()[*tag as usize]);
            tags.any(|tag| page.config.tags.contains(tag))
        };
        let selects = |page: &&Arc<Page>| {
            has_tag(place, page) || page.config.monitors.iter().any(|known| known == name)
        };
        let pages = self.setup.status.all().iter().filter(selects).cloned().collect();
        Some((place.id(), pages))
    }
}

fn of_page(view: &View, fact: Fact, days: u64) -> Value {
    let monitors = || view.groups.iter().flat_map(|group| &group.monitors);
    match fact {
        Fact::Status => {
            let (text, colour) = match view.overall {
                Overall::Up => ("up".to_owned(), GREEN),
                Overall::Partly | Overall::Down => {
                    (format!("{} of {} down", view.counts.down, view.counts.total), RED)
                }
                Overall::Maintenance => ("maintenance".to_owned(), AMBER),
                Overall::Unknown => ("unknown".to_owned(), AMBER),
                Overall::Pending => ("pending".to_owned(), GREY),
            };
            Value { text, colour }
        }
        Fact::Uptime => {
            let shares: Vec<f64> = monitors().filter_map(|one| up(one, days)).collect();
            let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
            of_share((!shares.is_empty()).then_some(mean))
        }
        Fact::Response => {
            let mut times: Vec<u32> = monitors().filter_map(|one| one.response_us).collect();
            times.sort_unstable();
            of_response(times.get(times.len() / 2).copied())
        }
    }
}

fn of_monitor(one: &PublicMonitor, fact: Fact, days: u64) -> Value {
    match fact {
        Fact::Status => of_status(one.verdict, one.maintenance),
        Fact::Uptime => of_share(up(one, days)),
        Fact::Response => of_response(one.response_us),
    }
}

fn up(one: &PublicMonitor, days: u64) -> Option<f64> {
    match days {
        1 => one.up_1d,
        7 => one.up_7d,
        30 => one.up_30d,
        _ => one.up_90d,
    }
}

fn of_status(verdict: Verdict, in_maintenance: bool) -> Value {
    match verdict {
        Verdict::Down if in_maintenance => Value { text: "maintenance".to_owned(), colour: AMBER },
        _ => of_verdict(verdict),
    }
}

fn of_verdict(verdict: Verdict) -> Value {
    let colour = match verdict {
        Verdict::Up => GREEN,
        Verdict::Down => RED,
        Verdict::Unknown => AMBER,
        Verdict::Pending | Verdict::Paused => GREY,
    };
    Value { text: verdict.name().to_owned(), colour }
}

fn of_share(share: Option<f64>) -> Value {
    let colour = match share {
        None => GREY,
        Some(share) if share >= 99.0 => GREEN,
        Some(share) if share >= 95.0 => AMBER,
        Some(_) => RED,
    };
    Value {
        text: share.map_or_else(|| "not known".to_owned(), |share| percent(Some(share))),
        colour,
    }
}

fn of_response(us: Option<u32>) -> Value {
    let text = us.map_or_else(|| "not known".to_owned(), micros);
    Value { text, colour: if us.is_some() { GREEN } else { GREY } }
}

/// Widths of the characters from space to `~` in Verdana at 11 px, in hundredths of a pixel.
const WIDTHS: [u16; 95] = [
    387, 433, 505, 900, 699, 1184, 799, 296, 500, 500, 699, 900, 400, 500, 400, 500, 699, 699, 699,
    699, 699, 699, 699, 699, 699, 699, 500, 500, 900, 900, 900, 600, 1100, 752, 754, 768, 848, 696,
    632, 853, 827, 463, 500, 762, 612, 927, 823, 866, 663, 866, 765, 752, 678, 805, 752, 1088, 754,
    677, 754, 500, 500, 500, 900, 699, 699, 661, 685, 573, 685, 655, 387, 685, 696, 302, 379, 651,
    302, 1070, 696, 668, 685, 685, 469, 573, 433, 696, 651, 900, 651, 651, 578, 698, 500, 698, 900,
];

/// The width of a text, in pixels; a character that is not in the table counts as a wide one.
fn width(text: &str) -> u32 {
    let one = |character: char| {
        let at = (character as usize).checked_sub(usize::from(b' '));
        at.and_then(|at| WIDTHS.get(at)).map_or(1_100, |width| u32::from(*width))
    };
    text.chars().map(one).sum::<u32>().div_ceil(100)
}

/// The picture. Each text is given its width, so it fits whatever letters the reader has.
fn svg(label: &str, value: &Value) -> String {
    // Characters that turn the direction of text would mix label and value.
    let is_plain = |character: &char| {
        !character.is_control()
            && !('\u{202a}'..='\u{202e}').contains(character)
            && !('\u{2066}'..='\u{2069}').contains(character)
    };
    let label: String = label.chars().filter(is_plain).collect();
    let (left, right) = (width(&label), width(&value.text));
    let (left_all, right_all) = (left + 12, right + 12);
    let all = left_all + right_all;
    let (label, text, colour) = (Text(&label), Text(&value.text), value.colour);
    let fit = "lengthAdjust=\"spacingAndGlyphs\"";
    let mut out = String::with_capacity(1_024);
    let made = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" \
         aria-label=\"{label}: {text}\"><title>{label}: {text}</title>\
         <clipPath id=\"r\"><rect width=\"{all}\" height=\"20\" rx=\"4\"/></clipPath>\
         <g clip-path=\"url(#r)\"><rect width=\"{left_all}\" height=\"20\" fill=\"#3b4350\"/>\
         <rect x=\"{left_all}\" width=\"{right_all}\" height=\"20\" fill=\"{colour}\"/></g>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,Geneva,sans-serif\" font-size=\"11\">\
         <text x=\"6\" y=\"14\" textLength=\"{left}\" {fit}>{label}</text>\
         <text x=\"{}\" y=\"14\" textLength=\"{right}\" {fit}>{text}</text></g></svg>",
        left_all + 6
    );
    debug_assert!(made.is_ok(), "a string takes everything");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_is_as_wide_as_its_texts_and_holds_no_markup_of_others() {
        let value = Value { text: "up".into(), colour: GREEN };
        let narrow = svg("iii", &value);
        let wide = svg("WWW", &value);
        assert!(narrow.contains("textLength=\"10\""), "{narrow}");
        assert!(wide.contains("textLength=\"33\""), "{wide}");
        let hostile = svg("</text><script>x</script>\u{202e}\u{0}", &value);
        assert!(!hostile.contains("<script") && !hostile.contains('\u{202e}'), "{hostile}");
        assert!(hostile.contains("&lt;script&gt;"));
        assert_eq!(width("日本"), 22);
    }

    #[test]
    fn no_colour_says_what_no_word_says() {
        let said = Verdict::ALL.map(|verdict| of_verdict(verdict).text);
        assert_eq!(said, ["pending", "up", "down", "unknown", "paused"]);
        assert_eq!(of_share(Some(99.999)).text, "99.999 %");
        assert_eq!(of_share(None).text, "not known");
        assert_eq!(of_response(Some(42_000)).text, "42 ms");
    }
}
