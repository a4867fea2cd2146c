-- Audits of the lake: what each found, signed, and the checksums that they compare with.

CREATE TABLE market.audit_files (
    path text PRIMARY KEY,
    dataset text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE market.audit_files IS
    'SHA-256 of every file that an audit has seen and that the lake still needs; files never change.';

CREATE TABLE market.audits (
    number bigint PRIMARY KEY,
    ran_at timestamptz NOT NULL,
    holds boolean NOT NULL,
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    faults int NOT NULL,
    result text NOT NULL,
    signature text NOT NULL,
    key_id text NOT NULL
);
COMMENT ON TABLE market.audits IS
    'Results of audits, each with the digest of the one before: the very text that was signed (JSON), '
    'and its Ed25519 signature in hex. Copies lie in the folder audits of the home.';

CREATE FUNCTION market.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is appended to only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.audits
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse_change();

GRANT INSERT ON market.audits TO market_verifier, market_operator;
GRANT INSERT, DELETE ON market.audit_files TO market_verifier, market_operator;
GRANT SELECT ON market.audits TO market_service;
