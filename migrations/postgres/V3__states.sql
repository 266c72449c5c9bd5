-- States are written with their results here: nothing stands in the head alone, and there is
-- nothing to change. The file has the same number, so that both go on from the same one.
SELECT 1;
