// @ts-check
// The first panel: the switch, what is, and what a person can do about it.
import { element } from "./element.js";
import { ghost, icon, spinner } from "./icons.js";
import { button, choice, copyButton, copyTextButton, doorway, doorwayRow, group, iconButton, prose, refusal, row, time } from "./parts.js";
import { strangers } from "./requests.js";
import * as words from "./words.js";

/** @import { Cause, Exposure, JourneyStep, Report, TailnetView } from "./bindings.js" */
/** @import { AppView } from "./app-bindings.js" */
/** @import { Local } from "./render.js" */
/** @import { Child } from "./element.js" */

/** @typedef {Extract<Exposure, { state: "preparing" }>} Preparing */
/** @typedef {Extract<Exposure, { state: "public" }>} Public */
/** @typedef {Extract<Exposure, { state: "blocked" }>} Blocked */
/** @typedef {"gone" | "private" | "working" | "needs-you" | "public" | "unreachable" | "held" | "failed" | "danger" | "closing"} Mood */
/** @typedef {"unchecked" | "settling" | "reachable" | "unreachable"} Reached */

/** @type {Record<Reached, { mood: Mood, title: string, sentence: string }>} */
const reached = {
  unchecked: { mood: "public", title: words.titles.public, sentence: words.sentences.unchecked },
  settling: { mood: "public", title: words.titles.public, sentence: words.sentences.unchecked },
  reachable: { mood: "public", title: words.titles.public, sentence: words.sentences.public },
  unreachable: { mood: "unreachable", title: words.titles.unreachable, sentence: words.sentences.unreachable },
};

/** What OpenClaw gets over when it is started anew. */
const RESTART_HELPS = ["gateway_not_answering", "gateway_stays_away", "gateway_token_refused", "gateway_rejects_proxy"];

/**
 * What the ghost looks like, and what stands beside it.
 * @param {AppView} view
 * @returns {{ mood: Mood, title: string, sentence: string }}
 */
export function headline({ report, first_run, starting, silent }) {
  const { exposure } = report;
  if (silent) return { mood: "failed", title: words.titles.silent, sentence: words.sentences.silent };
  if (starting) return { mood: "private", title: words.titles.starting, sentence: words.oneMoment };
  if (report.host === null)
    return { mood: "gone", title: words.titles.gone, sentence: words.message(report.message.what) };
  switch (exposure.state) {
    case "private":
      return { mood: "private", title: words.titles.private, sentence: first_run ? words.sentences.firstRun : words.sentences.private };
    case "preparing":
      return needsPerson(exposure)
        ? { mood: "needs-you", title: words.titles.needsYou, sentence: words.sentences.preparing }
        : { mood: "working", title: words.titles.preparing, sentence: words.sentences.preparing };
    case "public":
      if (!exposure.held) return reached[reachOf(report, exposure)];
      return report.trouble?.remedy === "act"
        ? { mood: "needs-you", title: words.titles.needsYou, sentence: words.sentences.held }
        : { mood: "held", title: words.titles.held, sentence: words.sentences.held };
    case "closing":
      return { mood: "closing", title: words.titles.closing, sentence: words.sentences.closing };
    case "blocked":
      return { ...blockedTitle(report, exposure), sentence: "" };
  }
}

/**
 * @param {Report} report
 * @param {Blocked} exposure
 * @returns {{ mood: Mood, title: string }}
 */
function blockedTitle({ trouble }, exposure) {
  if (exposure.closed === "unconfirmed") return { mood: "danger", title: words.titles.unconfirmed };
  if (trouble?.severity === "danger") return { mood: "danger", title: words.titles.danger };
  if (trouble?.severity === "quiet") return { mood: "private", title: words.titles.private };
  if (trouble?.remedy === "act") return { mood: "needs-you", title: words.titles.needsYou };
  if (trouble?.remedy === "ask") return { mood: "failed", title: words.titles.ask };
  return { mood: "failed", title: words.titles.wait };
}

/** @param {Preparing} exposure */
function needsPerson({ waiting }) {
  return waiting !== null && waiting.for !== "tailscale" && waiting.for !== "gateway";
}

/**
 * How the check from outside stands. While the first minutes are not over, nothing is wrong; the host tells when that is.
 * @param {Report} report
 * @param {Public} exposure
 * @returns {Reached}
 */
function reachOf({ settling }, { reach }) {
  return settling ? "settling" : reach.reach;
}

/**
 * What a screen reader is told when it changes.
 * @param {AppView} view
 */
