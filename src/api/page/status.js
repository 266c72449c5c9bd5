// A public page without this script is as good; with it, it is shown anew when the state changes.
"use strict";
{
  const EVERY_MS = 30_000;
  const OLD_MS = 5 * 60_000;
  const badge = `${location.pathname.replace("/status/", "/badge/")}/status.svg`;
  const made = Number(document.body.dataset.made);
  let before = null;
  const look = async () => {
    if (document.hidden) return;
    const answer = await fetch(badge).catch(() => null);
    if (answer === null || !answer.ok) return;
    const state = await answer.text();
    const changed = before !== null && state !== before;
    before = state;
    if (changed || Date.now() - made > OLD_MS) location.reload();
  };
  look();
  setInterval(look, EVERY_MS);
}
