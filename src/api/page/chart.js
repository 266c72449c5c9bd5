// Percentiles over time as SVG: three lines, failures as marks below, a cursor with the numbers.

import { h, s } from "/assets/dom.js";
import { clock, micros, stamp } from "/assets/format.js";

const WIDTH = 1_000;
const HEIGHT = 260;
const LEFT = 58;
const BOTTOM = 38;
const LINES = [["p99_us", "p99", "99 %"], ["p90_us", "p90", "90 %"], ["p50_us", "p50", "median"]];

// A round number above `value`, so that the axis has readable marks.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 1.04) ?? 12 * power;
}

export function latency(history) {
  const { steps, from_ms, to_ms, step_ms } = history;
  const top = ceiling(Math.max(...steps.map((step) => step.p99_us ?? 0), 1_000));
  const x = (ms) => LEFT + ((ms - from_ms) * (WIDTH - LEFT - 8)) / (to_ms - from_ms);
  const y = (us) => 8 + (1 - us / top) * (HEIGHT - BOTTOM - 8);
  const middle = (step) => x(step.at_ms + step_ms / 2);

  const grid = [0, .25, .5, .75, 1].map((part) => [
    s("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(part * top), y2: y(part * top) }),
    s("text", { x: LEFT - 8, y: y(part * top) + 4, "text-anchor": "end" }, part === 0 ? "0" : micros(part * top)),
  ]);
  const marks = [0, 1, 2, 3, 4, 5, 6].map((part) => {
    const ms = from_ms + (part * (to_ms - from_ms)) / 6;
    const long = to_ms - from_ms > 2 * 86_400_000;
    const text = long ? clock(ms, true).slice(5, 10) : clock(ms);
    return s("text", { x: x(ms), y: HEIGHT - 4, "text-anchor": part === 0 ? "start" : part === 6 ? "end" : "middle" }, text);
  });
  const width = Math.max(2, x(from_ms + step_ms) - x(from_ms) - 1);
  const bad = steps.filter((step) => step.down + step.unknown + step.missed > 0).map((step) =>
    s("rect", { class: step.down > 0 ? "fail" : "odd", x: x(step.at_ms), y: HEIGHT - BOTTOM + 5, width, height: 7, rx: 1 }));
  const lines = LINES.flatMap(([key, name]) => runs(steps, key).map((run) => (run.length === 1
    ? s("circle", { class: `dot c-${name}`, cx: middle(run[0]), cy: y(run[0][key]), r: 2.2 })
    : s("polyline", { class: `line c-${name}`, style: { fill: "none" }, points: run.map((step) => `${middle(step).toFixed(1)},${y(step[key]).toFixed(1)}`).join(" ") }))));
  const cursor = s("line", { class: "cursor", y1: 8, y2: HEIGHT - BOTTOM });
  const chart = s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label(history) }, grid, marks, bad, lines, cursor);
  const read = h("span", { class: "note", "aria-hidden": "true" }, "");
  chart.addEventListener("mousemove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = from_ms + (((event.clientX - box.left) * WIDTH / box.width - LEFT) * (to_ms - from_ms)) / (WIDTH - LEFT - 8);
    const step = steps[Math.floor((at - from_ms) / step_ms)];
    if (!step) return;
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, middle(step));
    cursor.style.setProperty("visibility", "visible");
    const counts = [[step.down, "down"], [step.unknown, "unknown"], [step.missed, "missed"]].filter(([number]) => number > 0).map(([number, word]) => ` · ${number} ${word}`);
    read.textContent = `${stamp(step.at_ms)} · median ${micros(step.p50_us)} · 90 % ${micros(step.p90_us)} · 99 % ${micros(step.p99_us)}${counts.join("")}`;
  });
  chart.addEventListener("mouseleave", () => {
    cursor.style.setProperty("visibility", "hidden");
    read.textContent = "";
  });
  const legend = h("span", { class: "legend" }, LINES.toReversed().map(([, name, text]) => h("span", {}, h("i", { class: `swatch b-${name}` }), text)),
    h("span", {}, h("i", { class: "swatch f-down" }), "failed"));
  return { chart, legend, read };
}

const label = ({ all }) => `Response time: median ${micros(all.p50_us)}, 90 % ${micros(all.p90_us)}, 99 % ${micros(all.p99_us)}; ${all.up} good, ${all.down} failed`;

// Steps with a value that follow each other: a gap stays a gap.
function runs(steps, key) {
  const found = [[]];
  for (const step of steps) {
    if (step[key] === null) { if (found.at(-1).length > 0) found.push([]); } else found.at(-1).push(step);
  }
  return found.filter((run) => run.length > 0);
}
