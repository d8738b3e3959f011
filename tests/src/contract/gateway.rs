//! What Ecto relies on at the OpenClaw gateway.
//!
//! Its checks run one after the other on one gateway, because the real one takes long to start; each leaves it as it was.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a check fails by panicking"
)]

mod configuration;
mod routes;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use reqwest::Response;
use serde_json::Value;

use crate::lab::GatewayClient;

pub use configuration::*;
pub use routes::*;

/// How long a change may take until it is in effect.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

/// How often is asked whether it is.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// Makes a test of every check of this module, against what the function starts: a ready gateway whose two HTTP endpoints
/// are on, with token authentication.
#[macro_export]
macro_rules! gateway_contract {
    ($start:path) => {
        #[tokio::test]
        async fn the_gateway_keeps_the_contract() {
            let world = $start().await;
            $crate::contract::gateway::all(&world).await;
        }
    };
}

/// A gateway and where it is.
#[async_trait]
pub trait GatewayUnderTest: Send + Sync {
    /// Port that it listens on.
    fn port(&self) -> u16;
    /// Its token.
    fn token(&self) -> String;
    /// Its configuration file.
    fn config_path(&self) -> PathBuf;
    /// A client on this machine.
    fn client(&self) -> GatewayClient;
    /// Has the model fall silent in the middle of an answer.
    fn stall(&self);
    /// Has the model answer the next question again.
    fn resume(&self);
}

/// Runs every check in turn and says which one it is at.
pub async fn all(world: &dyn GatewayUnderTest) {
    macro_rules! run {
        ($($check:ident),+ $(,)?) => {
            $(
                let started = Instant::now();
                $check(world).await;
                crate::lab::say(&format!("{}: {:.1?}", stringify!($check), started.elapsed()));
            )+
        };
    }
    run!(
        readiness_needs_no_token,
        each_route_answers_as_the_table_says,
        unknown_pages_are_the_control_page_to_everyone,
        proxied_requests_are_refused,
        a_completion_is_answered_whole_and_in_parts,
        a_response_is_answered_whole_and_in_parts,
        a_socket_begins_with_a_challenge,
        a_wrong_token_is_turned_away,
        the_configuration_is_shown_without_its_secrets,
        a_patch_applies_at_once,
        a_patch_needs_the_hash_of_what_it_changes,
        an_unknown_key_is_refused,
        a_lookup_tells_what_a_change_costs,
        an_edit_of_the_file_applies_at_once,
        a_broken_edit_changes_nothing,
        a_new_token_replaces_the_old,
        a_restart_closes_the_socket_and_comes_back,
        a_restart_waits_for_who_is_being_answered,
    );
}

async fn status(world: &dyn GatewayUnderTest, path: &str, token: Option<&str>) -> u16 {
    let response = world.client().get(path, token).await.unwrap();
    response.status().as_u16()
}

async fn json(response: Response) -> Value {
    response.json().await.unwrap()
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < CHANGE_LIMIT, "in vain: {what}");
        tokio::time::sleep(ASK_EVERY).await;
    }
}
