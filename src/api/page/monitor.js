// One monitor: what is held to be true, since when, how fast it answers and what it said last.

import { latency } from "/assets/chart.js";
import { get, send } from "/assets/api.js";
import { empty, h, link, panel, tags, verdict } from "/assets/dom.js";
import { edit, remove } from "/assets/edit.js";
import { ago, clock, count, day, duration, micros, percent, stamp } from "/assets/format.js";

const RANGES = [["1 h", 3_600_000], ["24 h", 86_400_000], ["7 d", 7 * 86_400_000], ["30 d", 30 * 86_400_000], ["90 d", 90 * 86_400_000]];
const PHASES = [["resolve", "name to address"], ["connect", "connect"], ["tls", "TLS handshake"], ["wait", "wait for the first byte"], ["transfer", "transfer"]];
const STEPS = 120;
const LIVE_EVERY_MS = 3_000;

export async function monitor({ id, go }) {
  const of = `/monitors/${id}`;
  let range = RANGES[0][1];
  const place = h("div", { class: "chart-place" });
  const ranges = h("div", { class: "chips", role: "group", "aria-label": "Time shown" });

  const read = () => Promise.all([get(of), get(`${of}/results?limit=20`), get(`${of}/uptime`), get(`${of}/evidence`), get(`${of}/certificates`), get(`${of}/transitions?limit=12`)]);
  const history = () => {
    const to = Date.now();
    // A step is never shorter than from check to check: else every second one would be empty.
    const steps = Math.max(1, Math.min(STEPS, Math.floor(range / facts[0].interval_ms)));
    return get(`${of}/history?from_ms=${to - range}&to_ms=${to}&steps=${steps}`);
  };
  let facts = await read();
  if (facts[0].created_ms < Date.now() - 5 * 3_600_000) range = RANGES[1][1];
  let made = await history();

  const drawChart = () => {
    ranges.replaceChildren(...RANGES.map(([text, ms]) => h("button", { type: "button", "aria-pressed": String(ms === range), onclick: () => choose(ms) }, text)));
    const { chart, legend, read: said } = latency(made);
    place.replaceChildren(made.all.up + made.all.down + made.all.unknown + made.all.missed === 0
      ? empty("No results in this time.")
      : h("div", {}, chart, h("div", { class: "panel-head" }, legend, h("span", { class: "end" }, said)),
        h("p", { class: "note" }, `${count(made.all.up)} good, ${count(made.all.down)} failed, ${count(made.all.unknown)} unknown, ${count(made.all.missed)} missed`, made.truncated ? " · the oldest are left out" : "")));
  };
  const choose = async (ms) => {
    range = ms;
    made = await history();
    drawChart();
  };
  const again = async () => {
    facts = await read();
    draw();
  };
  // What is asked for now; what it found stays in words until the next time.
  const said = h("p", { class: "note", role: "status" });
  let running = false;
  const runNow = async (event) => {
    event.target.disabled = true;
    running = true;
    said.textContent = "Checking…";
    try {
      const { result, message } = await send("POST", `${of}/run`);
      said.textContent = result === null ? "The result has not come yet; it will be among the results."
        : `Checked just now: ${result.result} in ${micros(result.total_us)}${message ? `. ${message}` : ""}`;
    } catch (error) {
      said.textContent = error.message;
    }
    running = false;
    await again();
  };
  // Monitors of a file or a table are changed there.
  const actions = (now) => {
    const resting = now.verdict === "paused";
    const turn = async (event) => {
      event.target.disabled = true;
      await send("POST", `${of}/${resting ? "resume" : "pause"}`).catch(() => null);
      await again();
    };
    const button = (text, onclick, disabled) => h("button", { class: "button", type: "button", disabled, onclick }, text);
    const checkNow = !resting && now.problem === null && button("Check now", runNow, running);
    if (now.source !== "api") return h("span", { class: "end filters" }, checkNow);
    return h("span", { class: "end filters" }, checkNow, button(resting ? "Resume" : "Pause", turn), button("Edit", () => edit(now, again)), button("Remove", () => remove(now, go)));
  };
  const top = h("div", { class: "title" });
  const upPlace = h("div");
  const detail = h("div", { class: "two" });
  const words = h("div");
  const draw = () => {
    const [now, results, uptime, evidence, certificates, changes] = facts;
    top.replaceChildren(...head(now, actions(now)));
    upPlace.replaceChildren(uptimePanel(uptime));
    detail.replaceChildren(lastPanel(results.results[0]), side(now, certificates));
    words.replaceChildren(h("div", { class: "two" }, evidencePanel(evidence), changesPanel(changes)));
  };
  draw();
  drawChart();
  const times = h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Response time"), h("span", { class: "end" }, ranges)), place);

  let readAt = Date.now();
  let ended = false;
  return {
    nodes: [h("div", {}, top, said), upPlace, times, detail, words],
    title: facts[0].name,
    end: () => { ended = true; },
    overview: async () => {
      if (Date.now() - readAt < LIVE_EVERY_MS) return;
      readAt = Date.now();
      const fresh = await Promise.all([read(), history()]).catch(() => null);
      // What somebody has unfolded stays as it is.
      if (ended || fresh === null || words.querySelector("details[open]")) return;
      [facts, made] = fresh;
      draw();
      drawChart();
    },
  };
}

