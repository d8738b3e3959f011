// @ts-check
// The popover: asks and hears the host, keeps what the page remembers, and shows the rest.
import { announcement } from "./door.js";
import { become } from "./element.js";
import { findHost } from "./host.js";
import { chosenKey, copiedOf, freshDraft, usualEnd } from "./keys.js";
import { tick } from "./parts.js";
import { fresh, render } from "./render.js";
import * as words from "./words.js";

/** @import { OpenFor, Preferences, Route } from "./bindings.js" */
/** @import { AppView, CodeWhat, CopyWhat, End, Grace, NewKey, OpenWhat, OptionalRoute, Refusal } from "./app-bindings.js" */
/** @import { Panel } from "./render.js" */

const TICK_SHOWN = 1600;

/** What is typed in, and for how many milliseconds it waits for whoever went elsewhere. @type {Panel[]} */
const FORMS = ["new-key", "new-origin"];
const FORM_STAYS = 60_000;

const root = /** @type {Element} */ (document.getElementById("popover"));
const status = /** @type {Element} */ (document.getElementById("status"));
const host = await findHost();

/** @type {AppView | null} */
let view = null;
let local = fresh();
let said = "";
/** @type {Panel[]} */
let behind = [];
/** @type {(string | null)[]} Which control opened each panel behind. */
let openers = [];
/** Which time the key was asked for; a later answer to an earlier time is not shown. */
let reveals = 0;
/** How the key came to be shown; a press of a screen reader has no end that could be heard. @type {"held" | "pressed"} */
let shownBy = "held";
/** Which time a code was asked for; a later answer to an earlier time is not shown. */
let drawings = 0;
/** Since when nobody sees the page. @type {number | null} */
let leftAt = null;
/** Whether the machine is still to be looked at for this opening. */
let lookDue = false;
/** @type {number | undefined} */
let tickTimer;

function show() {
  become(root, render(view, local, host.now()));
  if (view !== null) document.documentElement.dataset["text"] = view.preferences.text;
  fit();
}

let height = 0;

/** Has the window follow the page, whose height is known although part of it may be scrolled away. */
function fit() {
  const next = Math.ceil(root.scrollHeight);
  if (next !== height) host.ask("resize", { height: (height = next) }).catch(() => {});
}

/** @param {AppView | null} next */
function take(next) {
  const before = view;
  // An answer may be older than what was told while it was under way.
  if (next !== null && before !== null && next.order < before.order) return show();
  view = next;
  const refused = next?.refusal;
  if (refused && !isSame(before?.refusal ?? undefined, refused)) local = { ...local, failure: refused };
  show();
  if (local.panel === "requests" && view !== null && !isSame(before?.report.activity, view.report.activity)) void readRequests();
  lookIfPrivate();
  lookDue = false;
  const announced = view === null ? words.announcement(words.titles.silent, words.sentences.gone) : announcement(view);
  if (announced !== said) say((said = announced));
}

/** While it is private nobody watches the machine, and somebody may have installed what was missing. */
function lookIfPrivate() {
  if (!lookDue || view === null || view.starting || view.silent || view.report.host === null || view.report.exposure.state !== "private") return;
  lookDue = false;
  // Nobody asked for it, so nobody is told where it is refused.
  host.ask("look").catch(() => {});
}

/** @param {string} text */
function say(text) {
  status.textContent = text;
}

/** @param {Partial<typeof local>} changes */
function remember(changes) {
  local = { ...local, ...changes };
  show();
}

/**
 * @param {object | undefined} left
 * @param {object} right
 */
const isSame = (left, right) => JSON.stringify(left) === JSON.stringify(right);

/**
 * @param {unknown} error
 * @returns {Refusal}
 */
function refusalOf(error) {
  if (error && typeof error === "object" && "what" in error) return /** @type {Refusal} */ (error);
  return { code: "internal", what: words.failed, next: null };
}

/**
 * Does each thing once at a time, and others meanwhile; what was refused is shown where it was asked for. `name` is that of
 * the control, which tells that it works until the answer is there.
 * @template Answer
 * @param {string} name
 * @param {() => Promise<Answer>} work
 * @returns {Promise<Answer | undefined>}
 */
