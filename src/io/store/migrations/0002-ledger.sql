-- Double entry: every transfer takes from one ledger account and gives to another, once per key, for ever.
-- Tenants and nodes have a balance row, changed in the same statement as the transfers. The network's own
-- accounts (world:…, operator:…) have none, so that no row is hot: their balance is the sum of their transfers.

create table transfers (
  key        text primary key,
  debit      text not null,
  credit     text not null check (credit <> debit),
  nano_usd   bigint not null check (nano_usd > 0),
  kind       text not null check (kind in ('deposit', 'usage', 'uncollected', 'correction')),
  reference  text not null,
  created_at bigint not null,
  -- The two indexes below leave usage out: it never touches the network's own accounts.
  check (kind <> 'usage' or (starts_with(debit, 'tenant:') and starts_with(credit, 'node:')))
);
create index transfers_from_network on transfers (debit) where kind <> 'usage';
create index transfers_to_network on transfers (credit) where kind <> 'usage';

create table tenant_balances (
  account          text primary key,
  balance_nano_usd bigint not null default 0 check (balance_nano_usd >= 0),
  -- The sum of what is left of the open holds.
  held_nano_usd    bigint not null default 0 check (held_nano_usd >= 0),
  check (held_nano_usd <= balance_nano_usd)
) with (fillfactor = 50);

create table node_balances (
  node             text primary key,
  balance_nano_usd bigint not null default 0 check (balance_nano_usd >= 0)
) with (fillfactor = 50);

-- pending → posted (something was paid from it), voided (nothing was) or expired.
create table holds (
  id                 text primary key,
  account            text not null,
  gateway            text not null,
  nano_usd           bigint not null check (nano_usd > 0),
  remaining_nano_usd bigint not null check (remaining_nano_usd between 0 and nano_usd),
  state              text not null check (state in ('pending', 'posted', 'voided', 'expired')),
  opened_at          bigint not null,
  expires_at         bigint not null,
  check (state = 'pending' or remaining_nano_usd = 0)
) with (fillfactor = 70);
create index holds_by_end on holds (expires_at) where state = 'pending';
create index holds_of_gateway on holds (gateway, opened_at) where state = 'pending';
