//! What holds for every route that the server itself says it has.

use kes_tests::{Credential, Payload, Request, Setup, WAYS};

const DENIED: &str = "not authorized: insufficient permissions";

#[tokio::test]
async fn every_route_refuses_strangers_and_other_methods_and_bodies_over_its_limit() {
    let stranger = Credential::generate();
    let setup = Setup::new();
    let server = setup.start().await;
    for way in WAYS {
        let mut admin = server.connect_over(setup.admin(), way).await;
        let mut unknown = server.connect_over(&stranger, way).await;
        let routes = admin.get("/v1/api").await.ok().json();
        let routes = routes.as_array().expect("a list of routes");
        assert!(routes.len() > 20, "{routes:?}");
        for route in routes {
            let (method, path) = (route["method"].as_str(), route["path"].as_str());
            let (method, mut path) = (method.expect("a method"), path.expect("a path").to_owned());
            if path.ends_with('/') {
                path.push_str("my-k");
            }

            let answer = unknown.send(Request::new(method, &path)).await;
            match path.as_str() {
                "/version" => drop(answer.ok()),
                "/v1/identity/self/describe" => answer.refused(404, "identity does not exist"),
                _ => answer.refused(403, DENIED),
            }

            let answer = admin.call("PATCH", &path).await;
            answer.refused(405, "method not allowed");
            assert!(answer.header("allow").starts_with(method), "{path}: {answer:?}");

            let max = route["max_body"].as_u64().expect("a number of bytes");
            if max > 0 {
                let long = "x".repeat(usize::try_from(max).expect("a body fits into memory") + 1);
                let request = Request::new(method, &path).payload(Payload::chunked(long));
                let answer = server.connect_over(setup.admin(), way).await.send(request).await;
                answer.refused(413, "request body is too large");
            }
        }
    }
}
