// Made from the types in Rust; made anew with
// UPDATE=1 cargo test -p ecto-host --features typescript --test bindings

export type Activity = { 
/**
 * Requests that were answered by the gateway.
 */
passed: number, 
/**
 * Requests that the guard refused.
 */
refused: number, 
/**
 * Requests in flight.
 */
in_flight: number, 
/**
 * The last request.
 */
last: RequestLine | null, };

export type AgentId = string;

export type AtSleep = "stay" | "close";

export type Cause = { "code": "tailscale_to_download" } | { "code": "tailscale_missing", 
/**
 * What to type.
 */
command: string, } | { "code": "install_failed", 
/**
 * The last thing the installer said.
 */
detail: ForeignText, } | { "code": "administrator_cancelled" } | { "code": "administrator_needed", 
/**
 * What to type.
 */
command: string, } | { "code": "tailscale_not_started", 
/**
 * What it said.
 */
detail: ForeignText, } | { "code": "tailscale_unreachable", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "tailscale_lost" } | { "code": "tailscale_denied", 
/**
 * What to type.
 */
command: string, } | { "code": "tailscale_broken", 
/**
 * Which.
 */
version: ForeignText, } | { "code": "tailscale_too_old", 
/**
 * Which.
 */
version: ForeignText, } | { "code": "tailscale_other_user" } | { "code": "sign_in_timed_out" } | { "code": "sign_in_failed", 
/**
 * What it said.
 */
detail: ForeignText, } | { "code": "machine_not_approved", 
/**
 * Where it is done.
 */
link: Link | null, } | { "code": "funnel_not_allowed", 
/**
 * What Tailscale said.
 */
detail: ForeignText, 
/**
 * Where it is done.
 */
link: Link | null, } | { "code": "shields_up" } | { "code": "no_host_name" } | { "code": "ports_taken" } | { "code": "serve_config_contended" } | { "code": "claim_refused", 
/**
 * What it said.
 */
detail: ForeignText, } | { "code": "claim_lost" } | { "code": "host_renamed" } | { "code": "could_not_close", 
/**
 * What happened.
 */
detail: ForeignText, 
/**
 * Which tailscaled holds it, where that is known: Ecto's own ends with Ecto.
 */
node: NodeKind | null, } | { "code": "openclaw_missing" } | { "code": "config_unusable", 
/**
 * Which file.
 */
path: string, } & ({ "problem": "unreadable", 
/**
 * What the system said.
 */
detail: ForeignText, } | { "problem": "not_text" } | { "problem": "syntax", 
/**
 * What the parser said.
 */
detail: ForeignText, } | { "problem": "not_an_object", 
/**
 * Dotted name of the part; empty for the whole file.
 */
key: string, } | { "problem": "too_large" } | { "problem": "duplicate_key", 
/**
 * Dotted name.
 */
key: string, } | { "problem": "included", 
/**
 * Dotted name of the part.
 */
key: string, } | { "problem": "wrong_type", 
/**
 * Dotted name.
 */
key: string, }) | { "code": "config_not_writable", 
/**
 * Which file.
 */
path: string, 
/**
 * What the system said.
 */
detail: ForeignText, } | { "code": "config_managed", 
/**
 * By what: the name of the setting.
 */
by: string, } | { "code": "config_contended", 
/**
 * Which file.
 */
path: string, } | { "code": "config_rejected", 
/**
 * What it said.
 */
detail: ForeignText, } | { "code": "disk_full", 
/**
 * Which file could not be written.
 */
path: string, } | { "code": "gateway_mode", 
/**
 * `gateway.mode`.
 */
mode: ForeignText, } | { "code": "gateway_bind", 
/**
 * `gateway.bind`.
 */
bind: ForeignText, } | { "code": "gateway_auth", 
/**
 * `gateway.auth.mode`.
 */
mode: ForeignText, } | { "code": "gateway_tailscale", 
/**
 * `gateway.tailscale.mode`.
 */
mode: ForeignText, } | { "code": "hooks_token_shared" } | { "code": "token_unresolvable", 
/**
 * Which: the name of the variable or provider, never a value.
 */
reference: ForeignText, } | { "code": "gateway_not_started", 
/**
 * What was said.
 */
detail: ForeignText, 
/**
 * Where its log is.
 */
log: string | null, } | { "code": "gateway_restart_deferred" } | { "code": "gateway_not_ready", 
/**
 * Where its log is.
 */
log: string | null, } | { "code": "gateway_not_answering" } | { "code": "gateway_stays_away" } | { "code": "gateway_port_taken", 
/**
 * Which port.
 */
port: number, } | { "code": "gateway_token_refused" } | { "code": "gateway_open" } | { "code": "gateway_rejects_proxy" } | { "code": "gateway_locked_out", 
/**
 * How many seconds it says to wait.
 */
seconds: number, } | { "code": "gateway_endpoint_missing", 
/**
 * Which.
 */
route: string, } | { "code": "gateway_unexpected", 
/**
 * What.
 */
detail: ForeignText, } | { "code": "guard_full" } | { "code": "guard_failed", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "proof_failed", 
/**
 * What was asked, in words.
 */
question: string, 
/**
 * The status that was expected.
 */
expected: string, 
/**
 * The status that came.
 */
got: number, } | { "code": "lock_unproven" } | { "code": "vault_denied" } | { "code": "vault_unreachable", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "vault_damaged", 
/**
 * What is wrong.
 */
detail: ForeignText, } | { "code": "key_not_found", 
/**
 * The name.
 */
name: KeyName, } | { "code": "key_not_revoked", 
/**
 * The name.
 */
name: KeyName, 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "key_name_taken", 
/**
 * The name.
 */
name: KeyName, } | { "code": "key_expired", 
/**
 * The name.
 */
name: KeyName, } | { "code": "agent_unknown", 
/**
 * Which.
 */
agent: AgentId, 
/**
 * Those that it has.
 */
known: Array<AgentId>, } | { "code": "agent_with_hooks" } | { "code": "too_many_keys", 
/**
 * How many.
 */
limit: number, } | { "code": "default_key_stays" } | { "code": "open_without_key" } | { "code": "wanted_not_stored", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "offer_not_stored", 
/**
 * Where.
 */
path: string, 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "route_always_offered", 
/**
 * Which.
 */
route: Route, } | { "code": "too_many_origins", 
/**
 * How many.
 */
limit: number, } | { "code": "private_not_stored", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "step_timed_out", 
/**
 * Which.
 */
step: Step, } | { "code": "step_without_effect", 
/**
 * Which.
 */
step: Step, } | { "code": "broken_off" } | { "code": "internal", 
/**
 * What.
 */
detail: ForeignText, };

