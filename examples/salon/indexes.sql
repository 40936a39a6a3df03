-- What the refresh of single customers looks their rows up by, and what a day of a location does.
CREATE INDEX bookings_customer ON bookings (organization_id, customer_id);
CREATE INDEX bookings_location ON bookings (organization_id, location_id, start_at);
CREATE INDEX payments_customer ON payments (organization_id, customer_id);
CREATE INDEX payments_location ON payments (organization_id, location_id, paid_at);
CREATE INDEX referral_profiles_customer ON referral_profiles (organization_id, customer_id);
