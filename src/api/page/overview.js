// Everything at a glance: how much is up, what is not, the map, and the engine itself.

import { get } from "/assets/api.js";
import { empty, h, link, meter, panel, s, verdict } from "/assets/dom.js";
import { ago, count, duration, micros, percent } from "/assets/format.js";
import { fleetMap } from "/assets/map.js";

const MAP_EVERY_MS = 5_000;
const ROWS = 8;
const SPARK_POINTS = 120;

// Lag seen since the page was opened, kept from visit to visit.
const lags = [];

export async function overview({ go }) {
  let [now, map, changes, open] = await Promise.all([get("/overview"), get("/map"), get(`/transitions?limit=${ROWS}`), get(`/incidents?limit=${ROWS}`)]);
  const hero = h("section", { class: "panel hero", "aria-label": "All monitors" });
  const load = h("div");
  const types = h("div", { class: "bars" });
  const feed = h("div");
  const down = h("div");
  const mapPlace = h("div");
  const note = h("span");
  const nodes = [
    h("h1", { class: "visually-hidden" }, "Overview"), hero,
    h("section", { class: "panel" },
      h("div", { class: "panel-head" }, h("h2", {}, "All monitors by tag"), h("span", { class: "note" }, note),
        h("span", { class: "end legend", "aria-hidden": "true" }, ["up", "down", "unknown"].map((word) => h("span", {}, h("i", { class: `swatch f-${word}` }), word)), h("span", {}, h("i", { class: "swatch f-paused" }), "pending, paused"))),
      mapPlace),
    h("div", { class: "two" }, panel("Open incidents", link("/incidents", {}, "All incidents"), down), panel("Latest changes", null, feed)),
    h("div", { class: "two" }, panel("The engine, last minute", null, load), panel("By type", null, types)),
  ];

  let drawn = null;
  const drawMap = () => {
    drawn?.end();
    drawn = fleetMap(map, go);
    note.textContent = map.per_cell === 1 ? "one square for each monitor" : `one square for ${count(map.per_cell)} monitors`;
    mapPlace.replaceChildren(map.groups.length > 0 ? drawn.node : empty("There are no monitors yet. Write some into the configuration file, or try engine start --demo."));
  };
  const drawNow = () => {
    hero.replaceChildren(...heroParts(now));
    load.replaceChildren(...loadParts(now));
    types.replaceChildren(...now.types.map(typeBar));
    if (now.types.length === 0) types.replaceChildren(empty("No monitors yet."));
  };
  const drawLists = () => {
    const incidents = open.filter((incident) => incident.closed_ms === null);
    down.replaceChildren(incidents.length === 0 ? empty("Nothing is down.") : h("ul", { class: "list" }, incidents.map(incidentRow)));
    feed.replaceChildren(changes.length === 0 ? empty("No changes yet.") : h("ul", { class: "list" }, changes.map(changeRow)));
  };
  note_lag(now);
  drawNow();
  drawLists();
  drawMap();

  // Live news change counts at once; what needs another request waits for the next turn.
  let mapAt = Date.now();
  let stale = false;
  return {
    nodes,
    redraw: () => drawn.redraw(),
    end: () => drawn.end(),
    changes: () => { stale = true; },
    overview: async (fresh) => {
      now = fresh;
      note_lag(now);
      drawNow();
      if (!stale && map.groups.reduce((sum, group) => sum + group.monitors.up, 0) === now.monitors.up) return;
      if (Date.now() - mapAt < MAP_EVERY_MS) return;
      mapAt = Date.now();
      stale = false;
      try {
        [map, changes, open] = await Promise.all([get("/map"), get(`/transitions?limit=${ROWS}`), get(`/incidents?limit=${ROWS}`)]);
      } catch { return; /* The live state says that nothing comes. */ }
      drawMap();
      drawLists();
    },
  };
}

function note_lag(now) {
  lags.push(now.engine.lag_p99_us);
  if (lags.length > SPARK_POINTS) lags.shift();
}

function heroParts({ monitors, up_percent, incidents_open }) {
  const card = (word, label) =>
    link(`/monitors?verdict=${word}`, {}, h("span", { class: "label" }, label), h("span", { class: `figure ${monitors[word] > 0 && (word === "down" || word === "unknown") ? `v-${word}` : ""}` }, count(monitors[word])),
      h("span", { class: "note" }, word === "down" ? (incidents_open === 1 ? "1 open incident" : `${count(incidents_open)} open incidents`) : word === "unknown" ? "our own trouble" : word === "pending" ? "not checked yet" : "not checked now"));
  return [
    h("div", {}, h("span", { class: "label" }, "Up now"), h("span", { class: "big" }, percent(up_percent)),
      h("span", { class: "soft" }, `${count(monitors.up)} of ${count(monitors.up + monitors.down)} known, ${count(monitors.total)} monitors`),
      monitors.problems > 0 && h("span", {}, " · ", link("/monitors?problems=true", {}, `${count(monitors.problems)} cannot run`)), meter(monitors)),
    card("down", "Down"), card("unknown", "Unknown"), card("pending", "Pending"), card("paused", "Paused"),
  ];
}

function loadParts({ engine }) {
  const facts = [
    ["Checks", `${engine.checks_per_s >= 100 ? count(Math.round(engine.checks_per_s)) : engine.checks_per_s.toFixed(1)} /s`],
    ["Lag, median", micros(engine.lag_p50_us)], ["Lag, 99 %", micros(engine.lag_p99_us)], ["Lag, highest", micros(engine.lag_max_us)],
    ["CPU of shards", `${engine.cpu_percent.toFixed(1)} %`], ["In flight", count(engine.in_flight)],
    ["Waiting", count(engine.waiting)], ["Missed", count(engine.missed)],
  ];
  const highest = Math.max(...lags, 1_000);
  const points = lags.map((lag, at) => `${400 - ((lags.length - 1 - at) * 400) / (SPARK_POINTS - 1)},${42 - (lag * 38) / highest}`);
  return [
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    lags.length > 2 && s("svg", { class: "spark chart", viewBox: "0 0 400 44", preserveAspectRatio: "none", role: "img", "aria-label": "Lag, 99 %, since this page was opened" },
      s("polyline", { class: "line c-p50", points: points.join(" "), style: { fill: "none" }, "vector-effect": "non-scaling-stroke" })),
    engine.samples_dropped > 0 && h("p", { class: "v-down" }, `${count(engine.samples_dropped)} results were dropped since the start.`),
  ].filter(Boolean);
}

function typeBar({ name, monitors }) {
  return link(`/monitors?type=${encodeURIComponent(name)}`, {}, h("span", {}, name), meter(monitors),
    h("span", { class: monitors.down > 0 ? "end v-down" : "end soft" }, monitors.down > 0 ? `${count(monitors.down)} down of ${count(monitors.total)}` : count(monitors.total)));
}

function incidentRow(incident) {
  return h("li", {}, link(`/monitors/${incident.monitor}`, { class: "name grow", title: incident.name }, incident.name),
    h("span", { class: "soft grow", title: incident.message }, incident.message || incident.result),
    h("span", { class: "v-down" }, duration(Date.now() - incident.opened_ms)));
}

function changeRow(change) {
  return h("li", {}, verdict(change.to), link(`/monitors/${change.monitor}`, { class: "name grow", title: change.name }, change.name),
    h("span", { class: "faint" }, ago(change.at_ms)));
}
