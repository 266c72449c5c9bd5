//! What counts as a good HTTP answer: its status and the text of its body.
//!
//! Owns: the status rule and the search for texts. Leaves to others: framing and decompression
//! (`http`), counting redirects (the caller). The search sees the body in pieces of any size and
//! holds one window of it, so its result and its cost are the same for every cut of the stream.

use memchr::memmem;

use crate::spec::HttpOptions;

/// Bytes gathered before the window is searched, besides those kept for a text across its border.
///
/// A target that sends its body one byte at a time must not make us search once per byte; at
/// 8 KiB the search runs at memory speed and the window stays in the first-level cache.
const WINDOW_BYTES: usize = 8 * 1024;

/// What the status of an answer means for the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// Among the statuses asked for.
    Wanted,
    /// A redirect (RFC 9110 §15.4) and redirects are to be followed.
    Redirect,
    /// Anything else.
    Unwanted,
}

/// Judges a status. 300 and 304 point nowhere and are never followed.
pub fn judge_status(options: &HttpOptions, status: u16) -> StatusRule {
    if options.redirects_max > 0 && matches!(status, 301 | 302 | 303 | 307 | 308) {
        StatusRule::Redirect
    } else if options.statuses.contains(status) {
        StatusRule::Wanted
    } else {
        StatusRule::Unwanted
    }
}

/// What is wrong with the text of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextFault<'o> {
    /// This text must not be there: the first such one in the order of the options.
    Forbidden(&'o str),
    /// These texts must be there, in the order of the options.
    Missing(Vec<&'o str>),
}

/// Looks for all texts of one monitor in one body, as bytes: case counts.
#[derive(Debug)]
pub struct TextSearch {
    /// Numbers of the texts not found so far: forbidden ones first, then needles.
    open: Vec<usize>,
    window: Vec<u8>,
    /// Bytes kept when the window moves on: one less than the longest text.
    kept: usize,
}

impl TextSearch {
    /// A search for the texts of `options`, or `None` where there are none. An empty text says
    /// nothing and is left out.
    pub fn new(options: &HttpOptions) -> Option<TextSearch> {
        let lens = texts(options).map(str::len);
        let longest = lens.max().filter(|len| *len > 0)?;
        let open = texts(options).enumerate().filter(|(_, text)| !text.is_empty());
        let open = open.map(|(number, _)| number).collect();
        Some(TextSearch { open, window: Vec::new(), kept: longest - 1 })
    }

    /// Takes the next bytes of the body. `options` are the ones given to [`TextSearch::new`].
    pub fn feed(&mut self, options: &HttpOptions, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.open.is_empty() {
            let room = self.kept + WINDOW_BYTES - self.window.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.window.extend_from_slice(now);
            bytes = later;
            if self.window.len() == self.kept + WINDOW_BYTES {
                self.search(options);
                self.window.drain(..WINDOW_BYTES);
            }
        }
    }

    /// Judges the body after its last bytes; `None` is a good one. Forbidden texts come first.
    pub fn judge<'o>(&mut self, options: &'o HttpOptions) -> Option<TextFault<'o>> {
        self.search(options);
        let is_open = |number: usize| self.open.binary_search(&number).is_ok();
        let mut forbidden = options.forbidden.iter().enumerate();
        let found = forbidden.find(|(number, text)| !text.is_empty() && !is_open(*number));
        if let Some((_, text)) = found {
            return Some(TextFault::Forbidden(text));
        }
        let needles = options.needles.iter().enumerate();
        let missing = needles.filter(|(place, _)| is_open(options.forbidden.len() + place));
        let missing: Vec<&str> = missing.map(|(_, text)| &**text).collect();
        (!missing.is_empty()).then_some(TextFault::Missing(missing))
    }

    fn search(&mut self, options: &HttpOptions) {
        let window = &self.window;
        self.open.retain(|number| {
            let text = texts(options).nth(*number).unwrap_or_default();
            memmem::find(window, text.as_bytes()).is_none()
        });
    }
}

