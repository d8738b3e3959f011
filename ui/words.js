// @ts-check
// Every word that the popover itself says. Sentences about causes come with the report.

/** @import { AtSleep, GatewayView, KeyDay, KeyView, NodeChoice, NodeKind, OpenFor, Report, RequestLine, RestoreOutcome, Route, Step, Strangers, TailnetView, TextSize, VaultPlace, Waiting } from "./bindings.js" */
/** @import { End, Grace, LoginItem, NotificationStanding, OptionalRoute, System } from "./app-bindings.js" */

/** What text from elsewhere may come to at most. */
const LONGEST = 400;
/** What a sentence of the host may come to at most: some words of its own, and text from elsewhere. */
const LONGEST_SENTENCE = 520;

// Control characters, and marks that could reorder what stands beside them.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Makes text from elsewhere safe to stand in a line: short and plain.
 * @param {string} text
 */
export const plain = (text) => shorten(text, LONGEST);

/**
 * A sentence of the host, which may hold text from elsewhere.
 * @param {string} text
 */
export const message = (text) => shorten(text, LONGEST_SENTENCE);

/**
 * @param {string} text
 * @param {number} longest
 */
function shorten(text, longest) {
  const characters = [...text.slice(0, 4 * longest).replace(HOSTILE, "")];
  return characters.length > longest ? characters.slice(0, longest).join("") + "…" : characters.join("");
}

export const name = "Ecto";
export const worlds = { real: "", lab: "Lab", sandbox: "Sandbox" };
export const switchName = "Public";
export const settings = "Settings";
export const back = "Back";
export const cancel = "Cancel";
export const dismiss = "Dismiss";
export const tryAgain = "Try again";
export const closeDoor = "Close the door";
export const quit = "Quit Ecto";
export const copied = "Copied";
export const oneMoment = "One moment…";

export const titles = {
  starting: "Starting",
  gone: "Not running",
  silent: "No answer",
  private: "Private",
  preparing: "Getting ready",
  needsYou: "Needs you",
  public: "Public",
  unreachable: "Not reachable",
  held: "On hold",
  closing: "Closing",
  wait: "Not open yet",
  ask: "Did not open",
  danger: "Not safe to open",
  unconfirmed: "Could not close",
};

export const sentences = {
  gone: "Ecto does not answer. Try again, or quit Ecto and open it anew: the door closes when Ecto ends.",
  silent: "The Ecto that runs in a terminal does not answer, so nobody knows whether the door is open.",
  silentNext: "End it there, which closes the door. After Ctrl-Z, type fg there first.",
  private: "Nothing is reachable from the internet.",
  firstRun:
    "Switch on, and your OpenClaw can be reached from anywhere by whoever has the key you get. Nothing else on this machine can.",
  wayIn: "The way in is Tailscale Funnel. It needs a Tailscale account: a free one will do, and it can be made on the way.",
  preparing: "The door is still closed.",
  public: "Whoever has a key can reach your OpenClaw.",
  unchecked: "The door is open. It is being checked.",
  unreachable: "The door is open, but cannot be reached.",
  held: "The door is open, but nobody gets through.",
  closing: "The door closes, and every request under way is cut.",
  noTray: "This desktop has no place for the ghost. Closing this window leaves the door as it is; start Ecto again to see it.",
};

/** @type {Record<Step, string>} */
export const steps = {
  install_tailscale: "Install Tailscale",
  start_tailscale: "Start Tailscale",
  sign_in: "Sign in to Tailscale",
  allow_funnel: "Allow Funnel",
  set_up_open_claw: "Set up OpenClaw",
  start_open_claw: "Start OpenClaw",
  start_guard: "Start the guard, Ecto’s lock",
  prove: "Prove that the lock holds",
  open: "Open the door",
  check_outside: "Check from outside",
};
/**
 * What is told of a step while it runs, without the arrow that Homebrew begins a line with.
 * @param {string} text
 */
export const progressLine = (text) => plain(text).replace(/^==> /, "");
export const journey = "Steps";
/** @param {number} number */
export const stepsDone = (number) => (number === 1 ? "1 step done" : `${number} steps done`);
/**
 * @param {number} number
 * @param {string} next
 */
