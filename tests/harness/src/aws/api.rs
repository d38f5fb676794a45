//! Client of an emulator's API, without the key server.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::b64;
use crate::connection::{Connection, Request};
use crate::dial::Proto;
use crate::payload::Payload;

/// The region that is asked unless another one is named.
const REGION: &str = "eu-central-1";

/// The API of an emulator, in one region.
#[derive(Clone, Debug)]
pub struct Api {
    address: SocketAddr,
    region: String,
}

impl Api {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, region: REGION.to_owned() }
    }

    /// Returns a client of the same API in another region.
    #[must_use]
    pub fn within(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// Asks Secrets Manager; with any answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn ask_secrets(&self, action: &str, body: Value) -> (u16, Value) {
        self.ask("secretsmanager", &format!("secretsmanager.{action}"), body).await
    }

    /// Asks Secrets Manager, and asserts success.
    ///
    /// # Panics
    /// If there is none.
    pub async fn secrets(&self, action: &str, body: Value) -> Value {
        let (status, answer) = self.ask_secrets(action, body.clone()).await;
        assert_eq!(status, 200, "{action} {body}: {answer}");
        answer
    }

    /// Asks KMS, and asserts success.
    ///
    /// # Panics
    /// If there is none.
    pub async fn kms(&self, action: &str, body: Value) -> Value {
        let (status, answer) =
            self.ask("kms", &format!("TrentService.{action}"), body.clone()).await;
        assert_eq!(status, 200, "{action} {body}: {answer}");
        answer
    }

    /// Creates a secret with this text.
    pub async fn put(&self, name: &str, value: &str) {
        self.secrets("CreateSecret", with_token(json!({ "Name": name, "SecretString": value })))
            .await;
    }

    /// Creates a secret with these bytes.
    pub async fn put_binary(&self, name: &str, value: &[u8]) {
        let body = json!({ "Name": name, "SecretBinary": b64(value) });
        self.secrets("CreateSecret", with_token(body)).await;
    }

    /// Gives a secret another version, which is the current one then.
    pub async fn put_version(&self, name: &str, value: &str) {
        let body = json!({ "SecretId": name, "SecretString": value });
        self.secrets("PutSecretValue", with_token(body)).await;
    }

    /// Schedules a secret's deletion, in seven days.
    pub async fn schedule_deletion(&self, name: &str) {
        self.secrets("DeleteSecret", json!({ "SecretId": name, "RecoveryWindowInDays": 7 })).await;
    }

    /// Returns the text of a secret, if it exists and may be read.
    pub async fn value(&self, name: &str) -> Option<String> {
        let (status, answer) =
            self.ask_secrets("GetSecretValue", json!({ "SecretId": name })).await;
        (status == 200).then(|| answer["SecretString"].as_str().map(str::to_owned)).flatten()
    }

    /// Describes a secret, if it exists.
    pub async fn describe(&self, name: &str) -> Option<Value> {
        let (status, answer) =
            self.ask_secrets("DescribeSecret", json!({ "SecretId": name })).await;
        (status == 200).then_some(answer)
    }

    /// Lists the names of all secrets, sorted.
    ///
    /// # Panics
    /// If they cannot be listed.
    pub async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut query = json!({ "MaxResults": 100 });
        loop {
            let page = self.secrets("ListSecrets", query.clone()).await;
            let listed = page["SecretList"].as_array().expect("a list");
            let name = |secret: &Value| secret["Name"].as_str().map(str::to_owned);
            names.extend(listed.iter().filter_map(name));
            match &page["NextToken"] {
                Value::String(token) if !token.is_empty() => query["NextToken"] = json!(token),
                _ => break,
            }
        }
        names.sort();
        names
    }

    /// Creates a KMS key for this usage, and returns its id and ARN.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_key(&self, usage: &str, spec: &str) -> (String, String) {
        let answer = self.kms("CreateKey", json!({ "KeyUsage": usage, "KeySpec": spec })).await;
        let text = |field: &str| answer["KeyMetadata"][field].as_str().expect("a text").to_owned();
        (text("KeyId"), text("Arn"))
    }

    async fn ask(&self, service: &str, target: &str, body: Value) -> (u16, Value) {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let mut connection = Connection::open(stream, Proto::H1).await.expect("a connection");
        // The signature is not checked; service and region are in its scope.
        let scope = format!("AKIDTESTS/20260101/{}/{service}/aws4_request", self.region);
        let request = Request::new("POST", "/")
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .header(
                "authorization",
                &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .payload(Payload::sized(body.to_string()));
        let answer = connection.send(request).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }
}

/// Adds the token that makes the request one that was made once, which is the version's id too.
fn with_token(mut body: Value) -> Value {
    body["ClientRequestToken"] = json!(hex::encode(crate::random::<16>()));
    body
}
