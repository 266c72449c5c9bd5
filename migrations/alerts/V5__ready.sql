-- What may go out next over a channel, in order: found without a look at all that waits.
CREATE INDEX notice_ready ON notice (channel, id) WHERE state = 0;
