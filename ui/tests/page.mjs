// Serves the page from a folder and opens it in Debian's Chromium, always with the same letters and the same time.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { chromium } from "playwright-core";

const ui = path.join(import.meta.dirname, "..");
const types = { ".css": "text/css", ".html": "text/html", ".js": "text/javascript" };

/** Serves `ui/` on a free port of loopback. */
export async function serve() {
  const server = createServer(async (request, answer) => {
    const name = new URL(request.url, "http://localhost").pathname;
    const file = name === "/" ? "/index.html" : name;
    const type = types[path.extname(file)];
    try {
      if (!type || file.includes("..") || file.lastIndexOf("/") > 0) throw new Error("not a file of the page");
      answer.writeHead(200, { "cache-control": "max-age=3600", "content-type": `${type}; charset=utf-8` }).end(await readFile(path.join(ui, file)));
    } catch {
      answer.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  return { origin: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

async function findChromium() {
  const { existsSync } = await import("node:fs");
  const found = CANDIDATES.find((candidate) => candidate && existsSync(candidate));
  if (!found) throw new Error("Chromium is missing. Install it (`apt-get install chromium`) or set CHROMIUM to its path.");
  return found;
}

export async function launch() {
  return chromium.launch({
    executablePath: await findChromium(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--font-render-hinting=none", "--disable-lcd-text", "--force-color-profile=srgb"],
    env: { ...process.env, FONTCONFIG_FILE: path.join(import.meta.dirname, "fonts.conf") },
  });
}

/** Opens the page in a state. `query` goes to the stand-in; `context` to the browser. */
export async function open(browser, origin, query = {}, context = {}) {
  return visit(await blank(browser, context), origin, query);
}

/** An empty page. Whatever a page throws or the browser complains of comes into `complaints`. */
export async function blank(browser, context = {}) {
  const made = await browser.newContext({ viewport: { width: 360, height: 640 }, deviceScaleFactor: 1, reducedMotion: "reduce", timezoneId: "UTC", ...context });
  const page = await made.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.complaints.push(message.text()));
  return page;
}

/** Brings a page into a state. */
export async function visit(page, origin, query) {
  page.complaints.length = 0;
  await page.goto(`${origin}?${new URLSearchParams({ still: "", pace: "40", ...query })}`);
  await page.locator("main").waitFor();
  await page.evaluate(() => document.fonts.ready);
  return page;
}
