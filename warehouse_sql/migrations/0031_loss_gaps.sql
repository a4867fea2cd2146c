-- A gap of frames that the journal itself lost, and of which there was no copy.
COMMENT ON COLUMN market.feed_gaps.kind IS
    'disconnect, silence, id_hole, restart, overload or loss.';
