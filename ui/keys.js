// @ts-check
// The keys: all of them, one, a new one, and the questions before one is changed.
import { element } from "./element.js";
import { icon, spinner } from "./icons.js";
import { button, choice, doorway, field, form, group, iconButton, question, refusal, row, switchRow, time, titleBar } from "./parts.js";
import * as words from "./words.js";

/** @import { KeyView, Report, Route } from "./bindings.js" */
/** @import { End, Grace, NewKey } from "./app-bindings.js" */
/** @import { Child } from "./element.js" */
/** @import { Local } from "./render.js" */

/** The key that is there from the start, and stays. */
const DEFAULT = "default";

/**
 * What the page remembers of keys.
 * @typedef {object} KeysLocal
 * @property {string | null} chosen The name of the key that is looked at.
 * @property {KeyView | null} made The key that was made or replaced a moment ago, which the report may not hold yet.
 * @property {NewKey} draft What is chosen; what is typed is read from its fields.
 * @property {Grace} grace
 * @property {End} end When what takes the place of a key ends.
 */

/** @returns {KeysLocal} */
export function freshKeys() {
  return { chosen: null, made: null, draft: freshDraft(), grace: "none", end: "as_before" };
}

/** @returns {NewKey} */
export function freshDraft() {
  return { name: "", agent: "", routes: words.routes.map(([route]) => route), days: null, per_minute: null, concurrent: null, from: "" };
}

/**
 * @param {Report} report
 * @param {Local} local
 * @param {number} now
 */
export function keys({ keys }, local, now) {
  return element(
    "main",
    { class: "panel", "data-key": "keys" },
    titleBar(words.keys.title),
    refusal(local.failure),
    element("p", { class: "prose dim" }, words.keys.sentence),
    ...(keys.length > 0
      ? [group(null, ...keys.map((key) => keyDoorway(key, now))), group(null, doorway("new-key", words.keys.add))]
      : local.busy.includes("read_keys")
        ? [element("p", { class: "prose loading" }, spinner(), words.oneMoment)]
        : [element("div", { class: "choices" }, button("read_keys", words.tryAgain))]),
  );
}

/**
 * @param {KeyView} key
 * @param {number} now
 */
function keyDoorway(key, now) {
  return element(
    "button",
    { type: "button", class: "row doorway of-key", "data-do": "open", "data-to": "key", "data-name": key.name, "data-key": `key-${key.name}` },
    element(
      "span",
      { class: "text" },
      element("span", { class: "label line" }, bidi(key.name), hasExpired(key, now) && element("span", { class: "badge" }, words.keys.expired)),
      element("span", { class: "detail line" }, hint(key), " · ", words.opens(key)),
      element("span", { class: "detail line" }, ...standing(key, now)),
    ),
    icon("chevron", "dim"),
  );
}

/**
 * What is nearest to be known: that the one before still works, when it ends, or when it was used.
 * @param {KeyView} key
 * @param {number} now
 * @returns {Child[]}
 */
function standing(key, now) {
  const grace = graceEnd(key, now);
  if (grace !== null) return [time("grace", grace, now)];
  return usesAndEnd(key, now);
}

/**
 * @param {KeyView} key
 * @param {number} now
 * @returns {Child[]}
 */
function usesAndEnd(key, now) {
  const { expires } = key.grant;
  const used = key.last_used === null ? words.keys.unused : time("used", key.last_used, now);
  if (expires === null) return [used];
  return hasExpired(key, now) ? [time("expires", expires, now)] : [used, " · ", time("expires", expires, now)];
}

/**
 * @param {KeyView} key
 * @param {number} now
 */
const hasExpired = ({ state, grant }, now) => state === "expired" || (grant.expires !== null && Date.parse(grant.expires) <= now);

/**
 * @param {KeyView} key
 * @param {number} now
 * @returns {string | null} Until when the one before works, while it does.
 */
const graceEnd = ({ earlier_until }, now) => (earlier_until !== null && Date.parse(earlier_until) > now ? earlier_until : null);

/** @param {KeyView} key */
const hint = (key) => element("span", { class: "hint", translate: "no" }, words.plain(key.hint));

/**
 * A name, in the direction that is its own.
 * @param {string} name
 */
const bidi = (name) => element("bdi", { translate: "no" }, words.plain(name));

/**
 * The key that is looked at.
 * @param {Report} report
 * @param {Local} local
 */
export function chosenKey({ keys }, { chosen, made }) {
  return keys.find(({ name }) => name === chosen) ?? (made?.name === chosen ? made : null);
}

/**
 * @param {Report} report
 * @param {Local} local
 * @param {number} now
 */
export function key(report, local, now) {
  const shown = chosenKey(report, local);
  const isNew = shown !== null && local.made?.name === shown.name;
  return element(
    "main",
    { class: "panel", "data-key": "key" },
    titleBar(words.plain(local.chosen ?? "")),
    refusal(local.failure),
    ...(shown === null ? [element("p", { class: "prose" }, words.keys.gone)] : [isNew && ready(shown, local), ...facts(report, shown, isNew, local, now)]),
  );
}

/**
 * What to do with a key that was made a moment ago.
 * @param {KeyView} key
 * @param {Local} local
 */