export function announcement(view) {
  const { report } = view;
  const { title, sentence } = headline(view);
  const { exposure } = report;
  if (view.silent) return words.announcement(title, sentence, words.sentences.silentNext);
  switch (exposure.state) {
    case "preparing":
      return words.announcement(title, `${words.steps[exposure.step]}.`, exposure.waiting ? words.waits[exposure.waiting.for] : "");
    case "blocked":
      return words.announcement(title, words.message(report.message.what), words.message(report.message.next ?? ""));
    case "public":
      return words.announcement(title, sentence, exposure.held ? "" : words.reachHeard[reachOf(report, exposure)]);
    default:
      return words.announcement(title, sentence);
  }
}

/**
 * @param {AppView} view
 * @param {Local} local
 * @param {number} now
 */
export function door(view, local, now) {
  const { report } = view;
  const { mood, title, sentence } = headline(view);
  return element(
    "main",
    { class: "panel door", "data-mood": mood, "data-key": "door" },
    element(
      "header",
      { class: "bar" },
      element("p", { class: "brand" }, words.name),
      report.world !== "real" && element("span", { class: "badge" }, words.worlds[report.world]),
      iconButton("open", "settings", words.settings, { "data-to": "settings", "data-key": "open-settings" }),
    ),
    element(
      "section",
      { class: "hero" },
      bigSwitch(report, sentence !== ""),
      element("h1", { tabindex: "-1" }, title),
      sentence && element("p", { class: "sentence", id: "sentence" }, sentence),
    ),
    // Below the switch, which stays where it is whatever there is to say.
    refusal(local.failure),
    report.notice_message && report.host !== null && banner("notice", [...prose(report.notice_message.what), " ", ...prose(report.notice_message.next)]),
    ...view.vault_notices.map((notice, index) => banner(`vault-${index}`, prose(notice))),
    view.settings_aside !== null && banner("settings-aside", prose(words.settingsAside(view.settings_aside))),
    ...body(view, local, now),
    ...(view.tray ? [] : [element("p", { class: "foot", "data-key": "no-tray" }, words.sentences.noTray), element("div", { class: "choices", "data-key": "way-out" }, button("quit", words.quit))]),
  );
}

/**
 * @param {string} key
 * @param {Child[]} said
 */
function banner(key, said) {
  return element("div", { class: "banner", "data-key": key }, icon("hand"), element("p", {}, ...said));
}

/**
 * Whether the switch is on: where it is up to the person to connect again, it is off.
 * @param {Report} report
 */
function isOn({ host, wanted, exposure }) {
  return host !== null && wanted.wanted !== "private" && exposure.state !== "closing";
}

/**
 * @param {Report} report
 * @param {boolean} described
 */
function bigSwitch(report, described) {
  const on = isOn(report);
  return element(
    "button",
    {
      type: "button",
      class: "big-switch",
      role: "switch",
      "aria-checked": String(on),
      "aria-label": words.switchName,
      "aria-describedby": described ? "sentence" : report.exposure.state === "blocked" ? "cause" : null,
      "data-do": on ? "disconnect" : "connect",
      "data-key": "switch",
    },
    element("span", { class: "knob" }, ghost()),
  );
}

/**
 * @param {AppView} view
 * @param {Local} local
 * @param {number} now
 * @returns {Child[]}
 */
function body(view, local, now) {
  const { report } = view;
  const { exposure } = report;
  // What was reported last may no longer be so.
  if (view.silent) return [group(null, row({ key: "silent", mark: mark("warn", "warning"), label: words.sentences.silentNext })), single("disconnect", words.closeDoor)];
  if (view.starting) return [];
  if (report.host === null) return [group(null, row({ key: "gone", mark: mark("warn", "warning"), label: element("span", {}, ...prose(report.message.next ?? report.message.what)) })), single("again", words.tryAgain)];
  switch (exposure.state) {
    case "private":
      return privateBody(view, local);
    case "preparing":
      return preparingBody(view, exposure, local, now);
    case "public":
      return publicBody(view, exposure, local, now);
    case "closing":
      return [];
    case "blocked":
      return blockedBody(view, exposure, local);
  }
}

/**
 * @param {AppView} view
 * @param {Local} local
 */
function privateBody({ report, preferences, first_run }, local) {
  const { tailnet, gateway } = report;
  return [
    group(
      null,
      row({
        key: "keep-open",
        label: words.keepOpen,
        actions: [choice({ what: "minutes", name: words.keepOpen, chosen: preferences.minutes, choices: words.durations })],
      }),
    ),
    (tailnet !== null || gateway !== null) &&
      group(
        first_run ? words.thisMachine : null,
        tailnet && standing(words.parts.tailscale, words.tailnet(tailnet), tailscaleWay(tailnet, local)),
        gateway && standing(words.parts.openclaw, words.gateway(gateway), gateway.gateway === "missing" ? pageWay("openclaw", words.parts.openclaw, local) : []),
      ),
    first_run && element("p", { class: "foot", "data-key": "way-in" }, words.sentences.wayIn),
  ];
}

