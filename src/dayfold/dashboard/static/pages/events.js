// Events as they come in, on top of those that the page came with. Moments are UTC texts of the server and stay so.
const section = document.getElementById("stream");
const columns = JSON.parse(document.getElementById("stream-columns").textContent);
const shown = Number(section.dataset.shown);
const body = document.getElementById("events");
const state = document.getElementById("stream-state");
const notice = document.getElementById("stream-notice");
const pause = document.getElementById("pause");
const arrived = document.getElementById("arrived");
const rate = document.getElementById("rate");
/** Between two drawings: more would be read by nobody. */
const DRAW_MS = 200;

const known = new Set([...body.rows].map((row) => row.dataset.id));
let waiting = [];
let count = 0;
let lately = [];
let isPaused = false;
let source = null;
let drawing = 0;

/** JSON whose numbers keep all their digits, where the browser can. */
function exact(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context && JSON.rawJSON && String(value) !== context.source ? JSON.rawJSON(context.source) : value,
  );
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? (value.rawJSON ?? JSON.stringify(value)) : String(value);
}

function rowOf(event) {
  const row = document.createElement("tr");
  row.dataset.id = event.id;
  for (const name of columns) {
    const text = cell(event[name]);
    row.insertCell().textContent = name === "occurred_at" ? text.slice(0, 19).replace("T", " ") : text;
  }
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "show";
  details.append(summary);
  // Written when somebody looks: nobody looks at a thousand a second.
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("pre")) return;
    const whole = document.createElement("pre");
    whole.textContent = JSON.stringify(event, (_, value) => (value === null ? undefined : value), 1);
    details.append(whole);
  });
  row.insertCell().append(details);
  return row;
}

/** Events, the oldest first; those that are shown already are left out. */
function take(events) {
  for (const event of events) {
    if (known.has(event.id)) continue;
    known.add(event.id);
    waiting.push(event);
  }
  if (waiting.length > shown) waiting = waiting.slice(-shown);
  if (known.size > 20 * shown) {
    known.clear();
    for (const row of body.rows) known.add(row.dataset.id);
    for (const event of waiting) known.add(event.id);
  }
  if (!drawing && !isPaused) drawing = setTimeout(draw, DRAW_MS);
}

function draw() {
  drawing = 0;
  if (isPaused) return;
  body.prepend(...waiting.reverse().map(rowOf));
  waiting = [];
  while (body.rows.length > shown) body.lastElementChild.remove();
  document.getElementById("no-events").hidden = body.rows.length > 0;
}

function tell(element, number) {
  element.value = String(number);
  element.textContent = number.toLocaleString("en-US");
}

setInterval(() => {
  const now = performance.now();
  lately = lately.filter(([at]) => now - at < 5000);
  tell(rate, Math.round(lately.reduce((sum, [, events]) => sum + events, 0) / 5));
  tell(arrived, count);
}, 500);

function say(kind, text) {
  state.className = `pill ${kind}`;
  if (state.textContent !== text) state.textContent = text;
}

function over(text) {
  source?.close();
  source = null;
  say("warn", "not live");
  notice.querySelector("span").textContent = text;
  notice.hidden = false;
  pause.hidden = true;
}

function open() {
  notice.hidden = true;
  say("", "connecting");
  source = new EventSource(section.dataset.stream);
  source.addEventListener("hello", async () => {
    say(isPaused ? "warn" : "good", isPaused ? "paused" : "live");
    pause.hidden = false;
    // What came between the page, or the last connection, and this one.
    const answer = await fetch(section.dataset.page, { headers: { Accept: "application/json" } }).catch(() => null);
    if (answer?.ok) take(exact(await answer.text()).events.reverse());
  });
  source.addEventListener("events", ({ data }) => {
    const events = exact(data);
    count += events.length;
    lately.push([performance.now(), events.length]);
    take(events);
  });
  source.addEventListener("dropped", ({ data }) => {
    const { missed } = JSON.parse(data);
    over(`This page was too slow. It missed ${missed.toLocaleString("en-US")} of the events; all of them are in the log.`);
  });
  source.addEventListener("end", ({ data }) => {
    const { reason } = JSON.parse(data);
    if (reason === "signed-out") over("You are signed out, or may not see these any more. Load the page again to sign in.");
    else say("warn", "connecting again");
  });
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) over("The server does not stream events to this page just now.");
    else if (source) say("warn", "connecting again");
  });
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Go on" : "Pause";
  say(isPaused ? "warn" : "good", isPaused ? "paused" : "live");
  if (!isPaused) draw();
});
document.getElementById("again").addEventListener("click", open);
// A page that is left behind, or kept for the way back, holds no stream.
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) open();
});
open();
