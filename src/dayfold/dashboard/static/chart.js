// Charts of days. Days come as YYYY-MM-DD and stay that day wherever the browser is: the axis is UTC, like the rows.
const kept = new WeakMap();
const DAY_S = 86_400;

/** Draw every chart below a node that is not drawn yet; with `again` all of them, such as in other colours. */
export function drawAll(node, again = false) {
  if (!window.uPlot) {
    document.addEventListener("DOMContentLoaded", () => drawAll(node, again), { once: true });
    return;
  }
  for (const figure of node.querySelectorAll("figure[data-chart]")) {
    const text = figure.querySelector("script[type='application/json']")?.textContent;
    const before = kept.get(figure);
    if (!text || (before && before.text === text && !again)) continue;
    before?.plot.destroy();
    const started = performance.now();
    const plot = draw(figure, JSON.parse(text));
    figure.dataset.drawnMs = (performance.now() - started).toFixed(1);
    kept.set(figure, { text, plot });
  }
}

const resizing = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const one = kept.get(target.closest("figure"));
    if (one && contentRect.width > 0 && Math.abs(one.plot.width - contentRect.width) >= 1) {
      one.plot.setSize({ width: contentRect.width, height: heightOf(contentRect.width) });
    }
  }
});

const heightOf = (width) => Math.max(200, Math.min(420, Math.round(width * 0.3)));
const utc = (text) => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : text) / 1000;
const dayText = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A place on the axis: its day and month, its month, or its year, with the year wherever it changes. */
function tickText(at, every, before) {
  const day = new Date(at * 1000);
  const month = MONTHS[day.getUTCMonth()];
  const year = before == null || new Date(before * 1000).getUTCFullYear() !== day.getUTCFullYear() ? `\n${day.getUTCFullYear()}` : "";
  if (every < DAY_S) return `${day.toISOString().slice(11, 16)}${before == null || dayText(before) !== dayText(at) ? `\n${day.getUTCDate()} ${month}` : ""}`;
  if (every < 28 * DAY_S) return `${day.getUTCDate()} ${month}${year}`;
  return every < 365 * DAY_S ? `${month}${year}` : `${day.getUTCFullYear()}`;
}

function draw(figure, { x, series, missing = [], open = [], hours = false, zoom, until }) {
  const plot = figure.querySelector(".plot");
  const style = getComputedStyle(figure);
  const colour = (name) => style.getPropertyValue(name).trim();
  const xs = x.map(utc);
  // The first bucket may be cut short by the range.
  const step = xs.length > 2 ? xs[2] - xs[1] : xs.length > 1 ? xs[1] - xs[0] : DAY_S;
  const holding = (at) => xs.findLast((one) => one <= at) ?? xs[0];
  plot.replaceChildren();
  const format = (value) => (value == null ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: 4 }));
  const openFrom = open.length ? utc(open[0]) : Infinity;
  // Two metrics rarely have one measure: the second one has an axis of its own. Three and more share the left one.
  const names = [...new Set(series.map((one) => one.metric))];
  const hasRight = names.length === 2;
  const scaleOf = (one) => (hasRight && one.metric === names[1] ? "right" : "y");
  const range = (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.05 : high === low ? 1 : high];
  const axis = (scale, more) => ({
    scale, stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui", size: 56,
    values: (_, ticks) => ticks.map((one) => one.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 })), ...more,
  });
  const options = {
    width: plot.clientWidth || figure.clientWidth || 600,
    height: heightOf(plot.clientWidth || figure.clientWidth || 600),
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { drag: { x: Boolean(zoom), y: false, setScale: false }, points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range }, ...(hasRight ? { right: { range } } : {}) },
    axes: [
      {
        stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: "12px system-ui",
        space: 64, values: (_, ticks, __, ___, every) => ticks.map((one, place) => tickText(one, every, place === 0 ? null : ticks[place - 1])),
      },
      axis("y", {}),
      ...(hasRight ? [axis("right", { side: 1, grid: { show: false } })] : []),
    ],
    series: [
      { label: hours ? "hour (UTC)" : "day", value: (_, at) => (at == null ? "–" : hours ? new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") : dayText(at)) },
      ...series.map((one, place) => ({
        label: one.label + (scaleOf(one) === "right" ? " (right)" : ""),
        scale: scaleOf(one),
        stroke: colour(`--series-${place % 10}`),
        width: one.earlier ? 1 : 2,
        dash: one.earlier ? [4, 4] : undefined,
        spanGaps: false,
        points: { show: xs.length <= 45, size: 5, fill: colour("--surface") },
        value: (_, value) => format(value),
      })),
    ],
    hooks: {
      drawClear: [(self) => shade(self, missing.map(([first, last]) => [holding(utc(first)), holding(utc(last) + DAY_S - 1)]), openFrom, step, colour)],
      setSelect: [
        (self) => {
          if (!zoom || self.select.width < 8) return;
          const first = self.posToVal(self.select.left, "x");
          const last = self.posToVal(self.select.left + self.select.width, "x");
          self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          const inside = xs.filter((one) => one >= first - step / 2 && one <= last + step / 2);
          if (inside.length === 0) return;
          const following = xs[xs.indexOf(inside.at(-1)) + 1];
          const end = hours ? inside.at(-1) : following ? following - DAY_S : until ? utc(until) : inside.at(-1);
          figure.dispatchEvent(new CustomEvent("dayfold:zoom", { bubbles: true, detail: { from: dayText(inside[0]), to: dayText(end) } }));
        },
      ],
    },
  };
  const made = new window.uPlot(options, [xs, ...series.map((one) => one.values)], plot);
  resizing.observe(plot);
  return made;
}

/** Days that are not known are hatched, and days that may still change are tinted: neither looks like a zero. */
function shade(self, missing, openFrom, step, colour) {
  const { ctx, bbox } = self;
  const place = (at) => self.valToPos(at, "x", true);
  const within = (at) => Math.max(bbox.left, Math.min(bbox.left + bbox.width, at));
  ctx.save();
  if (openFrom < Infinity) {
    const left = within(place(openFrom - step / 2));
    ctx.fillStyle = colour("--open");
    ctx.fillRect(left, bbox.top, bbox.left + bbox.width - left, bbox.height);
  }
  ctx.strokeStyle = colour("--missing");
  ctx.lineWidth = 1;
  for (const [first, last] of missing) {
    const left = within(place(first - step / 2));
    const right = within(place(last + step / 2));
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, Math.max(right - left, 2), bbox.height);
    ctx.clip();
    ctx.beginPath();
    for (let at = left - bbox.height; at < right; at += 8) {
      ctx.moveTo(at, bbox.top + bbox.height);
      ctx.lineTo(at + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.restore();
}

// A range that was drawn with the mouse is the page's new range.
document.addEventListener("dayfold:zoom", (event) => {
  const address = new URL(location.href);
  address.searchParams.delete("period");
  address.searchParams.set("from", event.detail.from);
  address.searchParams.set("to", event.detail.to);
  location.assign(address);
});
