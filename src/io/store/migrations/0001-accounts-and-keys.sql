-- Times are milliseconds since 1970 (bigint), money is nano-dollars (bigint), hashes are hex text.
-- No foreign key on a hot table: checking one would lock the tenant's row for every request.

create table accounts (
  id                  text primary key,
  kind                text not null check (kind in ('tenant', 'operator')),
  name                text not null,
  requests_per_minute bigint,
  tokens_per_minute   bigint,
  concurrency         bigint,
  created_at          bigint not null
);

create table api_keys (
  id                  text primary key,
  account             text not null references accounts (id),
  name                text not null,
  hint                text not null,
  hash                text not null unique,
  scopes              text[] not null,
  requests_per_minute bigint,
  tokens_per_minute   bigint,
  concurrency         bigint,
  budget_nano_usd     bigint check (budget_nano_usd >= 0),
  created_at          bigint not null,
  expires_at          bigint,
  revoked_at          bigint,
  revision            bigint not null
);
create index api_keys_of_account on api_keys (account);
create index api_keys_by_revision on api_keys (revision);

-- One row. Who changes a key takes the next number from here and so waits for whoever came before: numbers
-- become visible in order, and a cache that asks for "newer than 41" can never miss a 40.
create table key_revision (
  one_row boolean primary key default true check (one_row),
  value   bigint not null
);
insert into key_revision (value) values (0);

-- Apart from the key, because it changes with every settled batch and is no reason to reload a key.
create table key_spending (
  api_key        text primary key,
  spent_nano_usd bigint not null default 0 check (spent_nano_usd >= 0)
);
