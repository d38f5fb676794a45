//! Reads where AWS is: hosts of AWS itself have a region, and KMS beside the Secrets Manager.

use url::Url;

use crate::cursor::Cursor;
use crate::endpoint;
use crate::error::Fault;

/// Where KMS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsEndpoint {
    /// At this URL, as the other endpoint.
    At(String),
    /// AWS's own, of the region.
    Regional {
        /// The one with validated cryptography.
        use_fips: bool,
        /// The one that has IPv6 too.
        use_dual_stack: bool,
    },
}

/// Where KMS is, of a service at that endpoint.
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
        // An emulator, which is everything at one place.
        None => endpoint.map(|url| KmsEndpoint::At(url.to_owned())).ok_or_else(Fault::known),
    }
}

/// Reads the region, which is that of AWS's own host.
pub(super) fn region(place: &Cursor<'_>, endpoint: Option<&str>) -> Result<String, Fault> {
    let region = place.required("an AWS region like us-east-2")?;
    if !region.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(region.fault(format!(
            "{} is no region; it wants letters, digits and dashes, like us-east-2",
            region.shown()
        )));
    }
    match endpoint.and_then(AwsHost::of).map(|host| host.region) {
        Some(of_endpoint) if of_endpoint != region.as_str() => Err(region.fault(format!(
            "{} is not the region of the endpoint, which is {of_endpoint}",
            region.shown()
        ))),
        _ => Ok(region.as_str().to_owned()),
    }
}

/// What the name of one of AWS's own hosts tells: `[vpce-….]secretsmanager[-fips].<region>.…`.
struct AwsHost {
    region: String,
    use_fips: bool,
    use_dual_stack: bool,
}

impl AwsHost {
    /// The host of a URL, if it is AWS's own.
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
        // Whatever else is there may be anybody's.
        let service =
            labels.find(|label| ["secretsmanager", "secretsmanager-fips"].contains(label))?;
        let use_fips = service == "secretsmanager-fips";
        let region = labels.next().unwrap_or_default().to_owned();
        Some(Self { region, use_fips, use_dual_stack })
    }
}

/// The partitions of AWS, as the SDK has them.
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