export const stepsAhead = (number, next) => (number === 1 ? `Then: ${next}` : `${number} to come, next: ${next}`);
export const progress = { done: "done", now: "now", ahead: "to come", failed: "did not work" };

/** @type {Record<Waiting["for"], string>} */
export const waits = {
  sign_in: "Sign in to Tailscale in your browser. No account yet? The page makes one. Ecto goes on by itself.",
  approval: "An administrator of your Tailscale network has to approve this machine. Ecto goes on by itself.",
  funnel_permission: "Tailscale asks once whether this machine may be reached from the internet. Open its page and press the button that enables Funnel. Ecto goes on by itself.",
  administrator_prompt: "Answer the administrator prompt on your screen. Ecto goes on by itself.",
  tailscale: "Waiting for Tailscale to get ready.",
  gateway: "Waiting for OpenClaw to get ready.",
};
export const openLink = "Open link";
/** @param {string} part */
export const openPage = (part) => `Open the page where ${part} is to be had`;
/** @param {string} part */
export const copyPage = (part) => `Copy the address where ${part} is to be had`;
/** @param {string} part */
export const copyInstall = (part) => `Copy the command that installs ${part}`;
export const copyLink = "Copy link";

export const reach = {
  settling: "Becoming known to the internet",
  settlingDetail: "The first time, this takes a few minutes.",
  unchecked: "Checking from outside…",
  uncheckedDetail: "Is it reachable, and only with the key?",
  reachable: "Reachable from the internet",
  unreachable: "Not reachable from outside",
  checkAgain: "Check from outside again",
};
/** What is heard after the sentence, where that does not say it. */
export const reachHeard = { unchecked: "", settling: reach.settling, reachable: reach.reachable, unreachable: "" };
/** @param {string} time */
export const checked = (time) => `Checked ${time}`;

export const address = "Address";
export const key = "Key";
export const noKey = "Made when the door opens";
/** @param {string} end */
export const keyHidden = (end) => `Hidden, ends with ${end}`;
export const showKey = "Show the key while held";
export const keyShown = "Key shown";
export const copyAddress = "Copy the address";
export const copyKey = "Copy the key";
export const showCode = "Show the address as a QR code";
export const copyAs = "Copy as";
export const examples = /** @type {const} */ ([
  ["curl", "curl"],
  ["python", "Python"],
  ["javascript", "JavaScript"],
  ["environment", "Env"],
]);
/** @param {string} language */
export const copyExample = (language) => `Copy as ${language}, with the key`;
export const environment = "Env, environment variables";

export const keepOpen = "Keep open";
export const change = "Change…";
export const changeClosing = "Change when the door closes";
/** @type {[OpenFor, string][]} */
export const durations = [
  [15, "15 minutes"],
  [60, "1 hour"],
  [480, "8 hours"],
  [null, "Until I quit"],
];
export const openUntilQuit = "Open until you quit Ecto";
export const closesAtSleep = "Closes earlier if this machine sleeps";
/** @param {string} time */
export const closesIn = (time) => `Closes in ${time}`;

/** @param {string} time */
export const lastRequest = (time) => `Last request ${time}`;
export const noRequest = "No request yet";
export const noRequestDetail = "The last one will be shown here.";
/** @param {RequestLine} line */
export function request(line) {
  const path = plain(line.route).replace(/^[A-Z]+ /, "");
  return [path, line.status, line.key === null ? "no known key" : "", plain(line.address)].filter(Boolean).join(" · ");
}
/** @param {{ passed: number, refused: number, in_flight: number }} activity */
export function requests({ passed, refused, in_flight }) {
  const parts = [`${count(passed)} answered`, `${count(refused)} refused`];
  if (in_flight > 0) parts.push(`${count(in_flight)} under way`);
  return parts.join(", ");
}