async function attempt(name, work) {
  if (local.busy.includes(name)) return undefined;
  remember({ busy: [...local.busy, name], failure: null });
  try {
    return await work();
  } catch (error) {
    remember({ failure: refusalOf(error) });
    return undefined;
  } finally {
    remember({ busy: local.busy.filter((other) => other !== name) });
  }
}

/** Closes the door, whatever else is under way and however often it is asked. */
async function disconnect() {
  remember({ failure: null });
  try {
    await host.ask("disconnect");
  } catch (error) {
    remember({ failure: refusalOf(error) });
  }
}

/** @param {string | null} key */
function focusOn(key) {
  const control = key === null ? null : root.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const target = control ?? root.querySelector("[data-first]") ?? root.querySelector("h1");
  if (target instanceof HTMLElement) target.focus({ preventScroll: control === null });
  if (target instanceof HTMLInputElement) target.select();
}

/**
 * @param {Panel} panel
 * @param {string | null} opener
 */
function open(panel, opener) {
  behind = [...behind, local.panel];
  openers = [...openers, opener];
  remember({ panel, failure: null });
  root.scrollTop = 0;
  focusOn(null);
  if (panel === "diagnostics") void readDiagnostics();
  if (panel === "code") void draw("url");
  // Where the keys cannot be read, more than one is replaced.
  if (panel === "keys" || (panel === "regenerate" && view?.report.keys.length === 0)) void readKeys();
  if (panel === "requests") void readRequests();
}

function back() {
  const panel = behind.at(-1);
  if (panel === undefined) return;
  const opener = openers.at(-1) ?? null;
  behind = behind.slice(0, -1);
  openers = openers.slice(0, -1);
  drawings += 1;
  remember({ panel, failure: null, code: null, diagnostics: null, restored: null, made: null, requests: null });
  focusOn(opener);
}

/** Forgets everything that a person who comes next should not find. A form that is being filled in stays for a while: whoever
 * fetches an address from another window comes back to it. */
function forget() {
  conceal();
  drawings += 1;
  leftAt ??= host.now();
  const { panel, draft, busy, farewell } = local;
  if (FORMS.includes(panel)) local = { ...fresh(), panel, draft, busy };
  else {
    behind = [];
    openers = [];
    if (farewell === null) local = { ...fresh(), busy };
  }
  show();
}

/** Comes back to what was left, unless that was long ago. An answer that came meanwhile may have led on to another panel. */
function comeBack() {
  if (leftAt === null) return;
  const stays = local.panel === "door" || (FORMS.includes(local.panel) && host.now() - leftAt < FORM_STAYS);
  if (stays) leftAt = null;
  else startOver();
}

function startOver() {
  leftAt = null;
  behind = [];
  openers = [];
  // What was refused while nobody looked is news to whoever comes back.
  if (local.farewell === null) local = { ...fresh(), busy: local.busy, failure: local.failure };
}

async function readDiagnostics() {
  const text = await attempt("diagnostics", () => host.ask("diagnostics"));
  if (text !== undefined && local.panel === "diagnostics") remember({ diagnostics: { text, saved: null } });
}

const readKeys = () => attempt("read_keys", () => host.ask("read_keys"));

/** @param {Partial<NewKey>} changes */
const write = (changes) => remember({ draft: { ...local.draft, ...changes } });

/** @param {Route} route */
function toggle(route) {
  const { routes } = local.draft;
  write({ routes: routes.includes(route) ? routes.filter((other) => other !== route) : [...routes, route] });
}

/** @param {OptionalRoute} route */
function offer(route) {
  const allowed = !view?.report.offer.routes.includes(route);
  return attempt(`offer-${route}`, () => host.ask("set_route", { route, allowed }));
}

/** @param {FormData} fields */
async function allowOrigin(fields) {
  const origin = String(fields.get("origin"));
  if ((await attempt("allow_origin", () => host.ask("set_origin", { origin, allowed: true }))) === undefined) return showRefusal();
  if (local.panel === "new-origin") back();
}

/** @param {HTMLElement} control */
const forbidOrigin = ({ dataset: { origin = "" } }) =>
  attempt(`forbid_origin ${origin}`, () => host.ask("set_origin", { origin, allowed: false }));

