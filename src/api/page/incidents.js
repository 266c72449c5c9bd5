// Incidents: those that are open, then those that are over.

import { get } from "/assets/api.js";
import { empty, h, link, panel } from "/assets/dom.js";
import { clock, count, duration } from "/assets/format.js";

const ROWS = 200;
const LIVE_EVERY_MS = 5_000;

export async function incidents() {
  let [all, overview] = await Promise.all([get(`/incidents?limit=${ROWS}`), get("/overview")]);
  const place = h("div", { class: "two-rows" });
  const said = h("span", { class: "soft", role: "status" });
  const draw = () => {
    const open = all.filter((incident) => incident.closed_ms === null);
    const over = all.filter((incident) => incident.closed_ms !== null);
    said.textContent = overview.incidents_open === 1 ? "1 open" : `${count(overview.incidents_open)} open`;
    place.replaceChildren(
      panel("Open", overview.incidents_open > open.length ? `the latest ${count(open.length)} of ${count(overview.incidents_open)}` : null, open.length === 0 ? empty("Nothing is down.") : table(open)),
      h("div", { class: "spacer" }),
      panel("Over", over.length === ROWS ? `the latest ${count(ROWS)}` : null, over.length === 0 ? empty("No incident has ended yet.") : table(over)));
  };
  draw();
  let readAt = Date.now();
  let stale = false;
  return {
    nodes: [h("div", { class: "title-row" }, h("h1", {}, "Incidents"), said), place],
    changes: () => { stale = true; },
    overview: async (fresh) => {
      overview = fresh;
      if (!stale || Date.now() - readAt < LIVE_EVERY_MS) return;
      readAt = Date.now();
      stale = false;
      all = await get(`/incidents?limit=${ROWS}`).catch(() => all);
      draw();
    },
  };
}

function table(rows) {
  return h("table", { class: "inner" },
    h("thead", {}, h("tr", {}, h("th", { class: "w-name" }, "Monitor"), h("th", {}, "Why"), h("th", { class: "w-type" }, "Began"), h("th", { class: "num w-time" }, "Lasted"))),
    h("tbody", {}, rows.map((incident) => h("tr", {},
      h("td", { title: incident.name }, link(`/monitors/${incident.monitor}`, { class: "cell-name" }, incident.name)),
      h("td", { title: incident.message }, h("code", {}, incident.result), " ", h("span", { class: "soft" }, incident.message)),
      h("td", { class: "soft", "data-label": "began" }, clock(incident.opened_ms, true)),
      h("td", { class: incident.closed_ms === null ? "num v-down" : "num", "data-label": "lasted" }, duration((incident.closed_ms ?? Date.now()) - incident.opened_ms))))));
}