export const record = {
  open: "Requests",
  title: "Requests",
  today: "Today",
  noDay: "No request today",
  last: "The last requests",
  noLine: "Requests appear here as they come.",
};
/** @param {string | null} key */
export const keyName = (key) => (key === null ? "No known key" : plain(key));
/** @param {KeyDay} day */
export function day({ requests, failed, bytes }) {
  const parts = [requests === 1 ? "1 request" : `${count(requests)} requests`, size(bytes)];
  if (failed > 0) parts.splice(1, 0, `${count(failed)} refused or failed`);
  return parts.join(", ");
}
/** @param {string} caller */
export const from = (caller) => (plain(caller) === "" ? "" : `, from ${plain(caller)}`);
/** @param {Strangers} strangers */
export function strangers({ attempts, addresses }) {
  const from = addresses === 1 ? "one address" : `${count(addresses)} addresses`;
  return `Somebody is trying keys: ${count(attempts)} requests with a wrong key or none came from ${from}. None got in, and there is nothing you have to do.`;
}
/** @param {Pick<RequestLine, "key" | "address" | "milliseconds">} line */
export function caller({ key, address, milliseconds }) {
  return [key === null ? "no known key" : plain(key), plain(address), lasted(milliseconds)].filter(Boolean).join(" · ");
}
/**
 * The time of day here.
 * @param {string} at
 */
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {number} milliseconds */
const lasted = (milliseconds) => (milliseconds < 1000 ? `${milliseconds}\u00a0ms` : took(milliseconds));

/** @param {number} bytes */
function size(bytes) {
  if (bytes < 1000) return `${bytes}\u00a0B`;
  const units = ["kB", "MB", "GB", "TB"];
  let amount = bytes / 1000;
  let unit = 0;
  for (; amount >= 999.95 && unit + 1 < units.length; unit += 1) amount /= 1000;
  return `${amount.toFixed(1)}\u00a0${units[unit]}`;
}

/** @param {number} number */
const count = (number) => number.toLocaleString("en");

/**
 * A time that has passed.
 * @param {number} seconds
 */
export function ago(seconds) {
  if (seconds < 5) return "just now";
  return `${span(seconds)} ago`;
}

/**
 * A length of time, in its largest unit or two.
 * @param {number} seconds
 */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}\u00a0s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours}\u00a0h` : `${hours}\u00a0h ${minutes % 60}\u00a0min`;
  return `${Math.floor(hours / 24)}\u00a0days`;
}

/**
 * How long a step took.
 * @param {number} milliseconds
 */
export function took(milliseconds) {
  return milliseconds < 9950 ? `${(milliseconds / 1000).toFixed(1)}\u00a0s` : span(milliseconds / 1000);
}

export const thisMachine = "On this machine";
export const parts = { tailscale: "Tailscale", openclaw: "OpenClaw" };
export const standing = { good: "ready", ours: "Ecto does this", yours: "needs you" };

/** @type {Record<NodeKind, string>} */
export const nodes = {
  own: "Ecto’s own node",
  system: "For the whole machine",
  app_store: "The Tailscale app",
  standalone: "The Tailscale app",
};

/**
 * What Tailscale is like, and who has to do something about it.
 * @param {TailnetView} view
 * @returns {["good" | "ours" | "yours", string]}
 */
export function tailnet(view) {
  switch (view.tailnet) {
    case "missing":
      switch (view.installer.installer) {
        case "homebrew":
          return ["ours", "Not installed. Ecto installs it with Homebrew."];
        case "download":
          return ["yours", "Not installed. Get it from tailscale.com/download."];
        case "person":
          return ["yours", `Not installed. Type: ${plain(view.installer.command)}`];
      }
    case "not_running":
      return ["ours", "Does not run. Ecto starts it."];
    case "starting":
      return ["ours", "Is starting."];
    case "needs_sign_in":
      return ["yours", "Signed out. You get a link to sign in."];
    case "stopped":
      return ["ours", "Switched off. Ecto switches it on."];
    case "needs_approval":
      return ["yours", "Waits for approval by an administrator of your Tailscale network."];
    case "running":
      return view.funnel === "allowed"
        ? ["good", `Ready. ${nodes[view.kind]}.`]
        : ["yours", "Signed in. You get a link to allow Funnel."];
    case "refused":
      return ["yours", "Cannot be used as it is. Switch on to hear why."];
  }
}

/**
 * What OpenClaw is like, and who has to do something about it.
 * @param {GatewayView} view
 * @returns {["good" | "ours" | "yours", string]}
 */
export function gateway(view) {
  switch (view.gateway) {
    case "missing":
      return ["yours", "Not installed. Get it from openclaw.ai first."];
    case "refused":
      return ["yours", "Cannot be used as it is. Switch on to hear why."];
    case "needs_set_up":
      return [
        "ours",
        view.keys.length === 1
          ? "Ecto changes one of its settings."
          : `Ecto changes ${view.keys.length} of its settings.`,
      ];
    case "not_running":
      return ["ours", "Does not run. Ecto starts it."];
    case "starting":
      return ["ours", "Is starting."];
    case "needs_restart":
      return ["ours", "Ecto restarts it."];
    case "ready":
      return ["good", view.version ? `Ready. Version ${plain(view.version)}.` : "Ready."];
  }
}

export const remedies = {
  tryNow: "Try now",
  checkAgain: "Check again",
  connectAgain: "Connect again",
  closeAgain: "Close again now",
  restartGateway: "Restart OpenClaw",
  newKey: "Make a new key…",
  copyCommand: "Copy command",
};
export const code = "Code";

export const qr = {
  title: "QR code",
  address: "Scan to get the address.",
  withKey: "Two lines of text: the address, and the key below it. Whoever scans this has both.",
  picture: "QR code of the address",
  pictureWithKey: "QR code of the address and the key",
  include: "With the key",
};

/** @param {string} path */
export const settingsAside = (path) =>
  `Your settings could not be read, so Ecto uses the careful ones. The file is kept as \`${plain(path)}\`. Choose anew in the settings.`;
