-- Who writes, and how far: a lease's epoch fences its earlier holders in the write's transaction.

CREATE TABLE market.leases (
    name text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    pid int,
    host text,
    boot_id text,
    heartbeat timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE market.leases IS 'One owner per shard, one committer for the lake.';

CREATE TABLE market.shards (
    shard smallint PRIMARY KEY,
    last_frame bigint NOT NULL DEFAULT 0,
    trade_high jsonb NOT NULL DEFAULT '{}',
    claims jsonb NOT NULL DEFAULT '[]'
) WITH (fillfactor = 50);
COMMENT ON TABLE market.shards IS 'Per shard: the last journal frame that the hot tier holds.';

-- Ends a batch's transaction: raises TL001 when a newer owner holds the lease, TL002 when the
-- shard is not at old_frame. The shared lock keeps the lease from changing before the commit.
CREATE FUNCTION market.advance_shard(
    shard smallint,
    lease_name text,
    epoch bigint,
    old_frame bigint,
    new_frame bigint,
    trade_high jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
    hit bigint;
BEGIN
    SELECT l.epoch INTO held FROM market.leases AS l
        WHERE l.name = advance_shard.lease_name FOR SHARE;
    IF held IS DISTINCT FROM advance_shard.epoch THEN
        RAISE EXCEPTION 'fenced: lease % is at epoch %, this writer holds %',
            advance_shard.lease_name, coalesce(held::text, 'none'), advance_shard.epoch
            USING ERRCODE = 'TL001';
    END IF;
    UPDATE market.shards AS s
        SET last_frame = advance_shard.new_frame, trade_high = advance_shard.trade_high
        WHERE s.shard = advance_shard.shard AND s.last_frame = advance_shard.old_frame;
    GET DIAGNOSTICS hit = ROW_COUNT;
    IF hit <> 1 THEN
        RAISE EXCEPTION 'moved: shard % is not at frame %',
            advance_shard.shard, advance_shard.old_frame
            USING ERRCODE = 'TL002';
    END IF;
END
$$;
