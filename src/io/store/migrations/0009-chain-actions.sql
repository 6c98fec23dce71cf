-- What this network does on a chain. An action is a row before anything is sent, under a purpose that makes it happen once;
-- each transaction that was ever signed for it is a row before it is sent, so that a crash at any moment leaves enough to go on.

create table chain_actions (
  purpose      text primary key,
  -- The order in which they were written is the order in which they get their nonces.
  seq          bigint generated always as identity unique,
  kind         text not null,
  -- 0x and lower case hex, all of them.
  target       text not null,
  data         text not null,
  details      jsonb,
  state        text not null default 'written' check (state in ('written', 'signed', 'mined', 'final', 'failed')),
  -- Null: no nonce yet. An action that lost its nonce to somebody else's transaction gets another.
  sender       text,
  nonce        bigint,
  gas          bigint,
  -- The chain's head when it was signed: nothing before that can have used its nonce.
  since_block  bigint,
  -- Where it was mined, and by which of its transactions.
  hash         text,
  block_number bigint,
  block_hash   text,
  reverted     boolean not null default false,
  -- What hinders it, or why it failed: the contract's error where it gave one.
  problem      text,
  tries        integer not null default 0,
  retry_at     bigint not null default 0,
  written_at   bigint not null,
  settled_at   bigint,
  check ((sender is null) = (nonce is null)),
  check ((state = 'written') = (nonce is null)),
  check (state in ('written', 'signed') = (block_hash is null)),
  check ((block_hash is null) = (block_number is null) and (block_hash is null) = (hash is null))
);
create unique index chain_actions_nonce on chain_actions (sender, nonce);
create index chain_actions_open on chain_actions (seq) where state in ('written', 'signed', 'mined');
create index chain_actions_of_kind on chain_actions (kind, state, seq);

-- Several for one action: each but the first pays more for the same nonce.
create table chain_transactions (
  hash             text primary key,
  purpose          text not null references chain_actions (purpose),
  sender           text not null,
  nonce            bigint not null,
  raw              text not null,
  -- Wei for a unit of gas.
  max_fee          numeric not null,
  max_priority_fee numeric not null,
  signed_at        bigint not null
);
create index chain_transactions_of_action on chain_transactions (purpose, nonce);

-- Which gateway sends for a key now. The other waits: two that sent would only pay fees twice to replace each other.
create table chain_senders (
  sender  text primary key,
  gateway text not null,
  until   timestamptz not null
);

-- The last final blocks. One that the chain does not have any more is a reorganisation, also when nobody ran meanwhile.
create table chain_blocks (
  number bigint primary key,
  hash   text not null
);

-- The chain that all of this is about: one row.
create table chain_identity (
  one      boolean primary key default true check (one),
  chain_id bigint not null,
  genesis  text not null
);
