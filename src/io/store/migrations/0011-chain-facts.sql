-- What a gateway has to know of the chain to start while the chain is away: the token as its contract described it.
alter table chain_identity add column facts jsonb;
