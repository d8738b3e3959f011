// @ts-check
// The swap point: the app where the page runs in it, the stand-in in a plain browser.

/** @import { Host } from "./commands.js" */

/** @returns {Promise<Host>} */
export async function findHost() {
  const app = window.__TAURI__;
  if (!app) return (await import("./stand-in.js")).standIn(new URLSearchParams(location.search));
  return {
    ask: /** @type {Host["ask"]} */ ((name, argument) => app.core.invoke(name, argument)),
    watch: async (shown, hidden) => {
      await app.event.listen("report", ({ payload }) =>
        shown(/** @type {import("./app-bindings.js").AppView} */ (payload)),
      );
      await app.event.listen("hidden", hidden);
    },
    now: Date.now,
  };
}
