//! What goes wrong in a request, as `application/problem+json` (RFC 9457).
//!
//! Owns: the form of an error and which status it has. Every error about something that was asked
//! names the field, the value and what to write instead.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::monitor::row::RowError;
use crate::store::StoreError;

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The name of the status.
    pub title: &'static str,
    /// What is wrong and what to do about it.
    pub detail: String,
    /// The parameter or key it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where several keys are wrong, each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which another try makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The key.
    pub field: String,
    /// What is wrong and what to write.
    pub detail: String,
}

impl Problem {
    /// A problem that is about no field.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            field: None,
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// A parameter or key that cannot be used.
    pub fn field(field: &str, detail: impl std::fmt::Display) -> Problem {
        let problem = Problem::new(StatusCode::BAD_REQUEST, format!("{field}: {detail}"));
        Problem { field: Some(field.to_owned()), ..problem }
    }

    /// A row with keys that cannot be used: all of them are told.
    pub fn fields(errors: &[RowError]) -> Problem {
        let texts: Vec<String> = errors.iter().map(RowError::to_string).collect();
        let problem = Problem::new(StatusCode::BAD_REQUEST, texts.join("\n"));
        let field = errors.first().map(|error| error.field.clone());
        let errors = errors.iter().zip(texts);
        let errors =
            errors.map(|(error, detail)| FieldError { field: error.field.clone(), detail });
        Problem { field, errors: errors.collect(), ..problem }
    }

    /// There is no monitor with this number.
    pub fn no_monitor(id: u64) -> Problem {
        let detail = format!("there is no monitor {id}; /api/v1/monitors lists them");
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// To be tried again later.
    pub fn busy(status: StatusCode, detail: impl Into<String>, retry_after_s: u64) -> Problem {
        Problem { retry_after_s: Some(retry_after_s), ..Problem::new(status, detail) }
    }
}

/// The database cannot be read now: our own trouble, told in its words, which name no secret.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::busy(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 5)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let text = serde_json::to_string(&self).unwrap_or_default();
        let kind = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let mut response = (status, kind, text).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, wait.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // Not Basic: a browser would open its own dialogue over the page.
            let challenge = header::HeaderValue::from_static("Bearer realm=\"engine\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
