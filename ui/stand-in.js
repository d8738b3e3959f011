// @ts-check
// Stands in for the app in a plain browser: every state by its name (`?state=…`), and a switch that works.
// Names, addresses and keys are made up.

/** @import { AppView, NewKey, Refusal } from "./app-bindings.js" */
/** @import { Commands, Host } from "./commands.js" */
/** @import { Cause, Exposure, JourneyStep, KeyView, Report, RequestLine, Step } from "./bindings.js" */

const NOW = Date.parse("2026-11-22T12:00:00Z");
/** @param {number} seconds */
const at = (seconds) => new Date(NOW + 1000 * seconds).toISOString();

const HOST = "studio.tail5e3c7.ts.net";
const LINK = "https://login.tailscale.com/a/1b2c3d4e5f6a";
// A made-up key, not a secret.
const KEY = `ecto_${"Made-up-key_not-a-secret_".repeat(2).slice(0, 44)}a1b2`;

/** @type {Step[]} */
const STEPS = ["install_tailscale", "start_tailscale", "sign_in", "allow_funnel", "set_up_open_claw", "start_open_claw", "start_guard", "prove", "open", "check_outside"];
const TOOK = [41200, 2300, 18700, 9100, 400, 3200, 90, 220, 640, 1900];

/**
 * @param {number} now How many steps are done.
 * @param {boolean} [failed]
 * @returns {JourneyStep[]}
 */
function journey(now, failed = false) {
  return STEPS.map((step, index) => {
    if (index < now) return { step, progress: { progress: "done", milliseconds: TOOK[index] ?? 0 } };
    if (index > now) return { step, progress: { progress: "ahead" } };
    return { step, progress: { progress: failed ? "failed" : "now" } };
  });
}

/**
 * @param {string} name
 * @param {Partial<Omit<KeyView, "grant">> & { grant?: Partial<KeyView["grant"]> }} [more]
 * @returns {KeyView}
 */
function keyOf(name, { grant, ...more } = {}) {
  return {
    name,
    hint: "ecto_…a1b2",
    grant: { routes: ["chat", "responses", "models"], agent: null, rate: null, concurrent: null, expires: null, from: [], ...grant },
    summary: "chat, responses and models",
    made: at(-86400),
    last_used: null,
    earlier_until: null,
    state: "good",
    ...more,
  };
}

const KEYS = [
  keyOf("default", { last_used: at(-41) }),
  keyOf("Phone", { hint: "ecto_…7dKw", last_used: at(-7300), grant: { expires: at(29.5 * 86400) } }),
  keyOf("Notes on the web", {
    hint: "ecto_…Qm0x",
    summary: "chat and models; agent notes alone; 60 requests, which come back over a minute; 4 under way at once",
    grant: { routes: ["chat", "models"], agent: "notes", rate: { count: 60, per: "minute" }, concurrent: 4 },
    last_used: at(-3 * 86400),
    earlier_until: at(3100),
  }),
  keyOf("Workshop", { hint: "ecto_…c3Pz", summary: "chat", grant: { routes: ["chat"], expires: at(-3 * 86400) }, state: "expired" }),
];

/**
 * As Rust makes it of what was typed.
 * @param {NewKey} typed
 */
function keyMade({ name, agent, routes, days, per_minute, concurrent, from }) {
  const ranges = from.split(/[\s,]+/).filter(Boolean);
  const limits = [
    routes.length === 3 ? "chat, responses and models" : routes.join(" and "),
    agent && `agent ${agent} alone`,
    per_minute && `${per_minute} requests, which come back over a minute`,
    concurrent && `${concurrent} under way at once`,
    ranges.length > 0 && `from ${ranges.join(", ")}`,
  ];
  const rate = per_minute === null ? null : { count: per_minute, per: /** @type {const} */ ("minute") };
  const expires = days === null ? null : at(86400 * days);
  return keyOf(name.trim() || "Tablet", { hint: "ecto_…n3Wk", made: at(0), summary: limits.filter(Boolean).join("; "), grant: { routes, agent: agent || null, rate, concurrent, expires, from: ranges } });
}

