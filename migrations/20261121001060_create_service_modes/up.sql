-- Switches that all gateways of a database follow while they run.

CREATE TABLE service_modes (
    name varchar(50) PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT service_modes_known CHECK (name IN ('read_only'))
);
COMMENT ON TABLE service_modes IS 'Modes that are on: a row is one.';
COMMENT ON COLUMN service_modes.name IS 'read_only: gateways refuse writes.';
COMMENT ON COLUMN service_modes.since IS 'When it was switched on.';
