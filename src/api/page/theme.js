// Light or dark before anything is drawn: as chosen here before, else as the system says.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* Storage may be forbidden: then the system decides. */ }
