//! The feed against a PostgreSQL server: every change of the original's table, however it is
//! noticed; parts of the table; the database gone and back.

mod bench;
mod changes;
mod gone;
mod parts;
