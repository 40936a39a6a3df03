/** `useAnalytics()`: the tracker for React components, typed by `EventTypes`. */
import { createContext, useContext, useLayoutEffect, type ReactNode } from "react";

import type { Analytics } from "./analytics";

const Context = createContext<Analytics | undefined>(undefined);

/** Makes `analytics` that of all components within, and its user the one of `token`. Make it once, outside of components. */
export function AnalyticsProvider(props: { analytics: Analytics; token?: string | undefined; children: ReactNode }) {
  const { analytics, token, children } = props;
  // Before the effects of components within, whose events are this user's.
  useLayoutEffect(() => analytics.setToken(token), [analytics, token]);
  return <Context.Provider value={analytics}>{children}</Context.Provider>;
}

/** The analytics of the nearest provider: the same object in each rendering, so it may stand in a list of dependencies. */
export function useAnalytics(): Analytics {
  const analytics = useContext(Context);
  if (!analytics) throw new Error("useAnalytics() stands outside of <AnalyticsProvider>");
  return analytics;
}
