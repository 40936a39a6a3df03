-- What single cells and the rights of one caller are looked up by.
CREATE INDEX creators_joined ON creators (joined_at);
CREATE INDEX brands_joined ON brands (joined_at);
CREATE INDEX assets_creator ON assets (creator_id);
CREATE INDEX licenses_brand ON licenses (brand_id);
CREATE INDEX campaign_spend_first ON campaign_spend (source, medium, campaign, spent_on);
