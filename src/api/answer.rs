//! Good answers: JSON with a tag, and nothing where the caller has it already.
//!
//! Owns: the fields that every good answer has. The tag is a hash of the whole answer (RFC 9110
//! section 8.8.3), so an answer that is the same costs its reader no bytes.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::problem::Problem;

/// Bytes of a hash that are in a tag: 128 bits.
const TAG_BYTES: usize = 16;

/// An answer that may be given to many.
#[derive(Clone, Debug)]
pub struct Answer {
    kind: &'static str,
    body: Bytes,
    tag: HeaderValue,
    caching: &'static str,
}

impl Answer {
    /// A value as JSON, for the one who asked only.
    ///
    /// # Errors
    ///
    /// None that is known: everything that is answered has a JSON form.
    pub fn json(value: &impl Serialize) -> Result<Answer, Problem> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(Answer::of("application/json", body.into(), "private, no-cache"))
    }

    /// Bytes of this media type, to be kept by caches as `caching` says.
    pub fn of(kind: &'static str, body: Bytes, caching: &'static str) -> Answer {
        let hash = digest(&SHA256, &body);
        let text = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..TAG_BYTES]);
        let tag = HeaderValue::try_from(format!("\"{text}\""))
            .unwrap_or(HeaderValue::from_static("\"\""));
        Answer { kind, body, tag, caching }
    }

    /// The answer to a request with these fields.
    pub fn to(&self, asked: &HeaderMap) -> Response {
        let fields = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(self.caching)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::ETAG, self.tag.clone()),
        ];
        if self.is_known(asked) {
            return (StatusCode::NOT_MODIFIED, fields).into_response();
        }
        (fields, self.body.clone()).into_response()
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let known = asked.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = known.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
        let own = self.tag.to_str().unwrap_or_default();
        tags.any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == own)
    }
}
