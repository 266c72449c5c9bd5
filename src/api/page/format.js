// Numbers and times for people. Every number has its unit.

const NUMBER = new Intl.NumberFormat("en");

export const count = (number) => NUMBER.format(number);

export function percent(number) {
  if (number === null || number === undefined) return "–";
  // Never rounded up to 100: one monitor of a million that is down is not nothing.
  const digits = number >= 99.9 && number < 100 ? 3 : number >= 90 && number < 100 ? 2 : number === 100 ? 0 : 1;
  const factor = 10 ** digits;
  return `${(Math.floor(number * factor) / factor).toFixed(digits)} %`;
}

export function micros(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 10_000) return `${(us / 1_000).toFixed(2)} ms`;
  if (us < 100_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${Math.round(us / 1_000)} ms`;
  return `${(us / 1_000_000).toFixed(2)} s`;
}

export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1_000));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h${Math.floor(s / 60) % 60 ? ` ${Math.floor(s / 60) % 60} min` : ""}`;
  return `${Math.floor(s / 86_400)} d${Math.floor(s / 3_600) % 24 && s < 864_000 ? ` ${Math.floor(s / 3_600) % 24} h` : ""}`;
}

export const ago = (ms) => (ms ? `${duration(Date.now() - ms)} ago` : "never");

const two = (number) => String(number).padStart(2, "0");

export function clock(ms, withDay) {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return withDay ? `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}` : time;
}

export const day = (ms) => new Date(ms).toISOString().slice(0, 10);

export const stamp = (ms) => `${clock(ms, true)}:${two(new Date(ms).getSeconds())}`;
