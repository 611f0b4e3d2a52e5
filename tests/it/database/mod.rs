//! Tests of the database layer: schema, query plans, pools, transactions, migrations, recovery, poolers, and takeover of an older
//! database.

mod addresses;
mod encodings;
mod migrations;
mod pgbouncer;
mod plans;
mod pools;
mod recovery;
mod schema;
mod takeover;
mod transactions;
