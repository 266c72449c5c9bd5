//! Public status pages as users write them: for whom, and what is shown there.
//!
//! Owns: the keys of an entry of `status_pages:`. Whatever is not selected by a page is not public;
//! without an entry nothing is.

use serde_json::Value;

use crate::limits::{PAGE_MONITORS_NAMED_MAX, PAGE_SLUG_BYTES_MAX, PAGE_TEXT_BYTES_MAX};
use crate::monitor::row::RowError;
use crate::monitor::row::written::read_into;

/// A public page about some monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPage {
    /// Its place: `/status/` and this.
    pub slug: String,
    /// Its head.
    pub title: String,
    /// A text below the head; empty for none.
    pub description: String,
    /// Monitors with one of these tags, under a head for each tag.
    pub tags: Vec<String>,
    /// And monitors with these names, before the others.
    pub monitors: Vec<String>,
    /// True where targets and the reasons of incidents are public too.
    pub details: bool,
}

/// The keys of one page while they are read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    slug: Option<String>,
    title: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    monitors: Option<Vec<String>>,
    details: Option<bool>,
}

impl Draft {
    const KEYS: &'static [&'static str] =
        &["slug", "title", "description", "tags", "monitors", "details"];

    /// Sets one key from its value.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
        match key {
            "slug" => read_into(key, value, &mut self.slug),
            "title" => read_into(key, value, &mut self.title),
            "description" => read_into(key, value, &mut self.description),
            "tags" => read_into(key, value, &mut self.tags),
            "monitors" => read_into(key, value, &mut self.monitors),
            "details" => read_into(key, value, &mut self.details),
            _ => Err(RowError::unknown_key(key, Draft::KEYS)),
        }
    }

    /// The page, or everything that is wrong with it.
    pub(super) fn finish(self) -> Result<StatusPage, Vec<RowError>> {
        let mut errors = Vec::new();
        let slug = self.slug.unwrap_or_default();
        if !is_slug(&slug) {
            let problem = if slug.is_empty() { "is missing" } else { "cannot be an address" };
            let fix = format!(
                "write 1 to {PAGE_SLUG_BYTES_MAX} of a-z, 0-9 and -, with a letter among them"
            );
            errors.push(RowError::new("slug", &slug, problem, fix));
        }
        let title = self.title.unwrap_or_else(|| slug.clone());
        let description = self.description.unwrap_or_default();
        for (key, text) in [("title", &title), ("description", &description)] {
            if text.len() > PAGE_TEXT_BYTES_MAX {
                let fix = format!("write at most {PAGE_TEXT_BYTES_MAX} bytes");
                errors.push(RowError::new(key, "", "is too long", fix));
            }
        }
        let (tags, monitors) = (self.tags.unwrap_or_default(), self.monitors.unwrap_or_default());
        if tags.is_empty() && monitors.is_empty() {
            let fix = "write `tags`, `monitors` or both";
            errors.push(RowError::new("status_pages", &slug, "shows nobody", fix));
        }
        if tags.len() + monitors.len() > PAGE_MONITORS_NAMED_MAX {
            let fix = format!("write at most {PAGE_MONITORS_NAMED_MAX} in all; tags are shorter");
            errors.push(RowError::new("monitors", "", "are too many", fix));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let details = self.details.unwrap_or_default();
        Ok(StatusPage { slug, title, description, tags, monitors, details })
    }
}

/// True for a word that can be in an address and is not the number of a monitor.
fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= PAGE_SLUG_BYTES_MAX
        && text.bytes().all(fits)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, Value)]) -> Result<StatusPage, Vec<String>> {
        let mut draft = Draft::default();
        for (key, value) in values {
            draft.set(key, value).map_err(|error| vec![error.to_string()])?;
        }
        let told = |errors: Vec<RowError>| errors.iter().map(RowError::to_string).collect();
        draft.finish().map_err(told)
    }

    #[test]
    fn a_page_needs_a_slug_and_a_selection_and_keeps_the_rest_to_itself() {
        let page = read(&[("slug", "shop".into()), ("tags", vec!["shop"].into())]).unwrap();
        assert_eq!((page.title.as_str(), page.details), ("shop", false));
        let wrong = read(&[("slug", "Shop!".into())]).unwrap_err();
        assert!(wrong[0].starts_with("slug: Shop! cannot be an address; write 1 to 64 of a-z"));
        assert!(wrong[1].contains("shows nobody; write `tags`, `monitors` or both"), "{wrong:?}");
        for slug in ["", "42", "a/b", "é", "a.json", &"x".repeat(65)] {
            assert!(!is_slug(slug), "{slug}");
        }
        let unknown = read(&[("slugg", "x".into())]).unwrap_err();
        assert_eq!(unknown, ["unknown key `slugg`; did you mean `slug`?"]);
    }
}
