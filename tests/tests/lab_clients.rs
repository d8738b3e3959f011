//! OpenAI's own client libraries from outside, through the real `ecto` host and the guard, to the real gateway.

#![expect(clippy::unwrap_used, reason = "what a test leans on may end it")]
#![expect(
    clippy::print_stdout,
    reason = "how the libraries put it is worth reading"
)]

use ecto_tests::command::Ecto;
use ecto_tests::lab::{Clients, Lab, Language};
use serde_json::{Value, json};

/// Well-formed in no way that matters: nobody ever had it.
const WRONG: &str = "ecto_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"; // not a secret

/// The pieces of a streamed answer, put together.
fn text_of(said: &[Value]) -> String {
    said.iter()
        .filter_map(|line| line["piece"].as_str())
        .collect()
}

async fn works(clients: &Clients, language: Language, key: &str) {
    let run = async |act, text| clients.run(language, key, act, text).await.unwrap();

    let said = run("chat", "ping one").await;
    assert!(
        said[0]["text"].as_str().unwrap().contains("ping one"),
        "{said:?}"
    );
    assert_eq!(said[1], json!({ "end": "whole" }));

    let said = run("stream", "ping two").await;
    assert!(text_of(&said).contains("ping two"), "{said:?}");
    assert!(
        said.iter().filter(|line| line["piece"].is_string()).count() > 2,
        "{said:?}"
    );
    assert_eq!(
        said[said.len() - 2..],
        [
            json!({ "finish_reason": "stop" }),
            json!({ "end": "whole" })
        ]
    );

    let said = run("responses", "ping three").await;
    assert!(
        said[0]["text"].as_str().unwrap().contains("ping three"),
        "{said:?}"
    );

    let said = run("responses-stream", "ping four").await;
    assert!(text_of(&said).contains("ping four"), "{said:?}");
    assert_eq!(
        said[said.len() - 2..],
        [
            json!({ "finish_reason": "stop" }),
            json!({ "end": "whole" })
        ]
    );

    let said = run("models", "").await;
    assert!(
        said[0]["models"]
            .as_array()
            .unwrap()
            .contains(&json!("openclaw")),
        "{said:?}"
    );
}

/// A wrong key is what the library raises as its own error for that, with the guard's sentence in it.
async fn tells_a_wrong_key(clients: &Clients, language: Language) {
    for act in ["chat", "stream", "responses", "models"] {
        let said = clients.run(language, WRONG, act, "ping").await.unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0]["error"], "AuthenticationError", "{said:?}");
        assert_eq!(said[0]["is_authentication_error"], true);
        assert_eq!(
            (&said[0]["status"], &said[0]["code"]),
            (&json!(401), &json!("invalid_api_key"))
        );
        let message = said[0]["message"].as_str().unwrap();
        println!("{language:?}, {act}, with a wrong key: {message}");
        assert!(message.contains("key"), "{message}");
    }
}

/// A key that is taken away in the middle of a stream ends it with an error, not as if it were whole.
async fn notices_a_key_taken_away(clients: &Clients, language: Language, lab: &Lab, ecto: &Ecto) {
    let key = ecto.key().await.unwrap();
    lab.gateway.model.stall();
    let mut program = clients
        .start(language, &key, "stream", "ping five")
        .unwrap();
    let first = program.next().await.unwrap().unwrap();
    assert!(first["piece"].is_string(), "{first}");
    ecto.done(&["token", "--regenerate"]).await.unwrap();
    let said = program.rest().await.unwrap();
    lab.gateway.model.resume();
    let last = said.last().unwrap();
    println!("{language:?}, its key taken away in a stream: {last}");
    assert!(
        last["error"].is_string(),
        "it took the cut stream for a whole one: {said:?}"
    );
    assert!(
        said.iter().all(|line| line.get("finish_reason").is_none()),
        "{said:?}"
    );
    assert_ne!(ecto.key().await.unwrap(), key);
    let said = clients.run(language, &key, "chat", "ping").await.unwrap();
    assert_eq!(said[0]["is_authentication_error"], true, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_work_and_say_what_is_wrong() {
    let lab = Lab::start().await.unwrap();
    let Some(clients) = Clients::ready(&lab).await.unwrap() else {
        return;
    };
    let ecto = Ecto::new(&lab).unwrap();
    let mut host = ecto.connect(&[]).await.unwrap();
    for language in [Language::Python, Language::JavaScript] {
        let key = ecto.key().await.unwrap();
        works(&clients, language, &key).await;
        tells_a_wrong_key(&clients, language).await;
        notices_a_key_taken_away(&clients, language, &lab, &ecto).await;
        // The other key works at once.
        let key = ecto.key().await.unwrap();
        let said = clients
            .run(language, &key, "chat", "ping six")
            .await
            .unwrap();
        assert_eq!(said.last(), Some(&json!({ "end": "whole" })), "{said:?}");
    }
    ecto.done(&["disconnect"]).await.unwrap();
    assert_eq!(host.ended().await.unwrap(), Some(0));
}
