// Sends events with @segment/analytics-node: node send.mjs HOST WRITE_KEY WHAT [FILE]
import { writeFileSync } from "node:fs";
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, what, ready] = process.argv.slice(2);
const days = (n) => new Date(Date.now() - n * 86_400_000);
const analytics = new Analytics({ host, writeKey, flushAt: 7, flushInterval: 50, maxRetries: 20 });
const failed = [];
analytics.on("error", (error) => failed.push(error));

const sends = {
  every() {
    const context = { campaign: { source: "newsletter", name: "spring" }, page: { url: "https://shop.example/a" } };
    analytics.identify({ userId: "ada", anonymousId: "browser-1", traits: { plan: "pro" } });
    analytics.track({ userId: "ada", event: "order_paid", properties: { cents: 1250, project_id: "p1" }, context });
    analytics.track({ userId: "ada", event: "order_paid", properties: { cents: 250 }, timestamp: days(3), messageId: "order-17" });
    analytics.track({ userId: "ada", event: "order_paid", properties: { cents: 250 }, timestamp: days(3), messageId: "order-18" });
    analytics.page({ userId: "ada", category: "Docs", name: "Start", properties: { url: "https://shop.example/docs?utm_source=news" } });
    analytics.screen({ userId: "ada", category: "Settings", name: "Privacy" });
    analytics.group({ userId: "ada", groupId: "acme", traits: { seats: 5 } });
    analytics.alias({ userId: "ada", previousId: "browser-1" });
  },
  async many() {
    for (let n = 0; n < 400; n++) {
      if (n === 100) writeFileSync(ready, "");
      analytics.track({ userId: "ada", event: "step", properties: { n, cents: 1, project_id: "p" } });
      await new Promise((then) => setTimeout(then, 4));
    }
  },
};
await sends[what]();
await analytics.closeAndFlush({ timeout: 60_000 });
if (failed.length) throw new Error(JSON.stringify(failed.map((one) => String(one.reason ?? one.code))));
