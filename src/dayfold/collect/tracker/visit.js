const SESSION_MS = 18e5;
const PROLONGED_MS = 1e4;
const IDLE_MS = 3e4;
const ENGAGED_SECONDS = 1800;

// crypto.randomUUID is missing on pages without TLS.
const uuid = () =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16)
  );

// Who visits, since when and brought by what: `session` prolongs the session at a moment, or begins one; `event` says it with an event.
const openVisits = (store, address, cookieless) => {
  let referrer = document.referrer;
  if (referrer.split("/")[2] === location.host) referrer = "";
  const visitor = () => {
    if (!store.get("visitor")) store.put("visitor", uuid());
    return store.get("visitor");
  };
  // How a session began stays with it, so that each of its events knows the campaign.
  const session = (at, arriving) => {
    const marks = [...new URLSearchParams(location.search)].filter(([name]) => /^(utm|mtm|pk)_|clk?id$|braid$/.test(name));
    const campaign = "" + marks;
    let kept;
    try {
      kept = JSON.parse(store.get("session"));
    } catch {}
    if (!(Math.abs(at - kept?.at) <= SESSION_MS) || (arriving && campaign && campaign !== kept.campaign)) {
      kept = { id: uuid(), at, campaign, attribution: { landing_page: address(), referrer: referrer || undefined } };
      for (const [name, value] of marks)
        if (/^utm_(source|medium|campaign|term|content)$/.test(name)) kept.attribution[name] ??= value;
    }
    // Only who has just come was sent by somebody.
    if (arriving) referrer = "";
    kept.at = Math.max(at, kept.at);
    store.put("session", JSON.stringify(kept));
    return kept;
  };
  return {
    session,
    event: (event_type, words, at, page, { id, attribution }) => {
      const { entity_type, entity_id, ...properties } = words || {};
      const event = { id: uuid(), event_type, source: "web", occurred_at: new Date(at), page, attribution };
      if (!cookieless) Object.assign(event, { session_id: id, anonymous_id: visitor() });
      return Object.assign(event, { entity_type, entity_id, properties });
    },
  };
};

// Engaged time of the page view that began last: while the page is seen, until 30 s after it was touched. `take` gives whole seconds, each
// of them once, with the moment and the session of the last: a page that is closed hours later was read before.
const openStopwatch = (prolong, tell) => {
  let seen, engagedMs, takenSeconds, touchedMs, countedMs, touchedAt, prolongedAt, session;
  const count = () => {
    const ms = performance.now();
    if (seen) engagedMs += Math.max(0, Math.min(ms, touchedMs + IDLE_MS) - countedMs);
    countedMs = ms;
    seen = !document.hidden;
  };
  const begin = () => {
    count();
    engagedMs = takenSeconds = prolongedAt = 0;
    touchedMs = -IDLE_MS;
  };
  begin();
  return {
    begin,
    count,
    touch: () => {
      const at = Date.now();
      // What came before belongs to the session before.
      if (Math.abs(at - touchedAt) > SESSION_MS) tell();
      count();
      touchedMs = countedMs;
      touchedAt = at;
      if (Math.abs(at - prolongedAt) > PROLONGED_MS) session = prolong((prolongedAt = at));
    },
    take: () => {
      count();
      const seconds = Math.min(Math.floor(engagedMs / 1e3), ENGAGED_SECONDS) - takenSeconds;
      takenSeconds += seconds;
      return [seconds, Math.min(Date.now(), touchedAt + IDLE_MS), session];
    },
  };
};