export const general = "General";
export const launch = "Open at login";
/** @type {Record<LoginItem, string>} */
export const launchDetail = {
  on: "",
  off: "",
  refused: "Switched off in System Settings, under Login Items. Allow Ecto there.",
  unavailable: "Not available on this system.",
};
export const notifications = "Notifications";
/** @type {Record<NotificationStanding, string>} */
export const notificationsDetail = {
  shown: "When the door opens or unexpectedly closes, when it cannot be reached or needs you, and when somebody is trying keys.",
  refused: "Switched off in System Settings, under Notifications. Allow Ecto there.",
  unavailable: "Nothing here shows notifications. The ghost tells the same.",
};
export const notificationsNowhere = "Nothing here shows notifications. Open this window to see whether the door is open.";
export const openNotificationSettings = "Notifications in System Settings";
export const openLoginSettings = "Login Items in System Settings";
export const textSize = "Text";
/** @type {[TextSize, string][]} */
export const textSizes = [
  ["usual", "Usual size"],
  ["large", "Large"],
  ["larger", "Larger"],
  ["largest", "Twice as large"],
];
export const sleep = "At sleep";
/** @type {[AtSleep, string][]} */
export const sleeps = [
  ["stay", "Open again at wake"],
  ["close", "Close the door"],
];
export const whichTailscale = "Tailscale";
export const whichTailscaleNext = "Takes effect the next time you connect.";
/** @type {(system: System) => [NodeChoice, string][]} */
export const whichTailscales = (system) => [
  ["auto", "Automatic"],
  ["own", "For Ecto alone"],
  ["system", system === "mac" ? "For the whole Mac" : "For the whole machine"],
];
export const access = "Access";
/** @param {VaultPlace} place */
export function vault(place) {
  switch (place.kind) {
    case "keychain":
      return "Kept in the Keychain.";
    case "secret_service":
      return "Kept in the secret store of this desktop.";
    case "file":
      return `Kept in the file ${plain(place.path)}, readable by you alone.`;
    case "memory":
      return "Kept in memory until the sandbox ends.";
  }
}
export const maintenance = "OpenClaw";
export const help = "Help";
/** @param {string} number */
export const version = (number) => `Ecto ${plain(number)}`;