/** @returns {AppView} */
function base() {
  return {
    report: {
      schema: 1,
      version: "0.1.0",
      world: "real",
      host: 4242,
      message: { what: "Private: nothing is reachable from the internet.", next: null },
      notice_message: null,
      settling: false,
      url: null,
      base_url: null,
      wanted: { wanted: "private" },
      exposure: { state: "private" },
      journey: [],
      tailnet: { tailnet: "running", kind: "own", host: HOST, version: "1.102.2", funnel: "allowed" },
      gateway: { gateway: "ready", address: "127.0.0.1:18789", version: "2026.8.1", config: "openclaw.json", hooks: true, fingerprint: "1" },
      key: { name: "default", hint: "ecto_…a1b2" },
      keys: KEYS,
      vault: { kind: "keychain" },
      activity: { passed: 0, refused: 0, in_flight: 0, last: null },
      notice: null,
      today: [],
      strangers: null,
      offer: { routes: [], origins: [] },
    },
    order: 0,
    preferences: { node: "auto", at_sleep: "close", notifications: true, minutes: 60, text: "usual", metrics: false },
    system: "mac",
    launch_at_login: "off",
    notifications: "shown",
    tray: true,
    sleep_is_told: true,
    refusal: null,
    settings_aside: null,
    vault_notices: [],
    link: null,
    command: null,
    starting: false,
    silent: false,
    first_run: false,
  };
}

/**
 * @param {Partial<Report>} report
 * @param {Partial<AppView>} [rest]
 * @returns {AppView}
 */
function make(report, rest = {}) {
  const view = base();
  return { ...view, ...rest, report: { ...view.report, ...report } };
}

/** @type {Report["wanted"]} */
const WANTED = { wanted: "public", until: null, node: "auto" };

/**
 * @param {number} done
 * @param {Partial<Extract<Exposure, { state: "preparing" }>>} more
 */
function preparing(done, more = {}) {
  const step = STEPS[done] ?? "open";
  const link = more.waiting && "link" in more.waiting ? more.waiting.link : null;
  return make({
    wanted: WANTED,
    exposure: { state: "preparing", step, since: at(-12), waiting: null, progress: null, ...more },
    journey: journey(done),
    message: { what: "Getting ready.", next: null },
  }, { link });
}

/**
 * @param {Partial<Extract<Exposure, { state: "public" }>>} more
 * @param {Partial<Report>} [report]
 */
function open(more = {}, report = {}) {
  return make({
    wanted: WANTED,
    exposure: { state: "public", address: { host: HOST, port: 443 }, since: at(-1290), until: null, reach: { reach: "reachable", at: at(-12) }, held: null, ...more },
    journey: journey(10),
    url: `https://${HOST}/v1/chat/completions`,
    base_url: `https://${HOST}/v1`,
    message: { what: `Public at https://${HOST}/v1/chat/completions, to holders of a key.`, next: null },
    activity: {
      passed: 128,
      refused: 3,
      in_flight: 1,
      last: { at: at(-41), key: "default", address: "203.0.113.7", route: "POST /v1/chat/completions", status: 200, bytes: 1804, milliseconds: 2210 },
    },
    today: [
      { key: "default", requests: 126, failed: 1, bytes: 1_284_300, last: at(-41), caller: "203.0.113.7" },
      { key: "Phone", requests: 2, failed: 0, bytes: 412, last: at(-3720), caller: "2001:db8::17" },
      { key: null, requests: 3, failed: 3, bytes: 501, last: at(-184), caller: "198.51.100.40" },
    ],
    ...report,
  });
}

/**
 * The last requests, which begin with the one that the report tells of.
 * @param {Report} report
 * @returns {RequestLine[]}
 */