/// All texts of the options, in the order of their numbers.
fn texts(options: &HttpOptions) -> impl Iterator<Item = &str> {
    options.forbidden.iter().chain(&options.needles).map(|text| &**text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::StatusSet;

    fn options(needles: &[&str], forbidden: &[&str]) -> HttpOptions {
        HttpOptions {
            needles: needles.iter().map(|text| Box::from(*text)).collect(),
            forbidden: forbidden.iter().map(|text| Box::from(*text)).collect(),
            ..HttpOptions::default()
        }
    }

    fn judge<'o>(options: &'o HttpOptions, pieces: &[&[u8]]) -> Option<TextFault<'o>> {
        let mut search = TextSearch::new(options).unwrap();
        for piece in pieces {
            search.feed(options, piece);
        }
        search.judge(options)
    }

    #[test]
    fn a_text_is_found_across_any_border() {
        let options = options(&["needle"], &[]);
        let body = b"hay needle hay";
        for cut in 0..=body.len() {
            assert_eq!(judge(&options, &[&body[..cut], &body[cut..]]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_text_is_found_wherever_it_lies_around_the_end_of_a_window() {
        let options = options(&["needle"], &[]);
        for before in WINDOW_BYTES - 10..WINDOW_BYTES + 20 {
            let mut body = vec![b'-'; before];
            body.extend_from_slice(b"needle");
            body.resize(3 * WINDOW_BYTES, b'-');
            assert_eq!(judge(&options, &[&body]), None, "after {before} bytes");
        }
    }

    #[test]
    fn the_first_forbidden_text_of_the_list_is_named_whatever_came_first() {
        let options = options(&["never there"], &["second", "first"]);
        let fault = judge(&options, &[b"first, then second"]);
        assert_eq!(fault, Some(TextFault::Forbidden("second")));
    }

    #[test]
    fn all_missing_texts_are_listed_in_order() {
        let options = options(&["a", "b", "c"], &["error"]);
        let fault = judge(&options, &[b"only b"]);
        assert_eq!(fault, Some(TextFault::Missing(vec!["a", "c"])));
    }

    #[test]
    fn case_counts_and_text_beyond_ascii_is_searched_as_bytes() {
        let options = options(&["gr\u{fc}n"], &["ERROR"]);
        assert_eq!(judge(&options, &["error gr\u{fc}n".as_bytes()]), None);
        assert!(judge(&options, &["GR\u{dc}N".as_bytes()]).is_some());
    }

    #[test]
    fn empty_texts_are_neither_found_nor_missed() {
        assert!(TextSearch::new(&options(&[""], &[""])).is_none());
        assert_eq!(judge(&options(&["", "a"], &["", "x"]), &[b"a"]), None);
    }

    #[test]
    fn an_empty_body_misses_every_text() {
        let options = options(&["a"], &["b"]);
        assert_eq!(judge(&options, &[]), Some(TextFault::Missing(vec!["a"])));
    }

    #[test]
    fn the_window_does_not_grow_with_the_body() {
        let options = options(&["needle"], &[]);
        let mut search = TextSearch::new(&options).unwrap();
        for _ in 0..100 {
            search.feed(&options, &[b'-'; 100_000]);
            assert!(search.window.len() < search.kept + WINDOW_BYTES);
        }
    }

    #[test]
    fn redirects_are_followed_only_where_asked_and_only_where_they_point() {
        let mut options = HttpOptions::default();
        assert_eq!(judge_status(&options, 302), StatusRule::Redirect);
        assert_eq!(judge_status(&options, 304), StatusRule::Wanted);
        options.redirects_max = 0;
        assert_eq!(judge_status(&options, 302), StatusRule::Wanted);
        options.statuses = StatusSet(Box::new([(200, 200)]));
        assert_eq!(judge_status(&options, 302), StatusRule::Unwanted);
    }
}
