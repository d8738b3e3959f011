// @ts-check
// Makes elements, and turns the page into what was made while focus, scrolling and what is held stay.

/** @typedef {string | number | boolean | null | undefined} Value */
/** @typedef {Node | string | null | false | undefined} Child */

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "g", "circle", "ellipse", "rect"]);

/**
 * Makes an element. Text becomes text and never markup.
 * @param {string} tag
 * @param {Record<string, Value>} attributes
 * @param {...Child} children
 * @returns {Element}
 */
export function element(tag, attributes = {}, ...children) {
  const made = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) made.append(child);
  return made;
}

/**
 * Makes `shown` what `wanted` is. Elements that stay keep their focus; `data-key` tells which are the same.
 * What is inside `data-kept` is somebody else's, as long as its mark stays.
 * @param {Element} shown
 * @param {Element} wanted
 */
export function become(shown, wanted) {
  for (const { name } of [...shown.attributes]) if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of [...wanted.attributes])
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  if (!shown.hasAttribute("data-kept")) becomeInside(shown, wanted);
  if (shown instanceof HTMLSelectElement && wanted instanceof HTMLSelectElement) shown.value = wanted.value;
}

/**
 * @param {Element} shown
 * @param {Element} wanted
 */
function becomeInside(shown, wanted) {
  let place = shown.firstChild;
  for (const next of [...wanted.childNodes]) {
    const same = findSame(place, next);
    while (same && place && place !== same) place = removeAndStep(place);
    if (!same) {
      shown.insertBefore(next, place);
      continue;
    }
    if (same instanceof Element && next instanceof Element) become(same, next);
    else if (same.nodeValue !== next.nodeValue) same.nodeValue = next.nodeValue;
    place = same.nextSibling;
  }
  while (place) place = removeAndStep(place);
}

/** @param {ChildNode} node */
function removeAndStep(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/**
 * @param {ChildNode | null} from
 * @param {ChildNode} wanted
 */
function findSame(from, wanted) {
  for (let node = from; node; node = node.nextSibling) if (isSame(node, wanted)) return node;
  return null;
}

/**
 * @param {ChildNode} one
 * @param {ChildNode} other
 */
function isSame(one, other) {
  if (!(one instanceof Element) || !(other instanceof Element)) return one.nodeType === other.nodeType && !(one instanceof Element) && !(other instanceof Element);
  return one.tagName === other.tagName && one.getAttribute("data-key") === other.getAttribute("data-key");
}
