// @ts-check
// What panels are built of: bars, groups, rows, buttons, switches and choices.
import { element } from "./element.js";
import { icon, spinner } from "./icons.js";
import * as words from "./words.js";

/** @import { Child } from "./element.js" */
/** @import { Icon } from "./icons.js" */
/** @import { CopyWhat, OpenWhat, Refusal } from "./app-bindings.js" */

/**
 * A push button that does one thing: `data-do` names it.
 * @param {string} what
 * @param {string} label
 * @param {Record<string, string | boolean | null>} [more]
 */
export function button(what, label, more = {}) {
  return element("button", { type: "button", class: "button", "data-do": what, "data-key": what, ...more }, label);
}

/**
 * A button with a drawing alone; its name is for screen readers and the tooltip.
 * @param {string} what
 * @param {Icon} drawing
 * @param {string} name
 * @param {Record<string, string | boolean | null>} [more]
 */
export function iconButton(what, drawing, name, more = {}) {
  return element(
    "button",
    { type: "button", class: "icon-button", "data-do": what, "data-key": what + drawing, "aria-label": name, title: name, ...more },
    icon(drawing),
  );
}

/**
 * Copies, and shows a tick for a moment.
 * @param {CopyWhat} what
 * @param {string} name
 * @param {string | null} copied
 */
export function copyButton(what, name, copied) {
  return element(
    "button",
    { type: "button", class: "icon-button", "data-do": "copy", "data-what": what, "data-key": `copy-${what}`, "aria-label": name, title: name },
    copied === what ? icon("check", "tick") : icon("copy"),
  );
}

/**
 * Copies, with its name as text; the tick takes no other room than the name had.
 * @param {CopyWhat} what
 * @param {string} label
 * @param {string} name
 * @param {string | null} copied
 * @param {string} [look]
 */
export function copyTextButton(what, label, name, copied, look = "button") {
  return element(
    "button",
    { type: "button", class: copied === what ? `${look} ticked` : look, "data-do": "copy", "data-what": what, "data-key": `copy-${what}`, "aria-label": name },
    element("span", { class: "name" }, label),
    copied === what && icon("check", "tick"),
  );
}

/**
 * @param {string | null} title
 * @param {...Child} rows
 */
export function group(title, ...rows) {
  return element(
    "section",
    { class: "group", "data-key": title },
    title !== null && element("h2", {}, title),
    element("div", { class: "card" }, ...rows),
  );
}

/**
 * @param {{ key: string, mark?: Child, look?: string, label: Child, detail?: Child, actions?: Child[] }} parts
 */
export function row({ key, mark, look = "", label, detail, actions = [] }) {
  return element(
    "div",
    { class: `row ${look}`.trim(), "data-key": key },
    mark,
    element("div", { class: "text" }, element("div", { class: "label" }, label), detail && element("div", { class: "detail" }, detail)),
    actions.length > 0 && element("div", { class: "actions" }, ...actions),
  );
}

/**
 * A row that opens another panel.
 * @param {string} panel
 * @param {string} label
 * @param {string} [look]
 */
export function doorway(panel, label, look = "") {
  return element(
    "button",
    { type: "button", class: `row doorway ${look}`.trim(), "data-do": "open", "data-to": panel, "data-key": `open-${panel}` },
    element("span", { class: "label" }, label),
    icon("chevron", "dim"),
  );
}

/**
 * A row that leads out of Ecto.
 * @param {OpenWhat} what
 * @param {string} label
 */
export function wayOut(what, label) {
  return element(
    "button",
    { type: "button", class: "row doorway", "data-do": "open_link", "data-what": what, "data-key": `way-${what}` },
    element("span", { class: "label" }, label),
    icon("open", "dim"),
  );
}

/**
 * A row that opens another panel, and says more than its name.
 * @param {{ panel: string, label: Child, detail: Child }} parts
 */
export function doorwayRow({ panel, label, detail }) {
  return element(
    "button",
    { type: "button", class: "row doorway", "data-do": "open", "data-to": panel, "data-key": `open-${panel}` },
    element("span", { class: "text" }, element("span", { class: "label" }, label), element("span", { class: "detail" }, detail)),
    icon("chevron", "dim"),
  );
}

/**
 * @param {{ what: string, label: string, detail?: string, on: boolean, disabled?: boolean }} parts
 */
export function switchRow({ what, label, detail = "", on, disabled = false }) {
  return row({
    key: what,
    label: element("span", { id: `${what}-label` }, label),
    detail: detail && element("span", { id: `${what}-detail` }, detail),
    actions: [
      element(
        "button",
        {
          type: "button",
          class: "small-switch",
          role: "switch",
          "aria-checked": String(on),
          "aria-labelledby": `${what}-label`,
          "aria-describedby": detail ? `${what}-detail` : null,
          "data-do": what,
          "data-key": what,
          disabled,
        },
        element("span", { class: "knob" }),
      ),
    ],
  });
}

/**
 * @template {string | number | null} Choice
 * @param {{ what: string, name: string, chosen: Choice | undefined, choices: [Choice, string][], first?: string }} parts
 */
