-- Where nodes of a region find each gateway, by its own signature. Null: it tells nobody.

alter table gateways add column url text;
alter table gateways add column region text;
alter table gateways add column card_signature text;
