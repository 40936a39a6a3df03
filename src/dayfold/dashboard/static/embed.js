// A page within another site: every request carries the token, which stands in no address. Nothing here decides what is seen; the server does.
import { drawAll } from "./chart.js";

const said = JSON.parse(document.getElementById("embed").textContent);
let token = said.token ?? new URLSearchParams(location.hash.slice(1)).get("token");
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
// A page's own address would be opened without the token.
history.pushState = history.replaceState = () => {};
const theme = document.documentElement.dataset.theme;
let current = new URL(said.page, location.origin);
let latest = 0;

// -- requests -----------------------------------------------------------------------------------------

const plainly = window.fetch.bind(window);
window.fetch = async (input, init = {}) => {
  const url = new URL(input instanceof Request ? input.url : input, location.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/static/")) return plainly(input, init);
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : {}));
  headers.set("Authorization", `Bearer ${token}`);
  const answer = await plainly(input, { ...init, headers, credentials: "omit" });
  if (answer.status === 401) ended();
  return answer;
};

// A browser's own EventSource sends cookies and no header: this one asks as all else does. It ends where the server ends it.
window.EventSource = class extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  readyState = 0;
  #ending = new AbortController();

  constructor(address) {
    super();
    this.#read(address).catch(() => {}).finally(() => {
      if (this.readyState === 2) return;
      this.readyState = 2;
      this.#tell("error");
    });
  }

  close() {
    this.readyState = 2;
    this.#ending.abort();
  }

  #tell(name, data) {
    const event = data === undefined ? new Event(name) : new MessageEvent(name, { data });
    this[`on${name}`]?.(event);
    this.dispatchEvent(event);
  }

  async #read(address) {
    const answer = await fetch(address, { headers: { Accept: "text/event-stream" }, signal: this.#ending.signal });
    if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) return;
    this.readyState = 1;
    this.#tell("open");
    let text = "";
    for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
      text = blocks.pop();
      for (const block of blocks) this.#message(block.split("\n"));
    }
  }

  #message(lines) {
    const of = (word) => lines.filter((one) => one.startsWith(`${word}:`)).map((one) => one.slice(word.length + 1).replace(/^ /, ""));
    const data = of("data");
    if (data.length && this.readyState === 1) this.#tell(of("event")[0] || "message", data.join("\n"));
  }
};

/** Show a page of ours in place of the present one. */
async function go(address, init) {
  if (!token) return ended();
  const url = new URL(address, location.origin);
  if (url.origin !== location.origin) return;
  url.searchParams.set("bare", "1");
  url.searchParams.set("theme", theme);
  const turn = ++latest;
  document.getElementById("content").ariaBusy = "true";
  let answer, text;
  try {
    answer = await fetch(url, init);
    text = await answer.text();
  } catch {
    current = url;
    if (turn === latest) show(document.getElementById("offline").content.firstElementChild.cloneNode(true));
    return;
  }
  if (turn !== latest || answer.status === 401) return;
  current = new URL(answer.url);
  const page = new DOMParser().parseFromString(text, "text/html");
  const content = page.getElementById("content");
  if (!content) return;
  for (const one of page.querySelectorAll("link[rel=stylesheet], script[src]")) adopt(one);
  document.title = page.title;
  show(document.adoptNode(content));
}

/** A style or a script of the page that the frame does not have yet. */
function adopt(one) {
  const name = one.localName === "link" ? "href" : "src";
  const address = one.getAttribute(name);
  if (!address.startsWith("/static/") || document.head.querySelector(`[${name}="${CSS.escape(address)}"]`)) return;
  const fresh = document.createElement(one.localName);
  for (const { name: word, value } of one.attributes) fresh.setAttribute(word, value);
  document.head.append(fresh);
}

function show(content) {
  document.getElementById("content").replaceWith(content);
  window.htmx?.process(content);
  drawAll(document);
  window.scrollTo(0, 0);
  watching.disconnect();
  watching.observe(content);
}

function ended() {
  token = null;
  latest += 1;
  document.getElementById("receipt").close();
  show(document.getElementById("ended").content.firstElementChild.cloneNode(true));
  tell({ type: "dayfold:expired" });
}

/** A file: links cannot send the token. */
async function download(link) {
  const answer = await fetch(link.href);
  if (!answer.ok) return;
  const named = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
  const file = document.createElement("a");
  file.href = URL.createObjectURL(await answer.blob());
  file.download = link.download || named || "dayfold";
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
}

// -- what somebody does -------------------------------------------------------------------------------

document.addEventListener(
  "click",
  (event) => {
    if (event.target.closest?.("[data-again]")) return void go(current);
    const link = event.target.closest?.("a[href]");
    if (!link || link.origin !== location.origin || link.href.startsWith("blob:") || link.hasAttribute("hx-get")) return;
    if (link.getAttribute("href").startsWith("#") || link.hasAttribute("data-receipt")) return;
    event.preventDefault();
    event.stopPropagation();
    if (link.hasAttribute("download") || link.pathname.startsWith("/v1/")) download(link);
    else go(link.href);
  },
  true,
);

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (form.hasAttribute("hx-post") || form.hasAttribute("hx-get")) return;
    event.preventDefault();
    event.stopPropagation();
    const fields = new URLSearchParams([...new FormData(form, event.submitter)].filter(([, value]) => value !== ""));
    const url = new URL(form.getAttribute("action") || current.pathname, location.origin);
    if (form.method === "post") return void go(url, { method: "POST", body: fields });
    url.search = fields;
    go(url);
  },
  true,
);

document.addEventListener(
  "dayfold:zoom",
  (event) => {
    event.stopImmediatePropagation();
    const url = new URL(current);
    url.searchParams.delete("period");
    url.searchParams.set("from", event.detail.from);
    url.searchParams.set("to", event.detail.to);
    go(url);
  },
  true,
);

// -- the site around ----------------------------------------------------------------------------------

/** Tell the site something; nobody but the sites of the settings hears it. */
function tell(message) {
  if (window.parent === window) return;
  const around = location.ancestorOrigins?.[0] ?? (document.referrer && new URL(document.referrer).origin);
  for (const origin of said.origins.includes(around) ? [around] : said.origins) window.parent.postMessage(message, origin);
}

let height = 0;
function measure() {
  // The body is as high as the frame at least; the content is as high as it needs.
  const now = Math.ceil(document.getElementById("content").getBoundingClientRect().height);
  if (now !== height) tell({ type: "dayfold:height", height: (height = now) });
}
const watching = new ResizeObserver(measure);

window.addEventListener("message", (event) => {
  if (event.source !== window.parent || !said.origins.includes(event.origin)) return;
  if (event.data?.type !== "dayfold:token" || typeof event.data.token !== "string") return;
  const hadNone = token === null;
  token = event.data.token;
  if (hadNone) go(current);
});

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => go(current));
else go(current);
