//! The engine over TLS, against a server that breaks off where it is told to.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::server::{Step, end, read_request, stream_head, token};
use super::*;

/// What a server of `localhost` needs that offers these protocols, and the file with its authority.
pub(super) fn config(protocols: &[&[u8]]) -> (Arc<ServerConfig>, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut authority = tempfile::NamedTempFile::new().unwrap();
    authority.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), authority)
}

/// A server of TLS that answers each request with these pieces, each in records of its own, and the file with its authority.
pub(super) fn server(pieces: Vec<Step>) -> (String, tempfile::NamedTempFile) {
    let (config, authority) = config(&[]);
    let pieces = Arc::new(pieces);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, pieces) = (Arc::clone(&config), Arc::clone(&pieces));
            std::thread::spawn(move || {
                let tls = ServerConnection::new(config).unwrap();
                let mut reader = BufReader::new(StreamOwned::new(tls, socket));
                while read_request(&mut reader).is_some() {
                    for piece in pieces.iter() {
                        match piece {
                            Step::Say(text) => {
                                let stream = reader.get_mut();
                                stream.write_all(text.as_bytes()).unwrap();
                                stream.flush().unwrap();
                            }
                            // Without the alert that tells an end from a cut.
                            _ => return,
                        }
                    }
                }
            });
        }
    });
    (format!("https://localhost:{port}"), authority)
}

fn at(url: &str, authority: &tempfile::NamedTempFile) -> Target {
    Target {
        ca: Some(authority.path().to_owned()),
        ..target(url)
    }
}

#[test]
fn streams_over_tls_are_followed_and_connections_used_again() {
    let (url, authority) = server(vec![
        stream_head(),
        Step::Say(token() + &token()),
        Step::Say(token()),
        Step::Say(end(100, 3, 0)),
    ]);
    let arrivals = (0..20_u64).map(|i| exchange(i * 10_000)).collect();
    let (outcomes, summary) = replay_at(&at(&url, &authority), arrivals, &options());
    assert_eq!(outcomes.len(), 20);
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        assert_eq!((outcome.token_events, outcome.gaps_us.len()), (3, 2));
        assert!(Some(outcome.intended_us) <= outcome.sent_us);
        assert!(outcome.sent_us <= outcome.headers_us);
    }
    let evidence = &summary.evidence;
    assert!(evidence.connections_reused > 0, "{evidence:?}");
}

#[test]
fn a_stream_that_is_cut_below_tls_is_no_whole_one() {
    let (url, authority) = server(vec![stream_head(), Step::Say(token()), Step::Close]);
    let (outcomes, _) = replay_at(&at(&url, &authority), vec![exchange(0)], &options());
    assert_eq!(
        outcomes[0].result,
        SendResult::Failed(FailureKind::Truncated)
    );
    assert_eq!(outcomes[0].token_events, 1);
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    let (url, _) = server(vec![stream_head()]);
    let (_, other) = server(vec![]);
    let (outcomes, _) = replay_at(&at(&url, &other), vec![exchange(0)], &options());
    assert_eq!(outcomes[0].result, SendResult::Failed(FailureKind::Tls));
    assert_eq!(outcomes[0].sent_us, None);
}