export const regenerate = {
  open: "Replace the default key…",
  title: "Replace the default key?",
  sentence: "A new key takes its place, and the old one stops working at once. Whoever uses the old one needs the new one.",
  confirm: "Replace",
};
/**
 * The same where the keys that are stored cannot be read.
 * @param {VaultPlace} place
 */
export const startAnew = (place) => ({
  title: "Make a new default key?",
  sentence: `What is stored cannot be read, so this gives up every key, not the default one alone. Whoever uses one needs a new one. ${putAside(place)}`.trim(),
  confirm: "Make a new key",
});
/** @param {VaultPlace} place */
function putAside(place) {
  switch (place.kind) {
    case "keychain":
      return "What was stored stays in the Keychain, as “keys (damaged)”.";
    case "secret_service":
      return "What was stored stays in the secret store of this desktop, as “keys (damaged)”.";
    case "file":
      return "What was stored stays beside the file, in one with “damaged” in its name.";
    case "memory":
      return "";
  }
}

export const keys = {
  open: "Keys",
  title: "Keys",
  all: "All keys",
  sentence: "One for each client: each can be limited, and taken away without the others noticing.",
  add: "New key…",
  gone: "This key is no longer there.",
  expired: "Expired",
  unused: "No use on record",
  stays: "Ecto proves its lock with this key, so it cannot be renamed or revoked.",
  ready: "The key is ready.",
  give: "Give it to whoever is to use it. You can copy it again at any time.",
};
/** @param {KeyView} key */
export const opens = ({ summary }) => `Opens ${plain(summary)}`;
/** @param {string[]} routes */
export const notOffered = (routes) => `Not offered right now, so nobody gets there: ${routes.join(", ")}. Allow it in the settings, under “What else is offered”.`;
/** @param {string} time */
export const lastUsed = (time) => `Last used ${time}`;
/** @param {string} time */
export const expiresIn = (time) => `Expires in ${time}`;
/** @param {string} time */
export const expiredAgo = (time) => `Expired ${time}`;
/** @param {string} time */
export const graceLeft = (time) => `The old key works for another ${time}`;
export const graceOver = "The old key no longer works";

export const newKey = {
  title: "New key",
  name: "Name",
  namePlaceholder: "Phone",
  agent: "Agent",
  agentPlaceholder: "Any",
  opens: "May use",
  limits: "Limits",
  ends: "Expires",
  rate: "Requests a minute",
  rateDetail: "So many in one moment; they come back over a minute.",
  concurrent: "Requests at once",
  from: "Only from",
  fromPlaceholder: "Anywhere",
  fromDetail: "Such as 203.0.113.7, 2001:db8::/32",
  confirm: "Make the key",
};
/** @type {[Route, string][]} */
export const routes = [
  ["chat", "Chat completions"],
  ["responses", "Responses"],
  ["models", "List of models"],
];
/** @type {[OptionalRoute, string][]} */
export const optionalRoutes = [
  ["embeddings", "Embeddings"],
  ["hooks", "Hooks"],
];

export const offer = {
  open: "What else is offered",
  title: "What else is offered",
  sentence: "A key can open chat completions, responses and the list of models. Anything else stays closed until you allow it here.",
  pages: "Web pages that may call",
  add: "Allow a web page…",
  /** @type {Record<OptionalRoute, string>} */
  details: {
    embeddings:
      "Whoever has a key for it can have text of any length turned into embeddings, and your provider bills you for all of it.",
    hooks:
      "A hook starts OpenClaw’s agents with whatever text a caller sends, without anybody at the keyboard, and an agent may act on that text. Give keys for it only to programs you trust.",
  },
};
/**
 * What is offered beside what always is; nothing where nothing is.
 * @param {Report["offer"]} offer
 */
