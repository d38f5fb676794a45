//! OpenSSL as a reader of key files.

use kes_harness::{finish, kes, tool};
use tokio::process::Command;

#[tokio::test]
async fn openssl_reads_encrypted_keys_of_both_forms() {
    let Some(openssl) = tool("openssl", None, "encrypted private keys with OpenSSL") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (form, password) in
        [("legacy", "correct horse"), ("pkcs8", "correct horse"), ("legacy", "\u{e4} ")]
    {
        let mut new = kes().command();
        new.args(["identity", "new", "-f", "--key", "a.key", "--cert", "a.crt"]);
        new.arg(format!("--encrypt={form}")).env("MINIO_KMS_KES_KEY_PASSWORD", password);
        finish(new.current_dir(folder.path())).await.ok();

        let mut command = Command::new(openssl.path());
        let pass_in = format!("pass:{password}");
        command.args(["pkey", "-pubout", "-in", "a.key", "-passin", &pass_in]);
        let of_key = finish(command.current_dir(folder.path())).await.ok();
        let mut command = Command::new(openssl.path());
        command.args(["x509", "-pubkey", "-noout", "-in", "a.crt"]);
        let of_certificate = finish(command.current_dir(folder.path())).await.ok();
        assert_eq!(of_key, of_certificate, "{form}");
    }
}
