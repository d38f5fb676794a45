//! HTTPS towards AWS: one pool of connections for every service and every source of credentials.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;
use http_body_util::{BodyExt as _, Limited};

/// The longest answer that is read, in bytes. A page of a hundred secrets with fifty tags each is
/// the longest that AWS has reason to give: some 4 MiB.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Makes connectors, one for each kind of settings: a connector is a pool of connections.
#[derive(Debug, Default)]
pub(crate) struct Http {
    connectors: Mutex<HashMap<Timeouts, Ways>>,
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
        let ways = connectors.entry(timeouts).or_insert_with(|| Ways::new(settings));
        if ways.is_suspect.load(Ordering::Relaxed) {
            *ways = Ways::new(settings);
        }
        SharedHttpConnector::new(ways.clone())
    }
}

/// The way through the environment's proxy, and the one past it.
#[derive(Clone, Debug)]
struct Ways {
    proxied: Arc<Connector>,
    direct: Arc<Connector>,
    /// Somebody gave up waiting. With HTTP/2 all share a connection, and one that is dead without a
    /// word stays in the pool: there is to be another pool.
    is_suspect: Arc<AtomicBool>,
}

impl Ways {
    fn new(settings: &HttpConnectorSettings) -> Self {
        let connector = |proxy| {
            let connector = Connector::builder()
                .connector_settings(settings.clone())
                .proxy_config(proxy)
                .enable_tcp_nodelay(true)
                .tls_provider(Provider::rustls(CryptoMode::AwsLc));
            Arc::new(connector.build())
        };
        Self {
            // As every program in a network with a proxy does, and KES did.
            proxied: connector(ProxyConfig::from_env()),
            direct: connector(ProxyConfig::disabled()),
            is_suspect: Arc::default(),
        }
    }
}

impl HttpConnector for Ways {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let way = if is_here(request.uri()) { &self.direct } else { &self.proxied };
        let answer = way.call(request);
        let wait = Wait { is_suspect: Arc::clone(&self.is_suspect), is_over: false };
        HttpConnectorFuture::new(async move {
            let whole = async {
                let mut answer = answer.await?;
                let body = Limited::new(answer.take_body(), BODY_BYTES_MAX).collect().await;
                *answer.body_mut() = body.map_err(ConnectorError::io)?.to_bytes().into();
                Ok(answer)
            };
            let whole = whole.await;
            wait.end();
            whole
        })
    }
}

/// Somebody waits for an answer.
#[derive(Debug)]
struct Wait {
    is_suspect: Arc<AtomicBool>,
    is_over: bool,
}

impl Wait {
    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.is_over {
            self.is_suspect.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a URI leads to this machine, its pod, task or instance: where credentials come from. A
/// proxy would see them, or answer with its own.
fn is_here(uri: &str) -> bool {
    let Ok(uri) = uri.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
        // fd00:ec2::/32 is where EC2 and EKS have them.
        Ok(IpAddr::V6(ip)) => {
            let head = [ip.segments()[0], ip.segments()[1]];
            ip.is_loopback() || ip.is_unicast_link_local() || head == [0xfd00, 0xec2]
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_credentials_and_this_machine_are_not_asked_through_a_proxy() {
        for uri in [
            "http://169.254.169.254/latest/api/token",
            "http://[fd00:ec2::254]/latest/meta-data",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:4566/",
            "https://localhost:4566/",
            "http://aws.localhost/",
            "http://[::1]:1/",
        ] {
            assert!(is_here(uri), "{uri}");
        }
        for uri in [
            "https://secretsmanager.us-east-2.amazonaws.com/",
            "https://localhost.example.com/",
            "http://10.0.0.1/",
            "http://[fd00:1::1]/",
            "/",
        ] {
            assert!(!is_here(uri), "{uri}");
        }
    }
}
