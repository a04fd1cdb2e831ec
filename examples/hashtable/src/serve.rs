//! `hashtable serve`: checks everything, says how to be reached, serves until a signal.

use std::cell::OnceCell;

use bailiwick::{Drained, Health, metrics::Prometheus};
use hashtable::{kept::KeptTable, service::TableServer, store::Store};
use stable_store::Journal;

use crate::{
    args::ServeArgs,
    data::{self, Data},
    exit::Failure,
    output,
    process::{self, Signals, refused, refused_with_help},
    settings::Settings,
};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let Settings { listen, start, kept, bounds, metrics, log } = Settings::of(args)?;
    process::log(log);
    let signals = Signals::listen().map_err(refused)?;
    let data = kept.map(Data::take).transpose()?;
    let table = match &data {
        Some(data) => data.table(),
        None => Store::in_memory(bounds),
    };
    let prometheus =
        metrics.map(|_| Prometheus::install()).transpose().map_err(refused_with_help)?;
    let server = start
        .builder(&listen)?
        .service(TableServer::new(table.clone()))
        .service(Health::default())
        .bind()
        .await
        .map_err(refused_with_help)?;
    process::introduce(&server, &listen);
    let page = match prometheus.zip(metrics) {
        // An operator who names the address has been told what it means.
        Some((it, address)) => Some(it.listen_beyond_loopback(address, server.status()).await),
        None => None,
    };
    let page = page.transpose().map_err(refused_with_help)?;
    if let Some(page) = &page {
        // A server goes on serving, whether or not somebody reads this.
        let _ = output::line(format_args!("metrics: http://{}/metrics", page.address()));
    }
    let serve = server.serve_until(signals.shutdown());
    let drained = match data {
        Some(data) => keep(serve, data.recover(table, bounds)).await?,
        None => serve.await,
    };
    process::ended(drained)
}

/// Serves while the table is recovered and then kept; ends at once if it cannot be, so that nobody
/// is told of what may be lost.
async fn keep(
    serve: impl Future<Output = Drained>,
    recover: impl Future<Output = Result<Journal<KeptTable>, Failure>>,
) -> Result<Drained, Failure> {
    let journal = OnceCell::new();
    let kept = async {
        match recover.await {
            Ok(recovered) => data::failed(journal.get_or_init(|| recovered)).await,
            Err(failure) => failure,
        }
    };
    let drained = tokio::select! {
        biased;
        failure = kept => return Err(failure),
        drained = serve => drained,
    };
    match journal.into_inner() {
        Some(journal) => data::stop(journal).await.map(|()| drained),
        None => Ok(drained),
    }
}