function lastRequests({ activity: { last } }) {
  if (last === null) return [];
  /** @type {RequestLine[]} */
  const earlier = [
    { at: at(-3720), key: "Phone", address: "2001:db8::17", route: "GET /v1/models", status: 200, bytes: 412, milliseconds: 14 },
    { at: at(-184), key: null, address: "198.51.100.40", route: "GET /.env", status: 404, bytes: 167, milliseconds: 0 },
    { at: at(-120), key: null, address: "198.51.100.40", route: "POST /v1/chat/completions", status: 401, bytes: 167, milliseconds: 1 },
    { at: at(-75), key: "default", address: "203.0.113.7", route: "POST /v1/responses", status: 200, bytes: 90_412, milliseconds: 61_500 },
  ];
  return [...earlier, last];
}

/**
 * @param {Cause} cause
 * @param {NonNullable<Report["trouble"]>} trouble
 * @param {Report["message"]} message
 * @param {Partial<Pick<AppView, "link" | "command">> & { closed?: "yes" | "unconfirmed", wanted?: Report["wanted"] }} [more]
 */
function blocked(cause, trouble, message, { closed = "yes", wanted = WANTED, ...more } = {}) {
  return make({ wanted, exposure: { state: "blocked", cause, closed }, trouble, message, journey: journey(4, true) }, more);
}

const HOSTILE = `<img src=x onerror="window.reached=1"><b>bold</b> "quotes" 'single' &amp; \u202egnp.exe\u202c \u0000\u0007 ${"long".repeat(2500)}`;

