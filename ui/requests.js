// @ts-check
// The panel of the requests: what each key did today, and the last of them as they come.
import { element } from "./element.js";
import { icon, spinner } from "./icons.js";
import { button, group, refusal, row, time, titleBar } from "./parts.js";
import * as words from "./words.js";

/** @import { KeyDay, Report, RequestLine } from "./bindings.js" */
/** @import { AppView } from "./app-bindings.js" */
/** @import { Local } from "./render.js" */

/**
 * @param {AppView} view
 * @param {Local} local
 * @param {number} now
 */
export function requests({ report }, local, now) {
  return element(
    "main",
    { class: "panel", "data-key": "requests" },
    titleBar(words.record.title),
    refusal(local.failure),
    strangers(report),
    group(
      words.record.today,
      ...(report.today.length === 0 ? [row({ key: "no-day", label: words.record.noDay })] : report.today.map((day) => keyDay(day, now))),
    ),
    element(
      "section",
      { class: "group", "data-key": "last", "aria-labelledby": "record-last" },
      element("h2", { id: "record-last" }, words.record.last),
      lines(local.requests),
    ),
  );
}

/**
 * Many wrong keys in a short time.
 * @param {Report} report
 */
export function strangers({ strangers }) {
  if (strangers === null) return null;
  return element("div", { class: "banner warn", "data-key": "strangers" }, icon("warning"), element("p", {}, words.strangers(strangers)));
}

/**
 * @param {KeyDay} day
 * @param {number} now
 */
function keyDay(day, now) {
  return row({
    key: `day-${day.key ?? ""}`,
    label: element("span", { class: "line", translate: "no" }, words.keyName(day.key)),
    detail: element(
      "span",
      {},
      element("span", { class: "counts" }, words.day(day)),
      element("span", { class: "line" }, time("request", day.last, now), element("span", { translate: "no" }, words.from(day.caller))),
    ),
  });
}

/** @param {Local["requests"]} shown Oldest first. */
function lines(shown) {
  if (shown === "refused") return element("div", { class: "choices" }, button("read_requests", words.tryAgain));
  if (shown === null) return element("p", { class: "prose loading" }, spinner(), words.oneMoment);
  if (shown.length === 0) return element("div", { class: "card" }, row({ key: "no-line", label: words.noRequest, detail: words.record.noLine }));
  return element("ol", { class: "card record" }, ...shown.toReversed().map(line));
}

/** @param {RequestLine} line */
function line(line) {
  const { key, route, status, address, milliseconds, at } = line;
  return element(
    "li",
    { class: "row", "data-key": `${at} ${status} ${milliseconds}` },
    element(
      "div",
      { class: "text" },
      element(
        "div",
        { class: "top" },
        element("time", { datetime: at }, words.clock(at)),
        element("span", { class: "line label", translate: "no" }, words.plain(route)),
        element("span", { class: status < 400 ? "status" : "status refused" }, String(status)),
      ),
      element("div", { class: "detail" }, element("span", { class: "line", translate: "no" }, words.caller({ key, address, milliseconds }))),
    ),
  );
}