export function choice({ what, name, chosen, choices, first }) {
  return element(
    "span",
    { class: "choice", "data-key": what },
    element(
      "select",
      { "aria-label": name, "data-choose": what },
      first !== undefined && element("option", { value: "", selected: true, disabled: true, hidden: true }, first),
      ...choices.map(([value, label]) =>
        element("option", { value: JSON.stringify(value), selected: first === undefined && value === chosen }, label),
      ),
    ),
    icon("chevron"),
  );
}

/**
 * The bar of a panel behind the first one.
 * @param {string} title
 */
export function titleBar(title) {
  return element(
    "header",
    { class: "bar" },
    iconButton("back", "back", words.back, { class: "icon-button back" }),
    element("h1", { tabindex: "-1" }, title),
  );
}

/**
 * A question before something that is not undone by itself.
 * @param {{ title: string, sentence: string, confirm: string, what: string, busy: string[], danger?: boolean, list?: readonly string[] }} parts
 */
export function question({ title, sentence, confirm, what, busy, danger = false, list = [] }) {
  return element(
    "main",
    { class: "panel question", "data-key": what },
    titleBar(title),
    element("p", { class: "prose" }, sentence),
    list.length > 0 && element("ul", { class: "prose" }, ...list.map((line) => element("li", {}, line))),
    element(
      "div",
      { class: "choices" },
      button("back", words.cancel, { "data-key": "cancel", disabled: busy.includes(what) }),
      element(
        "button",
        { type: "button", class: danger ? "button danger" : "button primary", "data-do": what, "data-key": what, disabled: busy.includes(what) },
        busy.includes(what) ? spinner() : null,
        confirm,
      ),
    ),
  );
}

/**
 * A sentence of the host; what it sets in backquotes is something to type.
 * @param {string | null} text
 * @returns {Child[]}
 */
export function prose(text) {
  return words
    .message(text ?? "")
    .split("`")
    .map((part, index) => (index % 2 === 1 ? element("code", {}, part) : part))
    .filter((part) => part !== "");
}

/**
 * The name of a setting, which is long and ends a line after a dot.
 * @param {string} name
 */
export function settingName(name) {
  const parts = words.plain(name).split(/(?<=\.)/);
  return element("span", { class: "machine", translate: "no" }, ...parts.flatMap((part, index) => (index === 0 ? [part] : [element("wbr", {}), part])));
}

/**
 * What a command was refused for.
 * @param {Refusal | null} failure
 */
export function refusal(failure) {
  if (failure === null) return null;
  return element(
    "div",
    { class: "banner problem", role: "alert", "data-key": "refusal" },
    icon("warning"),
    element("p", {}, ...prose(failure.what), " ", ...prose(failure.next)),
    iconButton("dismiss", "cross", words.dismiss),
  );
}

/**
 * A time that goes on while the popover is seen.
 * @param {"ago" | "left" | "elapsed" | "request" | "used" | "expires" | "grace"} kind
 * @param {string} at
 * @param {number} now
 */
export function time(kind, at, now) {
  return element("span", { "data-tick": kind, "data-at": at }, tick(kind, at, now));
}

/**
 * @param {string} kind
 * @param {string} at
 * @param {number} now
 */
export function tick(kind, at, now) {
  const seconds = (now - Date.parse(at)) / 1000;
  switch (kind) {
    case "ago":
      return words.checked(words.ago(seconds));
    case "request":
      return words.lastRequest(words.ago(seconds));
    case "left":
      return words.closesIn(words.span(Math.ceil(-seconds)));
    case "used":
      return words.lastUsed(words.ago(seconds));
    case "expires":
      return seconds < 0 ? words.expiresIn(words.span(Math.ceil(-seconds))) : words.expiredAgo(words.ago(seconds));
    case "grace":
      return seconds < 0 ? words.graceLeft(words.span(Math.ceil(-seconds))) : words.graceOver;
    default:
      return words.span(seconds);
  }
}

/**
 * Fields, and the button that hands them in.
 * @param {string} what
 * @param {Child[]} parts
 * @param {string} confirm
 * @param {string[]} busy
 */
export function form(what, parts, confirm, busy) {
  return element(
    "form",
    { class: "form", "data-submit": what, novalidate: true, autocomplete: "off" },
    ...parts,
    element(
      "div",
      { class: "choices" },
      button("back", words.cancel, { "data-key": "cancel" }),
      element("button", { type: "submit", class: "button primary", "data-key": what }, busy.includes(what) ? spinner() : null, confirm),
    ),
  );
}

/**
 * A line to type in. What is typed stays in it.
 * @param {{ what: string, label: string, detail?: string, placeholder?: string, value?: string, longest?: number, first?: boolean }} parts
 */
export function field({ what, label, detail, placeholder, value, longest, first = false }) {
  return element(
    "div",
    { class: "row field", "data-key": `${what}-field` },
    element("label", { class: "label", for: `${what}-input` }, label),
    element("input", {
      id: `${what}-input`,
      type: "text",
      name: what,
      dir: "auto",
      placeholder,
      value,
      maxlength: longest,
      autocapitalize: "off",
      autocorrect: "off",
      spellcheck: "false",
      "aria-describedby": detail && `${what}-detail`,
      "data-key": what,
      "data-first": first,
    }),
    detail && element("div", { class: "detail", id: `${what}-detail` }, detail),
  );
}