/** Every state that the page can be in, by name. @type {Record<string, () => AppView>} */
export const states = {
  "first-run": () =>
    make(
      { tailnet: { tailnet: "missing", installer: { installer: "homebrew" } }, gateway: { gateway: "needs_set_up", config: "openclaw.json", keys: ["gateway.mode", "gateway.http.endpoints.chatCompletions.enabled"], running: true }, key: null },
      { first_run: true },
    ),
  "first-run-missing": () =>
    make(
      { tailnet: { tailnet: "missing", installer: { installer: "person", command: "sudo apt-get install tailscale" } }, gateway: { gateway: "missing" }, key: null },
      { first_run: true, system: "linux" },
    ),
  "first-run-download": () =>
    make({ tailnet: { tailnet: "missing", installer: { installer: "download" } }, gateway: { gateway: "missing" }, key: null }, { first_run: true }),
  starting: () => make({ host: null, tailnet: null, gateway: null, key: null }, { starting: true }),
  "host-silent": () => ({ ...open(), silent: true }),
  private: () => make({}),
  "private-notice": () =>
    make({
      notice: { notice: "deadline_passed" },
      notice_message: { what: "The time you had set is over, so the door is closed.", next: "Connect again to open it." },
    }),
  "private-slept": () =>
    make({
      notice: { notice: "ended_by_sleep" },
      notice_message: { what: "Public ended because this machine went to sleep.", next: "Connect again to open the door. Under \u201cAt sleep\u201d in the settings you can have it opened again at wake." },
    }),
  "private-settings-aside": () => make({}, { settings_aside: "~/Library/Application Support/Ecto/settings.json.bad" }),
  "private-keys-unread": () => make({ keys: [] }),
  "private-no-tray": () => make({ vault: { kind: "secret_service" } }, { tray: false, system: "linux", notifications: "unavailable" }),
  "private-refused": () => make({}, { launch_at_login: "refused", notifications: "refused" }),
  sandbox: () => make({ world: "sandbox", vault: { kind: "memory" } }),
  preparing: () => preparing(5, { waiting: { for: "gateway" } }),
  "preparing-progress": () => preparing(0, { progress: "==> Pouring tailscale--1.102.2.arm64_tahoe.bottle.tar.gz" }),
  "needs-sign-in": () => preparing(2, { waiting: { for: "sign_in", link: LINK } }),
  "needs-approval": () => preparing(2, { waiting: { for: "approval", link: "https://login.tailscale.com/admin/machines" } }),
  "needs-funnel": () => preparing(3, { waiting: { for: "funnel_permission", link: "https://login.tailscale.com/f/funnel?node=n1CNTRL" } }),
  "needs-administrator": () => preparing(1, { waiting: { for: "administrator_prompt" } }),
  public: () => open(),
  "public-unchecked": () => open({ since: at(-3), reach: { reach: "unchecked" } }, { activity: { passed: 0, refused: 0, in_flight: 0, last: null } }),
  "public-deadline": () => open({ until: at(3480) }, { wanted: { wanted: "public", until: at(3480), node: "auto" } }),
  "public-no-sleep": () => ({ ...open(), sleep_is_told: false }),
  "public-settling": () =>
    open(
      { since: at(-70), reach: { reach: "unreachable", cause: { code: "not_published" }, at: at(-65) } },
      { message: { what: `Public at https://${HOST}/v1/chat/completions, to holders of a key.`, next: "The address is not known to the internet yet; that can take some minutes after the first time. Ecto checks again by itself." }, settling: true },
    ),
  "public-unreachable": () =>
    open(
      { reach: { reach: "unreachable", cause: { code: "relay_refuses" }, at: at(-65) } },
      {
        message: {
          what: `Public at https://${HOST}/v1/chat/completions, to holders of a key.`,
          next: "Tailscale's relays take the connection and drop it, so Funnel is not in force for this machine. Ecto checks again by itself. If it stays so, disconnect, wait a minute, and connect again; with a Tailscale app, choose \u201cFor Ecto alone\u201d in the settings.",
        },
      },
    ),
  "public-held": () =>
    open(
      { held: { code: "gateway_not_ready", log: null } },
      { message: { what: `Public at https://${HOST}/v1/chat/completions, but nobody gets through right now.`, next: "The OpenClaw gateway is not ready. Ecto goes on by itself when it is. If it stays like this, restart OpenClaw in the settings." } },
    ),
  "public-away": () =>
    open(
      { held: { code: "gateway_stays_away" } },
      {
        trouble: { severity: "problem", remedy: "act" },
        message: {
          what: `Public at https://${HOST}/v1/chat/completions, but nobody gets through right now.`,
          next: "The OpenClaw gateway has not been ready for over a minute. Restart OpenClaw in Ecto. Ecto goes on by itself after that.",
        },
      },
    ),
  "public-hooks-off": () =>
    open({}, { offer: { routes: ["hooks"], origins: [] }, gateway: { gateway: "ready", address: "127.0.0.1:18789", version: "2026.8.1", config: "openclaw.json", hooks: false, fingerprint: "1" } }),
  "public-offer": () => open({}, { offer: { routes: ["hooks"], origins: ["https://app.example", `https://a-page-with-a-name-that-is-${"long-".repeat(6)}enough.example:8443`] } }),
  "public-strangers": () => open({}, { strangers: { since: at(-48), attempts: 214, addresses: 3 } }),
  closing: () => make({ wanted: { wanted: "private" }, exposure: { state: "closing" } }),
  "blocked-wait": () =>
    blocked({ code: "ports_taken" }, { severity: "problem", remedy: "wait" }, {
      what: "Something else on this machine uses all three Funnel ports (443, 8443 and 10000).",
      next: "Free one of them; `tailscale serve status` shows what uses them. Ecto tries again by itself.",
    }),
  "blocked-act": () =>
    blocked({ code: "gateway_bind", bind: "lan" }, { severity: "problem", remedy: "act" }, {
      what: "The OpenClaw gateway listens to more than this machine (gateway.bind is \"lan\").",
      next: "Set gateway.bind to \"loopback\". Ecto goes on by itself after that.",
    }),
  "blocked-act-link": () =>
    blocked({ code: "funnel_not_allowed", detail: "", link: "https://login.tailscale.com/f/funnel?node=n1CNTRL" }, { severity: "problem", remedy: "act" }, {
      what: "Your Tailscale network does not allow Funnel for this machine.",
      next: "Allow it at https://login.tailscale.com/f/funnel?node=n1CNTRL. Ecto goes on by itself after that.",
    }, { link: "https://login.tailscale.com/f/funnel?node=n1CNTRL" }),
  "blocked-act-missing": () =>
    blocked({ code: "openclaw_missing" }, { severity: "problem", remedy: "act" }, {
      what: "OpenClaw is not installed for this user.",
      next: "Install it from https://openclaw.ai. Ecto goes on by itself after that.",
    }, { link: "https://openclaw.ai/" }),
  "blocked-act-command": () =>
    blocked({ code: "tailscale_denied", command: "sudo tailscale set --operator=$USER" }, { severity: "problem", remedy: "act" }, {
      what: "Your user may not change Tailscale on this machine.",
      next: "Run `sudo tailscale set --operator=$USER` once in a terminal. Ecto goes on by itself after that.",
    }, { command: "sudo tailscale set --operator=$USER" }),
  "blocked-act-shields": () =>
    blocked({ code: "shields_up" }, { severity: "problem", remedy: "act" }, {
      what: "Tailscale blocks incoming connections on this machine, and with them Funnel.",
      next: "Allow them in the Tailscale app, or with `tailscale set --shields-up=false`. Ecto goes on by itself after that.",
    }, { command: "tailscale set --shields-up=false" }),
  "blocked-damaged": () => {
    const view = blocked({ code: "vault_damaged", detail: "not JSON" }, { severity: "problem", remedy: "ask" }, {
      what: "What is in the secret store cannot be read: not JSON. It was left as it is.",
      next: "Make a new default key in Ecto. That gives up every key that was stored, and whatever uses one needs a new one.",
    });
    return { ...view, report: { ...view.report, key: null, keys: [] } };
  },
  "blocked-denied": () =>
    blocked({ code: "vault_denied" }, { severity: "problem", remedy: "ask" }, {
      what: "The secret store refused to let Ecto in, so there is no key to open with.",
      next: "Unlock it and allow Ecto, then connect again.",
    }),
  "blocked-act-restart": () =>
    blocked({ code: "gateway_token_refused" }, { severity: "problem", remedy: "act" }, {
      what: "The OpenClaw gateway refuses the token in its own configuration.",
      next: "Restart OpenClaw in Ecto. Ecto goes on by itself after that.",
    }),
  "blocked-act-silent": () =>
    blocked({ code: "gateway_not_answering" }, { severity: "problem", remedy: "act" }, {
      what: "The OpenClaw gateway runs and does not answer.",
      next: "Restart OpenClaw in Ecto. Ecto goes on by itself after that.",
    }),
  "blocked-ask": () =>
    blocked({ code: "sign_in_timed_out" }, { severity: "problem", remedy: "ask" }, { what: "Nobody signed in to Tailscale in time.", next: "Connect again for a new link." }),
  "blocked-quiet": () =>
    blocked({ code: "administrator_cancelled" }, { severity: "quiet", remedy: "ask" }, {
      what: "Nothing was changed: the administrator prompt was closed.",
      next: "Connect again when you want to go on.",
    }, { wanted: { wanted: "private" } }),
  "blocked-danger": () =>
    blocked({ code: "open_without_key" }, { severity: "danger", remedy: "ask" }, {
      what: "The check from outside got in without a key, so Ecto shut the door at once.",
      next: "Look at Diagnostics and tell us what it says before you connect again.",
    }, { wanted: { wanted: "private" } }),
  "blocked-unconfirmed": () =>
    blocked(
      { code: "could_not_close", detail: "Tailscale does not answer", node: "system" },
      { severity: "danger", remedy: "wait" },
      {
        what: "The door could not be seen to close: Tailscale does not answer. Whoever comes finds nobody: the guard has ended.",
        next: "Ecto goes on trying. To be sure at once, run `tailscale down`, which takes this machine out of your Tailscale network.",
      },
      { closed: "unconfirmed", command: "tailscale down" },
    ),
  gone: () =>
    make({
      host: null,
      wanted: WANTED,
      message: { what: "Private: Ecto is not running, so nothing is reachable from the internet.", next: "Public was asked for; switch on to open it again." },
    }),
  hostile: () =>
    open(
      { address: { host: HOSTILE, port: 443 } },
      {
        url: `https://${HOSTILE}/v1/chat/completions`,
        key: { name: HOSTILE, hint: `ecto_…${HOSTILE}` },
        keys: [keyOf("default"), keyOf(HOSTILE, { hint: `ecto_…${HOSTILE}`, summary: HOSTILE })],
        message: { what: HOSTILE, next: HOSTILE },
        notice: { notice: "wanted_unreadable" },
        notice_message: { what: HOSTILE, next: HOSTILE },
        today: [{ key: HOSTILE, requests: 1e15, failed: 1e15, bytes: 1e15, last: at(-41), caller: HOSTILE }],
        strangers: { since: at(-41), attempts: 1e12, addresses: 1000 },
        activity: { passed: 1e12, refused: 1e12, in_flight: 1e12, last: { at: at(-41), key: HOSTILE, address: HOSTILE, route: HOSTILE, status: 65535, bytes: 0, milliseconds: 0 } },
      },
    ),
  "hostile-preparing": () => preparing(2, { waiting: { for: "sign_in", link: `https://${HOSTILE}` }, progress: HOSTILE }),
  "hostile-blocked": () =>
    blocked({ code: "config_unusable", path: HOSTILE, problem: "syntax", detail: HOSTILE }, { severity: "problem", remedy: "act" }, { what: HOSTILE, next: HOSTILE }),
};

