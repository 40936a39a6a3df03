/** A page of the licensing platform, as an example of all that there is to say. */
import { useEffect } from "react";

import { useAnalytics } from "./useAnalytics";

export function AssetPage({ asset, project, license }: { asset: string; project: string; license: string }) {
  const analytics = useAnalytics();
  useEffect(() => {
    const about = { ip_asset_id: asset, project_id: project, entity_type: "ip_asset", entity_id: asset };
    analytics.about(about);
    analytics.track("asset_viewed", about);
  }, [analytics, asset, project]);
  return (
    <main>
      <button onClick={() => analytics.track("license_clicked", { ip_asset_id: asset, license_id: license })}>License it</button>
      <a href="/pricing" data-dayfold="cta_clicked" data-dayfold-place="asset page">
        Prices
      </a>
    </main>
  );
}
