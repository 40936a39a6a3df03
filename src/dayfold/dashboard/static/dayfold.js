// What every page has: tokens on changes, the sheet of receipts, colours, charts. All of it only makes smoother what works without.
import { drawAll } from "./chart.js";

const root = document.documentElement;

// -- requests of parts --------------------------------------------------------------------------------

document.addEventListener("htmx:config:request", (event) => {
  const { request } = event.detail.ctx;
  const csrf = document.querySelector('meta[name="csrf"]')?.content;
  if (csrf && request.method !== "GET") request.headers["X-CSRF-Token"] = csrf;
});

document.addEventListener("htmx:after:swap", () => drawAll(document));

// -- receipts -----------------------------------------------------------------------------------------

const sheet = document.getElementById("receipt");

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-receipt]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    openReceipt(link);
  } else if (event.target.closest?.("[data-close]") || event.target === sheet) {
    sheet.close();
  }
});

async function openReceipt(link) {
  sheet.dataset.loading = "";
  document.getElementById("receipt-content").replaceChildren();
  if (!sheet.open) sheet.showModal();
  await window.htmx.ajax("GET", link.href, { target: "#receipt-content", swap: "innerHTML" });
  delete sheet.dataset.loading;
}

// -- colours ------------------------------------------------------------------------------------------

for (const one of document.querySelectorAll("[data-theme-switch]")) {
  one.hidden = false;
  one.addEventListener("click", () => {
    const isDark = root.dataset.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : root.dataset.theme === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    try {
      localStorage.setItem("dayfold-theme", root.dataset.theme);
    } catch {
      // It holds until the page is left.
    }
    drawAll(document, true);
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document, true));

// -- forms --------------------------------------------------------------------------------------------

// A choice of a filter is shown at once; without scripts a button does it.
document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-at-once]");
  if (form) form.requestSubmit();
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
  // Fields that were left empty would only make addresses long.
  if (event.target.method === "get") {
    for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
    setTimeout(() => {
      for (const field of event.target.elements) field.disabled = false;
    });
  }
});

drawAll(document);
