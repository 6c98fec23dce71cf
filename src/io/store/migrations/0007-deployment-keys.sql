-- Idempotency keys of deployments: a request that is sent again after a lost answer finds what it made. Written in the
-- transaction that makes the deployment, so of two gateways that are asked at the same time one hears that it was late.

create table deployment_keys (
  account      text not null,
  key          text not null,
  -- SHA-256 of what was asked: the same key with other contents is an error.
  content_hash text not null,
  deployment   text not null references deployments (id) deferrable initially deferred,
  created_at   bigint not null,
  primary key (account, key)
);
create index deployment_keys_age on deployment_keys (created_at);
