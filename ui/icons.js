// @ts-check
// The small drawings, all in strokes of one weight; none of them says anything by itself.
import { element } from "./element.js";

const paths = {
  back: "M10 3.5 5.5 8l4.5 4.5",
  check: "M3.5 8.5 6.5 11.5 12.5 4.5",
  chevron: "M6 3.5 10.5 8 6 12.5",
  clock: "M8 4.6V8l2.3 1.5M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z",
  copy: "M6 5.5V3.8A1.3 1.3 0 0 1 7.3 2.5h4.9a1.3 1.3 0 0 1 1.3 1.3v4.9A1.3 1.3 0 0 1 12.2 10h-1.7M3.8 6h4.9A1.3 1.3 0 0 1 10 7.3v4.9a1.3 1.3 0 0 1-1.3 1.3H3.8a1.3 1.3 0 0 1-1.3-1.3V7.3A1.3 1.3 0 0 1 3.8 6Z",
  cross: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  eye: "M1.6 8S4 3.8 8 3.8 14.4 8 14.4 8 12 12.2 8 12.2 1.6 8 1.6 8ZM8 9.9a1.9 1.9 0 1 0 0-3.8 1.9 1.9 0 0 0 0 3.8Z",
  globe: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM2.2 8h11.6M8 2.2c1.7 1.6 2.5 3.6 2.5 5.8S9.7 12.2 8 13.8C6.3 12.2 5.5 10.2 5.5 8S6.3 3.8 8 2.2Z",
  hand: "M8 4.8v3.7M8 11h.01M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z",
  keys: "M8.1 7.9 13.4 2.6M11 5l1.9 1.9M8.6 10.6a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z",
  open: "M9.5 2.5h4v4M13.5 2.5 7.5 8.5M12 9.8v2.4a1.3 1.3 0 0 1-1.3 1.3H3.8a1.3 1.3 0 0 1-1.3-1.3V5.3A1.3 1.3 0 0 1 3.8 4h2.4",
  qr: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h1.5v1.5M13.5 9.5v4h-4M11.5 11.7h0",
  refresh: "M13 4.2v2.9h-2.9M12.7 7.1A5 5 0 1 0 12.9 9.3",
  settings: "M2.5 4.7h6.2M12 4.7h1.5M2.5 11.3H4M7.3 11.3h6.2M10.3 6.4a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4ZM5.7 13a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4Z",
  warning: "M8 6.3v3.2M8 11.6h.01M7 2.9 1.9 11.6A1.15 1.15 0 0 0 2.9 13.3h10.2a1.15 1.15 0 0 0 1-1.7L9 2.9a1.15 1.15 0 0 0-2 0Z",
  ours: "M3.5 8h9M9 4.5 12.5 8 9 11.5",
};

/** @typedef {keyof typeof paths} Icon */

/**
 * @param {Icon} name
 * @param {string} [look]
 */
export function icon(name, look = "") {
  return element(
    "svg",
    { class: `icon ${look}`.trim(), viewBox: "0 0 16 16", "aria-hidden": "true", "data-key": name },
    element("path", { d: paths[name] }),
  );
}

const BODY =
  "M24 2.5C13 2.5 4.5 10.7 4.5 21.5V44.8C4.5 50.6 9.5 52 12.8 48.6C15.4 45.9 17.7 45.9 20.2 48.6C22.5 51.1 25.5 51.1 27.8 48.6C30.3 45.9 32.6 45.9 35.2 48.6C38.5 52 43.5 50.6 43.5 44.8V21.5C43.5 10.7 35 2.5 24 2.5Z";

/** Ecto's mark. Which of its faces is seen is the style's matter. */
export function ghost() {
  return element(
    "svg",
    { class: "ghost", viewBox: "0 0 48 53", "aria-hidden": "true" },
    element("path", { class: "body", d: BODY }),
    element(
      "g",
      { class: "face awake" },
      element("ellipse", { cx: 17, cy: 22, rx: 3.1, ry: 4.4 }),
      element("ellipse", { cx: 31, cy: 22, rx: 3.1, ry: 4.4 }),
    ),
    element("path", { class: "face asleep", d: "M13 22.5q4 3.6 8 0M27 22.5q4 3.6 8 0" }),
    element("path", { class: "face hurt", d: "M14 19l6 6M20 19l-6 6M28 19l6 6M34 19l-6 6" }),
  );
}

/** The ring that turns while something is being done. */
export function spinner() {
  return element(
    "svg",
    { class: "icon spinner", viewBox: "0 0 16 16", "aria-hidden": "true", "data-key": "spinner" },
    element("circle", { class: "track", cx: 8, cy: 8, r: 6 }),
    element("path", { d: "M8 2a6 6 0 0 1 6 6" }),
  );
}
