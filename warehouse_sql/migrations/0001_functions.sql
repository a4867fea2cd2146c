-- What the tables and the loss ledger compute with; nothing newer than PostgreSQL 17 needed.

CREATE SCHEMA IF NOT EXISTS market;

-- A row's slice: the first eight bytes of md5 of its canonical text, read little-endian, unsigned.
-- Byte by byte because it is twice as fast as any way through hexadecimal text.
CREATE FUNCTION market.digest_slice(canonical text) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    b CONSTANT bytea := decode(md5(canonical), 'hex');
BEGIN
    RETURN (get_byte(b, 0)::bigint
        | (get_byte(b, 1)::bigint << 8)
        | (get_byte(b, 2)::bigint << 16)
        | (get_byte(b, 3)::bigint << 24)
        | (get_byte(b, 4)::bigint << 32)
        | (get_byte(b, 5)::bigint << 40)
        | (get_byte(b, 6)::bigint << 48))
        + get_byte(b, 7) * 72057594037927936::numeric;
END
$$;

-- Text that JSON allows and jsonb does not (\u0000, numbers beyond numeric) must not stop a batch.
-- Not parallel safe: an EXCEPTION block is a subtransaction.
CREATE FUNCTION market.json_or_null(document text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN document::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN NULL;
END
$$;