/** What a name is asked for, beside it. */
const chosenName = () => ({ name: local.chosen ?? "" });

/** @param {FormData} fields */
async function addKey(fields) {
  write({ name: String(fields.get("name")), agent: String(fields.get("agent")), from: String(fields.get("from")) });
  const made = await attempt("add_key", () => host.ask("add_key", { key: local.draft }));
  if (made === undefined || local.panel !== "new-key") return showRefusal();
  remember({ panel: "key", chosen: made.name, made });
  root.scrollTop = 0;
  focusOn("copy_key");
}

/** @param {FormData} fields */
async function renameKey(fields) {
  const to = String(fields.get("to")).trim();
  if ((await attempt("rename_key", () => host.ask("rename_key", { ...chosenName(), to }))) === undefined) return showRefusal();
  remember({ chosen: to });
  if (local.panel === "rename") back();
}

/** What was refused is said above the fields. */
function showRefusal() {
  root.scrollTop = 0;
}

async function rotateKey() {
  const { grace, end } = local;
  if ((await attempt("rotate_key", () => host.ask("rotate_key", { ...chosenName(), grace, end }))) === undefined || local.panel !== "rotate") return;
  back();
  remember({ made: view && chosenKey(view.report, local) });
  focusOn("copy_key");
}

async function revokeKey() {
  if ((await attempt("revoke_key", () => host.ask("revoke_key", chosenName()))) === undefined || local.panel !== "revoke") return;
  back();
  back();
}

/** Whether the requests are being asked for, and whether there are newer ones by now. */
let reading = { underWay: false, again: false };

/** Asks for the last requests: once at a time, and once more where some came meanwhile. */
async function readRequests() {
  if (reading.underWay) {
    reading.again = true;
    return;
  }
  reading = { underWay: true, again: false };
  try {
    const requests = await host.ask("requests");
    if (local.panel === "requests") remember({ requests });
  } catch (error) {
    if (local.panel === "requests") remember({ failure: refusalOf(error), requests: local.requests ?? "refused" });
  }
  const { again } = reading;
  reading = { underWay: false, again: false };
  if (again && local.panel === "requests") void readRequests();
}

/** @param {CodeWhat} what */
async function draw(what) {
  const asked = ++drawings;
  const before = local.code;
  remember({ code: { what, svg: null }, failure: null });
  try {
    const svg = await host.ask("qr", { what });
    if (asked === drawings) remember({ code: { what, svg } });
  } catch (error) {
    if (asked === drawings) remember({ code: what === "url" ? null : before, failure: refusalOf(error) });
  }
}

/** @param {typeof shownBy} how */
async function reveal(how) {
  const asked = ++reveals;
  shownBy = how;
  try {
    const key = await host.ask("reveal_key");
    if (asked !== reveals) return;
    remember({ held: true });
    const place = document.getElementById("key");
    if (place) place.textContent = key;
    if (how === "pressed") say(words.keyShown);
  } catch (error) {
    if (asked === reveals) remember({ failure: refusalOf(error) });
  }
}

function conceal() {
  reveals += 1;
  if (!local.held) return;
  document.getElementById("key")?.replaceChildren();
  remember({ held: false });
}

/** @param {CopyWhat} what */
const copy = (what) => copyAs(what, () => host.ask("copy", { what }));

/** @param {string} name */
const copyKey = (name) => copyAs(copiedOf({ name }), () => host.ask("copy_key", { name }));

/**
 * @param {NonNullable<typeof local.copied>} what
 * @param {() => Promise<null>} work
 */
async function copyAs(what, work) {
  try {
    await work();
  } catch (error) {
    remember({ failure: refusalOf(error) });
    return;
  }
  remember({ copied: what });
  say("");
  say(words.copied);
  window.setTimeout(() => {
    if (local.copied === what) remember({ copied: null });
  }, TICK_SHOWN);
}

/** @param {Partial<Preferences>} changes */
async function prefer(changes) {
  if (view === null) return;
  const preferences = { ...view.preferences, ...changes };
  const next = await attempt("preferences", () => host.ask("set_preferences", { preferences }));
  if (next !== undefined) take(next);
  else show();
}

