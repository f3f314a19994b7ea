//! HTTP/2 on either side and across, with hyper as both peers.

mod across;
mod down;
mod peers;

use http::Version;
use http_body_util::{BodyExt, Full};

use reenact::shape::Outcome;

use self::peers::{h2_client, post, runtime, upstream};
use super::exchanges;
use super::support::Server;
use super::support::wire::{Upstream, Wire, metric_reaches};

#[test]
fn http2_passes_with_its_trailers_and_its_name() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    let body = runtime.block_on(async {
        let mut client = h2_client(&recorder.url).await;
        let request = post("http://model.test:1/inference.GRPCInferenceService/ModelInfer?q=%41")
            .body(Full::from("hello"))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let repeats: Vec<_> = response.headers().get_all("x-a").iter().collect();
        assert_eq!(repeats, ["1", "2"]);
        assert!(!response.headers().contains_key("via"));
        response.into_body().collect().await.unwrap()
    });
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "onetwo");
    let (line, headers, body, _) = seen.recv().unwrap();
    assert_eq!(
        line,
        "HTTP/2.0 POST http://model.test:1/inference.GRPCInferenceService/ModelInfer?q=%41"
    );
    assert_eq!(body, "hello");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers.get_all("x-b").iter().count(), 2);
    assert!(!headers.contains_key("host"), "{headers:?}");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].request.bytes, 5);
    assert_eq!(recorded[0].response.bytes, 6);
    assert_eq!(recorded[0].outcome, Outcome::Completed);
}

#[test]
fn an_http2_client_opts_out_as_any_other() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    runtime.block_on(async {
        let mut client = h2_client(&recorder.url).await;
        for wish in ["off", "no", "on"] {
            let request = post("http://model.test:1/v1/chat/completions")
                .header("x-reenact-record", wish)
                .body(Full::from("{}"))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.collect().await.unwrap().to_bytes(), "onetwo");
        }
    });
    let wishes: Vec<_> = seen
        .iter()
        .take(3)
        .map(|(_, headers, ..)| headers["x-reenact-record"].clone())
        .collect();
    assert_eq!(wishes, ["off", "no", "on"]);
    metric_reaches(&admin, "reenact_dropped_total{reason=\"opt_out\"}", 2);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    assert!(recorder.terminate().0.success());
    assert_eq!(exchanges(dir.path()).len(), 1);
}

#[test]
fn many_exchanges_share_connections_on_both_sides() {
    let runtime = runtime();
    let (address, seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    runtime.block_on(async {
        let client = h2_client(&recorder.url).await;
        let mut all = Vec::new();
        for number in 0..100 {
            let mut client = client.clone();
            all.push(tokio::spawn(async move {
                let request = post(&format!("http://a/{number}"))
                    .body(Full::from(format!("{number}")))
                    .unwrap();
                let response = client.send_request(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            }));
        }
        for each in all {
            assert_eq!(each.await.unwrap(), "onetwo");
        }
    });
    let mut bodies: Vec<_> = (0..100)
        .map(|_| String::from_utf8(seen.recv().unwrap().2.to_vec()).unwrap())
        .collect();
    bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(exchanges(dir.path()).len(), 100);
}

#[test]
fn the_first_stream_of_a_connection_is_the_one_that_began_it() {
    let runtime = runtime();
    let (address, _seen) = upstream(&runtime);
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&format!("http://{address}"), dir.path(), &[]);
    runtime.block_on(async {
        let mut clients = [
            h2_client(&recorder.url).await,
            h2_client(&recorder.url).await,
        ];
        for number in [0, 0, 1, 0] {
            let request = post("http://a/").body(Full::from("")).unwrap();
            let response = clients[number].send_request(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    });
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let began: Vec<_> = exchanges(dir.path())
        .iter()
        .map(|it| it.new_connection)
        .collect();
    assert_eq!(began, [true, false, true, false].map(Some));
}

#[test]
fn no_preface_and_no_http2_is_not_forwarded() {
    let upstream = Upstream::start();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream.url(), dir.path(), &[]);
    let mut client = Wire::connect(&recorder.url);
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    let (answer, _) = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(upstream.is_alone());
    recorder.terminate();
}
