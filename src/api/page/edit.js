// The forms that change monitors: add, edit, remove. They use the browser's own dialogs, so focus
// and Escape are as everywhere else.

import { send } from "/assets/api.js";
import { h } from "/assets/dom.js";

const INTERVALS = [["10s", "10 seconds"], ["30s", "30 seconds"], ["1m", "1 minute"], ["5m", "5 minutes"], ["15m", "15 minutes"], ["1h", "1 hour"]];
const MS = { "10s": 10_000, "30s": 30_000, "1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000 };

export const TYPES = [
  ["ping_web", "ping_web: a page answers", "https://shop.example/"],
  ["web_content", "web_content: a page has a text", "https://shop.example/health"],
  ["tcp", "tcp: a port takes connections", "db.example:5432"],
  ["open_port_tcp_then_valid", "open_port_tcp_then_valid: a port is open", "db.example:5432"],
  ["open_port_tcp_then_error", "open_port_tcp_then_error: a port is closed", "db.example:23"],
  ["ping_icmp", "ping_icmp: a host answers echoes", "gateway.example"],
  ["ssl_expired_check", "ssl_expired_check: a certificate is good", "shop.example:443"],
];

const split = (text) => text.split(",").map((part) => part.trim()).filter((part) => part !== "");

// Shows a form in a dialog; `save` gets its values and may fail with a problem.
export function dialog(title, fields, action, save) {
  const said = h("p", { class: "bad", role: "alert", hidden: true });
  const form = h("form", { method: "dialog", class: "form" }, h("h2", {}, title), fields, said,
    h("div", { class: "pager" }, h("button", { class: "button", type: "button", onclick: () => box.close() }, "Cancel"),
      h("button", { class: action.danger ? "button danger" : "button primary", type: "submit" }, action.text)));
  const box = h("dialog", { class: "panel", "aria-label": title }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const submit = form.querySelector("[type=submit]");
    submit.disabled = true;
    try {
      await save(Object.fromEntries(new FormData(form)));
      box.close();
    } catch (error) {
      said.textContent = error.message;
      said.hidden = false;
      form.elements.namedItem(error.field)?.focus();
    }
    submit.disabled = false;
  });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

export const field = (label, input, hint) => h("label", {}, label, input, hint && h("span", { class: "note" }, hint));

export function add(go) {
  const target = h("input", { name: "target", required: true, placeholder: TYPES[0][2], autocomplete: "off" });
  const text = field("Text that must be there", h("input", { name: "contains", autocomplete: "off" }));
  text.hidden = true;
  const type = h("select", { name: "type", onchange: () => {
    target.placeholder = TYPES.find(([name]) => name === type.value)[2];
    text.hidden = type.value !== "web_content";
  } }, TYPES.map(([name, words]) => h("option", { value: name }, words)));
  dialog("Add a monitor", [
    field("Type", type), field("Target", target), text,
    field("Name", h("input", { name: "name", autocomplete: "off" }), "The target where it is left empty; unique"),
    field("Every", h("select", { name: "interval" }, INTERVALS.map(([value, words]) => h("option", { value, selected: value === "1m" }, words)))),
    field("Tags", h("input", { name: "tags", autocomplete: "off" }), "With commas between them; the first one is its group on the map"),
  ], { text: "Add" }, async (form) => {
    const row = { type: form.type, target: form.target, interval: form.interval, tags: split(form.tags) };
    if (form.name !== "") row.name = form.name;
    if (form.type === "web_content") row.contains = [form.contains];
    const made = await send("POST", "/monitors", row);
    await go(`/monitors/${made.id}`);
  });
}

// Changes only what was changed in the form: the rest of the row is not known here.
export function edit(monitor, done) {
  const known = INTERVALS.some(([value]) => MS[value] === monitor.interval_ms);
  const options = known ? INTERVALS : [["", `${monitor.interval_ms / 1_000} seconds, as now`], ...INTERVALS];
  const tags = monitor.tags.join(", ");
  dialog(`Edit ${monitor.name}`, [
    field("Target", h("input", { name: "target", required: true, value: monitor.target, autocomplete: "off" })),
    field("Every", h("select", { name: "interval" }, options.map(([value, words]) => h("option", { value, selected: MS[value] === monitor.interval_ms }, words)))),
    field("Tags", h("input", { name: "tags", value: tags, autocomplete: "off" }), "With commas between them"),
  ], { text: "Save" }, async (form) => {
    const patch = {};
    if (form.target !== monitor.target) patch.target = form.target;
    if (form.interval !== "" && MS[form.interval] !== monitor.interval_ms) patch.interval = form.interval;
    if (form.tags !== tags) patch.tags = split(form.tags);
    await send("PATCH", `/monitors/${monitor.id}`, patch);
    await done();
  });
}

export function remove(monitor, go) {
  dialog(`Remove ${monitor.name}?`, [h("p", { class: "soft" }, "It is not checked any more. Its history stays until it is too old.")],
    { text: "Remove", danger: true }, async () => {
      await send("DELETE", `/monitors/${monitor.id}`);
      await go("/monitors");
    });
}