const DIAGNOSTICS = `Ecto 0.1.0 on macOS 26.1 (arm64)
world: real
wanted: public, until nobody says otherwise
exposure: public since 11:38:30, reachable 12 s ago
tailnet: own node, tailscaled 1.102.2, funnel allowed
gateway: 127.0.0.1:18789, OpenClaw 2026.8.1, ready
secrets: in the Keychain
key: default, ecto_…a1b2
requests: 128 answered, 3 refused
last causes: none
`;

/** Modules of a code, as a drawing; it says nothing. */
function drawing() {
  const size = 29;
  let path = "";
  let seed = 7;
  /** @type {(x: number, y: number) => boolean | null} */
  const finder = (x, y) => {
    for (const [left, top] of [[0, 0], [size - 7, 0], [0, size - 7]]) {
      const ring = Math.max(Math.abs(x - (left ?? 0) - 3), Math.abs(y - (top ?? 0) - 3));
      if (ring <= 4) return ring === 3 || ring <= 1;
    }
    return null;
  };
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      if (finder(x, y) ?? seed % 5 < 2) path += `M${x + 2} ${y + 2}h1v1h-1z`;
    }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size + 4} ${size + 4}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size + 4}v${size + 4}H0z"/><path d="${path}"/></svg>`;
}

/** By how large text is, in percent. @type {Record<string, AppView["preferences"]["text"]>} */
const TEXTS = { 100: "usual", 125: "large", 150: "larger", 200: "largest" };
/** @type {Record<string, Report["world"]>} */
const WORLDS = { real: "real", lab: "lab", sandbox: "sandbox" };