/**
 * How a person comes by Tailscale where Ecto does not bring it.
 * @param {TailnetView} tailnet
 * @param {Local} local
 */
function tailscaleWay(tailnet, local) {
  if (tailnet.tailnet !== "missing") return [];
  const part = words.parts.tailscale;
  switch (tailnet.installer.installer) {
    case "homebrew":
      return [];
    case "download":
      return pageWay("tailscale", part, local);
    case "person":
      return [copyButton("install", words.copyInstall(part), local.copied)];
  }
}

/**
 * @param {"tailscale" | "openclaw"} what
 * @param {string} part
 * @param {Local} local
 */
function pageWay(what, part, { copied }) {
  return [
    iconButton("open_link", "open", words.openPage(part), { "data-what": what, "data-key": `get-${what}` }),
    copyButton(what, words.copyPage(part), copied),
  ];
}

/**
 * @param {string} part
 * @param {["good" | "ours" | "yours", string]} state
 * @param {Child[]} actions
 */
function standing(part, [who, detail], actions) {
  const marks = { good: mark("good", "check"), ours: mark("", "ours"), yours: mark("warn", "hand") };
  return row({ key: part, mark: marks[who], label: part, detail, actions });
}

/**
 * @param {AppView} view
 * @param {Preparing} exposure
 * @param {Local} local
 * @param {number} now
 */
function preparingBody({ report, link }, exposure, local, now) {
  return [
    needsPerson(exposure) && waitingCard(link, exposure, local),
    element(
      "section",
      { class: "group", "data-key": "journey" },
      element(
        "ol",
        { class: "card journey", "aria-label": words.journey },
        ...(needsPerson(exposure) ? shortJourney(report.journey, exposure, now) : report.journey.map((step) => journeyStep(step, exposure, now))),
      ),
    ),
    single("disconnect", words.cancel),
  ];
}

/**
 * @param {string | null} link
 * @param {Preparing} exposure
 * @param {Local} local
 */
function waitingCard(link, { waiting }, local) {
  if (waiting === null) return null;
  return element(
    "section",
    { class: "callout", "data-key": "waiting" },
    element("p", { class: "ask" }, words.waits[waiting.for]),
    ...(link === null ? [] : linkParts(link, local)),
  );
}

/**
 * @param {string} link
 * @param {Local} local
 * @returns {Child[]}
 */
function linkParts(link, local) {
  return [
    element("p", { class: "machine", translate: "no" }, words.plain(link)),
    element("div", { class: "choices" }, ...linkButtons(local)),
  ];
}

/** @param {Local} local */
function linkButtons({ copied }) {
  return [button("open_link", words.openLink, { class: "button primary" }), copyTextButton("link", words.copyLink, words.copyLink, copied)];
}

/**
 * The journey while the one thing that matters is above it.
 * @param {JourneyStep[]} journey
 * @param {Preparing} exposure
 * @param {number} now
 */
function shortJourney(journey, exposure, now) {
  const done = journey.filter(({ progress }) => progress.progress === "done");
  const ahead = journey.filter(({ progress }) => progress.progress === "ahead");
  const next = ahead[0];
  return [
    done.length > 0 &&
      element("li", { class: "step done", "data-key": "done" }, mark("good", "check"), element("div", { class: "text" }, words.stepsDone(done.length))),
    ...journey.filter((step) => !done.includes(step) && !ahead.includes(step)).map((step) => journeyStep(step, exposure, now)),
    next &&
      element(
        "li",
        { class: "step ahead", "data-key": "ahead" },
        element("span", { class: "mark ahead" }),
        element("div", { class: "text label" }, words.stepsAhead(ahead.length, words.steps[next.step])),
      ),
  ];
}

/**
 * @param {JourneyStep} journeyStep
 * @param {Preparing} exposure
 * @param {number} now
 */
