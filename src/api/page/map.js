// The map of all monitors: one canvas for each group, one square for each cell.
//
// A cell stands for as many monitors as the engine says. One that is down shows among thousands:
// the colour of a cell with anything down is never near that of a good one.

import { h, link } from "/assets/dom.js";
import { count } from "/assets/format.js";

const GAP = 2;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function fleetMap(data, go) {
  const tip = h("div", { class: "tip", hidden: true });
  const drawn = [];
  const groups = data.groups.map((group) => {
    const name = group.tag ?? "other monitors";
    const href = group.tag === null ? "/monitors?sort=worst" : `/monitors?sort=worst&tag=${encodeURIComponent(group.tag)}`;
    const said = group.monitors.down > 0 ? `${count(group.monitors.down)} down of ${count(group.monitors.total)}` : `${count(group.monitors.total)} ${group.monitors.total === 1 ? "monitor" : "monitors"}`;
    const canvas = h("canvas", { role: "img", "aria-label": `${name}: ${said}` });
    const part = { group, canvas, href };
    drawn.push(part);
    canvas.addEventListener("mousemove", (event) => hover(event, part, data.per_cell, tip));
    canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
    canvas.addEventListener("click", (event) => {
      const cell = cellAt(event, part);
      if (cell === null) return;
      tip.hidden = true;
      go(data.per_cell === 1 ? `/monitors/${group.first[cell]}` : href);
    });
    return h("div", { class: "map-group" },
      h("div", {}, link(href, { class: "map-name", title: name }, name),
        h("span", { class: group.monitors.down > 0 ? "note v-down" : "note" }, said)),
      h("div", {}, canvas));
  });
  const node = h("div", { class: "map" }, groups, tip);
  const redraw = () => drawn.forEach((part) => draw(part, data.per_cell));
  const watcher = new ResizeObserver(redraw);
  watcher.observe(node);
  return { node, redraw, end: () => watcher.disconnect() };
}

function draw(part, perCell) {
  const { group, canvas } = part;
  const width = canvas.parentElement.clientWidth;
  if (width === 0) return;
  const cells = group.first.length;
  // Few monitors get larger squares.
  const size = cells <= 60 ? 18 : cells <= 400 ? 13 : 9;
  const columns = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
  const rows = Math.ceil(cells / columns);
  Object.assign(part, { size, columns });
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = (rows * (size + GAP) - GAP) * scale;
  canvas.style.setProperty("width", `${width}px`);
  canvas.style.setProperty("height", `${rows * (size + GAP) - GAP}px`);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const [up, down, unknown, rest] = ["--up-fill", "--down-fill", "--unknown-fill", "--rest-fill"].map(colour);
  for (let cell = 0; cell < cells; cell += 1) {
    const x = (cell % columns) * (size + GAP);
    const y = Math.floor(cell / columns) * (size + GAP);
    const bad = group.down[cell];
    context.globalAlpha = 1;
    context.fillStyle = bad > 0 ? down : group.unknown[cell] > 0 ? unknown : group.up[cell] > 0 ? up : rest;
    if (bad === 0 && group.unknown[cell] === 0 && group.up[cell] > 0) context.globalAlpha = .8;
    // In a cell of many the share that is down decides how strong it is, from half to full.
    if (bad > 0 && perCell > 1) context.globalAlpha = .5 + .5 * Math.sqrt(Math.min(1, bad / perCell));
    context.beginPath();
    context.roundRect(x, y, size, size, 2);
    context.fill();
    // A second mark, for whoever does not tell the colours apart.
    if (bad > 0) {
      context.globalAlpha = 1;
      context.fillStyle = "#fff";
      context.fillRect(x + size / 2 - size / 6, y + size / 2 - 1, size / 3, 2);
    }
  }
}

function cellAt(event, part) {
  const column = Math.floor(event.offsetX / (part.size + GAP));
  const row = Math.floor(event.offsetY / (part.size + GAP));
  const cell = row * part.columns + column;
  return column < part.columns && cell < part.group.first.length ? cell : null;
}

function hover(event, part, perCell, tip) {
  const cell = cellAt(event, part);
  tip.hidden = cell === null;
  if (cell === null) return;
  const { up, down, unknown, first, monitors } = part.group;
  const size = Math.min(perCell, monitors.total - cell * perCell);
  const words = [[down[cell], "down"], [unknown[cell], "unknown"], [up[cell], "up"], [size - up[cell] - down[cell] - unknown[cell], "pending or paused"]];
  const said = words.filter(([number]) => number > 0).map(([number, word]) => (size === 1 ? word : `${number} ${word}`)).join(", ");
  tip.textContent = size === 1 ? `#${first[cell]} ${said}` : said;
  tip.style.setProperty("left", `${Math.min(event.clientX + 12, innerWidth - 180)}px`);
  tip.style.setProperty("top", `${event.clientY + 14}px`);
}
