//! Two services on one socket: a call's path says whose it is (`/berth.ipam.v1.Admin/List`).
//!
//! What a general router would do, without one; and the one place where every call and every answer passes, for the
//! handshake of versions.

use std::convert::Infallible;
use std::future::ready;
use std::task::{Context, Poll};

use proto_ipam::v1::admin_server::{AdminServer, SERVICE_NAME};
use proto_ipam::v1::ipam_server::IpamServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service as Call};

use super::{Service, handshake};
use crate::metrics::CallMetrics;

/// Both services.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub(super) ipam: IpamServer<Service>,
    pub(super) admin: AdminServer<Service>,
    /// Where calls are counted that no service sees.
    pub(super) calls: CallMetrics,
}

fn is_admins(path: &str) -> bool {
    let call = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    call.is_some_and(|(service, _)| service == SERVICE_NAME)
}

impl Call<Request<Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Both are always ready: the bound on calls is kept where they are answered.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if let Some((verb, refused)) = handshake::refusal(path, request.headers()) {
            super::refuse(self.calls.begin(verb), verb, &refused);
            return Box::pin(ready(Ok(handshake::answer(refused))));
        }
        // An unknown method, of either or of neither service, is answered UNIMPLEMENTED by the services themselves.
        let answering = if is_admins(path) {
            self.admin.call(request)
        } else {
            self.ipam.call(request)
        };
        Box::pin(async move {
            let mut answer = answering.await?;
            handshake::claim(answer.headers_mut());
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_names_the_service() {
        assert!(is_admins("/berth.ipam.v1.Admin/List"));
        for path in [
            "/berth.ipam.v1.Ipam/Allocate",
            "/berth.ipam.v1.Admin",
            "/",
            "",
            "*",
        ] {
            assert!(!is_admins(path), "{path}");
        }
    }
}
