//! What Ecto relies on at tailscaled, and at Funnel's public side in front of it.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a check fails by panicking"
)]

mod door;
mod public;
mod sign_in;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::lab::{Bus, Capabilities, LocalApi, Visitor};

pub use door::*;
pub use public::*;
pub use sign_in::*;

/// Makes a test of every check of this module, against what the function starts: a node that is signed out, and may do
/// nothing when it signs in.
#[macro_export]
macro_rules! tailnet_contract {
    ($start:path) => {
        $crate::each_check!(
            $start,
            tailnet,
            [
                status_tells_each_state,
                the_bus_begins_with_what_the_mask_asks_for,
                a_link_signs_the_node_in,
                a_machine_may_wait_for_an_administrator,
                an_expired_key_asks_for_a_new_sign_in,
                signing_out_ends_the_claim,
                preferences_change_one_by_one,
                allowing_funnel_is_offered_until_it_is_done,
                only_local_programs_are_answered,
                the_serve_configuration_is_guarded_by_its_tag,
                what_is_no_serve_configuration_is_refused,
                a_foreground_claim_ends_with_its_session,
                a_claim_of_a_session_that_is_not_there_vanishes,
                a_taken_port_is_refused,
                shields_keep_the_door_shut,
                a_certificate_is_given_for_the_own_name_alone,
                nothing_claimed_means_nobody_gets_in,
                a_public_request_arrives_with_the_daemons_headers,
                paths_lead_where_their_mount_says,
                each_public_port_has_its_own_claim,
                a_stream_is_passed_on_as_it_comes,
                a_dead_program_is_a_bad_gateway,
            ]
        );
    };
}

/// A node and the world around it.
#[async_trait]
pub trait TailnetUnderTest: Send + Sync {
    /// The node's LocalAPI.
    fn localapi(&self) -> LocalApi;
    /// The node's public name, once it signed in.
    fn host(&self) -> String;
    /// Somebody who visits the node on a public port.
    fn visitor(&self, port: u16) -> Visitor;
    /// The person opens the sign-in link.
    async fn approve(&self, link: &str);
    /// New machines wait for an administrator.
    async fn require_machine_approval(&self);
    /// The administrator lets this machine in.
    async fn approve_machine(&self);
    /// The administrator grants capabilities to this node.
    async fn grant(&self, capabilities: Capabilities);
    /// The node's key expires.
    async fn expire(&self);
}

/// Initial state, preferences and health: what Ecto watches.
const MASK: u32 = 2 | 4 | 128;

async fn begin_sign_in(localapi: &LocalApi) {
    let mut preferences = localapi.get("prefs").await.unwrap().json().unwrap();
    preferences["WantRunning"] = json!(true);
    preferences["LoggedOut"] = json!(false);
    let options = json!({ "UpdatePrefs": preferences });
    assert_eq!(localapi.post("start", &options).await.unwrap().status, 204);
    let answer = localapi.post("login-interactive", &Value::Null).await;
    assert_eq!(answer.unwrap().status, 204);
}

async fn link(bus: &mut Bus) -> String {
    bus.find(|message| message["BrowseToURL"].as_str().map(str::to_owned))
        .await
        .unwrap()
}

async fn state(bus: &mut Bus, number: u64) {
    bus.find(|message| (message["State"] == number).then_some(()))
        .await
        .unwrap();
}

/// Signs in and leaves a bus that saw it.
async fn signed_in(world: &dyn TailnetUnderTest) -> Bus {
    let localapi = world.localapi();
    let mut bus = localapi.watch(MASK).await.unwrap();
    begin_sign_in(&localapi).await;
    world.approve(&link(&mut bus).await).await;
    state(&mut bus, 6).await;
    bus
}

/// Signs in, is granted everything, and leaves a bus with its session.
async fn ready(world: &dyn TailnetUnderTest) -> (Bus, String) {
    world.grant(Capabilities::Full).await;
    let mut seen = signed_in(world).await;
    granted(world, &mut seen, "funnel").await;
    let mut bus = world.localapi().watch(MASK).await.unwrap();
    let session = bus.session().await.unwrap();
    (bus, session)
}

/// Waits until the node knows that it has the capability.
async fn granted(world: &dyn TailnetUnderTest, bus: &mut Bus, capability: &str) {
    loop {
        let status = world.localapi().status().await.unwrap();
        if status["Self"]["CapMap"].get(capability).is_some() {
            return;
        }
        bus.next().await.unwrap();
    }
}

/// A web server on a port, public, with these handlers.
fn web(host: &str, port: u16, handlers: &Value) -> Value {
    let door = format!("{host}:{port}");
    json!({
        "TCP": { port.to_string(): { "HTTPS": true } },
        "Web": { &door: { "Handlers": handlers } },
        "AllowFunnel": { &door: true },
    })
}

/// The same, tied to a bus session.
fn claim(session: &str, host: &str, port: u16, handlers: &Value) -> Value {
    json!({ "Foreground": { session: web(host, port, handlers) } })
}

/// Writes a serve configuration on top of what is there, and wants it taken.
async fn set(localapi: &LocalApi, config: &Value) {
    let (_, tag) = localapi.serve_config().await.unwrap();
    let answer = localapi.set_serve_config(config, &tag).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