function head(now, actions) {
  return [
    h("p", { class: "note" }, link("/monitors", {}, "Monitors"), " / ", `#${now.id}`),
    h("div", { class: "title-row" }, h("h1", {}, now.name), verdict(now.verdict, true), now.since_ms && h("span", { class: "soft" }, `for ${duration(Date.now() - now.since_ms)}`), actions),
    h("p", { class: "title-row soft" }, h("code", {}, now.target), tags(now.tags)),
    now.problem && h("p", { class: "banner", role: "alert" }, h("strong", {}, "Cannot run"), now.problem),
    now.verdict !== "up" && now.message && h("p", {}, now.result && h("code", {}, now.result), " ", now.message),
  ].filter(Boolean);
}

function uptimePanel(uptime) {
  const figure = (label, share) => h("div", {}, h("dt", {}, label), h("dd", {}, percent(share.up_percent)));
  const days = uptime.days.map((share) => {
    const down = share.down_ms;
    const kind = share.up_percent === null ? "" : down === 0 ? "d-up" : share.up_percent >= 99 ? "d-some" : "d-bad";
    return h("i", { class: kind, title: `${day(share.from_ms)}: ${share.up_percent === null ? "not known" : `${percent(share.up_percent)} up${down > 0 ? `, ${duration(down)} down` : ""}`}` });
  });
  const spans = uptime.spans.map((span) => h("i", { class: `f-${span.verdict}`, style: { "flex-grow": Math.max(1, span.to_ms - span.from_ms), "flex-basis": 0 }, title: `${span.verdict} from ${stamp(span.from_ms)} to ${stamp(span.to_ms)}` }));
  const begin = uptime.spans[0]?.from_ms;
  return panel("Uptime", null,
    h("dl", { class: "facts" }, figure("24 hours", uptime.day), figure("7 days", uptime.week), figure("30 days", uptime.month)),
    h("p", { class: "note" }, "Each of the last 90 days"),
    h("div", { class: "days", role: "img", "aria-label": `Uptime of the last ${uptime.days.length} days` }, days),
    h("div", { class: "axis" }, h("span", {}, day(uptime.days[0].from_ms)), h("span", {}, "today")),
    h("p", { class: "note" }, "Verdicts of the last 24 hours"),
    h("div", { class: "timeline", role: "img", "aria-label": `${uptime.spans.length} times of one verdict in the last 24 hours` }, spans),
    h("div", { class: "axis" }, h("span", {}, begin ? clock(begin) : ""), h("span", {}, "now")));
}