function journeyStep({ step, progress }, exposure, now) {
  const state = progress.progress;
  const marks = {
    done: () => mark("good", "check"),
    now: () => element("span", { class: "mark", "data-key": "now" }, spinner()),
    ahead: () => element("span", { class: "mark ahead", "data-key": "ahead" }),
    failed: () => mark("bad", "cross"),
  };
  const waitsByItself = state === "now" && exposure.waiting !== null && !needsPerson(exposure) && exposure.waiting;
  return element(
    "li",
    { class: `step ${state}`, "data-key": step, "aria-current": state === "now" ? "step" : null },
    marks[state](),
    element(
      "div",
      { class: "text" },
      element("div", { class: "label" }, words.steps[step], element("span", { class: "unseen" }, `, ${words.progress[state]}`)),
      waitsByItself && element("div", { class: "detail" }, words.waits[waitsByItself.for]),
      state === "now" && exposure.progress && element("div", { class: "detail live", translate: "no" }, words.progressLine(exposure.progress)),
    ),
    progress.progress === "done" && element("span", { class: "took" }, words.took(progress.milliseconds)),
    state === "now" && element("span", { class: "took" }, time("elapsed", exposure.since, now)),
  );
}

/**
 * @param {AppView} view
 * @param {Public} exposure
 * @param {Local} local
 * @param {number} now
 */
function publicBody(view, exposure, local, now) {
  const { report } = view;
  return [
    strangers(report),
    exposure.held ? heldCard(report, exposure.held) : reachCard(report, exposure, now),
    group(
      null,
      row({
        key: "address",
        label: words.address,
        detail: address(report.url ?? ""),
        actions: [
          iconButton("code", "qr", words.showCode, { "data-key": "code" }),
          copyButton("url", words.copyAddress, local.copied),
        ],
      }),
      keyRow(report, local),
      element(
        "div",
        { class: "row examples", "data-key": "examples", role: "group", "aria-labelledby": "copy-as" },
        element("span", { class: "label", id: "copy-as" }, words.copyAs),
        element(
          "div",
          { class: "segments" },
          ...words.examples.map(([what, label]) =>
            copyTextButton(what, label, words.copyExample(what === "environment" ? words.environment : label), local.copied, "segment"),
          ),
        ),
      ),
    ),
    group(null, closingRow(view, exposure, now), offerRow(report), requestRow(report, now)),
  ];
}

/**
 * @param {Report} report
 * @param {Cause} cause
 */
function heldCard(report, cause) {
  return element(
    "section",
    { class: "callout warn", "data-key": "held" },
    element("p", { class: "ask" }, ...prose(report.message.next ?? report.message.what)),
    RESTART_HELPS.includes(cause.code) && single("restart_gateway", words.remedies.restartGateway, "primary"),
  );
}

/**
 * @param {Report} report
 * @param {Public} exposure
 * @param {number} now
 */
function reachCard(report, exposure, now) {
  const { reach } = exposure;
  const again = iconButton("check_outside", "refresh", words.reach.checkAgain, { "data-key": "check_outside" });
  if (reachOf(report, exposure) === "settling")
    return group(
      null,
      row({ key: "reach", mark: element("span", { class: "mark" }, spinner()), label: words.reach.settling, detail: words.reach.settlingDetail, actions: [again] }),
    );
  switch (reach.reach) {
    case "unchecked":
      return group(
        null,
        row({ key: "reach", mark: element("span", { class: "mark" }, spinner()), label: words.reach.unchecked, detail: words.reach.uncheckedDetail }),
      );
    case "reachable":
      return group(null, row({ key: "reach", look: "assured", mark: mark("good", "globe"), label: words.reach.reachable, detail: time("ago", reach.at, now), actions: [again] }));
    case "unreachable":
      return group(
        null,
        row({
          key: "reach",
          look: "tall",
          mark: mark("warn", "warning"),
          label: words.reach.unreachable,
          detail: element("span", {}, ...prose(report.message.next), " ", time("ago", reach.at, now), "."),
          actions: [again],
        }),
      );
  }
}

/**
 * The address as it is copied, its machine standing out.
 * @param {string} text
 */
function address(text) {
  const shown = words.plain(text);
  const parts = /^(https?:\/\/)([^/]*)(.*)$/s.exec(shown);
  if (!parts) return element("span", { class: "machine", translate: "no" }, shown);
  return element(
    "span",
    { class: "machine", translate: "no" },
    element("span", { class: "dim" }, parts[1] ?? ""),
    element("wbr"),
    element("span", { class: "strong" }, parts[2] ?? ""),
    element("wbr"),
    element("span", { class: "dim" }, parts[3] ?? ""),
  );
}

/**
 * @param {Report} report
 * @param {Local} local
 */
