/** The types of events that the licensing platform's pages send, and their properties; as `dayfold events types --format ts` writes them. */
export interface EventTypes {
  asset_viewed: { ip_asset_id: string; project_id?: string };
  asset_downloaded: { ip_asset_id: string; project_id?: string };
  cta_clicked: { place: string };
  filter_applied: { filter: string; value: string };
  license_clicked: { ip_asset_id: string; license_id: string; project_id?: string };
  page_engaged: { engagement_time: number; ip_asset_id?: string; project_id?: string };
  page_viewed: { ip_asset_id?: string; project_id?: string };
  search_performed: { query: string; results: number };
}
