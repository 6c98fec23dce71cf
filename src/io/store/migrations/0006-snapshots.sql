-- Snapshots of leases' volumes. The row is there before the first byte of its object, and says `ready` only when the
-- object is whole: what is half written is never taken for a snapshot, and what a crash leaves is found and removed.

create table snapshots (
  id         text primary key,
  account    text not null references accounts (id),
  deployment text not null references deployments (id),
  lease      text not null references leases (id),
  service    text not null,
  replica    integer not null,
  volume     text not null,
  -- The object store that has it, and its name there.
  place      text not null,
  object     text not null,
  state      text not null check (state in ('taking', 'ready', 'failed')),
  begun_at   bigint not null,
  bytes      bigint not null default 0 check (bytes >= 0),
  -- Of the object, hex: what is not the same byte for byte is never given to anybody.
  sha256     text,
  -- Why it failed.
  problem    text,
  -- Null: as long as its lease is open and no newer ones take its place.
  expires_at bigint,
  check (state <> 'ready' or sha256 is not null)
);
create index snapshots_of_lease on snapshots (lease, begun_at);
create index snapshots_of_deployment on snapshots (deployment);
create index snapshots_of_account on snapshots (account);
create index snapshots_of_place on snapshots (place, state);