export type ClientAccess = { 
/**
 * The edge, in place of every public address.
 */
edge: string, 
/**
 * The file with the root certificate to trust.
 */
root_certificate: string, };

export type Closed = "yes" | "unconfirmed";

export type Exposure = { "state": "private" } | { "state": "preparing", 
/**
 * What is being done.
 */
step: Step, 
/**
 * Since when.
 */
since: string, 
/**
 * What it waits for, where it waits.
 */
waiting: Waiting | null, 
/**
 * The last line of live progress.
 */
progress: ForeignText | null, } | { "state": "public", 
/**
 * Where.
 */
address: PublicAddress, 
/**
 * Since when.
 */
since: string, 
/**
 * When it closes by itself.
 */
until: string | null, 
/**
 * What the check from outside says.
 */
reach: Reach, 
/**
 * Why key holders are told to come back later, while they are: the gateway is away or being proven anew.
 */
held: Cause | null, } | { "state": "closing" } | { "state": "blocked", 
/**
 * Why.
 */
cause: Cause, 
/**
 * Whether the door is known to be closed.
 */
closed: Closed, };

export type ForeignText = string;

export type FunnelPermission = "allowed" | "missing";

export type FunnelPort = 443 | 8443 | 10000;

export type GatewayFingerprint = string;

