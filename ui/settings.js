// @ts-check
// The panels behind the first one: settings, questions, diagnostics, the QR code, the farewell.
import { element } from "./element.js";
import { icon, spinner } from "./icons.js";
import { button, choice, doorway, doorwayRow, group, prose, question, refusal, row, settingName, switchRow, titleBar, wayOut } from "./parts.js";
import * as words from "./words.js";

/** @import { Report } from "./bindings.js" */
/** @import { AppView } from "./app-bindings.js" */
/** @import { Local } from "./render.js" */

/** The code of stored keys that cannot be read. */
const DAMAGED = "vault_damaged";

/**
 * @param {AppView} view
 * @param {Local} local
 */
export function settings({ report, preferences, system, launch_at_login, notifications, tray }, local) {
  return element(
    "main",
    { class: "panel", "data-key": "settings" },
    titleBar(words.settings),
    refusal(local.failure),
    group(
      words.general,
      switchRow({
        what: "launch",
        label: words.launch,
        detail: words.launchDetail[launch_at_login],
        on: launch_at_login === "on",
        disabled: launch_at_login === "unavailable",
      }),
      launch_at_login === "refused" && wayOut("login_settings", words.openLoginSettings),
      switchRow({
        what: "notifications",
        label: words.notifications,
        detail: notifications === "unavailable" && !tray ? words.notificationsNowhere : words.notificationsDetail[notifications],
        // What a person chose counts again as soon as the system shows any.
        on: notifications === "shown" && preferences.notifications,
        disabled: notifications !== "shown",
      }),
      notifications === "refused" && wayOut("notification_settings", words.openNotificationSettings),
      row({
        key: "text",
        label: words.textSize,
        actions: [choice({ what: "text", name: words.textSize, chosen: preferences.text, choices: words.textSizes })],
      }),
      row({
        key: "sleep",
        label: words.sleep,
        actions: [choice({ what: "at_sleep", name: words.sleep, chosen: preferences.at_sleep, choices: words.sleeps })],
      }),
      row({
        key: "node",
        label: words.whichTailscale,
        detail: report.wanted.wanted === "public" && words.whichTailscaleNext,
        actions: [choice({ what: "node", name: words.whichTailscale, chosen: preferences.node, choices: words.whichTailscales(system) })],
      }),
    ),
    group(
      words.access,
      doorwayRow({ panel: "keys", label: words.keys.open, detail: words.vault(report.vault) }),
      doorway("regenerate", words.regenerate.open),
      doorway("routes", words.offer.open),
      doorway("requests", words.record.open),
    ),
    group(words.maintenance, doorway("restart", words.restart.open), doorway("restore", words.restore.open)),
    group(words.help, doorway("diagnostics", words.diagnostics.open), doorway("uninstall", words.uninstall.open, "danger")),
    element("p", { class: "foot" }, words.version(report.version)),
  );
}

/**
 * @param {Report} report
 * @param {Local} local
 */
export function regenerate({ exposure, vault }, { failure, busy }) {
  const damaged = (exposure.state === "blocked" && exposure.cause.code === DAMAGED) || failure?.code === DAMAGED;
  return question({ ...(damaged ? words.startAnew(vault) : words.regenerate), what: "regenerate_key", busy });
}

/** @param {Local} local */
export function restart(local) {
  return question({ ...words.restart, what: "restart_gateway", busy: local.busy });
}

/** @param {Local} local */
export function restore(local) {
  if (local.restored === null) return question({ ...words.restore, what: "restore", busy: local.busy });
  return element(
    "main",
    { class: "panel", "data-key": "restored" },
    titleBar(local.restored.length === 0 ? words.restore.nothing : words.restore.done),
    local.restored.length === 0
      ? element("p", { class: "prose" }, words.restore.nothingDetail)
      : group(
          null,
          ...local.restored.map(({ key, outcome }) =>
            row({
              key,
              mark: element("span", { class: outcome === "restored" ? "mark good" : "mark" }, icon(outcome === "restored" ? "check" : "hand")),
              label: settingName(key),
              detail: words.outcomes[outcome],
            }),
          ),
        ),
  );
}

/** @param {Local} local */
export function diagnostics(local) {
  const shown = local.diagnostics;
  const refused = shown === null && !local.busy.includes("diagnostics");
  return element(
    "main",
    { class: "panel", "data-key": "diagnostics" },
    titleBar(words.diagnostics.title),
    refusal(local.failure),
    refused ? element("div", { class: "choices" }, button("read_diagnostics", words.tryAgain)) : element("p", { class: "prose" }, words.diagnostics.sentence),
    shown === null
      ? !refused && element("p", { class: "prose loading" }, spinner(), words.oneMoment)
      : element("pre", { class: "card report", tabindex: "0", role: "region", "aria-label": words.diagnostics.text, translate: "no" }, shown.text),
    shown !== null &&
      (shown.saved === null
        ? element("div", { class: "choices" }, button("save_diagnostics", words.diagnostics.save, { class: "button primary" }))
        : element("p", { class: "prose saved", role: "status" }, icon("check", "tick"), element("span", {}, words.saved(shown.saved)))),
  );
}

/** @param {Local} local */
export function code(local) {
  const shown = local.code;
  const withKey = shown?.what === "url_and_key";
  if (shown === null)
    return element(
      "main",
      { class: "panel", "data-key": "code" },
      titleBar(words.qr.title),
      refusal(local.failure),
      element("div", { class: "choices" }, button("code_again", words.tryAgain)),
    );
  return element(
    "main",
    { class: "panel", "data-key": "code" },
    titleBar(words.qr.title),
    refusal(local.failure),
    element(
      "div",
      { class: "plate" },
      shown.svg === null
        ? element("span", { class: "loading" }, spinner())
        : element("img", {
            alt: withKey ? words.qr.pictureWithKey : words.qr.picture,
            src: `data:image/svg+xml,${encodeURIComponent(shown.svg)}`,
          }),
    ),
    element("p", { class: "prose centred" }, withKey ? words.qr.withKey : words.qr.address),
    group(null, switchRow({ what: "code_with_key", label: words.qr.include, on: withKey })),
  );
}

/**
 * @param {AppView} view
 * @param {Local} local
 */
export function uninstall({ system }, local) {
  if (local.farewell === null)
    return question({ ...words.uninstall, what: "uninstall", busy: local.busy, danger: true, list: words.uninstall.does });
  return element(
    "main",
    { class: "panel", "data-key": "farewell" },
    element("header", { class: "bar" }, element("h1", { tabindex: "-1" }, words.uninstall.done)),
    element("ul", { class: "prose" }, ...local.farewell.map((line) => element("li", {}, ...prose(line)))),
    element("p", { class: "prose" }, system === "mac" ? words.uninstall.farewell : words.uninstall.farewellElsewhere),
    element("div", { class: "choices" }, button("hide", words.quit, { class: "button primary" })),
  );
}