function keyRow({ key }, local) {
  if (key === null) return row({ key: "key", label: words.key, detail: words.noKey });
  const [start, end] = words.plain(key.hint).split("…");
  return element(
    "div",
    { class: local.held ? "row key held" : "row key", "data-key": "key" },
    element(
      "div",
      { class: "text" },
      element("div", { class: "label" }, words.key),
      element(
        "div",
        { class: "detail machine", id: "key", translate: "no", "data-kept": local.held },
        ...(local.held ? [] : masked(start ?? "", end ?? "")),
      ),
    ),
    element(
      "div",
      { class: "actions" },
      iconButton("hold", "eye", words.showKey, { "data-hold": true, "aria-pressed": String(local.held) }),
      copyButton("key", words.copyKey, local.copied),
      iconButton("open", "keys", words.keys.all, { "data-to": "keys", "data-key": "open-keys" }),
    ),
  );
}

/**
 * @param {string} start
 * @param {string} end
 */
function masked(start, end) {
  return [
    element("span", { "aria-hidden": "true" }, start, element("span", { class: "dots" }, "••••••••"), end),
    element("span", { class: "unseen" }, words.keyHidden(end)),
  ];
}

/**
 * @param {AppView} view
 * @param {Public} exposure
 * @param {number} now
 */
function closingRow({ preferences, sleep_is_told }, { until }, now) {
  return row({
    key: "closes",
    label: until === null ? words.openUntilQuit : time("left", until, now),
    detail: preferences.at_sleep === "close" && sleep_is_told && words.closesAtSleep,
    actions: [choice({ what: "change", name: words.changeClosing, chosen: undefined, choices: words.durations, first: words.change })],
  });
}

/** @param {Report} report */
function offerRow({ offer }) {
  const offered = words.alsoOffered(offer);
  return offered !== "" && doorway("routes", offered);
}

/**
 * @param {Report} report
 * @param {number} now
 */
function requestRow({ activity }, now) {
  const { last } = activity;
  const panel = "requests";
  if (last === null) return doorwayRow({ panel, label: words.noRequest, detail: words.noRequestDetail });
  return doorwayRow({
    panel,
    label: time("request", last.at, now),
    detail: element(
      "span",
      {},
      element("span", { class: "line", translate: "no" }, words.request(last)),
      element("span", {}, words.requests(activity)),
    ),
  });
}

/**
 * @param {AppView} view
 * @param {Blocked} exposure
 * @param {Local} local
 */
function blockedBody({ report, link, command }, { cause, closed }, local) {
  const { trouble } = report;
  const open = closed === "unconfirmed";
  const tone = open || trouble?.severity === "danger" ? "danger" : trouble?.severity === "quiet" ? "" : "warn";
  return [
    element(
      "section",
      { class: `callout ${tone}`.trim(), "data-key": "cause" },
      element("p", { class: "ask", id: "cause" }, ...prose(report.message.what)),
      report.message.next !== null && element("p", { class: "next" }, ...prose(report.message.next)),
      element("p", { class: "code" }, `${words.code} ${words.plain(cause.code)}`),
    ),
    link !== null && element("div", { class: "choices", "data-key": "link" }, ...linkButtons(local)),
    link === null && (open || command === null) && remedy(report, cause, open),
    command !== null &&
      element(
        "div",
        { class: "choices", "data-key": "command" },
        copyTextButton("command", words.remedies.copyCommand, words.remedies.copyCommand, local.copied, open ? "button" : "button primary"),
      ),
  ];
}

/**
 * The one button that brings it on.
 * @param {Report} report
 * @param {Cause} cause
 * @param {boolean} open
 */
function remedy({ trouble }, cause, open) {
  if (open) return single("disconnect", words.remedies.closeAgain, "danger");
  if (cause.code === "open_without_key") return single("open", words.diagnostics.open, "primary", "diagnostics");
  if (cause.code === "vault_damaged") return single("open", words.remedies.newKey, "primary", "regenerate");
  if (RESTART_HELPS.includes(cause.code))
    return single("restart_gateway", words.remedies.restartGateway, "primary");
  switch (trouble?.remedy) {
    case "ask":
      return single("connect", words.remedies.connectAgain, "primary");
    case "act":
      return single("connect", words.remedies.checkAgain, "primary");
    default:
      return single("connect", words.remedies.tryNow);
  }
}

/**
 * @param {string} what
 * @param {string} label
 * @param {string} [look]
 * @param {string | null} [to]
 */
function single(what, label, look = "", to = null) {
  return element("div", { class: "choices", "data-key": "single" }, button(what, label, { class: `button ${look}`.trim(), "data-key": `single-${what}`, "data-to": to }));
}

/**
 * @param {string} tone
 * @param {import("./icons.js").Icon} drawing
 */
function mark(tone, drawing) {
  return element("span", { class: `mark ${tone}`.trim(), "data-key": drawing }, icon(drawing));
}