export type GatewayView = { "gateway": "missing" } | { "gateway": "refused", 
/**
 * Why.
 */
cause: Cause, } | { "gateway": "needs_set_up", 
/**
 * The file that configures it.
 */
config: string, 
/**
 * Dotted names of the keys that would change.
 */
keys: Array<string>, 
/**
 * Whether it runs now.
 */
running: boolean, } | { "gateway": "not_running", 
/**
 * The file that configures it.
 */
config: string, } | { "gateway": "starting", 
/**
 * The file that configures it.
 */
config: string, } | { "gateway": "needs_restart", 
/**
 * The file that configures it.
 */
config: string, } | { "gateway": "ready" } & ReadyGateway;

export type HostName = string;

export type Installer = { "installer": "homebrew" } | { "installer": "download" } | { "installer": "person", 
/**
 * What to type.
 */
command: string, };

export type JourneyStep = { 
/**
 * Which.
 */
step: Step, 
/**
 * How far it is.
 */
progress: StepProgress, };

export type KeyDay = { 
/**
 * Its name; `None` for everybody without a known key.
 */
key: string | null, 
/**
 * How many requests.
 */
requests: number, 
/**
 * How many of them were answered with a status of 400 or above.
 */
failed: number, 
/**
 * Bytes of the answers' bodies.
 */
bytes: number, 
/**
 * When the last one came.
 */
last: string, 
/**
 * Where from, as tailscaled told it.
 */
caller: ForeignText, };

export type KeyGrant = { 
/**
 * What may be asked for. Empty means nothing.
 */
routes: Array<Route>, 
/**
 * The only agent that is reached; any where there is none.
 */
agent: AgentId | null, 
/**
 * How many requests, and over which time they come back.
 */
rate: Rate | null, 
/**
 * The most requests at once.
 */
concurrent: number | null, 
/**
 * The moment from which it is no longer good.
 */
expires: string | null, 
/**
 * The addresses from which it may be used; any where there are none.
 */
from: Array<string>, };

export type KeyHint = { 
/**
 * Its name.
 */
name: KeyName, 
/**
 * Its prefix and last four characters.
 */
hint: string, };

export type KeyName = string;

export type KeyState = "good" | "expired";

export type KeyView = { 
/**
 * Its name.
 */
name: KeyName, 
/**
 * Its prefix and last four characters.
 */
hint: string, 
/**
 * What its holder may do.
 */
grant: KeyGrant, 
/**
 * The same in words, but for the end.
 */
summary: string, 
/**
 * When it was made or last rotated, where that is known.
 */
made: string | null, 
/**
 * When it was last used, where that is known.
 */
last_used: string | null, 
/**
 * Until when the key before the last rotation is good, while it is.
 */
earlier_until: string | null, 
/**
 * Whether it is good.
 */
state: KeyState, };

export type Link = string;

export type Message = { 
/**
 * What happened.
 */
what: string, 
/**
 * What to do next; `None` where there is nothing to do.
 */
next: string | null, };

export type NodeChoice = "auto" | "own" | "system";

export type NodeKind = "own" | "system" | "app_store" | "standalone";

export type Notice = { "notice": "wanted_unreadable" } | { "notice": "deadline_passed" } | { "notice": "ended_by_sleep" } | { "notice": "closed_unexpectedly", 
/**
 * Why.
 */
cause: Cause, 
/**
 * When.
 */
at: string, };

export type Offer = { 
/**
 * The optional routes that are allowed.
 */
routes: Array<Route>, 
/**
 * The web pages whose programs may call.
 */
origins: Array<Origin>, };

export type OpenFor = 15 | 60 | 480 | null;

export type Origin = string;

export type Period = "second" | "minute" | "hour" | "day";

