// The list of monitors: search, filters, order and pages, all in the address.

import { get } from "/assets/api.js";
import { empty, h, link, tags, verdict } from "/assets/dom.js";
import { TYPES, add } from "/assets/edit.js";
import { ago, count, duration, micros } from "/assets/format.js";

const VERDICTS = ["down", "unknown", "up", "pending", "paused"];
const ORDERS = [["worst", "Worst first"], ["name", "By name"], ["id", "By number"]];
const FILTERS = ["tag", "type", "verdict", "text", "problems", "sort", "limit"];
const LIVE_EVERY_MS = 3_000;
const TYPING_MS = 250;

export async function monitors({ query, go }) {
  const asked = new URLSearchParams([...query].filter(([name]) => FILTERS.includes(name) || name === "cursor"));
  if (!asked.has("sort")) asked.set("sort", "worst");
  // The cursors of the pages before this one, so that there is a way back.
  const back = query.get("back")?.split("~").filter((cursor) => cursor !== "") ?? [];
  const path = `/monitors?${asked}`;
  let [page, known] = await Promise.all([get(path), get("/tags")]);

  const body = h("tbody");
  const draw = () => body.replaceChildren(...page.monitors.map(row));
  draw();
  const wanted = (changes) => {
    const next = new URLSearchParams(query);
    for (const name of ["cursor", "back"]) next.delete(name);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") next.delete(name); else next.set(name, value);
    }
    return `/monitors${next.size > 0 ? `?${next}` : ""}`;
  };

  const nodes = [
    h("div", { class: "title-row" }, h("h1", {}, "Monitors"), h("span", { class: "soft", role: "status" }, total(page.total, query)),
      h("button", { class: "button primary end", type: "button", onclick: () => add(go) }, "Add monitor")),
    filters(query, known, wanted, go),
    page.monitors.length === 0 ? h("section", { class: "panel" }, empty("No monitor fits. Take a filter away or look for another text.")) :
      h("section", { class: "panel table-wrap" }, h("table", { class: "wide-rows" },
        h("thead", {}, h("tr", {}, h("th", { class: "w-verdict" }, "Verdict"), h("th", { class: "w-name" }, "Monitor"), h("th", { class: "w-type" }, "Type"), h("th", { class: "num w-time" }, "Last check"), h("th", { class: "num w-time" }, "Took"), h("th", {}, "Says"))),
        body)),
    pager(page, asked, query, back, go),
  ];
  let readAt = Date.now();
  let ended = false;
  return {
    nodes,
    end: () => { ended = true; },
    overview: async () => {
      if (page.monitors.length === 0 || Date.now() - readAt < LIVE_EVERY_MS) return;
      readAt = Date.now();
      const fresh = await get(path).catch(() => null);
      // Whoever reads or types is not disturbed: rows change in their place only.
      if (ended || fresh === null || body.contains(document.activeElement)) return;
      page = fresh;
      draw();
    },
    ready: () => {
      const search = document.querySelector("input[type=search]");
      if (search.dataset.typed) search.focus();
    },
  };
}

const total = (number, query) => {
  const narrowed = ["tag", "type", "verdict", "text", "problems"].some((name) => query.has(name));
  return `${count(number)} ${narrowed ? (number === 1 ? "fits" : "fit") : "in all"}`;
};

function filters(query, known, wanted, go) {
  let typing;
  const search = h("input", { type: "search", placeholder: "Name or target", "aria-label": "Search in names and targets", value: query.get("text") ?? "", maxlength: 100 });
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      const at = search.selectionStart;
      await go(wanted({ text: search.value }), true);
      const fresh = document.querySelector("input[type=search]");
      fresh?.focus();
      fresh?.setSelectionRange(at, at);
    }, TYPING_MS);
  });
  const choice = (name, label, options) => {
    const node = h("select", { "aria-label": label, onchange: () => go(wanted({ [name]: node.value })) },
      options.map(([value, text]) => h("option", { value, selected: value === (query.get(name) ?? (name === "sort" ? "worst" : "")) }, text)));
    return node;
  };
  const tag = query.get("tag");
  const names = known.map((group) => group.name);
  if (tag !== null && !names.includes(tag)) names.unshift(tag);
  const problems = query.get("problems") === "true";
  return h("div", { class: "filters", role: "search" }, search,
    h("div", { class: "chips", role: "group", "aria-label": "Verdict" }, [null, ...VERDICTS].map((word) =>
      h("button", { type: "button", "aria-pressed": String(word === query.get("verdict")), onclick: () => go(wanted({ verdict: word })) }, word ?? "all"))),
    choice("tag", "Tag", [["", "Any tag"], ...names.map((name) => [name, name])]),
    choice("type", "Type", [["", "Any type"], ...TYPES.map(([name]) => [name, name])]),
    choice("sort", "Order", ORDERS),
    problems && h("button", { class: "button", type: "button", onclick: () => go(wanted({ problems: null })) }, "Cannot run ×"));
}

function row(monitor) {
  const says = monitor.problem ?? monitor.message;
  return h("tr", {},
    h("td", {}, verdict(monitor.verdict), monitor.since_ms && h("span", { class: "under" }, `for ${duration(Date.now() - monitor.since_ms)}`)),
    h("td", { title: monitor.name }, link(`/monitors/${monitor.id}`, { class: "cell-name" }, monitor.name), " ", tags(monitor.tags.slice(0, 3)),
      h("span", { class: "under", title: monitor.target }, monitor.target)),
    h("td", { class: "soft optional" }, monitor.type ?? "–"),
    h("td", { class: "num soft", "data-label": "checked" }, ago(monitor.last_check_ms)),
    h("td", { class: "num", "data-label": "took" }, micros(monitor.total_us)),
    h("td", { class: monitor.problem ? "v-down" : "soft", title: says }, says || monitor.result || "–"));
}

function pager(page, asked, query, back, go) {
  const to = (cursor, before) => {
    const next = new URLSearchParams(query);
    for (const [name, value] of [["cursor", cursor], ["back", before.join("~")]]) {
      if (value) next.set(name, value); else next.delete(name);
    }
    return `/monitors?${next}`;
  };
  const here = asked.get("cursor") ?? "first";
  const previous = back.at(-1);
  if (page.next === null && previous === undefined) return h("div");
  return h("nav", { class: "pager", "aria-label": "Pages of the list" }, h("span", { class: "grow" }, `Page ${back.length + 1}`),
    h("button", { class: "button", type: "button", disabled: previous === undefined, onclick: () => go(to(previous === "first" ? "" : previous, back.slice(0, -1))) }, "Previous"),
    h("button", { class: "button", type: "button", disabled: page.next === null, onclick: () => go(to(page.next, [...back, here])) }, "Next"));
}