export function alsoOffered({ routes, origins }) {
  const parts = optionalRoutes.filter(([route]) => routes.includes(route)).map(([, label]) => label.toLowerCase());
  if (origins.length > 0) parts.push(origins.length === 1 ? "1 web page" : `${count(origins.length)} web pages`);
  return parts.length === 0 ? "" : `Also offered: ${parts.join(", ")}`;
}
export const hooksOff = "OpenClaw has no hooks right now, so callers get 404.";
export const hooksOn = "In its configuration, set hooks.enabled to true and hooks.token to a secret of its own.";
/** @param {string} origin */
export const forbid = (origin) => `Forbid ${origin}`;
export const newOrigin = {
  title: "Allow a web page",
  warning:
    "A key that a web page uses can be read by everybody who can open that page. Make a key for that page alone, with a rate and an end.",
  origin: "Origin",
  placeholder: "https://app.example",
  confirm: "Allow",
};
/** @type {[number | null, string][]} */
export const ends = [
  [null, "Never"],
  [1, "In a day"],
  [30, "In 30 days"],
  [365, "In a year"],
];
/** @type {[number | null, string][]} */
export const rates = [
  [null, "No limit"],
  [10, "10"],
  [60, "60"],
  [600, "600"],
];
/** @type {[number | null, string][]} */
export const concurrents = [
  [null, "No limit"],
  [1, "1"],
  [4, "4"],
  [16, "16"],
];
export const rename = { open: "Rename…", title: "Rename the key", confirm: "Rename" };
export const rotate = {
  open: "Replace…",
  title: "Replace the key?",
  sentence: "A new key takes its place, with the same limits. Whoever uses the old one needs the new one.",
  question: "The old one works",
  ends: "The new one expires",
  confirm: "Replace",
};
/** @type {[Grace, string][]} */
export const graces = [
  ["none", "No longer"],
  ["hour", "For another hour"],
];
/** @type {[End, string][]} */
export const newEnds = [
  ["as_before", "As before"],
  ["never", "Never"],
  ["day", "In a day"],
  ["month", "In 30 days"],
  ["year", "In a year"],
];
export const revoke = {
  open: "Revoke…",
  title: "Revoke the key?",
  confirm: "Revoke",
};
/** @param {string} key */
export const revokeSentence = (key) => `“${plain(key)}” stops working at once, and what is open with it is cut. This cannot be undone.`;
export const restart = { open: "Restart OpenClaw…", title: "Restart OpenClaw?", sentence: "OpenClaw is asked to finish what it is doing first. What takes longer than five minutes is interrupted.", confirm: "Restart" };
export const restore = {
  open: "Undo Ecto’s changes…",
  title: "Undo Ecto’s changes?",
  sentence:
    "The door closes, and every OpenClaw setting that Ecto changed becomes what it was. Nothing else is touched.",
  confirm: "Undo changes",
  done: "Ecto’s changes are undone",
  nothing: "Nothing to undo",
  nothingDetail: "OpenClaw has no setting that Ecto changed.",
};
/** @type {Record<RestoreOutcome, string>} */
export const outcomes = {
  restored: "As it was before.",
  left_alone: "Somebody else has changed it since, so it stays as it is.",
};
export const diagnostics = {
  open: "Diagnostics",
  title: "Diagnostics",
  sentence: "This is all that would be saved. It holds no secret.",
  text: "Diagnostics",
  save: "Save",
};
/** @param {string} path */
export const saved = (path) => `Saved as ${plain(path)}`;
export const uninstall = {
  open: "Uninstall Ecto…",
  title: "Uninstall Ecto?",
  sentence: "This cannot be undone.",
  does: [
    "Closes the door.",
    "Undoes Ecto’s changes to OpenClaw.",
    "Removes the keys, the settings, the logs, the login item and the skill.",
    "Leaves Tailscale and OpenClaw installed.",
  ],
  confirm: "Uninstall",
  done: "Ecto is uninstalled",
  farewell: "Ecto quits when you close this. Then drag it to the Trash.",
  farewellElsewhere: "Ecto quits when you close this. Then remove its package, if you installed one.",
};

/**
 * What a screen reader is told when the state changes: never a time, so that it speaks only when something happened.
 * @param {string} title
 * @param {string[]} rest
 */
export const announcement = (title, ...rest) => [`${title}.`, ...rest].filter(Boolean).join(" ");

export const failed = "That did not work, and Ecto did not say why. Try again; Diagnostics in the settings shows more.";
