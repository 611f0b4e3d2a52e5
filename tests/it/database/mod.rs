//! Tests of the database layer: schema, query plans, pools, transactions, migrations, and takeover of an older database.

mod addresses;
mod migrations;
mod plans;
mod pools;
mod schema;
mod takeover;
mod transactions;
