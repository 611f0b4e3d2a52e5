//! Every mail that a local installation sends, to look at in a browser. Pages `/dev/mailbox…`, there only with
//! ENVIRONMENT=local. No tables.

mod model;
mod routes;
mod view;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature { pages: routes::pages, ..Feature::new("mailbox") };
