//! `--metrics ADDR`: a page for Prometheus, and a health probe.

use std::net::SocketAddr;

use bailiwick::{
    ServerStatus,
    metrics::{MetricsPage, Prometheus, PrometheusError},
};

use crate::output;

/// What is recorded, and where it is to be shown; nothing unless it is asked for.
pub(crate) struct Metrics(Option<(Prometheus, SocketAddr)>);

impl Metrics {
    /// Begins to record: before there is a server to count.
    pub(crate) fn install(address: Option<SocketAddr>) -> Result<Self, PrometheusError> {
        let install = |address| Ok((Prometheus::install()?, address));
        address.map(install).transpose().map(Self)
    }

    /// Shows them, and says where.
    pub(crate) async fn serve(
        &self,
        server: ServerStatus,
    ) -> Result<Option<MetricsPage>, PrometheusError> {
        let Self(Some((prometheus, address))) = self else { return Ok(None) };
        if !address.ip().is_loopback() {
            output::tell(format_args!(
                "warning: whoever reaches {address} may read the metrics; nobody has to prove who he is"
            ));
        }
        // An operator who names the address has been told what it means.
        let page = prometheus.listen_beyond_loopback(*address, server).await?;
        // A server goes on serving, whether or not somebody reads this.
        let _ = output::line(format_args!("metrics: http://{}/metrics", page.address()));
        Ok(Some(page))
    }
}
