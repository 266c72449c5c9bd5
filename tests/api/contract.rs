//! What the API answers, held against its own description: status, media type and form of every
//! request, and of every parameter that cannot be used.

use engine::monitor::Kind;
use serde_json::{Map, Value, json};

use crate::made::{ADMIN, Answer, Api, NOW, bad, batch, good, monitor};

/// Requests whose answer never ends.
const ENDLESS: [&str; 2] = ["/api/v1/events", "/api/v1/tail"];

/// Two monitors of a file, one of which is down.
async fn two() -> Api {
    let monitors =
        [monitor("alpha", Kind::PingWeb, &["eu", "shop"]), monitor("bravo", Kind::Tcp, &["eu"])];
    let samples = vec![good(1, NOW - 120_000), good(1, NOW - 60_000), bad(2, NOW - 30_000)];
    Api::new(&monitors, &[batch(1, samples, "refused")]).await
}

/// Every request of the description that has an end: path, method, what it says of it.
fn operations(described: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !ENDLESS.contains(&path.as_str()) {
                found.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    found
}

/// One object with the keys of all `parts`.
fn together(parts: &Value, described: &Value) -> Value {
    let mut whole = json!({ "type": "object", "properties": {}, "required": [] });
    for part in parts.as_array().unwrap() {
        let name = part["$ref"].as_str().map(|name| name.trim_start_matches('#'));
        let part = name.map_or(part, |name| described.pointer(name).unwrap());
        let properties = part["properties"].as_object().unwrap().clone();
        whole["properties"].as_object_mut().unwrap().extend(properties);
        let required = part["required"].as_array().cloned().unwrap_or_default();
        whole["required"].as_array_mut().unwrap().extend(required);
    }
    whole
}

/// What a value has that `schema` does not allow.
fn faults(value: &Value, schema: &Value, described: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointed = described.pointer(name.trim_start_matches('#')).unwrap();
        return faults(value, pointed, described, place);
    }
    let each = |schemas: &Value| -> Vec<Vec<String>> {
        let schemas = schemas.as_array().unwrap().iter();
        schemas.map(|schema| faults(value, schema, described, place)).collect()
    };
    if schema["oneOf"].is_array() {
        let fits = each(&schema["oneOf"]).iter().filter(|faults| faults.is_empty()).count();
        return if fits == 1 { Vec::new() } else { vec![format!("{place}: {fits} forms fit")] };
    }
    if schema["allOf"].is_array() {
        return faults(value, &together(&schema["allOf"], described), described, place);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => serde_json::from_value(several.clone().into()).unwrap(),
        _ => return Vec::new(),
    };
    let is = |kind: &String| match kind.as_str() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{place}: {other} is no type"),
    };
    if !types.iter().any(is) {
        return vec![format!("{place}: {value} is none of {types:?}")];
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return vec![format!("{place}: {value} is none of {words:?}")];
    }
    let empty = Map::new();
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(faults(item, &schema["items"], described, &format!("{place}[]")));
    }
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    for (key, item) in value.as_object().unwrap_or(&empty) {
        match properties.get(key) {
            Some(schema) => {
                found.extend(faults(item, schema, described, &format!("{place}.{key}")));
            }
            None if properties.is_empty() => {}
            None => found.push(format!("{place}.{key}: is not described")),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
            found.push(format!("{place}.{key}: is missing"));
        }
    }
    found
}

/// Holds an answer against what is said of its request.
fn assert_described(line: &str, answer: &Answer, operation: &Value, described: &Value) {
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{line}: {} is not described: {}", answer.status, answer.text);
    let Some(content) = response["content"].as_object() else {
        assert_eq!(answer.text, "", "{line}: no body is described");
        return;
    };
    let kind = answer.header("content-type").split(';').next().unwrap();
    assert!(content.contains_key(kind), "{line}: {kind} is not among {:?}", content.keys());
    if kind.ends_with("json") {
        let faults = faults(&answer.json(), &content[kind]["schema"], described, "");
        assert!(faults.is_empty(), "{line}: {faults:#?}\n{}", answer.text);
    }
}

/// A value that a parameter with this schema cannot have.
fn unusable(schema: &Value) -> Option<&'static str> {
    let is = |kind: &str| match &schema["type"] {
        Value::Array(types) => types.contains(&kind.into()),
        one => one == kind,
    };
    let has_words = schema["enum"].is_array() || schema["oneOf"].is_array();
    if is("integer") || is("boolean") || has_words || schema["pattern"].is_string() {
        return Some("%00nope");
    }
    None
}

#[tokio::test]
async fn every_request_is_answered_as_it_is_described() {
    let api = two().await;
    let described = api.json("/openapi.json").await;
    let operations = operations(&described);
    assert!(operations.len() > 20, "{}", operations.len());
    for (path, method, operation) in &operations {
        for id in ["1", "2", "77"] {
            // Nothing runs here: the result of a check would not come.
            let wait = if path.ends_with("/run") { "?wait_ms=1" } else { "" };
            let line = format!("{method} {}{wait}", path.replace("{id}", id));
            let body = operation["requestBody"]["content"].as_object();
            let (kind, body) = body.map_or((String::new(), Value::Null), |content| {
                let (kind, about) = content.iter().next().unwrap();
                (kind.clone(), about["example"].clone())
            });
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let answer = api.send(&line, &[ADMIN, ("content-type", &kind)], text.into()).await;
            assert_described(&line, &answer, operation, &described);
            assert!(answer.status < 500, "{line}: {}", answer.text);
            let without = api.ask(&line, &[]).await;
            assert_eq!(without.status, 401, "{line}");
            assert_described(&line, &without, operation, &described);
        }
    }
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named_in_a_described_problem() {
    let api = two().await;
    let described = api.json("/openapi.json").await;
    let mut tried = 0;
    for (path, method, operation) in operations(&described) {
        let path = path.trim_start_matches("/api/v1");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let Some(value) = unusable(&parameter["schema"]) else { continue };
            let address = match parameter["in"].as_str().unwrap() {
                "path" => path.replace(&format!("{{{name}}}"), value),
                _ => format!("{}?{name}={value}", path.replace("{id}", "1")),
            };
            let line = format!("{method} /api/v1{address}");
            let kind = ("content-type", "application/merge-patch+json");
            let answer = api.send(&line, &[ADMIN, kind], "{}".into()).await;
            assert_eq!(answer.status, 400, "{line}: {}", answer.text);
            assert_eq!(answer.json()["field"], name, "{line}: {}", answer.text);
            assert_described(&line, &answer, &operation, &described);
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[tokio::test]
async fn numbers_and_times_beyond_the_database_are_told() {
    let api = two().await;
    for (path, field) in [
        ("/monitors/9223372036854775808", "id"),
        ("/monitors/9223372036854775808/evidence", "id"),
        ("/monitors/-1/incidents", "id"),
        ("/monitors/1/results?to_ms=9223372036854775808", "to_ms"),
        ("/monitors/1/history?from_ms=9223372036854775808", "from_ms"),
        ("/monitors/1/history?from_ms=5&to_ms=5", "from_ms"),
        ("/monitors?cursor=7-1", "cursor"),
    ] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{path}");
    }
    let gone = api.get("/monitors?cursor=0-77").await;
    assert_eq!((gone.status, &gone.json()["field"]), (404, &json!("cursor")), "{}", gone.text);
}
