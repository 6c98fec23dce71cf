-- Payment channels: what the chain's last final block says of each, its newest voucher, and how it stands in the ledger.
-- Amounts are units of the token, cumulative. Hex is lower case.

alter table transfers drop constraint transfers_kind_check;
alter table transfers add constraint transfers_kind_check
  check (kind in ('deposit', 'usage', 'uncollected', 'correction', 'lease', 'voucher', 'fee', 'payout'));
-- A channel's own transfers: the audit sums them up.
create index transfers_of_channel on transfers (reference) where kind = 'voucher';

create table channels (
  id                  text primary key,
  -- The order in which channels of one account are used up.
  ordinal             bigint generated always as identity unique,
  account             text not null,
  -- A channel's id holds them already; they tell which rows belong to the chain that this gateway is on.
  chain_id            bigint not null,
  contract            text not null,
  payer               text not null,
  payer_authorizer    text not null,
  receiver            text not null,
  receiver_authorizer text not null,
  token               text not null,
  withdraw_delay      bigint not null,
  salt                text not null,
  state               text not null check (state in ('open', 'closing', 'closed')),
  leaving             text check (leaving in ('exit', 'consent')),
  -- When a payer who leaves by itself can take the rest, milliseconds.
  exit_at             bigint,
  -- The final block that these two are of.
  final_block         bigint not null,
  balance_units       bigint not null check (balance_units >= 0),
  claimed_units       bigint not null check (claimed_units >= 0),
  -- The highest ceiling signed, and its signature: what claims bring.
  ceiling_units       bigint not null default 0,
  signature           text,
  allowed_units       bigint not null default 0,
  credited_units      bigint not null default 0 check (credited_units >= 0),
  uncollected_units   bigint not null default 0 check (uncollected_units >= 0),
  charged_units       bigint not null default 0,
  -- How often credit was taken back: numbers the transfers.
  returns             bigint not null default 0,
  -- What the last claim written says, and under which purpose.
  claim_units         bigint not null default 0,
  claim_purpose       text,
  claim_failures      integer not null default 0,
  refund_purpose      text,
  refunds             bigint not null default 0,
  created_at          bigint not null,
  check (credited_units <= allowed_units and allowed_units <= ceiling_units),
  check (charged_units <= credited_units + uncollected_units),
  check ((ceiling_units = 0) = (signature is null)),
  check ((leaving is null) = (state <> 'closing'))
) with (fillfactor = 70);
create index channels_of_account on channels (account, ordinal);

-- Numbers the claims, over all gateways.
create sequence channel_claims;
