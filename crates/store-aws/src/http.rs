//! HTTPS towards AWS: one pool of connections for every service and every source of credentials.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The longest answer that is read, in bytes. A page of a hundred secrets with fifty tags each is
/// the longest that AWS has reason to give: some 4 MiB.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Makes connectors, one for each kind of settings: a connector is a pool of connections.
#[derive(Debug, Default)]
pub(crate) struct Http {
    connectors: Mutex<HashMap<Timeouts, SharedHttpConnector>>,
}

/// What tells connectors apart: the times for connecting and reading.
type Timeouts = (Option<Duration>, Option<Duration>);

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || SharedHttpConnector::new(Bounded(connector(settings.clone())));
        connectors.entry(timeouts).or_insert_with(make).clone()
    }
}

fn connector(settings: HttpConnectorSettings) -> Connector {
    Connector::builder()
        .connector_settings(settings)
        // As every program in a network with a proxy does, and KES did.
        .proxy_config(ProxyConfig::from_env())
        .enable_tcp_nodelay(true)
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .build()
}

/// Reads no more of an answer than any has reason to hold.
#[derive(Debug)]
struct Bounded(Connector);

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, BODY_BYTES_MAX))))
        })
    }
}
