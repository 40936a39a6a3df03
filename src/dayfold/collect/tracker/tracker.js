/*
 * The tracker of Dayfold: what happens on a page, kept until the collector has it.
 *
 * One text, two ways in: as a script it reads its own tag and puts `dayfold(…)` on the page, as a module it exports `createTracker`.
 * What is served is what stands here and in the files beside it, without comments and spaces.
 *
 * How an event comes to be delivered once:
 * - It gets its id and its moment when it happens, and keeps both whatever becomes of it.
 * - It is an entry of its own in localStorage. No tab rewrites what another wrote, so none loses another's events.
 * - Only an answer to a fetch takes it out. One tab at a time sends, for all of them, under a Web Lock. Where there are no locks (plain
 *   http, old browsers), a tab sends what it made itself, and what has been left for ten minutes.
 * - A beacon has no answer. What it carried when the page was left stays, and goes along with the next fetch under the same ids, which
 *   the collector knows. So a visit that ends here is heard of, and a beacon that fails loses nothing; the price is that what happened
 *   after a page's last batch is mostly told twice.
 *
 * Invariant: nothing is thrown into the page; without storage, locks or a network it works as it did.
 *
 * Weakness: tabs that open a visitor's very first pages in the same instant may each begin a visitor and a session; they agree from then on.
 * Where there are no locks and no network for ten minutes, two tabs may both send an event, under one id.
 */

// Whom a JWT speaks for; nobody where it is none. Only the collector checks its signature.
const subject = (jwt) => {
  try {
    return JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub || "";
  } catch {
    return "";
  }
};

// `data-dayfold-entity-type="asset"` is the property `entity_type`.
const described = (element) => {
  const properties = {};
  for (const [name, value] of Object.entries(element.dataset))
    if (/^dayfold./.test(name))
      properties[name.slice(7).replace(/[A-Z]/g, (letter, at) => (at ? "_" : "") + letter.toLowerCase())] = value;
  return properties;
};

/*
 * A tracker that runs; the first page view is on its way.
 *
 * key: the public write key. host: where the collector is. token: the JWT of the user who is signed in. cookieless: the browser keeps
 * nothing. hash: what follows # belongs to an address. manual: only `page(…)` makes page views. about: properties of the first one.
 * waiting: calls from before the script came, each as [milliseconds, [name, ...words]].
 */
const createTracker = ({ key, host, token, cookieless, hash, manual, about = {}, waiting = [] }) => {
  const refused = navigator.globalPrivacyControl || navigator.doNotTrack == 1;
  const store = openStore(`dayfold.${key}.`, refused || cookieless);
  const signedIn = { token, user: subject(token) };
  const queue = openQueue(store, { key, host, cookieless }, signedIn);
  const guarded = (work) => (...words) => {
    try {
      return refused ? undefined : work(...words);
    } catch {}
  };
  const address = () => (hash ? location.href : location.href.split("#")[0]);

  const visits = openVisits(store, address, cookieless);
  let replayed = 0;
  const now = () => replayed || Date.now();
  const add = (type, properties, at = now(), page = address(), session = visits.session(at)) =>
    queue.add(visits.event(type, properties, at, page, session));

  let here = address();
  const tell = () => {
    const [seconds, at, session] = stopwatch.take();
    if (seconds > 0) add("page_engaged", { ...about, engagement_time: seconds }, at, here, session);
  };
  const stopwatch = openStopwatch(visits.session, tell);
  const page = (properties, arriving = true) => {
    tell();
    stopwatch.begin();
    here = address();
    about = properties || {};
    add("page_viewed", about, now(), here, visits.session(now(), arriving));
  };
  // Another address is another page; one that was only replaced, when more than its query changed.
  let last = address();
  const moved = guarded((replaced) => {
    const before = last;
    last = address();
    const path = (url) => (replaced ? url.replace(/\?[^#]*/, "") : url);
    if (path(last) !== path(before)) page();
  });
  const follow = (name, replaces) => {
    const original = history[name];
    history[name] = function (...words) {
      const result = original.apply(this, words);
      moved(replaces);
      return result;
    };
  };
  const marked = (selector) => ({ target }) => {
    const element = target.closest(selector);
    if (element) add(element.dataset.dayfold, described(element));
  };
  const leave = (leaving) => {
    tell();
    queue.beacon(leaving);
  };

  const methods = {
    track: (type, properties) => add(type, properties),
    page: (properties) => page(properties),
    about: (properties) => {
      about = properties || {};
    },
    setToken: (jwt) => {
      signedIn.token = jwt;
      signedIn.user = subject(jwt);
      queue.wake();
    },
    reset: () => {
      methods.setToken();
      store.drop("visitor");
      store.drop("session");
    },
    flush: queue.flush,
    dropped: queue.dropped,
  };
  const start = guarded(() => {
    const on = (target, names, work) =>
      names.split(" ").forEach((name) => target.addEventListener(name, guarded(work), { capture: true, passive: true }));
    stopwatch.begin();
    on(document, "click", marked("[data-dayfold]:not(form)"));
    on(document, "submit", marked("form[data-dayfold]"));
    on(document, "pointerdown pointermove keydown wheel touchmove", stopwatch.touch);
    on(document, "visibilitychange", () => (document.hidden ? leave() : (stopwatch.count(), queue.wake())));
    on(window, "pagehide", () => leave(true));
    on(window, "online", queue.back);
    on(window, "pageshow", ({ persisted }) => {
      if (!persisted) return;
      queue.back();
      if (!manual) page({}, false);
    });
    for (const [at, [name, ...words]] of waiting) {
      replayed = at;
      guarded(methods[name])(...words);
    }
    replayed = 0;
    queue.wake();
    if (manual) return;
    page(about);
    on(window, hash ? "popstate hashchange" : "popstate", () => moved());
    follow("pushState");
    follow("replaceState", true);
  });
  if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
  else start();
  return Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, guarded(method)]));
};

// As a script of a page: the tag says what a caller of createTracker would.
const script = document.currentScript;
const stub = window.dayfold || {};
if (script && !stub.live) {
  const { key, host = new URL(".", script.src).href, token, ...flags } = script.dataset;
  const flag = (name) => name in flags && flags[name] !== "false";
  const tracker = createTracker({
    key,
    host,
    token,
    cookieless: flag("cookieless"),
    hash: flag("hash"),
    manual: flag("manual"),
    about: described(script),
    waiting: stub.q,
  });
  window.dayfold = (name, ...words) => tracker[name] && tracker[name](...words);
  window.dayfold.live = true;
}
