// Every way the page can look: the stand-in's states, and the panels behind the first one with the clicks that lead there.
import { states } from "../stand-in.js";

const settings = ["open-settings"];
const keys = [...settings, "open-keys"];

/** States that another panel is for: the first one does not show them. */
const behind = ["private-keys-unread", "private-refused"];

/** @type {{ name: string, query: Record<string, string>, clicks: string[], hold?: boolean }[]} */
export const looks = [
  ...Object.keys(states).filter((state) => !behind.includes(state)).map((state) => ({ name: state, query: { state }, clicks: [] })),
  { name: "silent", query: { state: "public", silent: "" }, clicks: [] },
  { name: "refused", query: { state: "private", refuse: "connect" }, clicks: ["switch"] },
  { name: "key-held", query: { state: "public" }, clicks: [], hold: true },
  { name: "copied", query: { state: "public" }, clicks: ["copy-url"] },
  { name: "copied-curl", query: { state: "public" }, clicks: ["copy-curl"] },
  { name: "code", query: { state: "public" }, clicks: ["code"] },
  { name: "code-with-key", query: { state: "public" }, clicks: ["code", "code_with_key"] },
  { name: "code-refused", query: { state: "public", refuse: "qr" }, clicks: ["code"] },
  { name: "requests", query: { state: "public-strangers" }, clicks: ["open-requests"] },
  { name: "requests-none", query: { state: "private" }, clicks: [...settings, "open-requests"] },
  { name: "requests-hostile", query: { state: "hostile" }, clicks: ["open-requests"] },
  { name: "requests-refused", query: { state: "public", refuse: "requests" }, clicks: ["open-requests"] },
  { name: "routes", query: { state: "public-offer" }, clicks: [...settings, "open-routes"] },
  { name: "routes-hooks-off", query: { state: "public-hooks-off" }, clicks: [...settings, "open-routes"] },
  { name: "routes-none", query: { state: "private" }, clicks: [...settings, "open-routes"] },
  { name: "routes-refused", query: { state: "private", refuse: "set_route" }, clicks: [...settings, "open-routes", "offer-hooks"] },
  { name: "origin-add", query: { state: "private" }, clicks: [...settings, "open-routes", "open-new-origin"] },
  { name: "origin-refused", query: { state: "private" }, clicks: [...settings, "open-routes", "open-new-origin", "allow_origin"] },
  { name: "key-add-offer", query: { state: "public-offer" }, clicks: ["open-keys", "open-new-key"] },
  { name: "settings", query: { state: "private" }, clicks: settings },
  { name: "settings-sandbox", query: { state: "sandbox" }, clicks: settings },
  { name: "settings-refused", query: { state: "private-refused" }, clicks: settings },
  { name: "settings-no-tray", query: { state: "private-no-tray" }, clicks: settings },
  { name: "settings-open", query: { state: "public" }, clicks: settings },
  { name: "new-key", query: { state: "private" }, clicks: [...settings, "open-regenerate"] },
  { name: "new-key-damaged", query: { state: "blocked-damaged" }, clicks: ["single-open"] },
  { name: "keys", query: { state: "private" }, clicks: keys },
  { name: "keys-hostile", query: { state: "hostile" }, clicks: ["open-keys"] },
  { name: "keys-refused", query: { state: "private-keys-unread", refuse: "read_keys" }, clicks: keys },
  { name: "key", query: { state: "private" }, clicks: [...keys, "key-Notes on the web"] },
  { name: "key-default", query: { state: "public" }, clicks: ["open-keys", "key-default"] },
  { name: "key-add", query: { state: "private" }, clicks: [...keys, "open-new-key"] },
  { name: "key-add-refused", query: { state: "private", refuse: "add_key" }, clicks: [...keys, "open-new-key", "add_key"] },
  { name: "key-added", query: { state: "private" }, clicks: [...keys, "open-new-key", "add_key"] },
  { name: "key-rename", query: { state: "private" }, clicks: [...keys, "key-Phone", "open-rename"] },
  { name: "key-rotate", query: { state: "private" }, clicks: [...keys, "key-Phone", "open-rotate"] },
  { name: "key-rotate-expired", query: { state: "private" }, clicks: [...keys, "key-Workshop", "open-rotate"] },
  { name: "key-revoke", query: { state: "private" }, clicks: [...keys, "key-Phone", "open-revoke"] },
  { name: "restart", query: { state: "private" }, clicks: [...settings, "open-restart"] },
  { name: "restore", query: { state: "private" }, clicks: [...settings, "open-restore"] },
  { name: "restored", query: { state: "private" }, clicks: [...settings, "open-restore", "restore"] },
  { name: "diagnostics", query: { state: "private" }, clicks: [...settings, "open-diagnostics"] },
  { name: "diagnostics-saved", query: { state: "private" }, clicks: [...settings, "open-diagnostics", "save_diagnostics"] },
  { name: "diagnostics-refused", query: { state: "private", refuse: "diagnostics" }, clicks: [...settings, "open-diagnostics"] },
  { name: "uninstall", query: { state: "private" }, clicks: [...settings, "open-uninstall"] },
  { name: "uninstalled", query: { state: "private" }, clicks: [...settings, "open-uninstall", "uninstall"] },
];

/** Those that are looked at in every guise. */
export const main = ["public-offer", "blocked-act", "settings", "key-add"];

const all = looks.map(({ name }) => name);
/** What the pictures show: light or dark, text at so many percent. @type {Record<string, string[]>} */
export const guises = {
  "light-100": all,
  "light-200": all,
  "dark-100": all,
  "dark-200": all,
  contrast: main,
  "contrast-dark": main,
  rtl: main,
};

/** Goes to a look on an opened page. */
export async function reach(page, { clicks, hold }) {
  await page.keyboard.up("Space");
  await page.mouse.move(0, 0);
  for (const key of clicks) await page.locator(`[data-key="${key}"]:is(button)`).click();
  if (hold) {
    await page.locator("[data-hold]").focus();
    await page.keyboard.down("Space");
    await page.locator("#key", { hasText: "ecto_Made" }).waitFor();
  }
  // What is under the pointer looks otherwise.
  await page.mouse.move(0, 0);
  await page.locator("[aria-disabled], .loading").waitFor({ state: "detached" });
}
