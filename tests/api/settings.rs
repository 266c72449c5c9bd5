//! What the administrator sees and does: settings, channels, tokens.

use engine::monitor::Kind;
use serde_json::{Value, json};

use crate::made::batch;
use crate::made::{ADMIN, Api, NOW, good, monitor};

async fn one() -> Api {
    let monitors = [monitor("alpha", Kind::PingWeb, &["shop"])];
    Api::new(&monitors, &[batch(1, vec![good(1, NOW)], "")]).await
}

#[tokio::test]
async fn settings_are_for_administrators_and_tell_no_secret() {
    let api = one().await;
    let settings = api.ask("GET /api/v1/settings", &[ADMIN]).await;
    assert_eq!(settings.status, 200, "{}", settings.text);
    let told = settings.json();
    let password = json!({ "setting": "password", "value": "***", "from": "default" });
    assert_eq!(told["settings"][0], password);
    let names: Vec<_> = told["channels"].as_array().unwrap().iter().collect();
    assert_eq!(names[0], &json!({ "name": "good", "type": "command", "tags": ["shop"] }));
    assert!(!settings.text.contains("s3cret") && !settings.text.contains("/bin/"));
    let reader = format!("Bearer {}", api.token);
    for line in [
        "GET /api/v1/settings",
        "GET /api/v1/tokens",
        "POST /api/v1/tokens",
        "DELETE /api/v1/tokens/test",
        "POST /api/v1/channels/good/test",
    ] {
        let refused = api.ask(line, &[("authorization", &reader)]).await;
        assert_eq!(refused.status, 403, "{line}: {}", refused.text);
        assert_eq!(api.ask(line, &[]).await.status, 401, "{line}");
    }
}

#[tokio::test]
async fn a_token_is_shown_once_lets_in_as_far_as_its_scope_and_is_taken_back() {
    let api = one().await;
    let made = api.put("POST /api/v1/tokens", &json!({ "name": "a/b c", "scope": "write" })).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "private, no-cache"));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let own = [("authorization", bearer.as_str())];
    assert_eq!(api.ask("GET /api/v1/session", &own).await.json()["scope"], "write");
    assert_eq!(api.ask("GET /api/v1/tokens", &own).await.status, 403, "it may write, not admin");
    let list = api.ask("GET /api/v1/tokens", &[ADMIN]).await;
    let names = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|token| token["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&list.json()), ["test", "a/b c"]);
    assert!(!list.text.contains("sha256") && !list.text.contains(&token), "{}", list.text);
    for (body, field) in [
        (json!({ "name": "test", "scope": "read" }), "name"),
        (json!({ "name": "x", "scope": "root" }), "body"),
        (json!({ "name": "x", "scope": "read", "more": 1 }), "body"),
    ] {
        let refused = api.put("POST /api/v1/tokens", &body).await;
        assert_eq!((refused.status, &refused.json()["field"]), (400, &json!(field)), "{body}");
    }
    let gone = api.ask("DELETE /api/v1/tokens/a%2Fb%20c", &[ADMIN]).await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(api.ask("GET /api/v1/session", &own).await.status, 401, "at once");
    assert_eq!(api.ask("DELETE /api/v1/tokens/a%2Fb%20c", &[ADMIN]).await.status, 404);
}

#[tokio::test]
async fn a_channel_is_tried_and_what_it_says_is_told() {
    let api = one().await;
    let sent = api.ask("POST /api/v1/channels/good/test", &[ADMIN]).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert!(sent.json()["took_ms"].is_u64());
    let failed = api.ask("POST /api/v1/channels/bad/test", &[ADMIN]).await;
    assert_eq!(failed.status, 502, "{}", failed.text);
    let none = api.ask("POST /api/v1/channels/none/test", &[ADMIN]).await;
    assert_eq!(none.status, 404);
}
