// @ts-check
// What is offered beside what always is: nothing, until somebody allows it with its danger before their eyes.
import { element } from "./element.js";
import { icon } from "./icons.js";
import { doorway, field, form, group, iconButton, refusal, row, switchRow, titleBar } from "./parts.js";
import * as words from "./words.js";

/** @import { Report } from "./bindings.js" */
/** @import { Local } from "./render.js" */

/**
 * @param {Report} report
 * @param {Local} local
 */
export function routes({ offer, gateway }, local) {
  const hooksOff = offer.routes.includes("hooks") && gateway?.gateway === "ready" && !gateway.hooks;
  return element(
    "main",
    { class: "panel", "data-key": "routes" },
    titleBar(words.offer.title),
    refusal(local.failure),
    element("p", { class: "prose dim" }, words.offer.sentence),
    group(
      null,
      ...words.optionalRoutes.map(([route, label]) =>
        switchRow({ what: `offer-${route}`, label, detail: words.offer.details[route], on: offer.routes.includes(route) }),
      ),
      hooksOff && row({ key: "hooks-off", mark: element("span", { class: "mark warn" }, icon("hand")), label: words.hooksOff, detail: words.hooksOn }),
    ),
    group(
      words.offer.pages,
      ...offer.origins.map((origin) =>
        row({
          key: `origin-${origin}`,
          look: "of-origin",
          label: element("span", { class: "machine", translate: "no" }, words.plain(origin)),
          actions: [iconButton("forbid_origin", "cross", words.forbid(words.plain(origin)), { "data-origin": origin, "data-key": `forbid-${origin}` })],
        }),
      ),
      doorway("new-origin", words.offer.add),
    ),
  );
}

/** @param {Local} local */
export function newOrigin({ failure, busy }) {
  return element(
    "main",
    { class: "panel", "data-key": "new-origin" },
    titleBar(words.newOrigin.title),
    refusal(failure),
    form(
      "allow_origin",
      [
        element("p", { class: "prose" }, words.newOrigin.warning),
        group(null, field({ what: "origin", label: words.newOrigin.origin, placeholder: words.newOrigin.placeholder, longest: 267, first: true })),
      ],
      words.newOrigin.confirm,
      busy,
    ),
  );
}
