-- Deployments and their leases. A lease's row is changed only with the revision that was read, so of two gateways
-- that decide at the same time one hears that it was late. What only a gateway reads is in `doc`.

alter table transfers drop constraint transfers_kind_check;
alter table transfers add constraint transfers_kind_check
  check (kind in ('deposit', 'usage', 'uncollected', 'correction', 'lease'));

create table deployments (
  id           text primary key,
  account      text not null,
  api_key      text not null,
  name         text not null,
  rule         text not null check (rule in ('cheapest', 'reliable', 'fastest', 'manual')),
  sdl          text not null,
  created_at   bigint not null,
  closed_at    bigint,
  close_reason text,
  -- Who looks after it, and until when without a sign of life; then another gateway may.
  gateway      text not null,
  claimed_until bigint not null
);
create index deployments_of_account on deployments (account, created_at);
create index deployments_open on deployments (claimed_until) where closed_at is null;

create table leases (
  id             text primary key,
  deployment     text not null references deployments (id),
  account        text not null,
  state          text not null,
  -- Grows with each owner: of two nodes that claim the lease the higher one has it.
  epoch          integer not null,
  node           text,
  hold           text,
  -- Null: nothing is being billed.
  billed_until   bigint,
  -- Atto-dollars a second times milliseconds, below 10^12.
  carry          bigint not null check (carry between 0 and 999999999999),
  spent_nano_usd bigint not null default 0 check (spent_nano_usd >= 0),
  revision       bigint not null,
  doc            jsonb not null
) with (fillfactor = 50);
create index leases_of_deployment on leases (deployment);

create table deployment_events (
  deployment text not null references deployments (id),
  seq        integer not null,
  at         bigint not null,
  type       text not null,
  lease      text,
  service    text,
  message    text not null,
  primary key (deployment, seq)
);
