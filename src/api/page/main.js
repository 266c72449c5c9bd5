// The frame of the page: addresses, navigation, live state, light and dark.

import { follow } from "/assets/api.js";
import { failed, h } from "/assets/dom.js";
import { incidents } from "/assets/incidents.js";
import { monitor } from "/assets/monitor.js";
import { monitors } from "/assets/monitors.js";
import { overview } from "/assets/overview.js";
import { settings } from "/assets/settings.js";

const PAGES = [
  [/^\/$/, "Overview", overview],
  [/^\/monitors$/, "Monitors", monitors],
  [/^\/monitors\/(\d+)$/, "Monitor", monitor],
  [/^\/incidents$/, "Incidents", incidents],
  [/^\/settings$/, "Settings", settings],
];

const main = document.getElementById("main");
let shown = null;
let turn = 0;

// Shows the page of the address. A view is made with its parts and may hear live news; what comes
// after another page was opened is not shown.
async function show(focus) {
  const mine = ++turn;
  const match = PAGES.map(([pattern, title, view]) => [location.pathname.match(pattern), title, view]).find(([found]) => found);
  const [found, title, view] = match ?? [[], "Not found", async () => ({ nodes: [h("p", { class: "empty" }, "There is no such page.")] })];
  for (const a of document.querySelectorAll(".bar nav a")) {
    const own = a.getAttribute("href");
    const here = own === "/" ? location.pathname === "/" : location.pathname.startsWith(own);
    if (here) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let made;
  try {
    made = await view({ id: found[1], query: new URLSearchParams(location.search), go, title: retitle });
  } catch (error) {
    made = { nodes: [failed(error, () => show())] };
  }
  if (mine !== turn) return;
  shown?.end?.();
  shown = made;
  main.replaceChildren(...made.nodes);
  main.removeAttribute("aria-busy");
  retitle(made.title ?? title);
  if (focus) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  made.ready?.();
}

function retitle(title) {
  document.title = `${title} · engine`;
}

// Opens an address of this page; `replace` keeps the way back free of every letter typed.
function go(address, replace) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  return show(!replace);
}

addEventListener("popstate", () => show(false));
document.addEventListener("click", (event) => {
  const a = event.target.closest?.("a[data-link]");
  if (!a || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(a.getAttribute("href"));
});

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* Then for this page only. */ }
  shown?.redraw?.();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.redraw?.());

const live = document.getElementById("live");
follow((on) => {
  live.textContent = on ? "live" : "reconnecting";
  live.className = `live ${on ? "on" : "off"}`;
}, (name, data) => shown?.[name]?.(data));

show(false);
