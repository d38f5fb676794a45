//! Reads the region and the endpoint of KMS, which follow from a host of AWS itself.

use url::Url;

use crate::cursor::Cursor;
use crate::endpoint;
use crate::error::Fault;

/// The endpoint of KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsEndpoint {
    /// This URL.
    At(String),
    /// The endpoint of AWS in the region.
    Regional {
        /// Whether it is the FIPS endpoint.
        use_fips: bool,
        /// Whether it is the dual-stack endpoint, which has IPv6.
        use_dual_stack: bool,
    },
}

/// Reads the endpoint of KMS; without one it follows from the endpoint of the Secrets Manager.
pub(super) fn kms_endpoint(
    place: &Cursor<'_>,
    endpoint: Option<&str>,
) -> Result<KmsEndpoint, Fault> {
    let text = place.text()?;
    match endpoint.and_then(AwsHost::of) {
        _ if !text.is_empty() => {
            Ok(KmsEndpoint::At(endpoint::read(&text, endpoint::Scheme::Optional)?))
        }
        Some(AwsHost { use_fips, use_dual_stack, .. }) => {
            Ok(KmsEndpoint::Regional { use_fips, use_dual_stack })
        }
        // An emulator, which has all services at one endpoint.
        None => endpoint.map(|url| KmsEndpoint::At(url.to_owned())).ok_or_else(Fault::known),
    }
}

/// Reads the region, which must be that of an endpoint of AWS itself.
pub(super) fn region(place: &Cursor<'_>, endpoint: Option<&str>) -> Result<String, Fault> {
    let region = place.required("an AWS region like us-east-2")?;
    if !region.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(
            region.invalid("is no region; it wants letters, digits and dashes, like us-east-2")
        );
    }
    match endpoint.and_then(AwsHost::of).map(|host| host.region) {
        Some(of_endpoint) if of_endpoint != region.as_str() => {
            Err(region
                .invalid(format!("is not the region of the endpoint, which is {of_endpoint}")))
        }
        _ => Ok(region.as_str().to_owned()),
    }
}

/// The parts of the name of a host of AWS: `[vpce-….]secretsmanager[-fips].<region>.…`.
struct AwsHost {
    region: String,
    use_fips: bool,
    use_dual_stack: bool,
}

impl AwsHost {
    /// Parses the host of a URL, if it is one of AWS.
    fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.trim_end_matches('.');
        let ends_in = |suffixes: &[&str]| {
            let rests = suffixes.iter().filter_map(|suffix| host.strip_suffix(suffix));
            rests.into_iter().any(|rest| rest.ends_with('.'))
        };
        let use_dual_stack = ends_in(&DUAL_STACK_SUFFIXES);
        if !use_dual_stack && !ends_in(&SUFFIXES) {
            return None;
        }
        let mut labels = host.split('.');
        // Other hosts in these domains may belong to customers.
        let service =
            labels.find(|label| ["secretsmanager", "secretsmanager-fips"].contains(label))?;
        let use_fips = service == "secretsmanager-fips";
        let region = labels.next().unwrap_or_default().to_owned();
        Some(Self { region, use_fips, use_dual_stack })
    }
}

/// The domains of the partitions of AWS, as in the SDK.
const SUFFIXES: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "sc2s.sgov.gov",
];
const DUAL_STACK_SUFFIXES: [&str; 7] = [
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "api.aws",
    "api.aws.hci.ic.gov",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
];