/**
 * @param {URLSearchParams} query `state`: a name of {@link states}; `pace`: milliseconds a step takes; `still`: time
 * stands still; `silent`: nothing answers; `text`: 100, 125, 150 or 200, percent; `world`: real, lab or sandbox; `refuse`: that
 * command is refused; `hang`: that command is never answered; `slow`: milliseconds that an answer takes.
 * @returns {Host & { calls: [string, unknown][], answered: string[], sizes: number[], show(state: string): void, happens(passed: number): void, hide(): void }}
 */
export function standIn(query) {
  const began = Date.now();
  const now = () => (query.has("still") ? NOW : NOW + Date.now() - began);
  const pace = Number(query.get("pace") ?? 450);
  const slow = Number(query.get("slow") ?? 0);
  /** @type {[string, unknown][]} */
  const calls = [];
  /** @type {string[]} */
  const answered = [];
  /** @type {(view: AppView) => void} */
  let shown = () => {};
  let hidden = () => {};
  /**
   * As the query has it.
   * @param {AppView} view
   */
  const asked = (view) => ({
    ...view,
    report: { ...view.report, world: WORLDS[query.get("world") ?? ""] ?? view.report.world },
    preferences: { ...view.preferences, text: TEXTS[query.get("text") ?? ""] ?? view.preferences.text },
  });
  let view = asked((states[query.get("state") ?? "first-run"] ?? base)());
  let journeyNumber = 0;

  /** @param {AppView} next */
  const set = (next) => {
    const { preferences, launch_at_login, system, notifications, tray, settings_aside } = view;
    view = { ...next, order: view.order + 1, preferences, launch_at_login, system, notifications, tray, settings_aside };
    shown(view);
    return view;
  };
  /** @param {Partial<Report["offer"]>} changes */
  const offer = (changes) => set({ ...view, report: { ...view.report, offer: { ...view.report.offer, ...changes } } });
  /**
   * As in the app, the report that tells of it comes by itself.
   * @param {(keys: KeyView[]) => KeyView[]} change
   */
  const changeKeys = (change) => void setTimeout(() => set({ ...view, report: { ...view.report, keys: change(view.report.keys) } }));
  /**
   * @param {string} name
   * @param {Partial<KeyView>} changes
   */
  const changeKey = (name, changes) => changeKeys((keys) => keys.map((key) => (key.name === name ? { ...key, ...changes } : key)));
  /** @param {number} milliseconds */
  const pass = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  /** @param {import("./bindings.js").OpenFor} minutes */
  async function walk(minutes) {
    const mine = ++journeyNumber;
    const stamp = (/** @type {number} */ seconds) => new Date(now() + 1000 * seconds).toISOString();
    const until = minutes === null ? null : stamp(60 * minutes);
    const first = view.report.exposure.state === "public" ? 9 : 0;
    for (let step = first; step < 9; step++) {
      set(preparing(step, { since: stamp(0), waiting: step === 2 ? { for: "sign_in", link: LINK } : null }));
      await pass(step === 2 ? 4 * pace : pace);
      if (mine !== journeyNumber) return;
    }
    set(open({ since: stamp(0), until, reach: { reach: "unchecked" } }, { activity: { passed: 0, refused: 0, in_flight: 0, last: null } }));
    await pass(2 * pace);
    if (mine === journeyNumber) set(open({ since: stamp(0), until, reach: { reach: "reachable", at: stamp(0) } }, { activity: { passed: 0, refused: 0, in_flight: 0, last: null } }));
  }

  async function close() {
    journeyNumber += 1;
    set(states["closing"]?.() ?? base());
    await pass(pace);
    set(make({}));
  }

  /** @type {{ [Name in keyof Commands]: (...argument: Parameters<Commands[Name]>) => ReturnType<Commands[Name]> }} */
  const commands = {
    view: () => view,
    look: () => null,
    connect: ({ minutes }) => (void walk(minutes), null),
    disconnect: () => (void close(), null),
    reveal_key: () => KEY,
    copy: () => null,
    qr: () => drawing(),
    open_link: () => null,
    check_outside: () => null,
    regenerate_key: () => null,
    read_keys: () => (changeKeys((keys) => (keys.length > 0 ? keys : KEYS)), null),
    add_key: ({ key }) => {
      if (/[^\d\s.,:/a-f]/i.test(key.from))
        throw /** @type {Refusal} */ ({
          code: "address_unusable",
          what: "A key cannot be bound to that: addresses are written as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.",
          next: "Separate several by commas, or leave it empty for anywhere.",
        });
      const made = keyMade(key);
      changeKeys((keys) => [...keys, made]);
      return made;
    },
    copy_key: () => null,
    rename_key: ({ name, to }) => (changeKey(name, { name: to }), null),
    rotate_key: ({ name, grace, end }) => {
      const key = view.report.keys.find((key) => key.name === name) ?? keyOf(name, {});
      const days = { never: null, day: 1, month: 30, year: 365 };
      const expires = end === "as_before" ? key.grant.expires : days[end] === null ? null : at(86400 * days[end]);
      changeKey(name, { hint: "ecto_…r0Ta", made: at(0), earlier_until: grace === "hour" ? at(3600) : null, state: "good", grant: { ...key.grant, expires } });
      return null;
    },
    revoke_key: ({ name }) => (changeKeys((keys) => keys.filter((key) => key.name !== name)), null),
    restart_gateway: () => null,
    restore: () => [
      { key: "gateway.http.endpoints.chatCompletions.enabled", outcome: "restored" },
      { key: "gateway.mode", outcome: "left_alone" },
    ],
    requests: () => lastRequests(view.report),
    set_route: ({ route, allowed }) => {
      const { routes } = view.report.offer;
      offer({ routes: allowed ? [...routes, route] : routes.filter((other) => other !== route) });
      return null;
    },
    set_origin: ({ origin, allowed }) => {
      const { origins } = view.report.offer;
      if (allowed && !origin.startsWith("https://")) throw /** @type {Refusal} */ ({ code: "origin_unusable", what: "That cannot be an origin: it is written as browsers send it, in lower case, without a path.", next: "Copy it from the page's address, up to the third slash." });
      offer({ origins: allowed ? [...origins, origin] : origins.filter((other) => other !== origin) });
      return null;
    },
    set_preferences: ({ preferences }) => (view = { ...view, order: view.order + 1, preferences, settings_aside: null }),
    set_launch_at_login: ({ on }) => (view = { ...view, order: view.order + 1, launch_at_login: on ? "on" : "off" }),
    diagnostics: () => DIAGNOSTICS,
    save_diagnostics: () => "~/Downloads/Ecto diagnostics.txt",
    uninstall: () => ["The door is closed.", "2 settings of OpenClaw are as they were before.", "The key, the logs and the settings are removed."],
    quit: () => null,
    hide: () => null,
    resize: () => null,
  };

  /** @type {number[]} */
  const sizes = [];
  const standIn = {
    calls,
    answered,
    sizes,
    now,
    /** @type {Host["ask"]} */
    async ask(name, ...argument) {
      if (name === "resize") {
        // How high the page is says nothing about what a person asked for.
        sizes.push(/** @type {{ height: number }} */ (argument[0]).height);
        return /** @type {any} */ (null);
      }
      calls.push([name, argument[0]]);
      if (slow > 0) await pass(slow);
      if (query.get("hang") === name) await new Promise(() => {});
      answered.push(name);
      if (query.has("silent")) throw new Error("nobody answers");
      if (query.get("refuse") === name)
        throw /** @type {Refusal} */ ({ code: "vault_denied", what: "The secret store refused to let Ecto in.", next: "Unlock it and allow Ecto." });
      return /** @type {(...given: typeof argument) => any} */ (commands[name])(...argument);
    },
    /** @type {Host["watch"]} */
    async watch(...heard) {
      [shown, hidden] = heard;
    },
    /** As the app does it when its window goes. */
    hide() {
      hidden();
    },
    /**
     * One more request went through.
     * @param {number} passed How many there are by now.
     */
    happens(passed) {
      const { report } = view;
      /** @type {RequestLine} */
      const last = { at: at(passed - 128), key: "default", address: "203.0.113.7", route: `request number ${passed}`, status: 200, bytes: 1, milliseconds: 1 };
      set({ ...view, report: { ...report, activity: { ...report.activity, passed, last } } });
    },
    /** @param {string} state */
    show(state) {
      set(asked((states[state] ?? base)()));
    },
  };
  // For the console and the tests.
  Object.assign(window, { standIn });
  document.documentElement.dataset["text"] = view.preferences.text;
  if (query.has("dir")) document.documentElement.dir = query.get("dir") ?? "";
  return standIn;
}