export type Preferences = { 
/**
 * Which tailscaled is to hold the door.
 */
node: NodeChoice, 
/**
 * What happens when the machine goes to sleep.
 */
at_sleep: AtSleep, 
/**
 * Whether the desktop is told what matters.
 */
notifications: boolean, 
/**
 * For how long the door is opened.
 */
minutes: OpenFor, 
/**
 * How large the text of the popover is.
 */
text: TextSize, 
/**
 * Whether the app's control socket answers `GET /metrics`. Chosen in the file alone.
 */
metrics: boolean, };

export type PublicAddress = { 
/**
 * The node's name.
 */
host: HostName, 
/**
 * The port.
 */
port: FunnelPort, };

export type Rate = { 
/**
 * How many requests may be used in one moment.
 */
count: number, 
/**
 * Over which time all of them come back, each after its part of it.
 */
per: Period, };

export type Reach = { "reach": "unchecked" } | { "reach": "reachable", 
/**
 * When it was seen.
 */
at: string, } | { "reach": "unreachable", 
/**
 * Why.
 */
cause: ReachCause, 
/**
 * When it was seen.
 */
at: string, };

export type ReachCause = { "code": "offline", 
/**
 * What happened.
 */
detail: ForeignText, } | { "code": "not_published" } | { "code": "private_address", 
/**
 * Which.
 */
address: string, } | { "code": "not_answering" } | { "code": "relay_refuses" } | { "code": "certificate_pending" } | { "code": "certificate_invalid", 
/**
 * What is wrong.
 */
detail: ForeignText, } | { "code": "not_the_guard", 
/**
 * The status that came.
 */
status: number, } | { "code": "guard_away" } | { "code": "guard_full" } | { "code": "gateway_away" } | { "code": "key_refused" } | { "code": "locked_out" };

export type ReadyGateway = { 
/**
 * Where it listens, on loopback.
 */
address: string, 
/**
 * What it says of its version, where it says one.
 */
version: ForeignText | null, 
/**
 * The file that configures it.
 */
config: string, 
/**
 * Whether its hooks are enabled, with a token and at a path at which the guard can reach them.
 */
hooks: boolean, 
/**
 * Changes whenever a proof would have to be made anew.
 */
fingerprint: GatewayFingerprint, };

export type Remedy = "wait" | "act" | "ask";

export type Report = { 
/**
 * See [`SCHEMA`].
 */
schema: number, 
/**
 * Ecto's version.
 */
version: string, 
/**
 * In which world.
 */
world: WorldKind, 
/**
 * The process that holds the door; `None` where no host runs, which also means that nothing is open.
 */
host: number | null, 
/**
 * What is, in a sentence.
 */
message: Message, 
/**
 * What the cause asks for, while it is Blocked, or Public and nobody gets through.
 */
trouble?: Trouble, 
/**
 * What happened, in a sentence.
 */
notice_message: Message | null, 
/**
 * Whether the check from outside fails only because the first minutes are not over.
 */
settling: boolean, 
/**
 * Where a client sends a chat completion, while it is Public.
 */
url: string | null, 
/**
 * The base address for client libraries, while it is Public.
 */
base_url: string | null, 
/**
 * How a client gets there, in the lab and the sandbox.
 */
client_access?: ClientAccess, 
/**
 * What each key did today; those without a known key last.
 */
today: Array<KeyDay>, 
/**
 * Those who try keys right now, if there are many.
 */
strangers: Strangers | null, 
/**
 * What is offered beside what always is, because somebody allowed it.
 */
offer: Offer, 
/**
 * What the person asked for.
 */
wanted: Wanted, 
/**
 * What is.
 */
exposure: Exposure, 
/**
 * The steps of the journey that is under way or was last made, in order.
 */
journey: Array<JourneyStep>, 
/**
 * The node, as last seen.
 */
tailnet: TailnetView | null, 
/**
 * The gateway, as last seen.
 */
gateway: GatewayView | null, 
/**
 * The key that clients present, as far as it may be shown.
 */
key: KeyHint | null, 
/**
 * All keys, in the order in which they were made; empty until they were first read.
 */
keys: Array<KeyView>, 
/**
 * Where the secrets are.
 */
vault: VaultPlace, 
/**
 * What went through the guard.
 */
activity: Activity, 
/**
 * Something that happened and that a person should hear of.
 */
notice: Notice | null, };

