-- One row for each attempt that was settled: what a node did for a tenant, and what it cost.
create table usage (
  attempt             text primary key,
  request             text not null,
  account             text not null,
  api_key             text not null,
  node                text not null,
  model               text not null,
  api                 text not null check (api in ('chat', 'completion', 'embedding')),
  billed_input_tokens integer not null check (billed_input_tokens >= 0),
  output_tokens       integer not null check (output_tokens >= 0),
  nano_usd            bigint not null check (nano_usd >= 0),
  hold                text,
  started_at          bigint not null,
  finished_at         bigint not null,
  witness             text not null check (witness in ('node', 'gateway'))
);
create index usage_of_account on usage (account, finished_at);
create index usage_of_request on usage (request);

-- The batch that a node signed: its signature, and the leaves from which each receipt's proof is made.
create table receipt_batches (
  root         text primary key,
  signer       text not null,
  signed_at_ms bigint not null,
  signature    text not null,
  leaves       bytea not null
);

create table receipts (
  attempt    text primary key,
  -- Exactly the signed text: it is hashed again whenever it is checked.
  text       text not null,
  root       text not null,
  leaf_index integer not null
);

create table nodes (
  node           text primary key,
  node_key       text not null,
  tier           text not null check (tier in ('community', 'vetted', 'reserve')),
  first_seen_at  bigint not null,
  last_seen_at   bigint not null,
  linked_seconds bigint not null
);
