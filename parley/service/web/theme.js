// Before anything is painted: the theme that this device was set to, if any. See web/src/shared/theme.ts.
try {
  const kept = localStorage.getItem("parley.theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // A browser that keeps nothing follows the system.
}
