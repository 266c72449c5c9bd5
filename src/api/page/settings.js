// Settings: what the engine was started with, channels, tokens, maintenance, public pages.

import { get, send } from "/assets/api.js";
import { empty, h, panel } from "/assets/dom.js";
import { dialog, field } from "/assets/edit.js";
import { clock, day } from "/assets/format.js";

const SCOPES = [["read", "Look at everything"], ["write", "Change monitors too"], ["admin", "All there is"]];

export async function settings() {
  let [now, tokens] = await Promise.all([get("/settings"), get("/tokens")]);
  const tokenPlace = h("div");
  const drawTokens = () => tokenPlace.replaceChildren(tokens.length === 0
    ? empty("No program has a token yet.")
    : table(["Name", "May", "Since", ""], tokens.map((token) => [token.name, token.scope, day(token.created_ms),
      h("button", { class: "button", type: "button", "aria-label": `Revoke ${token.name}`, onclick: () => revoke(token, again) }, "Revoke")])));
  const again = async () => {
    tokens = await get("/tokens");
    drawTokens();
  };
  drawTokens();
  return {
    nodes: [
      h("div", { class: "title-row" }, h("h1", {}, "Settings"), h("span", { class: "soft" }, `engine ${now.version}`)),
      panel("Channels", null, channels(now.channels)),
      h("section", { class: "panel" },
        h("div", { class: "panel-head" }, h("h2", {}, "Tokens of programs"), h("span", { class: "end" }, h("button", { class: "button", type: "button", onclick: () => add(again) }, "Add token"))), tokenPlace),
      h("div", { class: "two" }, panel("Maintenance", null, windows(now.maintenance)), panel("Public pages", null, pages(now.status_pages))),
      panel("Started with", null, table(["Setting", "Value", "From"], now.settings.map(({ setting, value, from }) => [setting, h("code", {}, value), from])),
        h("p", { class: "note" }, "Settings are read at the start. Monitors, maintenance and public pages of the file are read again after a reload (SIGHUP).")),
    ],
  };
}

const table = (heads, rows) => h("table", { class: "inner plain" },
  h("thead", {}, h("tr", {}, heads.map((head) => h("th", {}, head)))),
  h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", { "data-label": at > 0 && heads[at] !== "" ? heads[at] : null, title: typeof cell === "string" ? cell : null }, cell))))));

function channels(all) {
  if (all.length === 0) return empty("Nobody is told of anything: write channels into the configuration file.");
  return table(["Name", "Type", "Tags", ""], all.map((channel) => {
    const said = h("span", { class: "note", role: "status" });
    const trial = async (event) => {
      event.target.disabled = true;
      said.textContent = "Sending…";
      said.className = "note";
      try {
        const { took_ms } = await send("POST", `/channels/${encodeURIComponent(channel.name)}/test`);
        said.textContent = `Delivered in ${took_ms} ms`;
      } catch (error) {
        said.textContent = error.message;
        said.className = "v-down";
      }
      event.target.disabled = false;
    };
    return [channel.name, channel.type, channel.tags.join(", ") || "all", h("span", { class: "filters" }, h("button", { class: "button", type: "button", "aria-label": `Send a test over ${channel.name}`, onclick: trial }, "Send a test"), said)];
  }));
}

function windows(all) {
  if (all.length === 0) return empty("No window is planned.");
  return h("ul", { class: "list" }, all.map((window) => h("li", {},
    h("span", { class: "grow name" }, [...window.tags, ...window.monitors].join(", ")),
    h("span", { class: window.open ? "v-unknown" : "soft" }, window.open ? `now, until ${clock(window.to_ms, true)}` : window.from_ms === null ? "not within a week" : `from ${clock(window.from_ms, true)}`))));
}

function pages(all) {
  if (all.length === 0) return empty("Nothing is public: write status_pages into the configuration file.");
  return h("ul", { class: "list" }, all.map(({ slug, title }) => h("li", {},
    h("a", { class: "grow", href: `/status/${slug}` }, title), h("img", { src: `/badge/${slug}/status.svg`, alt: "", height: 20 }))));
}

function add(done) {
  dialog("Add a token", [
    field("Name", h("input", { name: "name", required: true, autocomplete: "off", maxlength: 100 }), "The program that will use it"),
    field("May", h("select", { name: "scope" }, SCOPES.map(([value, words]) => h("option", { value }, `${value}: ${words}`)))),
  ], { text: "Add" }, async ({ name, scope }) => {
    const { token } = await send("POST", "/tokens", { name, scope });
    await done();
    show(name, token);
  });
}

// The token is shown this once, and is not kept anywhere but in this dialog.
function show(name, token) {
  const close = () => box.close();
  const box = h("dialog", { class: "panel", "aria-label": `Token ${name}` }, h("div", { class: "form" },
    h("h2", {}, `Token ${name}`), h("p", { class: "soft" }, "Copy it now: it cannot be shown again."), h("pre", { tabindex: 0 }, token),
    h("div", { class: "pager" }, h("button", { class: "button primary", type: "button", onclick: close }, "Done"))));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

function revoke(token, done) {
  dialog(`Revoke ${token.name}?`, [h("p", { class: "soft" }, "Whoever uses this token is let in no more, from now on.")],
    { text: "Revoke", danger: true }, async () => {
      await send("DELETE", `/tokens/${encodeURIComponent(token.name)}`);
      await done();
    });
}
