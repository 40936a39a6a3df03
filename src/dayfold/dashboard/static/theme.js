// Before anything is drawn: the colours that this browser chose last; an address may ask for others.
(() => {
  const root = document.documentElement;
  if (root.dataset.theme === "auto") {
    let kept = null;
    try {
      kept = localStorage.getItem("dayfold-theme");
    } catch {
      // A frame without storage goes by the system.
    }
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  }
})();
