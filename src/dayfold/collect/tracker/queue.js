const BATCH = 10;
const BATCH_MS = 5e3;
// What one request holds at most, which counts after hours without a network. A beacon may hold 64 kB.
const REQUEST = 50;
const REQUEST_BYTES = 6e4;
const QUEUE = 1000;
const ANSWER_MS = 3e4;
const BACKOFF_MS = 1e3;
const LONGEST_BACKOFF_MS = 3e5;
const LONGEST_REST_MS = 36e5;
const LEFT_BEHIND_MS = 6e5;
const DAY_MS = 864e5;

// The events that wait, oldest first, and their way to the collector. An entry is named by its moment in 13 digits, its id in 36 letters
// and the user who was signed in.
const openQueue = (store, { key, host, cookieless }, signedIn) => {
  const endpoint = `${host}`.replace(/\/*$/, "/v1/events");
  const locks = store.shared && navigator.locks;
  const made = new Set();
  const beaconed = new Set();
  let timer, busy, request;
  let failures = 0;
  let restUntil = 0;
  let newest = 0;

  const userOf = (name) => name.slice(50);
  const waiting = () => store.names().filter((name) => name[0] === "+").sort();
  // What this tab may send. Only a user's own token speaks for him, so his events wait for it, but not longer than a day.
  const sendable = () =>
    waiting().filter((name) => {
      const age = Math.abs(Date.now() - name.slice(1, 14));
      const user = userOf(name);
      return (locks || made.has(name) || age > LEFT_BEHIND_MS) && (!user || user === signedIn.user || age > DAY_MS);
    });
  const dropped = () => +store.get("dropped") || 0;
  const lose = (count) => count && store.put("dropped", dropped() + count);

  // The names of as many of these events as one request holds, all of one user, and its text.
  const pack = (names, most, lost) => {
    const taken = [];
    const events = [];
    const owner = userOf(names[0]);
    let size = 0;
    for (const name of names) {
      const text = store.get(name);
      if (!text || userOf(name) !== owner) continue;
      size += new Blob([text]).size;
      if (taken.length && (taken.length >= most || size > REQUEST_BYTES)) break;
      taken.push(name);
      events.push(text);
    }
    const head = {
      write_key: key,
      sent_at: new Date(),
      token: owner && owner === signedIn.user ? signedIn.token : undefined,
      cookieless: cookieless || undefined,
      dropped: lost || undefined,
    };
    return [taken, `${JSON.stringify(head).slice(0, -1)},"events":[${events}]}`];
  };

  // How long the collector is left alone: by all tabs after a Retry-After, by this one after a failure.
  const rest = () => {
    const told = store.get("rest") - Date.now();
    return Math.max(0, restUntil - performance.now(), told <= LONGEST_REST_MS ? told : 0);
  };
  const failed = (answer) => {
    const seconds = answer && answer.headers.get("retry-after");
    if (seconds > 0) store.put("rest", Date.now() + Math.min(seconds * 1e3, LONGEST_REST_MS));
    const backoff = Math.min(BACKOFF_MS * 2 ** ++failures, LONGEST_BACKOFF_MS);
    restUntil = performance.now() + backoff * (0.5 + Math.random() / 2);
  };
  const send = async () => {
    let most = REQUEST;
    for (let names; (names = sendable()).length; ) {
      const lost = dropped();
      const [taken, body] = pack(names, most, lost);
      if (!taken.length) return;
      let answer;
      request = new AbortController();
      const patience = setTimeout(() => request.abort(), ANSWER_MS);
      try {
        // A body of text without other headers goes to another host without a preflight.
        answer = await fetch(endpoint, { method: "POST", body, credentials: "omit", signal: request.signal });
      } catch {}
      clearTimeout(patience);
      const status = answer ? answer.status : 0;
      if (status === 413 && taken.length > 1) most = taken.length >> 1;
      else if (!status || status === 429 || status === 408 || status > 499) return failed(answer);
      else {
        failures = 0;
        taken.forEach(store.drop);
        lose(status > 399 ? taken.length : -lost);
      }
    }
  };
  const later = (ms) => {
    timer ||= setTimeout(flush, ms);
  };
  const flush = async () => {
    clearTimeout(timer);
    timer = 0;
    const left = rest();
    if (busy || left) return later(left || BATCH_MS);
    busy = true;
    try {
      await (locks ? locks.request(endpoint, { ifAvailable: true }, (lock) => lock && send()).catch(send) : send());
    } catch {}
    busy = false;
    wake();
  };
  const wake = () => {
    if (sendable().length) later(Math.max(rest(), BATCH_MS));
  };

  return {
    dropped,
    flush,
    wake,
    add: (event) => {
      const names = waiting();
      while (names.length >= QUEUE) {
        store.drop(names.shift());
        lose(1);
      }
      // Events of one millisecond stay in their order.
      newest = Math.max(newest + 1, Date.now());
      const name = "+" + `${newest}`.padStart(13, 0) + event.id + signedIn.user;
      made.add(name);
      store.put(name, JSON.stringify(event));
      if (sendable().length < BATCH) later(BATCH_MS);
      else flush();
    },
    // What this page made and no beacon has carried goes, newest first; the rest waits for a fetch, as does the answer.
    beacon: (leaving) => {
      for (;;) {
        const names = waiting().filter((name) => made.has(name) && !beaconed.has(name));
        if (!names.length) break;
        const [taken, body] = pack(names.reverse(), REQUEST);
        if (!navigator.sendBeacon(endpoint, body)) return;
        for (const name of taken) beaconed.add(name);
      }
      clearTimeout(timer);
      timer = 0;
      // A page that is kept for going back is frozen, and would keep the lock of a request that hangs from all others.
      if (leaving && request) request.abort();
    },
    // Back from the cache, or from being offline: a failure of before says nothing.
    back: () => {
      failures = restUntil = 0;
      flush();
    },
  };
};
