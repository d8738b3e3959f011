// @ts-check
// From what is to what is seen: no state, no clock, no host.
import { door } from "./door.js";
import { element } from "./element.js";
import { ghost } from "./icons.js";
import { freshKeys, key, keys, newKey, rename, revoke, rotate } from "./keys.js";
import { button, refusal } from "./parts.js";
import { requests } from "./requests.js";
import { newOrigin, routes } from "./routes.js";
import { code, diagnostics, regenerate, restart, restore, settings, uninstall } from "./settings.js";
import * as words from "./words.js";

/** @import { RequestLine, RestoredKey } from "./bindings.js" */
/** @import { AppView, CodeWhat, CopyWhat, Refusal } from "./app-bindings.js" */
/** @import { KeysLocal } from "./keys.js" */

/** @typedef {"door" | "settings" | "regenerate" | "restart" | "restore" | "diagnostics" | "code" | "uninstall" | "keys" | "key" | "new-key" | "rename" | "rotate" | "revoke" | "requests" | "routes" | "new-origin"} Panel */

/**
 * What the page remembers beside the view. No secret but the picture of a code, which goes with its panel.
 * @typedef {LocalAlone & KeysLocal} Local
 */

/**
 * @typedef {object} LocalAlone
 * @property {Panel} panel
 * @property {boolean} held Whether the key is being shown.
 * @property {CopyWhat | `key ${string}` | null} copied What was copied a moment ago.
 * @property {string[]} busy The controls whose commands are under way.
 * @property {Refusal | null} failure
 * @property {{ what: CodeWhat, svg: string | null } | null} code What was asked for, and its picture as soon as it is there.
 * @property {{ text: string, saved: string | null } | null} diagnostics
 * @property {RestoredKey[] | null} restored
 * @property {RequestLine[] | "refused" | null} requests The last ones, oldest first.
 * @property {string[] | null} farewell
 */

/** @returns {Local} */
export function fresh() {
  return { panel: "door", held: false, copied: null, busy: [], failure: null, code: null, diagnostics: null, restored: null, requests: null, farewell: null, ...freshKeys() };
}

/**
 * @param {AppView | null} view `null` where the host does not answer.
 * @param {Local} local
 * @param {number} now
 */
export function render(view, local, now) {
  const page = element("div", { id: "popover", "data-system": view?.system }, view === null ? withRefusal(silence(), local) : panel(view, local, now));
  for (const name of local.busy)
    for (const control of page.querySelectorAll(`[data-do="${CSS.escape(name)}"]`)) control.setAttribute("aria-disabled", "true");
  return page;
}

/**
 * @param {AppView} view
 * @param {Local} local
 * @param {number} now
 */
function panel(view, local, now) {
  switch (local.panel) {
    case "door":
      return door(view, local, now);
    case "settings":
      return settings(view, local);
    case "regenerate":
      return withRefusal(regenerate(view.report, local), local);
    case "restart":
      return withRefusal(restart(local), local);
    case "restore":
      return withRefusal(restore(local), local);
    case "diagnostics":
      return diagnostics(local);
    case "code":
      return code(local);
    case "requests":
      return requests(view, local, now);
    case "uninstall":
      return withRefusal(uninstall(view, local), local);
    case "routes":
      return routes(view.report, local);
    case "new-origin":
      return newOrigin(local);
    case "keys":
      return keys(view.report, local, now);
    case "key":
      return key(view.report, local, now);
    case "new-key":
      return newKey(view.report, local);
    case "rename":
      return rename(local);
    case "rotate":
      return withRefusal(rotate(view.report, local, now), local);
    case "revoke":
      return withRefusal(revoke(local), local);
  }
}

/**
 * @param {Element} panel
 * @param {Local} local
 */
function withRefusal(panel, { failure }) {
  const shown = refusal(failure);
  if (shown) panel.querySelector("header")?.after(shown);
  return panel;
}

function silence() {
  return element(
    "main",
    { class: "panel door", "data-mood": "failed", "data-key": "silence" },
    element("header", { class: "bar" }, element("p", { class: "brand" }, words.name)),
    element(
      "section",
      { class: "hero" },
      element("span", { class: "big-switch", "aria-hidden": "true" }, element("span", { class: "knob" }, ghost())),
      element("h1", { tabindex: "-1" }, words.titles.silent),
      element("p", { class: "sentence" }, words.sentences.gone),
    ),
    element("div", { class: "choices" }, button("again", words.tryAgain), button("quit", words.quit)),
  );
}
