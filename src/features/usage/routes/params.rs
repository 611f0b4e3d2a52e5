//! Query parameters of usage.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::platform::usage::Metric;

/// Days without a parameter.
pub const DAYS: i64 = 30;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SummaryQuery {
    /// Days until today, today included.
    #[param(minimum = 1, maximum = 365, default = 30, required = false, value_type = i64)]
    pub days: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnTrendsQuery {
    /// `api_requests` without it.
    #[param(inline, required = false, value_type = Metric)]
    pub metric: Option<Metric>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TrendsQuery {
    #[param(inline)]
    pub metric: Metric,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DailyQuery {
    #[param(inline)]
    pub metric: Metric,
    /// Days until today, today included.
    #[param(minimum = 1, maximum = 90, default = 30, required = false, value_type = i64)]
    pub days: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BreakdownQuery {
    #[param(inline)]
    pub metric: Metric,
    /// Days until today, today included.
    #[param(minimum = 1, maximum = 365, default = 30, required = false, value_type = i64)]
    pub days: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TopQuery {
    #[param(inline)]
    pub metric: Metric,
    /// Users to answer.
    #[param(minimum = 1, maximum = 100, default = 10, required = false, value_type = i64)]
    pub limit: Option<i64>,
}
