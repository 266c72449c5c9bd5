-- What the feed of the original's table needs.

-- The number of this database, made up once: tells it from others.
CREATE TABLE engine.identity (id bigint NOT NULL);
INSERT INTO engine.identity
SELECT ('x' || substr(md5(random()::text || clock_timestamp()::text), 1, 15))::bit(60)::bigint;

-- Parts of the original's table, for several engines: part `number` has the ids after the last one
-- of the part before, up to last_id. An id is given to one part, for all time.
CREATE TABLE engine.slice (
    size    bigint NOT NULL,               -- enabled rows in a part
    number  bigint NOT NULL,               -- from 1
    last_id bigint NOT NULL,
    PRIMARY KEY (size, number)
);
