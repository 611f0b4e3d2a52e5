//! What the database holds and how it behaves: schema, plans, transactions, migrations, and the take-over of an older one.

mod migrations;
mod plans;
mod pools;
mod schema;
mod takeover;
mod transactions;
