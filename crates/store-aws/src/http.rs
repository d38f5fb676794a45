//! HTTPS towards AWS: one pool of connections for every service and every source of credentials.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::http::Uri;
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
        let make = || {
            SharedHttpConnector::new(Ways {
                // As every program in a network with a proxy does, and KES did.
                proxied: connector(settings.clone(), ProxyConfig::from_env()),
                direct: connector(settings.clone(), ProxyConfig::disabled()),
            })
        };
        connectors.entry(timeouts).or_insert_with(make).clone()
    }
}

fn connector(settings: HttpConnectorSettings, proxy: ProxyConfig) -> Connector {
    Connector::builder()
        .connector_settings(settings)
        .proxy_config(proxy)
        .enable_tcp_nodelay(true)
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .build()
}

/// The way through the environment's proxy, and the one past it. Reads no more of an answer than
/// any has reason to hold.
#[derive(Debug)]
struct Ways {
    proxied: Connector,
    direct: Connector,
}

impl HttpConnector for Ways {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let way = if is_here(request.uri()) { &self.direct } else { &self.proxied };
        let answer = way.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, BODY_BYTES_MAX))))
        })
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
