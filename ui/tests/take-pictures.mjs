// Takes the pictures of the documentation: `node ui/tests/take-pictures.mjs`.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { launch, open, serve } from "./page.mjs";
import { read, write } from "./picture.mjs";

const folder = path.join(import.meta.dirname, "../../docs/pictures");
const wanted = [
  ["first-run", "light"],
  ["preparing", "light"],
  ["needs-sign-in", "light"],
  ["public-deadline", "light"],
  ["public-deadline", "dark"],
  ["blocked-unconfirmed", "dark"],
];

mkdirSync(folder, { recursive: true });
const server = await serve();
const browser = await launch();
for (const [state, colorScheme] of wanted) {
  const page = await open(browser, server.origin, { state }, { colorScheme, deviceScaleFactor: 2 });
  const height = await page.evaluate(() => document.querySelector("main").offsetHeight);
  await page.setViewportSize({ width: 360, height });
  writeFileSync(path.join(folder, `popover-${state}-${colorScheme}.png`), write(read(await page.screenshot()), 2));
  await page.context().close();
}
await browser.close();
server.close();
