//! OpenAI's own client libraries from outside, through the real `ecto` host and the guard, to the real gateway.

#![expect(clippy::unwrap_used, reason = "what a test leans on may end it")]
#![expect(
    clippy::print_stdout,
    reason = "how the libraries put it is worth reading"
)]

use ecto_tests::command::{Ecto, Foreground};
use ecto_tests::lab::{Client, Clients, Lab, Language};
use serde_json::{Value, json};

/// Well-formed in no way that matters: nobody ever had it.
const WRONG: &str = "ecto_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"; // not a secret

/// How often a key may be used that is used too often: one more every 15 seconds, which is longer than these few take.
const RATE: (&str, usize) = ("4/min", 4);

const LANGUAGES: [Language; 2] = [Language::Python, Language::JavaScript];

/// The lab with an open door, and the libraries outside it.
struct Scene<'a> {
    lab: &'a Lab,
    ecto: &'a Ecto,
    clients: &'a Clients,
}

impl Scene<'_> {
    /// The key that is there from the start.
    async fn client(&self, language: Language) -> Client<'_> {
        let key = self.ecto.key().await.unwrap();
        self.clients.client(language, &key)
    }

    /// A key of its own, made with these options.
    async fn client_named(&self, language: Language, name: &str, options: &[&str]) -> Client<'_> {
        let mut command = vec!["key", "add", name, "--json"];
        command.extend(options);
        let made = self.ecto.done(&command).await.unwrap().json().unwrap();
        self.clients
            .client(language, made["secret"].as_str().unwrap())
    }
}

/// Everything that was raised, for a table at the end.
#[derive(Default)]
struct Raised(Vec<[String; 7]>);

