-- Gateways over one database: who they are, which of them vouch for each other, and what one asks of another.

create table gateways (
  id         text primary key,
  public_key text not null,
  seen_at    bigint not null
);

-- `gateway` has signed that `kin` may speak for it about its leases: nodes ask for that.
create table gateway_kin (
  gateway   text not null references gateways (id),
  kin       text not null references gateways (id),
  signature text not null,
  primary key (gateway, kin)
);

-- What a tenant asked of a deployment at a gateway that does not look after it. A row lives until its answer is read.
create table deployment_commands (
  id         text primary key,
  deployment text not null references deployments (id),
  command    jsonb not null,
  expires_at bigint not null,
  taken_by   text,
  -- Null: there is none yet.
  answer     jsonb
);