/** @param {OpenFor} minutes */
function connect(minutes) {
  return attempt("connect", () => host.ask("connect", { minutes }));
}

/** Has a host started that could not be, and looks at what came of it. */
async function again() {
  await attempt("again", () => host.ask("look"));
  await lookAgain();
}

async function lookAgain() {
  try {
    take(await host.ask("view"));
  } catch {
    take(null);
  }
}

/** @type {Record<string, (control: HTMLElement) => unknown>} */
const actions = {
  again,
  back,
  check_outside: () => attempt("check_outside", () => host.ask("check_outside")),
  code: () => open("code", "code"),
  code_again: () => draw("url"),
  code_with_key: () => draw(local.code?.what === "url_and_key" ? "url" : "url_and_key"),
  connect: () => connect(view?.preferences.minutes ?? null),
  copy: (control) => copy(/** @type {CopyWhat} */ (control.dataset["what"])),
  copy_key: (control) => copyKey(control.dataset["name"] ?? ""),
  disconnect,
  forbid_origin: forbidOrigin,
  dismiss: () => remember({ failure: null }),
  hide: () => host.ask("hide"),
  launch: async () => {
    const on = view?.launch_at_login !== "on";
    const next = await attempt("launch", () => host.ask("set_launch_at_login", { on }));
    if (next !== undefined) take(next);
  },
  notifications: () => prefer({ notifications: !view?.preferences.notifications }),
  open: (control) => {
    const panel = /** @type {Panel} */ (control.dataset["to"]);
    if (panel === "key") local = { ...local, chosen: control.dataset["name"] ?? null };
    if (panel === "new-key") local = { ...local, draft: freshDraft() };
    if (panel === "rotate") local = { ...local, grace: "none", end: usualEnd(view && chosenKey(view.report, local), Date.now()) };
    open(panel, control.dataset["key"] ?? null);
  },
  open_link: (control) => attempt("open_link", () => host.ask("open_link", { what: /** @type {OpenWhat} */ (control.dataset["what"] ?? "link") })),
  quit: () => attempt("quit", () => host.ask("quit")),
  read_diagnostics: readDiagnostics,
  read_keys: readKeys,
  read_requests: () => {
    remember({ failure: null, requests: null });
    focusOn(null);
    return readRequests();
  },
  regenerate_key: async () => {
    if ((await attempt("regenerate_key", () => host.ask("regenerate_key"))) !== undefined) back();
  },
  restart_gateway: async () => {
    const done = await attempt("restart_gateway", () => host.ask("restart_gateway"));
    if (done !== undefined && local.panel === "restart") back();
  },
  restore: async () => {
    const restored = await attempt("restore", () => host.ask("restore"));
    if (restored === undefined) return;
    remember({ restored });
    focusOn(null);
  },
  revoke_key: revokeKey,
  rotate_key: rotateKey,
  "offer-embeddings": () => offer("embeddings"),
  "offer-hooks": () => offer("hooks"),
  "route-chat": () => toggle("chat"),
  "route-embeddings": () => toggle("embeddings"),
  "route-hooks": () => toggle("hooks"),
  "route-models": () => toggle("models"),
  "route-responses": () => toggle("responses"),
  save_diagnostics: async () => {
    const saved = await attempt("save_diagnostics", () => host.ask("save_diagnostics"));
    if (saved !== undefined && local.diagnostics) remember({ diagnostics: { ...local.diagnostics, saved } });
  },
  uninstall: async () => {
    const farewell = await attempt("uninstall", () => host.ask("uninstall"));
    if (farewell === undefined) return;
    remember({ farewell });
    focusOn(null);
  },
};

/** @type {Record<string, (value: never) => unknown>} */
const choices = {
  at_sleep: (/** @type {Preferences["at_sleep"]} */ at_sleep) => prefer({ at_sleep }),
  change: async (/** @type {OpenFor} */ minutes) => {
    await connect(minutes);
    show();
  },
  concurrent: (/** @type {number | null} */ concurrent) => write({ concurrent }),
  days: (/** @type {number | null} */ days) => write({ days }),
  grace: (/** @type {Grace} */ grace) => remember({ grace }),
  end: (/** @type {End} */ end) => remember({ end }),
  minutes: (/** @type {OpenFor} */ minutes) => prefer({ minutes }),
  text: (/** @type {Preferences["text"]} */ text) => prefer({ text }),
  node: (/** @type {Preferences["node"]} */ node) => prefer({ node }),
  per_minute: (/** @type {number | null} */ per_minute) => write({ per_minute }),
};