impl Raised {
    /// Takes down the error that a program ended with, after checking what it is.
    fn expect(
        &mut self,
        language: Language,
        when: &str,
        said: &[Value],
        [class, status, code]: [&Value; 3],
    ) {
        let error = said.last().unwrap();
        let classes: Vec<&str> = error["error"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let word = |name: &str| {
            let value = &error[name];
            match value.as_str() {
                Some(text) => text.to_owned(),
                None if value.is_null() => "none".to_owned(),
                None => value.to_string(),
            }
        };
        self.0.push([
            format!("{language:?}"),
            when.to_owned(),
            classes.join(" < "),
            word("status"),
            word("code"),
            word("retry_after"),
            word("message"),
        ]);
        assert_eq!(
            [&error["error"][0], &error["status"], &error["code"]],
            [class, status, code],
            "{language:?}, {when}: {said:?}"
        );
    }

    fn print(mut self) {
        self.0.dedup();
        println!("| library | when | raised | status | code | Retry-After | message |");
        println!("|---|---|---|---|---|---|---|");
        for row in &self.0 {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn is_whole(said: &[Value]) -> bool {
    said.last() == Some(&json!({ "end": "whole" }))
}

/// The pieces of a streamed answer, put together.
fn text_of(said: &[Value]) -> String {
    said.iter()
        .filter_map(|line| line["piece"].as_str())
        .collect()
}

async fn works(client: &Client<'_>) {
    let run = async |act, text| client.run(act, text).await.unwrap();

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
async fn raises_a_wrong_key(scene: &Scene<'_>, language: Language, raised: &mut Raised) {
    let client = scene.clients.client(language, WRONG);
    for act in ["chat", "stream", "responses", "models"] {
        let said = client.run(act, "ping").await.unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        raised.expect(
            language,
            "wrong key",
            &said,
            [
                &json!("AuthenticationError"),
                &json!(401),
                &json!("invalid_api_key"),
            ],
        );
        let message = said[0]["message"].as_str().unwrap();
        assert!(message.contains("The key is not known here"), "{message}");
    }
}

async fn raises_a_route_that_is_not_the_keys(
    scene: &Scene<'_>,
    language: Language,
    raised: &mut Raised,
) {
    let name = format!("narrow-{language:?}");
    let client = scene
        .client_named(language, &name, &["--routes", "models"])
        .await;
    assert!(is_whole(&client.run("models", "").await.unwrap()));
    let said = client.run("chat", "ping").await.unwrap();
    raised.expect(
        language,
        "route not allowed",
        &said,
        [
            &json!("PermissionDeniedError"),
            &json!(403),
            &json!("route_not_allowed"),
        ],
    );
}

/// A key that is used too often: raised where the program wants that at once; else the library waits as long as it is
/// told, and is answered.
async fn waits_as_long_as_it_is_told(scene: &Scene<'_>, language: Language, raised: &mut Raised) {
    let name = format!("often-{language:?}");
    let client = scene
        .client_named(language, &name, &["--rate", RATE.0])
        .await;
    let said = client.run("too-often", "").await.unwrap();
    raised.expect(
        language,
        "used too often",
        &said[..1],
        [
            &json!("RateLimitError"),
            &json!(429),
            &json!("key_rate_reached"),
        ],
    );
    let told: f64 = said[0]["retry_after"].as_str().unwrap().parse().unwrap();
    let waited = said[1]["waited"].as_f64().unwrap();
    println!(
        "{language:?} was told to wait {told} s, waited {waited:.2} s by itself, and was answered"
    );
    // It is told once more, a moment later, and in whole seconds.
    assert!(waited >= told - 1.0, "{said:?}");
    assert!(is_whole(&said), "{said:?}");

    let record = scene
        .ecto
        .done(&["requests", "--json", "--key", &name])
        .await
        .unwrap()
        .stdout;
    let statuses: Vec<u64> = record
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone())
        .map(|status| status.as_u64().unwrap())
        .collect();
    // On a slow machine one more is good meanwhile.
    let refused = statuses.iter().position(|status| *status == 429);
    let (good, rest) = statuses.split_at(refused.unwrap());
    assert!(
        good.len() >= RATE.1 && good.iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert_eq!(rest, [429, 429, 200], "{statuses:?}");
}

/// A key that is taken away in the middle of a stream ends it with an error, not as if it were whole; the stream of
/// another key goes on.
async fn raises_a_key_taken_away(scene: &Scene<'_>, language: Language, raised: &mut Raised) {
    let name = format!("laptop-{language:?}");
    let client = scene.client_named(language, &name, &[]).await;
    let other = scene.client(language).await;
    scene.lab.gateway.model.stall();
    let mut program = client.start("stream", "ping five").unwrap();
    let mut stays = other.start("stream", "ping six").unwrap();
    for program in [&mut program, &mut stays] {
        let first = program.next().await.unwrap().unwrap();
        assert!(first["piece"].is_string(), "{first}");
    }
    let revoked = scene.ecto.done(&["key", "revoke", &name, "--json"]).await;
    assert_eq!(revoked.unwrap().json().unwrap()["revoked"], json!(name));
    let said = program.rest().await.unwrap();
    scene.lab.gateway.model.resume();
    let class = match language {
        Language::Python => "APIConnectionError",
        Language::JavaScript => "TypeError",
    };
    raised.expect(
        language,
        "key revoked in a stream",
        &said,
        [&json!(class), &Value::Null, &Value::Null],
    );
    assert!(
        said.iter().all(|line| line.get("finish_reason").is_none()),
        "it took the cut stream for a whole one: {said:?}"
    );
    let said = client.run("chat", "ping").await.unwrap();
    raised.expect(
        language,
        "key revoked before",
        &said,
        [
            &json!("AuthenticationError"),
            &json!(401),
            &json!("invalid_api_key"),
        ],
    );
    let rest = stays.rest().await.unwrap();
    assert!(is_whole(&rest), "another's stream was cut: {rest:?}");
}

async fn raises_a_gateway_that_is_away(scene: &Scene<'_>, language: Language, raised: &mut Raised) {
    let client = scene.client(language).await.without_retries();
    let said = client.run("chat", "ping").await.unwrap();
    raised.expect(
        language,
        "gateway away",
        &said,
        [&json!("InternalServerError"), &json!(503), &json!("held")],
    );
    assert!(said[0]["retry_after"].is_string(), "{said:?}");
}

async fn disconnect(ecto: &Ecto, mut host: Foreground) {
    ecto.done(&["disconnect"]).await.unwrap();
    assert_eq!(host.ended().await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_work_and_raise_what_is_wrong() {
    let mut lab = Lab::start().await.unwrap();
    let Some(clients) = Clients::ready(&lab).await.unwrap() else {
        return;
    };
    let ecto = Ecto::new(&lab).unwrap();
    let host = ecto.connect(&[]).await.unwrap();
    let mut raised = Raised::default();
    let scene = Scene {
        lab: &lab,
        ecto: &ecto,
        clients: &clients,
    };
    for language in LANGUAGES {
        works(&scene.client(language).await).await;
        raises_a_wrong_key(&scene, language, &mut raised).await;
        raises_a_route_that_is_not_the_keys(&scene, language, &mut raised).await;
        waits_as_long_as_it_is_told(&scene, language, &mut raised).await;
        raises_a_key_taken_away(&scene, language, &mut raised).await;
    }

    lab.gateway.stop().await.unwrap();
    ecto.wait_for_status(|status| status["exposure"]["held"].is_object())
        .await
        .unwrap();
    let scene = Scene {
        lab: &lab,
        ecto: &ecto,
        clients: &clients,
    };
    for language in LANGUAGES {
        raises_a_gateway_that_is_away(&scene, language, &mut raised).await;
    }
    raised.print();

    // Back by itself.
    lab.gateway.start_again().await.unwrap();
    ecto.wait_for_status(|status| status["exposure"]["held"].is_null())
        .await
        .unwrap();
    for language in LANGUAGES {
        let client = clients.client(language, &ecto.key().await.unwrap());
        assert!(is_whole(&client.run("chat", "ping seven").await.unwrap()));
    }
    disconnect(&ecto, host).await;
}
