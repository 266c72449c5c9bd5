// Makes elements. Text is always text: nothing here, or anywhere on the page, parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, of] of Object.entries(value)) node.style.setProperty(key, of);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child !== undefined && child !== null && child !== false) node.append(child);
  }
  return node;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

// A link within the page: followed without loading it anew.
export const link = (href, properties, ...children) => h("a", { href, "data-link": true, ...properties }, ...children);

export const panel = (title, end, ...children) =>
  h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, title), end && h("span", { class: "end note" }, end)), children);

export const empty = (text) => h("p", { class: "empty" }, text);

export const failed = (error, again) =>
  h("section", { class: "panel error", role: "alert" }, h("h2", {}, "This cannot be shown now"),
    h("p", {}, error.message), again && h("p", {}, h("button", { class: "button", type: "button", onclick: again }, "Try again")));

const SHAPES = {
  up: () => s("path", { d: "M2.5 6.4 5 8.8 9.5 3.6", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  down: () => s("path", { d: "M3 3l6 6M9 3l-6 6", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round" }),
  unknown: () => s("path", { d: "M6 1.5 11 10.3H1z", fill: "currentColor" }),
  pending: () => s("circle", { cx: 6, cy: 6, r: 3.6, fill: "none", stroke: "currentColor", "stroke-width": 1.8 }),
  paused: () => s("path", { d: "M4 2.5v7M8 2.5v7", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round" }),
};

// A verdict as shape and word.
export const verdict = (word, pill) =>
  h("span", { class: `verdict v-${word}${pill ? " pill" : ""}` },
    s("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, (SHAPES[word] ?? SHAPES.unknown)()), word);

export const tags = (names) =>
  h("span", { class: "tags" }, names.map((name) => link(`/monitors?tag=${encodeURIComponent(name)}`, { class: "tag", title: name }, name)));

// A bar of the shares of each verdict.
export const meter = (counts) =>
  h("span", { class: "meter", "aria-hidden": "true" }, ["down", "unknown", "up", "pending", "paused"].filter((word) => counts[word] > 0)
    .map((word) => h("i", { class: `f-${word}`, style: { "flex-grow": counts[word], "flex-basis": 0 } })));
