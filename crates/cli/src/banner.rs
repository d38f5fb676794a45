//! The banner at the start of the server: version, key store, addresses, log levels.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kes_config::{AuditEvents, LogLevel};

use crate::memory::Locking;
use crate::telemetry::NOTICE;

/// The contents of the banner.
pub(crate) struct Banner<'a> {
    /// The release.
    pub(crate) version: &'a str,
    /// The commit that it was built from.
    pub(crate) commit: &'a str,
    /// The kind and the location of the key store.
    pub(crate) keystore: String,
    /// The address that the server listens on.
    pub(crate) address: SocketAddr,
    /// The admin as configured.
    pub(crate) admin: &'a str,
    pub(crate) error_log: LogLevel,
    pub(crate) audit_log: AuditEvents,
    pub(crate) locking: &'a Locking,
}

impl Banner<'_> {
    /// Writes the banner, one fact per line; scripts read it, so the names of lines must not change.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "{:<11} {} (commit {})", "Version", self.version, self.commit)?;
        writeln!(to, "{:<11} {}", "KeyStore", self.keystore)?;
        writeln!(to, "{:<11} {}", "Endpoints", endpoints(self.address).join(" "))?;
        writeln!(to, "{:<11} {}", "Address", listening(self.address))?;
        writeln!(to, "{:<11} {}", "Admin", self.admin)?;
        writeln!(to, "{:<11} error={} audit={}", "Logs", self.error_log, self.audit_log)?;
        writeln!(to, "{:<11} {}", "MLock", self.mlock())?;
        to.flush()
    }

    /// Logs the banner as one line, independent of the log level.
    pub(crate) fn log(&self) {
        tracing::info!(
            target: NOTICE,
            version = %self.version,
            commit = %self.commit,
            keystore = self.keystore,
            address = %self.address,
            admin = self.admin,
            error = %self.error_log,
            audit = %self.audit_log,
            mlock = %self.mlock(),
            "Endpoints {}",
            endpoints(self.address).join(" ")
        );
    }

    fn mlock(&self) -> &'static str {
        match self.locking {
            Locking::Locked => "on",
            Locking::NotLocked(_) => "off",
        }
    }
}

/// Formats the address, and says who can reach it.
fn listening(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() => format!("{address} (this machine alone)"),
        ip if ip.is_unspecified() => format!("{address} (every interface)"),
        _ => address.to_string(),
    }
}

/// Returns the URLs that a client on this machine can use.
pub(crate) fn endpoints(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let url = |ip: IpAddr| format!("https://{}", SocketAddr::new(ip, port));
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![url(Ipv4Addr::LOCALHOST.into())],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![url(Ipv4Addr::LOCALHOST.into()), url(Ipv6Addr::LOCALHOST.into())]
        }
        ip => vec![url(ip)],
    }
}