/** @type {Record<string, (fields: FormData) => unknown>} */
const forms = { add_key: addKey, allow_origin: allowOrigin, rename_key: renameKey };

/** @param {Event} event */
function controlOf({ target }) {
  const control = target instanceof Element ? target.closest("[data-do]") : null;
  return control instanceof HTMLElement ? control : null;
}

root.addEventListener("click", (event) => {
  const control = controlOf(event);
  const wasShown = local.held;
  conceal();
  // A screen reader presses without a pointer and without a key; what is shown then stays until the next click.
  if (isHold(event) && /** @type {MouseEvent} */ (event).detail === 0 && !wasShown) void reveal("pressed");
  if (control) void actions[control.dataset["do"] ?? ""]?.(control);
});

root.addEventListener("change", ({ target }) => {
  if (target instanceof HTMLSelectElement) void choices[target.dataset["choose"] ?? ""]?.(/** @type {never} */ (JSON.parse(target.value)));
});

root.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target instanceof HTMLFormElement) void forms[event.target.dataset["submit"] ?? ""]?.(new FormData(event.target));
});

/** @param {Event} event */
const isHold = (event) => controlOf(event)?.hasAttribute("data-hold") === true;

root.addEventListener("pointerdown", (event) => {
  if (isHold(event) && /** @type {PointerEvent} */ (event).button === 0) void reveal("held");
});
for (const name of ["pointerup", "pointercancel", "blur"]) window.addEventListener(name, conceal);
root.addEventListener("pointerout", (event) => {
  // From its drawing to its edge it is still the same button.
  const { relatedTarget } = /** @type {PointerEvent} */ (event);
  if (shownBy === "held" && isHold(event) && !(relatedTarget instanceof Node && controlOf(event)?.contains(relatedTarget))) conceal();
});
root.addEventListener("focusout", conceal);

window.addEventListener("keydown", (event) => {
  // What an input method is still writing ends first.
  if (event.isComposing) return;
  if (event.key === "Escape") {
    if (behind.length > 0 && local.farewell === null) back();
    else void host.ask("hide");
    return;
  }
  if ((event.key === " " || event.key === "Enter") && isHold(event)) {
    event.preventDefault();
    if (!event.repeat) void reveal("held");
  }
});
window.addEventListener("keyup", (event) => {
  if ((event.key === " " || event.key === "Enter") && shownBy === "held") conceal();
});
window.addEventListener("contextmenu", (event) => event.preventDefault());

/** The panel that the host asks for by the address, once. */
function openNamed() {
  const name = location.hash.slice(1);
  if (name === "") return;
  history.replaceState(null, "", location.pathname + location.search);
  // Whoever asks for it from elsewhere does not mean what was left.
  if (leftAt !== null) startOver();
  if (name === "settings" && local.panel === "door" && local.farewell === null) open("settings", "open-settings");
}
window.addEventListener("hashchange", openNamed);

// Nothing ticks while nobody sees it.
function stop() {
  window.clearInterval(tickTimer);
  tickTimer = undefined;
  forget();
}

function go() {
  lookDue ||= tickTimer === undefined;
  window.clearInterval(tickTimer);
  comeBack();
  show();
  lookIfPrivate();
  tickTimer = window.setInterval(() => {
    for (const place of root.querySelectorAll("[data-tick]")) {
      const text = tick(place.getAttribute("data-tick") ?? "", place.getAttribute("data-at") ?? "", host.now());
      if (place.textContent !== text) place.textContent = text;
    }
  }, 1000);
}
document.addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? stop() : go()));
new ResizeObserver(fit).observe(root);

// The host tells only what is seen.
await host.watch((next) => {
  take(next);
  if (tickTimer === undefined && document.visibilityState !== "hidden") go();
}, stop);
await lookAgain();
go();
openNamed();
