-- Payouts of what nodes earned, in units of a token (1,000 nano-dollars), to addresses on a chain. An epoch is open until
-- its closing moves what is owed out of the nodes' balances and fixes the leaves of a payout root, all in one transaction.

-- Where a node wants its earnings, by its own signature. A change holds from the next epoch on: IOUs of the open one are
-- signed already, to the address of before.
create table payout_addresses (
  node           text primary key,
  -- 0x and lower case hex, all of them.
  address        text not null,
  -- Null: none other is wanted.
  next_address   text check (next_address <> address),
  sequence       bigint not null,
  statement      text not null,
  signature      text not null,
  noted_at       bigint not null,
  -- What of the balance was left over by the last payout: below one unit, and the fee on it is paid.
  carry_nano_usd bigint not null default 0 check (carry_nano_usd between 0 and 999)
) with (fillfactor = 50);
create index payout_addresses_by_address on payout_addresses (address);

-- What an address was owed by all closed epochs together: the leaf of the newest root.
create table payout_accounts (
  address          text primary key,
  cumulative_units bigint not null check (cumulative_units > 0)
);

create table payout_epochs (
  number      bigint primary key check (number between 1 and 4294967295),
  -- Fixed when it opens: an IOU signed in it must hold at its closing.
  fee_bps     integer not null check (fee_bps between 0 and 10000),
  opened_at   bigint not null,
  closed_at   bigint,
  -- Of all leaves, since the beginning.
  root        text,
  total_units bigint check (total_units >= 0),
  -- What this epoch itself added.
  paid_units  bigint check (paid_units >= 0),
  fee_nano_usd bigint check (fee_nano_usd >= 0),
  check ((closed_at is null) = (root is null) and (closed_at is null) = (total_units is null)
    and (closed_at is null) = (paid_units is null) and (closed_at is null) = (fee_nano_usd is null))
);
create unique index payout_epochs_open on payout_epochs ((closed_at is null)) where closed_at is null;

-- Only leaves that an epoch changed: the tree of epoch n has each address's last one up to n.
create table payout_leaves (
  address          text not null,
  epoch            bigint not null references payout_epochs (number),
  cumulative_units bigint not null check (cumulative_units > 0),
  primary key (address, epoch)
);
create index payout_leaves_of_epoch on payout_leaves (epoch);