function lastPanel(last) {
  if (!last) return panel("Last check", null, empty("Not checked yet."));
  const known = PHASES.filter(([name]) => last.phases[name] !== null);
  const bar = h("div", { class: "phases", "aria-hidden": "true" }, known.map(([name]) => h("i", { class: `ph-${name}`, style: { "flex-grow": Math.max(1, last.phases[name]), "flex-basis": 0 } })));
  return panel("Last check", `${stamp(last.due_ms)}, ${ago(last.due_ms)}`,
    known.length > 0 ? bar : empty("It reached no phase."),
    h("div", { class: "phase-table" },
      known.map(([name, text]) => h("div", {}, h("i", { class: `swatch ph-${name}` }), h("span", {}, text), h("span", {}, micros(last.phases[name])))),
      h("div", {}, h("span", { class: "soft" }, "in all"), h("span", {}, micros(last.total_us)))),
    h("p", { class: "note" }, `${last.result}${last.http_status ? ` · HTTP ${last.http_status}` : ""} · ${last.attempts === 1 ? "1 attempt" : `${last.attempts} attempts`} · ${count(last.body_bytes)} bytes · started ${micros(last.lag_us)} late`));
}

function side(now, certificates) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", { class: "small" }, value));
  const current = certificates[0];
  const checks = panel("Monitor", null, h("dl", { class: "facts" }, fact("Type", now.type ?? "not known"), fact("Every", duration(now.interval_ms)),
    fact("Next check", now.next_due_ms ? `in ${duration(now.next_due_ms - Date.now())}` : "–"), fact("From", now.source),
    fact("Good", count(now.counts.up)), fact("Failed", count(now.counts.down)), fact("Unknown", count(now.counts.unknown)), fact("Missed", count(now.counts.missed))));
  if (!current) return checks;
  const left = current.not_after_s * 1_000 - Date.now();
  const cert = panel("Certificate", certificates.length > 1 ? `${certificates.length} seen` : null,
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, left > 0 ? "Ends in" : "Ended"), h("dd", { class: left < 14 * 86_400_000 ? "v-down" : "" }, left > 0 ? duration(left) : `${duration(-left)} ago`)),
      fact("On", day(current.not_after_s * 1_000)), fact("TLS", current.tls_version), fact("Cipher", current.cipher)),
    h("dl", { class: "facts wide" }, fact("Subject", current.subject || "–"), fact("Issuer", current.issuer || "–")),
    h("p", { class: "note", title: current.names.join(", ") }, `Names: ${current.names.slice(0, 6).join(", ") || "–"}${current.names.length > 6 ? ", …" : ""}`),
    h("p", { class: "note" }, h("code", {}, `SHA-256 ${current.sha256}`)),
    current.problem && h("p", { class: "v-down" }, `${current.problem}: ${current.problem_text}`));
  return h("div", { class: "stack" }, cert, checks);
}

function evidencePanel(evidence) {
  const part = (entry) => h("details", { class: "evidence" },
    h("summary", {}, h("code", { class: "v-down" }, entry.result), h("span", { class: "grow" }, entry.message), entry.times > 1 && h("span", { class: "soft" }, `${count(entry.times)} ×`), h("span", { class: "faint" }, ago(entry.last_ms))),
    h("p", { class: "note" }, entry.times > 1 ? `from ${stamp(entry.first_ms)} to ${stamp(entry.last_ms)}` : stamp(entry.first_ms)),
    h("p", {}, entry.message), entry.detail !== null && h("pre", { tabindex: 0 }, JSON.stringify(entry.detail, null, 2)));
  return panel("Last failures", null, evidence.length === 0 ? empty("No failure is remembered.") : evidence.map(part));
}

function changesPanel(changes) {
  return panel("Changes of verdict", null, changes.length === 0 ? empty("No change yet.") : h("ul", { class: "list" }, changes.map((change) =>
    h("li", {}, verdict(change.to), h("span", { class: "grow soft", title: change.message }, change.message || change.result), h("span", { class: "faint" }, stamp(change.at_ms))))));
}
