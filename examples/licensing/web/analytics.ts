/**
 * The tracker of Dayfold with the types of this application's events.
 *
 * The collector serves the tracker itself as a module; what is called before it has come waits with its moment. Where it never comes, as
 * behind an ad blocker, nothing happens and nothing is thrown.
 */
import type { EventTypes } from "./events";

/** What an event is about, beside its properties. */
export interface Entity {
  entity_type?: string;
  entity_id?: string;
}

/** Events that a page tells itself; the tracker makes the others. */
export type Told = Exclude<keyof EventTypes, "page_viewed" | "page_engaged">;

export interface Analytics {
  /** Something happened. */
  track<Type extends Told>(type: Type, properties: EventTypes[Type] & Entity): void;
  /** This page was viewed: only with `manual`. */
  page(properties?: EventTypes["page_viewed"] & Entity): void;
  /** What the current page view is about; its engaged time is told with these properties. */
  about(properties: EventTypes["page_viewed"] & Entity): void;
  /** Who is signed in: a short JWT of this application; nobody without one. */
  setToken(jwt?: string): void;
  /** The next events are another visitor's, on a machine that several people use. */
  reset(): void;
}

export interface Options {
  /** Where the collector is: `https://events.example.com`. */
  host: string;
  /** A public write key. */
  key: string;
  token?: string;
  /** Store nothing in the browser. */
  cookieless?: boolean;
  /** What follows # is part of an address. */
  hash?: boolean;
  /** Only `page()` makes page views. */
  manual?: boolean;
}

type Call = keyof Analytics;
type Waiting = [moment: number, call: [Call, ...words: unknown[]]];
type Tracker = Record<Call, (...words: unknown[]) => void>;
type Load = (host: string) => Promise<{ createTracker(options: Options & { waiting: Waiting[] }): Tracker }>;

const load: Load = (host) => import(/* @vite-ignore */ `${host.replace(/\/*$/, "")}/dayfold.mjs`);

/** Analytics that work at once. The tracker is fetched a single time, and only in a browser: on a server nothing is tracked. */
export function createAnalytics(options: Options): Analytics {
  const waiting: Waiting[] = [];
  let tracker: Tracker | undefined;
  if (typeof window !== "undefined")
    load(options.host).then(
      ({ createTracker }) => {
        tracker = createTracker({ ...options, waiting });
      },
      () => undefined,
    );
  const call =
    (name: Call) =>
    (...words: unknown[]) => {
      if (tracker) tracker[name](...words);
      else if (typeof window !== "undefined" && waiting.length < 1000) waiting.push([Date.now(), [name, ...words]]);
    };
  return { track: call("track"), page: call("page"), about: call("about"), setToken: call("setToken"), reset: call("reset") };
}