function ready(key, local) {
  const copied = local.copied === copiedOf(key);
  return element(
    "section",
    { class: "callout", "data-key": "ready" },
    element("p", { class: "ask" }, words.keys.ready),
    element("p", { class: "machine" }, hint(key)),
    element("p", { class: "next" }, words.keys.give),
    element(
      "div",
      { class: "choices" },
      element(
        "button",
        { type: "button", class: copied ? "button primary ticked" : "button primary", "data-do": "copy_key", "data-name": key.name, "data-key": "copy_key" },
        element("span", { class: "name" }, words.copyKey),
        copied && icon("check", "tick"),
      ),
    ),
  );
}

/**
 * What is remembered as copied.
 * @param {{ name: string }} key
 * @returns {`key ${string}`}
 */
export const copiedOf = ({ name }) => `key ${name}`;

/**
 * @param {Report} report
 * @param {KeyView} key
 * @param {boolean} isNew
 * @param {Local} local
 * @param {number} now
 * @returns {Child[]}
 */
function facts({ offer }, key, isNew, local, now) {
  const closed = words.optionalRoutes.filter(([route]) => key.grant.routes.includes(route) && !offer.routes.includes(route));
  const grace = graceEnd(key, now);
  return [
    group(
      null,
      !isNew &&
        row({
          key: "hint",
          label: words.key,
          detail: hint(key),
          actions: [
            iconButton("copy_key", local.copied === copiedOf(key) ? "check" : "copy", words.copyKey, { "data-name": key.name, "data-key": "copy_key" }),
          ],
        }),
      row({ key: "opens", label: words.opens(key), detail: element("span", {}, ...usesAndEnd(key, now)) }),
      grace !== null && row({ key: "grace", mark: element("span", { class: "mark" }, icon("clock")), label: time("grace", grace, now) }),
    ),
    group(
      null,
      key.name !== DEFAULT && doorway("rename", words.rename.open),
      doorway("rotate", words.rotate.open),
      key.name !== DEFAULT && doorway("revoke", words.revoke.open, "danger"),
    ),
    closed.length > 0 && element("p", { class: "foot" }, words.notOffered(closed.map(([, label]) => label))),
    key.name === DEFAULT && element("p", { class: "foot" }, words.keys.stays),
  ];
}

/**
 * @param {Report} report
 * @param {Local} local
 */
export function newKey({ offer }, { draft, failure, busy }) {
  const offered = [...words.routes, ...words.optionalRoutes.filter(([route]) => offer.routes.includes(route))];
  return element(
    "main",
    { class: "panel", "data-key": "new-key" },
    titleBar(words.newKey.title),
    refusal(failure),
    form(
      "add_key",
      [
        group(
          null,
          field({ what: "name", label: words.newKey.name, placeholder: words.newKey.namePlaceholder, longest: 40, first: true }),
          field({ what: "agent", label: words.newKey.agent, placeholder: words.newKey.agentPlaceholder, longest: 64 }),
        ),
        group(
          words.newKey.opens,
          ...offered.map(([route, label]) => switchRow({ what: `route-${route}`, label, on: draft.routes.includes(route) })),
        ),
        group(
          words.newKey.limits,
          chosen("days", words.newKey.ends, draft.days, words.ends),
          chosen("per_minute", words.newKey.rate, draft.per_minute, words.rates, words.newKey.rateDetail),
          chosen("concurrent", words.newKey.concurrent, draft.concurrent, words.concurrents),
          field({ what: "from", label: words.newKey.from, detail: words.newKey.fromDetail, placeholder: words.newKey.fromPlaceholder }),
        ),
      ],
      words.newKey.confirm,
      busy,
    ),
  );
}

/** @param {Local} local */
export function rename({ chosen, failure, busy }) {
  return element(
    "main",
    { class: "panel", "data-key": "rename" },
    titleBar(words.rename.title),
    refusal(failure),
    form("rename_key", [group(null, field({ what: "to", label: words.newKey.name, value: chosen ?? "", longest: 40, first: true }))], words.rename.confirm, busy),
  );
}

/**
 * What a key without an end is replaced by has none either.
 * @param {Report} report
 * @param {Local} local
 * @param {number} now
 */
export function rotate(report, local, now) {
  const { title, sentence, confirm } = words.rotate;
  const key = chosenKey(report, local);
  const isOver = key !== null && hasExpired(key, now);
  const asked = question({ title, sentence, confirm, what: "rotate_key", busy: local.busy });
  asked.querySelector(".choices")?.before(
    group(
      null,
      !isOver && chosen("grace", words.rotate.question, local.grace, words.graces),
      key !== null && key.grant.expires !== null && chosen("end", words.rotate.ends, local.end, words.newEnds.filter(([end]) => !isOver || end !== "as_before")),
    ),
  );
  return asked;
}

/**
 * When what takes the place of a key ends, unless something else is chosen.
 * @param {KeyView | null} key
 * @param {number} now
 * @returns {End}
 */
export const usualEnd = (key, now) => (key !== null && hasExpired(key, now) ? "month" : "as_before");

/** @param {Local} local */
export function revoke({ chosen, busy }) {
  const { title, confirm } = words.revoke;
  return question({ title, sentence: words.revokeSentence(chosen ?? ""), confirm, what: "revoke_key", busy, danger: true });
}

/**
 * @template {string | number | null} Choice
 * @param {string} what
 * @param {string} name
 * @param {Choice} value
 * @param {[Choice, string][]} choices
 * @param {string} [detail]
 */
function chosen(what, name, value, choices, detail) {
  return row({ key: what, label: name, detail, actions: [choice({ what, name, chosen: value, choices })] });
}
