// Written by `dayfold events types --format ts`; edit the definitions and run it again.

/** The properties of each type of events. An event may have others beside them. */
export interface EventTypes {
  /** Of the family user. */
  user_signed_up: {
    role: "creator" | "brand" | "admin";
  };
  /** Of the family user. */
  user_logged_in: Record<string, unknown>;
  /** Of the family user. */
  user_profile_updated: {
    fields?: unknown;
  };
  /** Of the family asset. */
  asset_uploaded: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    format?: string | null;
  };
  /** Of the family asset. */
  asset_viewed: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family asset. */
  asset_downloaded: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    format?: string | null;
  };
  /** Of the family asset. */
  asset_approved: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family asset. */
  asset_rejected: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    reason: string;
  };
  /** Of the family project. */
  project_created: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    title?: string | null;
  };
  /** Of the family project. */
  project_started: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family project. */
  project_completed: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family project. */
  project_archived: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family license. */
  license_created: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    /** bigint (a whole number of 64 bits) */
    revenue_cents: number;
  };
  /** Of the family license. */
  license_clicked: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family license. */
  license_signed: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family license. */
  license_renewed: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    /** bigint (a whole number of 64 bits) */
    revenue_cents: number;
  };
  /** Of the family license. */
  license_expired: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family royalty. */
  royalty_calculated: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    /** bigint (a whole number of 64 bits) */
    amount_cents: number;
  };
  /** Of the family royalty. */
  royalty_statement_generated: {
    period: string;
  };
  /** Of the family royalty. */
  royalty_paid: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    /** bigint (a whole number of 64 bits) */
    amount_cents: number;
  };
  /** Of the family navigation. */
  page_viewed: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
  };
  /** Of the family navigation. */
  page_engaged: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    /** bigint (a whole number of 64 bits) */
    engagement_time: number;
  };
  /** Of the family navigation. */
  cta_clicked: {
    project_id?: string | null;
    ip_asset_id?: string | null;
    license_id?: string | null;
    place: string;
  };
  /** Of the family navigation. */
  search_performed: {
    query: string;
    /** bigint (a whole number of 64 bits) */
    results: number;
  };
  /** Of the family navigation. */
  filter_applied: {
    filter: string;
    value: string;
  };
  /** Of the family system. */
  email_sent: {
    template: string;
  };
  /** Of the family system. */
  webhook_delivered: {
    endpoint: string;
    /** bigint (a whole number of 64 bits) */
    status: number;
  };
  /** Of the family system. */
  job_completed: {
    job: string;
    /** bigint (a whole number of 64 bits) */
    duration_ms?: number | null;
  };
  /** Of the family system. */
  error_raised: {
    code: string;
  };
}

/** The name of a type of events. */
export type EventType = keyof EventTypes;