export type RequestLine = { 
/**
 * When it came.
 */
at: string, 
/**
 * Name of the key, where one was given and known.
 */
key: string | null, 
/**
 * The caller, as tailscaled told it, or words in place of it.
 */
address: ForeignText, 
/**
 * The route, as the guard knows it, or what was asked for.
 */
route: ForeignText, 
/**
 * The status that was answered.
 */
status: number, 
/**
 * Bytes of the answer's body.
 */
bytes: number, 
/**
 * How long it took.
 */
milliseconds: number, };

export type RestoreOutcome = "restored" | "left_alone";

export type RestoredKey = { 
/**
 * Dotted name.
 */
key: string, 
/**
 * What became of it.
 */
outcome: RestoreOutcome, };

export type Route = "chat" | "responses" | "models" | "embeddings" | "hooks";

export type RunningNode = { 
/**
 * Which tailscaled it is.
 */
kind: NodeKind, 
/**
 * Its name in the tailnet.
 */
host: HostName, 
/**
 * What it says of its version.
 */
version: ForeignText, 
/**
 * Whether Funnel is allowed.
 */
funnel: FunnelPermission, };

export type Severity = "quiet" | "problem" | "danger";

export type Step = "install_tailscale" | "start_tailscale" | "sign_in" | "allow_funnel" | "set_up_open_claw" | "start_open_claw" | "start_guard" | "prove" | "open" | "check_outside";

export type StepProgress = { "progress": "done", 
/**
 * How long it took.
 */
milliseconds: number, } | { "progress": "now" } | { "progress": "ahead" } | { "progress": "failed" };

export type Strangers = { 
/**
 * Since when.
 */
since: string, 
/**
 * How many requests without a key or with a wrong one.
 */
attempts: number, 
/**
 * From how many addresses, at most a thousand.
 */
addresses: number, };

export type TailnetView = { "tailnet": "missing", 
/**
 * How it can come.
 */
installer: Installer, } | { "tailnet": "not_running", 
/**
 * Which one would be started.
 */
kind: NodeKind, } | { "tailnet": "starting", 
/**
 * Which tailscaled it is.
 */
kind: NodeKind, } | { "tailnet": "needs_sign_in", 
/**
 * Which tailscaled it is.
 */
kind: NodeKind, } | { "tailnet": "stopped", 
/**
 * Which tailscaled it is.
 */
kind: NodeKind, } | { "tailnet": "needs_approval", 
/**
 * Which tailscaled it is.
 */
kind: NodeKind, } | { "tailnet": "running" } & RunningNode | { "tailnet": "refused", 
/**
 * Why.
 */
cause: Cause, };

export type TextSize = "usual" | "large" | "larger" | "largest";

export type Trouble = { 
/**
 * How bad it is.
 */
severity: Severity, 
/**
 * What brings Ecto on.
 */
remedy: Remedy, };

export type VaultPlace = { "kind": "keychain" } | { "kind": "secret_service" } | { "kind": "file", 
/**
 * Which.
 */
path: string, } | { "kind": "memory" };

export type Waiting = { "for": "sign_in", 
/**
 * Where.
 */
link: Link, } | { "for": "approval", 
/**
 * Where.
 */
link: Link, } | { "for": "funnel_permission", 
/**
 * Where.
 */
link: Link, } | { "for": "administrator_prompt" } | { "for": "tailscale" } | { "for": "gateway" };

export type Wanted = { "wanted": "private" } | { "wanted": "public", 
/**
 * When it ends by itself; `None` means until somebody says otherwise.
 */
until: string | null, 
/**
 * Which tailscaled is to hold the claim.
 */
node: NodeChoice, };

export type WorldKind = "real" | "lab" | "sandbox";
