//! Two services on one socket: a call's path says whose it is (`/berth.ipam.v1.Admin/List`).
//!
//! What a general router would do, without one.

use std::convert::Infallible;
use std::task::{Context, Poll};

use proto_ipam::v1::admin_server::{AdminServer, SERVICE_NAME};
use proto_ipam::v1::ipam_server::IpamServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service as Call};

use super::Service;

/// Both services.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub(super) ipam: IpamServer<Service>,
    pub(super) admin: AdminServer<Service>,
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
        // An unknown method, of either or of neither service, is answered UNIMPLEMENTED by the services themselves.
        if is_admins(request.uri().path()) {
            self.admin.call(request)
        } else {
            self.ipam.call(request)
        }
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
